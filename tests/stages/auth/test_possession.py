"""Tokens that are bound to a certificate (RFC 8705) or to a DPoP key (RFC 9449), on routes with and without `proof`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.api.authenticator import Authenticator
from bridge.api.call import Call
from bridge.api.spec.auth import Auth
from bridge.config.settings import load
from bridge.errors import ClientError, Forbidden, Unauthorized
from bridge.http.forwarding import forwardable
from bridge.stages.auth.api_key import MemoryKeys
from bridge.stages.auth.auth import build_authenticator
from bridge.stages.auth.client_cas import ClientCas
from bridge.stages.auth.client_certificate import ClientCertificate
from bridge.stages.auth.possession import possession_of
from tests.authorities import Authority, Issued
from tests.dpop_kit import DpopClient
from tests.stages.auth.test_mtls import Arrived

SPEC = TypeAdapter(Auth)
COURT = Authority("Court CA")
MINE, OTHER = COURT.issue("CN=mine"), COURT.issue("CN=other")
ANN = DpopClient()
HOST, URL = "api.example", "https://api.example/v1/a"
X5T = {"x5t#S256": ClientCertificate.of(MINE.certificate).thumbprint}

Build = Callable[..., Authenticator]


@pytest.fixture
def build(tmp_path: Path, make_pair: Any, trust_in: Any) -> Build:
    (tmp_path / "court.pem").write_text(COURT.pem)
    (tmp_path / "client-cas.yml").write_text(json.dumps([{"name": "court", "ca": "court.pem"}]))
    cas = ClientCas(tmp_path / "client-cas.yml", tmp_path)
    trust = trust_in(make_pair())

    def make(settings: Any = (), *, keeps_token: bool = False, **auth: Any) -> Authenticator:
        possession = possession_of(load({}, **dict(settings)), cas)
        block = SPEC.validate_python(auth if "any" in auth else {"type": "JWT"} | auth)
        return build_authenticator(block, trust, MemoryKeys(), keeps_token=keeps_token, possession=possession)

    return make


@pytest.fixture
def token(make_pair: Any, claims_of: Any) -> Callable[..., str]:
    def make(**claims: Any) -> str:
        text: str = make_pair().sign(claims_of(**claims))
        return text

    return make


def call(token: str, *, scheme: str = "Bearer", proofs: Any = (), issued: Issued | None = None, **more: Any) -> Call:
    fields = [("host", HOST), ("authorization", f"{scheme} {token}"), *(("dpop", text) for text in proofs)]
    made = Call("GET", "/v1/a", query="b=c", headers=[*fields, *more.pop("fields", ())], peer="192.0.2.7")
    made.request = Arrived(issued.shown() if issued else None, **more)
    return made


async def challenges(route: Authenticator, presented: Call, reason: str) -> list[str]:
    with pytest.raises(Unauthorized, match=reason) as caught:
        await route(presented)
    with contextlib.suppress(Unauthorized):  # the token is remembered now, and judged all the same
        assert route.known(presented) is None
    return [value for name, value in caught.value.headers if name == "www-authenticate"]


# --- certificates -----------------------------------------------------------------------------------------------------


async def test_a_token_is_good_with_its_certificate_only(build: Build, token: Any) -> None:
    text = token(cnf=X5T)
    for route in (build(), build(proof="certificate"), build(proof="any"), build(any=[{"type": "JWT"}])):
        assert (await route(call(text, issued=MINE))).subject == "ann"
        for issued, reason in ((OTHER, "another client certificate"), (None, "the call has none")):
            [challenge] = await challenges(route, call(text, issued=issued), reason)
            assert challenge.startswith('Bearer realm="hms-bridge", error="invalid_token"')


async def test_a_certificate_that_nobody_vouches_for_proves_nothing(build: Build, token: Any) -> None:
    forged = Authority("Court CA").issue("CN=mine")
    text = token(cnf={"x5t#S256": ClientCertificate.of(forged.certificate).thumbprint})
    [challenge] = await challenges(build(), call(text, issued=forged), "of no authority")
    assert 'error="invalid_token"' in challenge


async def test_a_certificate_behind_a_proxy(build: Build, token: Any) -> None:
    from tests.stages.auth.test_mtls import BEHIND, field

    route, text = build(BEHIND), token(cnf=X5T)
    fields = [("client-cert", field(MINE))]
    assert await route(call(text, fields=fields, peer="10.1.1.1"))
    await challenges(route, call(text, fields=fields, peer="192.0.2.1"), "the call has none")
    with pytest.raises(ClientError, match="more than once") as caught:
        await route(call(text, fields=fields * 2, peer="10.1.1.1"))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("proof", "cnf", "reason"),
    [
        ("certificate", None, "bound to a client certificate only"),
        ("certificate", {"jkt": ANN.thumbprint}, "bound to a client certificate only"),
        ("dpop", None, "bound to a DPoP key only"),
        ("dpop", X5T, "bound to a DPoP key only"),
        ("any", None, "bound to a client certificate or a DPoP key only"),
    ],
)
async def test_what_a_route_demands(build: Build, token: Any, proof: str, cnf: Any, reason: str) -> None:
    await challenges(build(proof=proof), call(token(cnf=cnf), issued=MINE), reason)


@pytest.mark.parametrize(
    ("cnf", "reason"),
    [
        ("x", "its cnf is no object"),
        ([], "its cnf is no object"),
        ({"kid": "x"}, "in a way that can not be checked here"),
        ({"jwk": ANN.jwk}, "in a way that can not be checked here"),
        ({"x5t#S256": 1}, "another client certificate"),
        ({"x5t#S256": ""}, "another client certificate"),
        ({"jkt": 1}, "send it as Authorization: DPoP"),
    ],
)
async def test_a_cnf_that_cant_be_checked_is_not_ignored(build: Build, token: Any, cnf: Any, reason: str) -> None:
    await challenges(build(), call(token(cnf=cnf), issued=MINE), reason)


async def test_a_cnf_of_null_is_none(build: Build, make_pair: Any, claims_of: Any) -> None:
    assert await build()(call(make_pair().sign(claims_of() | {"cnf": None})))


async def test_tokens_that_are_not_bound_are_as_before(build: Build, token: Any) -> None:
    nothing: dict[str, str] = {}
    for cnf in (None, nothing):
        assert await build()(call(token(cnf=cnf)))


# --- DPoP -------------------------------------------------------------------------------------------------------------


def bound(token: Any, **claims: Any) -> str:
    text: str = token(cnf={"jkt": ANN.thumbprint} | claims)
    return text


async def test_a_token_is_good_with_its_proof_only(build: Build, token: Any) -> None:
    text = bound(token)
    for route in (build(), build(proof="dpop"), build(proof="any"), build(any=[{"type": "JWT", "proof": "dpop"}])):
        assert (await route(call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)]))).subject == "ann"
        assert (await route(call(text, scheme="dpop", proofs=[ANN.proof(URL, text)]))).subject == "ann"
        [challenge] = await challenges(route, call(text, scheme="DPoP"), "needs a proof in the DPoP header")
        assert challenge.startswith('DPoP realm="hms-bridge", algs="')
        assert 'error="invalid_dpop_proof"' in challenge
        two = [ANN.proof(URL, text), ANN.proof(URL, text)]
        await challenges(route, call(text, scheme="DPoP", proofs=two), "sent more than once")
        thief = DpopClient()
        await challenges(route, call(text, scheme="DPoP", proofs=[thief.proof(URL, text)]), "another key")


async def test_a_bound_token_is_no_bearer_token_nor_the_other_way_round(build: Build, token: Any) -> None:
    text, plain = bound(token), token()
    bearer, dpop = await challenges(
        build(), call(text, proofs=[ANN.proof(URL, text)]), "send it as Authorization: DPoP"
    )
    assert bearer.startswith("Bearer ")
    assert dpop.startswith("DPoP ")
    route = build()
    presented = call(plain, scheme="DPoP", proofs=[ANN.proof(URL, plain)])
    [challenge] = await challenges(route, presented, "it is no DPoP token")
    assert challenge.startswith("DPoP ")
    assert 'error="invalid_token"' in challenge


async def test_refusals_of_a_dpop_token_have_challenges_of_dpop(build: Build, token: Any) -> None:
    expired = token(cnf={"jkt": ANN.thumbprint}, exp=1)
    [challenge] = await challenges(build(), call(expired, scheme="DPoP"), "expired")
    assert challenge.startswith("DPoP ")
    assert 'error="invalid_token"' in challenge
    text = bound(token)
    with pytest.raises(Forbidden) as caught:
        await build(scopes=["write"])(call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)]))
    [(_, challenge)] = caught.value.headers
    assert challenge.startswith("DPoP ")
    assert 'error="insufficient_scope", scope="write"' in challenge


async def test_a_proof_is_for_the_url_that_the_client_called(build: Build, token: Any) -> None:
    text = bound(token)
    behind = build({"trusted_proxies": "10.0.0.0/8"})
    fields = [("x-forwarded-proto", "https"), ("x-forwarded-host", "public.example"), ("x-forwarded-prefix", "/gate")]

    def presented(url: str, **more: Any) -> Call:
        return call(text, scheme="DPoP", proofs=[ANN.proof(url, text)], **more)

    assert await behind(presented("https://public.example/gate/v1/a", fields=fields, peer="10.1.1.1", secure=False))
    assert await behind(presented(URL, fields=fields))  # of others, the fields count for nothing
    assert await behind(presented("http://api.example/v1/a", secure=False))
    with pytest.raises(Unauthorized, match="another URL"):
        await behind(presented(URL, fields=fields, peer="10.1.1.1"))


async def test_a_token_that_is_bound_twice_needs_both(build: Build, token: Any) -> None:
    text = bound(token, **X5T)
    route = build()
    assert await route(call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)], issued=MINE))
    await challenges(route, call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)]), "the call has none")
    await challenges(route, call(text, issued=MINE), "send it as Authorization: DPoP")


async def test_a_token_that_is_exchanged_is_checked_first(build: Build, token: Any) -> None:
    text = bound(token)
    route = build(keeps_token=True)
    caller = await route(call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)]))
    assert caller.token == text
    await challenges(route, call(text), "send it as Authorization: DPoP")


async def test_a_proof_counts_for_all_entries_of_one_kind(build: Build, token: Any) -> None:
    """The first entry knows the caller, who lacks its role; the proof was not sent twice for that."""
    text = token(cnf={"jkt": ANN.thumbprint}, roles=["clerk"])
    kinds = [{"type": "JWT", "roles": ["judge"]}, {"type": "JWT", "roles": ["clerk"]}]
    route = build(any=kinds)
    presented = call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)])
    assert (await route(presented)).subject == "ann"
    await challenges(route, presented, "was sent before")


async def test_who_lacks_a_role_still_needs_a_good_proof(build: Build, token: Any) -> None:
    text, route = bound(token), build(roles=["judge"])
    with pytest.raises(Forbidden, match="needs the role judge"):
        await route(call(text, scheme="DPoP", proofs=[ANN.proof(URL, text)]))
    await challenges(route, call(text, scheme="DPoP", proofs=[DpopClient().proof(URL, text)]), "another key")
    await challenges(route, call(text), "send it as Authorization: DPoP")


@pytest.mark.parametrize("cnf", [None, {}, X5T])
async def test_a_dpop_token_whose_key_nobody_tells_is_refused(
    build: Build, make_pair: Any, claims_of: Any, cnf: Any
) -> None:
    """An issuer's answer about a token names its ``token_type`` (RFC 9449, section 6.2)."""
    text = make_pair().sign(claims_of(token_type="DPoP") | {"cnf": cnf})
    await challenges(build(), call(text, issued=MINE), "bound to a key that its issuer does not tell")


