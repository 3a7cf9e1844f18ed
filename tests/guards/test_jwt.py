"""Bearer tokens: every algorithm family, every known trick (RFC 8725), and what a route asks beyond the signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from bridge.errors import Forbidden, IssuerUnavailable, Unauthorized
from bridge.guards import jwt as guard
from bridge.guards.auth import build_authenticator
from bridge.guards.issuers import Trust
from bridge.guards.jwks import FixedKeys, url_keys
from bridge.guards.jwt import MAX_TOKEN, TokenVerifier, TrustedIssuer
from bridge.guards.keys import ALGORITHMS, read_jwks
from bridge.spec import JwtAuth
from bridge.transformer import Call


def bearer(token, **more):
    return Call(headers=[("accept", "*/*"), ("authorization", f"Bearer {token}")], **more)


def route(trust, **auth):
    return build_authenticator(JwtAuth.model_validate({"type": "JWT"} | auth), trust, keys=None)


async def refused(authenticator, call, words):
    """The call gets a 401 whose detail has `words`, with a challenge that is well-formed."""
    with pytest.raises(Unauthorized, match=words) as caught:
        await authenticator(call)
    error = caught.value
    challenge = dict(error.headers)["www-authenticate"]
    assert challenge.startswith('Bearer realm="hms-bridge"')
    assert challenge.isascii()
    assert challenge.count('"') % 2 == 0
    return challenge


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_token_of_every_algorithm(make_pair, claims_of, trust_in, algorithm):
    pair = make_pair(algorithm)
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of())))
    assert (identity.subject, identity.key) == ("ann", "sub:https://idp.test|ann")
    assert identity.claims["aud"] == "AREA"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_changed_token_of_every_algorithm(make_pair, claims_of, trust_in, algorithm):
    pair = make_pair(algorithm)
    head, _, signature = pair.sign(claims_of()).split(".")
    claims = base64.urlsafe_b64encode(json.dumps(claims_of(sub="root")).encode()).rstrip(b"=").decode()
    await refused(route(trust_in(pair)), bearer(f"{head}.{claims}.{signature}"), "signature")


# --- who says what ---------------------------------------------------------------------------------------------


async def test_roles_scopes_and_tenant(make_pair, claims_of, trust_in):
    pair = make_pair()
    token = pair.sign(claims_of(roles=["clerk", 7], scope="read write", scp=["list"], tenant="revenue"))
    identity = await route(trust_in(pair))(bearer(token))
    assert identity.roles == {"clerk"}
    assert identity.scopes == {"read", "write", "list"}
    assert (identity.tenant, identity.internal) == ("revenue", False)


async def test_claims_by_other_names(make_pair, claims_of, trust_in):
    pair = make_pair()
    trust = trust_in(pair, roles_claim="realm_access.roles", tenant_claim="https://idp.test/tenant")
    claims = claims_of(realm_access={"roles": ["clerk"]}) | {"https://idp.test/tenant": "revenue"}
    identity = await route(trust)(bearer(pair.sign(claims)))
    assert (identity.roles, identity.tenant) == ({"clerk"}, "revenue")


@pytest.mark.parametrize("strange", [7, {"a": 1}, [["x"]], "", None, True])
async def test_strange_roles_and_tenants_give_none(make_pair, claims_of, trust_in, strange):
    pair = make_pair()
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of(roles=strange, tenant=strange, scope=strange))))
    assert (identity.roles, identity.tenant, identity.scopes) == (frozenset(), "", frozenset())


async def test_a_client_without_a_user_is_known_by_its_id(make_pair, claims_of, trust_in):
    pair = make_pair()
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of(sub=None, azp="batch"))))
    assert identity.key == "sub:https://idp.test|batch"


async def test_a_token_without_a_subject_counts_by_address(make_pair, claims_of, trust_in):
    pair = make_pair()
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of(sub=None)), peer="192.0.2.7"))
    assert (identity.subject, identity.key) == ("", "ip:192.0.2.7")


async def test_the_role_internal_makes_a_caller_internal(make_pair, claims_of, trust_in):
    pair = make_pair()
    assert (await route(trust_in(pair))(bearer(pair.sign(claims_of(roles=["internal"]))))).internal


# --- what a route asks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", ["AREA", ["OTHER", "AREA"]])
@pytest.mark.parametrize("aud", ["AREA", ["AREA"], ["X", "AREA"]])
async def test_an_audience_that_fits(make_pair, claims_of, trust_in, audience, aud):
    pair = make_pair()
    await route(trust_in(pair), audience=audience)(bearer(pair.sign(claims_of(aud=aud))))


@pytest.mark.parametrize("aud", ["OTHER", "", "AREA2", "ARE", ["OTHER"], [], [["AREA"]], None, {"AREA": 1}, "area"])
async def test_an_audience_that_does_not_fit(make_pair, claims_of, trust_in, forge, aud):
    pair = make_pair()
    authenticator = route(trust_in(pair), audience="AREA")
    sign = _signer(pair)
    token = forge({"alg": pair.algorithm, "kid": "one"}, claims_of(aud=aud), sign)
    challenge = await refused(authenticator, bearer(token), "audience|malformed")
    assert 'error="invalid_token"' in challenge


async def test_one_token_on_routes_with_different_audiences(make_pair, claims_of, trust_in):
    """The remembered signature must not remember one route's answer for another."""
    pair = make_pair()
    trust = trust_in(pair)
    call = bearer(pair.sign(claims_of()))
    for _ in range(2):
        await route(trust, audience="AREA")(call)
        await refused(route(trust, audience="OTHER"), call, "another audience")
        with pytest.raises(Forbidden):
            await route(trust, roles=["clerk"])(call)


