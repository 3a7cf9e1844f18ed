"""Tokens made to deceive: each known trick (RFC 8725, and the CVEs behind it), and what is no token at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bridge.api.call import Call
from bridge.errors import Unauthorized
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jws import MAX_TOKEN
from bridge.stages.auth.jwt import TrustedIssuer
from tests.conftest import Start, Upstream
from tests.stages.auth.attacks import ATTACKS, Kit
from tests.stages.auth.attacks import bearer as bearer_request


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 7, ["ES256"], "HS256", "ES256 ", "es256"])
async def test_alg_none_and_its_disguises(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    name: Any,
) -> None:
    for sign in (lambda _: b"", lambda _: b"x" * 64, signer(make_pair())):
        token = forge({"alg": name, "kid": "one"}, claims_of(), sign)
        await refused(route(trust_in(make_pair())), bearer(token), "algorithm|malformed")


async def test_a_public_key_as_hmac_secret(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, forge: Any
) -> None:
    """CVE-2016-5431 and its family: HS256 over the issuer's published RSA key, in every form one may have it."""
    pair = make_pair("RS256")
    public = pair.private.public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(pair.jwk).encode(),
        b"",
    ]
    # Even an issuer that allows both families has no key that is good for both.
    for allowed in ({"RS256"}, {"RS256", "HS256"}):
        for secret in forms:
            token = forge(
                {"alg": "HS256", "kid": "one"},
                claims_of(),
                lambda signed, secret=secret: hmac.digest(secret, signed, hashlib.sha256),
            )
            await refused(route(trust_in(pair, algorithms=allowed)), bearer(token), "algorithm|key")


async def test_a_key_of_one_family_for_another(
    bearer: Any, route: Any, refused: Any, signer: Any, make_pair: Any, claims_of: Any, trust_in: Any, forge: Any
) -> None:
    rsa, other = make_pair("RS256"), make_pair("ES256", "two")
    trust = trust_in(rsa, other)
    token = forge({"alg": "RS256", "kid": "two"}, claims_of(), signer(rsa))
    await refused(route(trust), bearer(token), "key that its issuer does not publish")


async def test_an_algorithm_that_the_issuer_does_not_allow(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair("PS256")
    await refused(route(trust_in(pair, algorithms={"RS256"})), bearer(pair.sign(claims_of())), "algorithm")


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "one\0",
        "ONE",
        "http://127.0.0.1/keys",
        "| sleep 9",
        "x" * 5000,
    ],
)
async def test_a_kid_is_a_name_and_nothing_else(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    kid: Any,
) -> None:
    pair = make_pair("ES256", "one")
    for sign in (signer(pair), lambda signed: hmac.digest(b"", signed, hashlib.sha256)):
        for algorithm in ("ES256", "HS256"):
            token = forge({"alg": algorithm, "kid": kid}, claims_of(), sign)
            await refused(
                route(trust_in(pair, algorithms={"ES256", "HS256"})), bearer(token), "key that its issuer does not"
            )


@pytest.mark.parametrize("kid", [7, None, ["one"], {"one": 1}, True])
async def test_a_kid_that_is_no_text(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    kid: Any,
) -> None:
    token = forge({"alg": "ES256", "kid": kid}, claims_of(), signer(make_pair()))
    await refused(route(trust_in(make_pair())), bearer(token), "malformed")


async def test_keys_inside_the_token_are_never_used(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, jwks_server: Any
) -> None:
    """jwk, jku, x5u and x5c (RFC 7515, section 4.1) let a token bring its own key: CVE-2018-0114."""
    good, evil = make_pair("ES256", "one"), make_pair("ES256", "evil")
    jwks_server.keys = [evil.jwk, evil.jwk | {"kid": "one"}]
    trust = trust_in(good)
    for headers in (
        {"jwk": evil.jwk},
        {"jwk": evil.jwk, "kid": "one"},
        {"jku": jwks_server.url},
        {"jku": jwks_server.url, "kid": "one"},
        {"x5u": jwks_server.url, "kid": "one"},
        {"x5c": ["MIIB"], "kid": "one"},
    ):
        await refused(route(trust), bearer(evil.sign(claims_of(), **headers)), "signature|key")
    # A good token that carries them is still good: they are not looked at.
    await route(trust)(bearer(good.sign(claims_of(), jku=jwks_server.url, jwk=evil.jwk)))
    assert jwks_server.requests == []


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True}],
)
async def test_critical_extensions_are_refused(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    header: Any,
) -> None:
    pair = make_pair()
    token = forge({"alg": "ES256", "kid": "one"} | header, claims_of(), signer(pair))
    await refused(route(trust_in(pair)), bearer(token), "crit")