def test_the_proof_goes_where_the_token_goes() -> None:
    fields = [("dpop", "x"), ("authorization", "y"), ("accept", "z")]
    assert forwardable(fields, frozenset({"authorization"})) == [("accept", "z")]
    assert forwardable(fields) == fields  # a service may see to it itself
    for name in ("client-cert", "client_cert", "client-cert-chain"):
        assert forwardable([(name, "x")]) == []


# --- what a route says of it ------------------------------------------------------------------------------------------


async def test_without_credentials_the_challenge_says_what_is_taken(build: Build) -> None:
    for proof, schemes, words in (
        ("certificate", ["Bearer"], "a bearer token that is bound to the client's certificate in the Authorization"),
        ("dpop", ["DPoP"], "a DPoP token with its proof in the Authorization header"),
        ("any", ["Bearer", "DPoP"], "a token that is bound to the client's certificate or DPoP key"),
    ):
        with pytest.raises(Unauthorized, match=words) as caught:
            await build(proof=proof)(Call())
        [(_, challenge)] = caught.value.headers
        assert [scheme for scheme in ("Bearer", "DPoP") if f"{scheme} realm=" in challenge] == schemes
        assert "error" not in challenge


def test_openapi(build: Build) -> None:
    certificate = build(proof="certificate", roles=["clerk"]).openapi_scheme()
    assert certificate.requirements == ({"bearerJWT": ["clerk"], "mutualTLS": []},)
    dpop = build(proof="dpop", roles=["clerk"]).openapi_scheme()
    assert dpop.requirements == ({"dpopJWT": ["clerk"]},)
    assert (dpop.schemes["dpopJWT"]["type"], dpop.schemes["dpopJWT"]["scheme"]) == ("http", "DPoP")
    either = build(proof="any").openapi_scheme()
    assert either.requirements == ({"bearerJWT": [], "mutualTLS": []}, {"dpopJWT": []})
    assert either.schemes.keys() == {"bearerJWT", "mutualTLS", "dpopJWT"}


def test_dpop_tokens_stand_in_the_header() -> None:
    with pytest.raises(ValidationError, match="a token stands in the Authorization header only; leave from out"):
        SPEC.validate_python({"type": "JWT", "proof": "dpop", "from": ["header", {"cookie": "t"}]})
    with pytest.raises(ValidationError, match="certificate"):
        SPEC.validate_python({"type": "JWT", "proof": "mtls"})