async def test_the_issuer_that_a_route_asks_for(make_pair, claims_of):
    pair = make_pair()
    key = guard_keys(pair)
    trust = Trust([TrustedIssuer(name, frozenset({"ES256"}), key) for name in ("https://idp.test", "https://b.test")])
    authenticator = route(trust, issuer="https://b.test")
    await authenticator(bearer(pair.sign(claims_of(iss="https://b.test"))))
    await refused(authenticator, bearer(pair.sign(claims_of())), "another issuer")


async def test_any_of_the_roles(make_pair, claims_of, trust_in):
    pair = make_pair()
    authenticator = route(trust_in(pair), roles=["clerk", "judge"])
    await authenticator(bearer(pair.sign(claims_of(roles=["judge"]))))
    with pytest.raises(Forbidden, match="one of the roles clerk, judge") as caught:
        await authenticator(bearer(pair.sign(claims_of(roles=["citizen"]))))
    assert 'error="insufficient_scope"' in dict(caught.value.headers)["www-authenticate"]


async def test_all_of_the_scopes(make_pair, claims_of, trust_in):
    pair = make_pair()
    authenticator = route(trust_in(pair), scopes=["read", "write"])
    await authenticator(bearer(pair.sign(claims_of(scope="write read more"))))
    with pytest.raises(Forbidden, match="the scope write") as caught:
        await authenticator(bearer(pair.sign(claims_of(scope="read"))))
    assert 'scope="read write"' in dict(caught.value.headers)["www-authenticate"]


# --- times -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": -11}, "expired"),
        ({"exp": -10}, "expired"),
        ({"exp": -9}, None),
        ({"nbf": 11}, "not valid yet"),
        ({"nbf": 10}, None),
        ({"iat": 11}, "future"),
        ({"iat": 10}, None),
        ({"iat": -(10**9)}, None),
    ],
)
async def test_times_with_ten_seconds_of_leeway(make_pair, claims_of, trust_in, claims, words, clock):
    pair = make_pair()
    trust = trust_in(pair)
    clock.now = 2e9
    trust.verifier.clock = clock
    times = {"iat": None, "exp": 2e9 + 60} | {name: 2e9 + offset for name, offset in claims.items()}
    call = bearer(pair.sign(claims_of(**times)))
    if words is None:
        await route(trust)(call)
    else:
        await refused(route(trust), call, words)


async def test_a_remembered_token_expires_all_the_same(make_pair, claims_of, trust_in, clock):
    pair = make_pair()
    trust = trust_in(pair)
    clock.now = time.time()
    trust.verifier.clock = clock
    call = bearer(pair.sign(claims_of()))
    await route(trust)(call)
    clock.now += 611
    await refused(route(trust), call, "expired")
    assert not trust.verifier._known


@pytest.mark.parametrize("exp", [None, "4000000000", True, [], {}, -1, 1e300])
async def test_an_expiry_that_is_none(make_pair, claims_of, trust_in, forge, exp):
    pair = make_pair()
    token = forge({"alg": pair.algorithm, "kid": "one"}, claims_of(exp=exp), _signer(pair))
    await refused(route(trust_in(pair)), bearer(token), "no expiry|malformed")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"9" * 400])
async def test_an_expiry_beyond_numbers(make_pair, trust_in, forge, number):
    pair = make_pair()
    claims = b'{"iss": "https://idp.test", "exp": ' + number + b"}"
    await refused(
        route(trust_in(pair)), bearer(forge({"alg": "ES256", "kid": "one"}, claims, _signer(pair))), "malformed"
    )


# --- attacks ---------------------------------------------------------------------------------------------------


def guard_keys(*pairs):
    return FixedKeys(read_jwks(json.dumps({"keys": [pair.jwk for pair in pairs]}).encode()))