@pytest.mark.parametrize(
    "iss", [None, "", "https://evil.test", "https://idp.test/", "HTTPS://idp.test", 7, ["https://idp.test"]]
)
async def test_issuers_that_are_not_trusted(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    iss: Any,
) -> None:
    pair = make_pair()
    token = forge({"alg": "ES256", "kid": "one"}, claims_of(iss=iss), signer(pair))
    challenge = await refused(route(trust_in(pair)), bearer(token), "issuer")
    assert "evil" not in challenge


async def test_one_issuer_can_not_speak_for_another(
    bearer: Any, route: Any, refused: Any, fixed_keys: Any, make_pair: Any, claims_of: Any
) -> None:
    one, two = make_pair("ES256", "one"), make_pair("ES256", "two")
    trust = Trust(
        [
            TrustedIssuer("https://idp.test", frozenset({"ES256"}), fixed_keys(one)),
            TrustedIssuer("https://b.test", frozenset({"ES256"}), fixed_keys(two)),
        ]
    )
    await refused(route(trust), bearer(two.sign(claims_of())), "key that its issuer")
    await refused(route(trust), bearer(two.sign(claims_of(), kid="one")), "signature")


@pytest.mark.parametrize(
    "token",
    [
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "..",
        ".",
        "e30.e30.",
        "e30.e30.e30",
        "bnVsbA.e30.e30",
        "W10.W10.W10",
        "/w.e30.e30",
        "_w.e30.e30",
        "eyJhIjox.e30.e30",
        "=",
        "a" * MAX_TOKEN + ".e30.e30",
        "e30=.e30.e30",
    ],
)
async def test_what_is_no_token(
    bearer: Any, route: Any, refused: Any, make_pair: Any, trust_in: Any, token: Any
) -> None:
    await refused(route(trust_in(make_pair())), bearer(token), "malformed|no JWT|longer|issuer")


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer  ", "Bearer a b", "Bearer a,Bearer b", "Bearer ä", "Bearer \0"]
)
async def test_a_bearer_field_that_is_none(route: Any, refused: Any, make_pair: Any, trust_in: Any, value: Any) -> None:
    await refused(route(trust_in(make_pair())), Call(headers=[("authorization", value)]), "malformed|takes a bearer")


@pytest.mark.parametrize("value", ["Basic YTpi", "bearertoken", "", "Token abc", "Digest x"])
async def test_credentials_of_another_kind(route: Any, refused: Any, make_pair: Any, trust_in: Any, value: Any) -> None:
    challenge = await refused(route(trust_in(make_pair())), Call(headers=[("authorization", value)]), "bearer token")
    assert "error=" not in challenge


async def test_no_credentials_get_a_challenge_without_an_error(
    route: Any, refused: Any, make_pair: Any, trust_in: Any
) -> None:
    assert await refused(route(trust_in(make_pair())), Call(), "bearer token") == 'Bearer realm="hms-bridge"'