def _signer(pair):
    implementation = get_default_algorithms()[pair.algorithm]
    return lambda signed: implementation.sign(signed, pair.private)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 7, ["ES256"], "HS256", "ES256 ", "es256"])
async def test_alg_none_and_its_disguises(make_pair, claims_of, trust_in, forge, name):
    for sign in (lambda _: b"", lambda _: b"x" * 64, _signer(make_pair())):
        token = forge({"alg": name, "kid": "one"}, claims_of(), sign)
        await refused(route(trust_in(make_pair())), bearer(token), "algorithm|malformed")


async def test_a_public_key_as_hmac_secret(make_pair, claims_of, trust_in, forge):
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


async def test_a_key_of_one_family_for_another(make_pair, claims_of, trust_in, forge):
    rsa, other = make_pair("RS256"), make_pair("ES256", "two")
    trust = trust_in(rsa, other)
    token = forge({"alg": "RS256", "kid": "two"}, claims_of(), _signer(rsa))
    await refused(route(trust), bearer(token), "key that its issuer does not publish")


async def test_an_algorithm_that_the_issuer_does_not_allow(make_pair, claims_of, trust_in):
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
async def test_a_kid_is_a_name_and_nothing_else(make_pair, claims_of, trust_in, forge, kid):
    pair = make_pair("ES256", "one")
    for sign in (_signer(pair), lambda signed: hmac.digest(b"", signed, hashlib.sha256)):
        for algorithm in ("ES256", "HS256"):
            token = forge({"alg": algorithm, "kid": kid}, claims_of(), sign)
            await refused(
                route(trust_in(pair, algorithms={"ES256", "HS256"})), bearer(token), "key that its issuer does not"
            )


@pytest.mark.parametrize("kid", [7, None, ["one"], {"one": 1}, True])
async def test_a_kid_that_is_no_text(make_pair, claims_of, trust_in, forge, kid):
    token = forge({"alg": "ES256", "kid": kid}, claims_of(), _signer(make_pair()))
    await refused(route(trust_in(make_pair())), bearer(token), "malformed")


async def test_keys_inside_the_token_are_never_used(make_pair, claims_of, trust_in, jwks_server):
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
async def test_critical_extensions_are_refused(make_pair, claims_of, trust_in, forge, header):
    pair = make_pair()
    token = forge({"alg": "ES256", "kid": "one"} | header, claims_of(), _signer(pair))
    await refused(route(trust_in(pair)), bearer(token), "crit")


@pytest.mark.parametrize(
    "iss", [None, "", "https://evil.test", "https://idp.test/", "HTTPS://idp.test", 7, ["https://idp.test"]]
)
async def test_issuers_that_are_not_trusted(make_pair, claims_of, trust_in, forge, iss):
    pair = make_pair()
    token = forge({"alg": "ES256", "kid": "one"}, claims_of(iss=iss), _signer(pair))
    challenge = await refused(route(trust_in(pair)), bearer(token), "issuer")
    assert "evil" not in challenge