async def test_two_authorization_fields(
    route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    good = ("authorization", f"Bearer {pair.sign(claims_of())}")
    for other in (good, ("authorization", "Bearer x"), ("authorization", "Basic x")):
        for both in ([good, other], [other, good]):
            await refused(route(trust_in(pair)), Call(headers=both), "more than once")


async def test_the_scheme_in_any_case(route: Any, make_pair: Any, claims_of: Any, trust_in: Any) -> None:
    pair = make_pair()
    await route(trust_in(pair))(Call(headers=[("authorization", f"bEARER {pair.sign(claims_of())}")]))


async def test_a_token_in_the_query_or_body_is_not_read(
    route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    token = pair.sign(claims_of())
    await refused(
        route(trust_in(pair)), Call(query=f"access_token={token}", body=f"access_token={token}".encode()), "takes"
    )


async def test_the_answer_says_nothing_of_the_inside(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    authenticator = route(trust_in(pair), audience="AREA", issuer="https://idp.test")
    bad = [
        pair.sign(claims_of(aud="X")),
        pair.sign(claims_of(iss="https://x.test")),
        "a.b.c",
        pair.sign(claims_of())[:-4],
    ]
    for token in bad:
        with pytest.raises(Unauthorized) as caught:
            await authenticator(bearer(token))
        said = caught.value.detail + str(caught.value.headers)
        assert not any(word in said for word in ("idp.test", "Traceback", "jwt.", "cryptography", token))


async def test_a_token_may_be_only_so_long(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    await route(trust_in(pair))(bearer(pair.sign(claims_of(padding="x" * (MAX_TOKEN * 3 // 4 - 500)))))
    await refused(route(trust_in(pair)), bearer(pair.sign(claims_of(padding="x" * MAX_TOKEN))), "longer than 16384")


# --- docs/token-attacks.md, against a running gateway ------------------------------------------------------------

PAGE = Path(__file__).parents[3] / "docs" / "token-attacks.md"


def rows_of_the_page() -> dict[str, tuple[str, str, str]]:
    """By attack: status, slug of the problem, error of the challenge; ``—`` for none."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    rows = {name: (status, slug.strip("`"), error.strip("`")) for name, _, status, slug, error in cells}
    assert len(rows) == len(cells)  # no attack stands twice
    return {name: row for name, row in rows.items() if row[0].isdigit()}


ISSUERS = """
- {issuer: https://idp.test, jwks_file: idp.json, algorithms: [ES256, RS256, EdDSA]}
- {issuer: https://revenue.test, jwks_file: revenue.json, algorithms: ES256, tenant: revenue}
- {issuer: https://strict.test, jwks_file: strict.json, algorithms: ES256, token_types: [at+jwt]}
- {issuer: https://away.test, jwks_url: 'http://127.0.0.1:%d/keys'}
- {issuer: payroll, secret_env: PAYROLL_SECRET}
"""
ROUTE = """
route: /a
upstream: svc:80
auth: {type: JWT, audience: AREA, roles: [clerk]}
transform: {request: passthrough}
"""


def answered(answer: httpx.Response) -> tuple[str, str, str]:
    if answer.status_code == 200:
        return "200", "—", "—"
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["trace_id"] == answer.headers["x-trace-id"]
    error = re.search(r'error="([a-z_]+)"', answer.headers.get("www-authenticate", ""))
    assert answer.status_code != 401 or answer.headers["www-authenticate"].startswith('Bearer realm="hms-bridge"')
    return str(answer.status_code), problem["type"].removeprefix("urn:bridge:problem:"), error[1] if error else "—"


@pytest.mark.usefixtures("patient")
async def test_each_row_of_the_page_is_what_a_gateway_answers(
    start: Start, upstream: Upstream, jwks_server: Any, make_pair: Any, unused_port: int, monkeypatch: Any
) -> None:
    pairs = {name: make_pair("ES256", name) for name in ("one", "revenue", "evil")}
    kit = Kit(
        pairs["one"], make_pair("RS256", "rsa"), make_pair("EdDSA", "ed"), pairs["revenue"],
        make_pair("ES256", "strict-one"), make_pair("ES256", "away"), pairs["evil"], jwks_server.url,
    )  # fmt: skip
    jwks_server.keys = [kit.evil.jwk, kit.evil.jwk | {"kid": "one"}]
    monkeypatch.setenv("PAYROLL_SECRET", "a secret of the payroll office that nobody guesses")
    keys = {"idp": (kit.ec, kit.rsa, kit.ed), "revenue": (kit.revenue,), "strict": (kit.strict,)}
    files = {f"{name}.json": json.dumps({"keys": [pair.jwk for pair in some]}) for name, some in keys.items()}
    files["strict.json"] = json.dumps({"keys": [kit.strict.jwk | {"kid": "one"}]})
    files["issuers.yml"] = ISSUERS % unused_port
    rows = rows_of_the_page()
    assert list(rows) == list(ATTACKS)  # each row has a case, each case a row, in one order
    wrong = []
    async with start({"svc": f"127.0.0.1:{upstream.port}"}, {"a.yml": ROUTE}, files) as gateway:
        for name, case in ATTACKS.items():
            for number, sent in enumerate(case(kit)):
                fields, query = bearer_request(sent) if isinstance(sent, str) else sent
                before = len(upstream.seen)
                url = f"/a?{query}" if query else "/a"
                raw = [(key.encode(), value.encode()) for key, value in fields]
                got = answered(await gateway.client.get(url, headers=raw))
                passed = len(upstream.seen) - before
                if got != rows[name] or passed != (got[0] == "200"):
                    wrong.append(f"{name}, request {number}: {got}, passed {passed}, and the page says {rows[name]}")
    assert not wrong, "\n".join(wrong)
    assert jwks_server.requests == []