async def test_one_issuer_can_not_speak_for_another(make_pair, claims_of):
    one, two = make_pair("ES256", "one"), make_pair("ES256", "two")
    trust = Trust(
        [
            TrustedIssuer("https://idp.test", frozenset({"ES256"}), guard_keys(one)),
            TrustedIssuer("https://b.test", frozenset({"ES256"}), guard_keys(two)),
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
async def test_what_is_no_token(make_pair, trust_in, token):
    await refused(route(trust_in(make_pair())), bearer(token), "malformed|no JWT|longer|issuer")


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer  ", "Bearer a b", "Bearer a,Bearer b", "Bearer ä", "Bearer \0"]
)
async def test_a_bearer_field_that_is_none(make_pair, trust_in, value):
    await refused(route(trust_in(make_pair())), Call(headers=[("authorization", value)]), "malformed|takes a bearer")


@pytest.mark.parametrize("value", ["Basic YTpi", "bearertoken", "", "Token abc", "Digest x"])
async def test_credentials_of_another_kind(make_pair, trust_in, value):
    challenge = await refused(route(trust_in(make_pair())), Call(headers=[("authorization", value)]), "bearer token")
    assert "error=" not in challenge


async def test_no_credentials_get_a_challenge_without_an_error(make_pair, trust_in):
    assert await refused(route(trust_in(make_pair())), Call(), "bearer token") == 'Bearer realm="hms-bridge"'


async def test_two_authorization_fields(make_pair, claims_of, trust_in):
    pair = make_pair()
    good = ("authorization", f"Bearer {pair.sign(claims_of())}")
    for other in (good, ("authorization", "Bearer x"), ("authorization", "Basic x")):
        for both in ([good, other], [other, good]):
            await refused(route(trust_in(pair)), Call(headers=both), "more than once")


async def test_the_scheme_in_any_case(make_pair, claims_of, trust_in):
    pair = make_pair()
    await route(trust_in(pair))(Call(headers=[("authorization", f"bEARER {pair.sign(claims_of())}")]))


async def test_a_token_in_the_query_or_body_is_not_read(make_pair, claims_of, trust_in):
    pair = make_pair()
    token = pair.sign(claims_of())
    await refused(
        route(trust_in(pair)), Call(query=f"access_token={token}", body=f"access_token={token}".encode()), "takes"
    )


async def test_the_answer_says_nothing_of_the_inside(make_pair, claims_of, trust_in):
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


async def test_a_token_may_be_only_so_long(make_pair, claims_of, trust_in):
    pair = make_pair()
    await route(trust_in(pair))(bearer(pair.sign(claims_of(padding="x" * (MAX_TOKEN * 3 // 4 - 500)))))
    await refused(route(trust_in(pair)), bearer(pair.sign(claims_of(padding="x" * MAX_TOKEN))), "longer than 16384")


# --- memory ----------------------------------------------------------------------------------------------------


async def test_a_token_is_verified_once_for_all_routes(make_pair, claims_of, trust_in, monkeypatch):
    pair = make_pair()
    checks = 0
    signed = guard._signed

    def counted(*args):
        nonlocal checks
        checks += 1
        return signed(*args)

    monkeypatch.setattr(guard, "_signed", counted)
    trust = trust_in(pair)
    call = bearer(pair.sign(claims_of()))
    for authenticator in (route(trust), route(trust, audience="AREA"), route(trust)):
        await authenticator(call)
    assert checks == 1


async def test_bad_tokens_are_not_remembered_and_good_ones_up_to_a_bound(make_pair, claims_of, trust_in, monkeypatch):
    monkeypatch.setattr(guard, "REMEMBERED", 3)
    pair = make_pair("HS256")
    trust = trust_in(pair)
    tokens = [pair.sign(claims_of(sub=str(at))) for at in range(6)]
    for token in tokens:
        await route(trust)(bearer(token))
        await refused(route(trust), bearer(token[:-4] + "AAAA"), "signature")
    assert list(trust.verifier._known) == tokens[3:]
    await route(trust)(bearer(tokens[3]))
    await route(trust)(bearer(tokens[0]))
    assert list(trust.verifier._known) == [tokens[5], tokens[3], tokens[0]]


async def test_rotation_ends_remembered_tokens(make_pair, claims_of, trust_in, jwks_server, clock):
    """Over a socket: new keys are found by their kid at once, and the old key's tokens end with the keys' age."""
    one, two = make_pair("ES256", "one"), make_pair("ES256", "two")
    jwks_server.keys = [one.jwk]
    async with httpx.AsyncClient() as client:
        keys = url_keys("https://idp.test", jwks_server.url, lambda: client, clock=clock)
        authenticator = route(trust_in(keys=keys, algorithms={"ES256"}))
        old, new = bearer(one.sign(claims_of())), bearer(two.sign(claims_of()))
        await authenticator(old)
        await refused(authenticator, new, "key that its issuer")
        clock.now += 10
        jwks_server.keys = [one.jwk, two.jwk]
        await authenticator(new)
        await authenticator(old)
        jwks_server.keys = [two.jwk]
        clock.now += 400  # past age and grace, whoever calls next waits for the new keys
        await refused(authenticator, old, "key that its issuer")
        await authenticator(new)
        await keys.aclose()


async def test_an_issuer_that_can_not_be_reached_is_503(make_pair, claims_of, trust_in, unused_port):
    pair = make_pair()
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = url_keys("https://idp.test", f"http://127.0.0.1:{unused_port}/", lambda: client)
        with pytest.raises(IssuerUnavailable) as caught:
            await route(trust_in(keys=keys, algorithms={"ES256"}))(bearer(pair.sign(claims_of())))
    assert caught.value.status == 503
    assert "127.0.0.1" not in caught.value.detail


async def test_unknown_issuers_cause_no_fetch(make_pair, claims_of, trust_in, jwks_server):
    pair = make_pair()
    keys = url_keys("https://idp.test", jwks_server.url, lambda: pytest.fail("a fetch"))
    await refused(
        route(trust_in(keys=keys, algorithms={"ES256"})), bearer(pair.sign(claims_of(iss="https://x.test"))), "issuer"
    )


async def test_a_verifier_of_nobody(make_pair, claims_of):
    with pytest.raises(Unauthorized, match="not trusted"):
        await TokenVerifier({}).verify(make_pair().sign(claims_of()))
