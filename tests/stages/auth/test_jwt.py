"""Bearer tokens: every algorithm family, every known trick (RFC 8725), and what a route asks beyond the signature."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import httpx
import pytest

from bridge.errors import Forbidden, IssuerUnavailable, Unauthorized
from bridge.stages.auth import jwt as guard
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jwks import CachedKeys
from bridge.stages.auth.jwt import TokenVerifier, TrustedIssuer
from bridge.stages.auth.keys import ALGORITHMS, read_jwks
from bridge.stages.auth.published import url_keys
from tests.stages.conftest import new_pair


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_token_of_every_algorithm(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any, algorithm: Any
) -> None:
    pair = make_pair(algorithm)
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of())))
    assert (identity.subject, identity.key) == ("ann", "sub:https://idp.test|ann")
    assert identity.claims["aud"] == "AREA"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_changed_token_of_every_algorithm(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, algorithm: Any
) -> None:
    pair = make_pair(algorithm)
    head, _, signature = pair.sign(claims_of()).split(".")
    claims = base64.urlsafe_b64encode(json.dumps(claims_of(sub="root")).encode()).rstrip(b"=").decode()
    await refused(route(trust_in(pair)), bearer(f"{head}.{claims}.{signature}"), "signature")


# --- who says what ---------------------------------------------------------------------------------------------


async def test_roles_scopes_and_tenant(bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any) -> None:
    pair = make_pair()
    token = pair.sign(claims_of(roles=["clerk", 7], scope="read write", scp=["list"], tenant="revenue"))
    identity = await route(trust_in(pair))(bearer(token))
    assert identity.roles == {"clerk"}
    assert identity.scopes == {"read", "write", "list"}
    assert (identity.tenant, identity.internal) == ("revenue", False)


async def test_claims_by_other_names(bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any) -> None:
    pair = make_pair()
    trust = trust_in(pair, roles_claim="realm_access.roles", tenant_claim="https://idp.test/tenant")
    claims = claims_of(realm_access={"roles": ["clerk"]}) | {"https://idp.test/tenant": "revenue"}
    identity = await route(trust)(bearer(pair.sign(claims)))
    assert (identity.roles, identity.tenant) == ({"clerk"}, "revenue")


@pytest.mark.parametrize("strange", [7, {"a": 1}, [["x"]], "", None, True])
async def test_strange_roles_and_scopes_give_none(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any, strange: Any
) -> None:
    pair = make_pair()
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of(roles=strange, scope=strange))))
    assert (identity.roles, identity.tenant, identity.scopes) == (frozenset(), "", frozenset())


@pytest.mark.parametrize("strange", [7, True, "", " ", ["revenue"], [], {"revenue": 1}])
async def test_a_tenant_that_cant_be_read_is_not_none(
    strange: Any, bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    """A publisher of no tenant is the operator's."""
    pair = make_pair("RS256")
    with pytest.raises(Unauthorized, match="the claim tenant is not a tenant's name"):
        await route(trust_in(pair))(bearer(pair.sign(claims_of(tenant=strange))))


@pytest.mark.parametrize("strange", ["revenue", ["revenue"], [{"tenant": "revenue"}], {"tenant": 7}, {"tenant": ""}, 0])
async def test_a_tenant_that_is_not_where_it_should_be_is_not_none(
    strange: Any, bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair("RS256")
    trust = trust_in(pair, tenant_claim="org.unit.tenant")
    with pytest.raises(Unauthorized, match=r"the claim org\.unit\.tenant is not a tenant's name"):
        await route(trust)(bearer(pair.sign(claims_of(org={"unit": strange}))))
    absent: list[dict[str, Any]] = [{}, {"org": None}, {"org": {}}, {"org": {"unit": {"tenant": None}}}]
    for claims in absent:
        assert (await route(trust)(bearer(pair.sign(claims_of(**claims))))).tenant == ""


async def test_a_client_without_a_user_is_known_by_its_id(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of(sub=None, azp="batch"))))
    assert identity.key == "sub:https://idp.test|batch"


async def test_a_token_without_a_subject_counts_by_address(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    identity = await route(trust_in(pair))(bearer(pair.sign(claims_of(sub=None)), peer="192.0.2.7"))
    assert (identity.subject, identity.key) == ("", "ip:192.0.2.7")


async def test_the_role_internal_makes_a_caller_internal(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair()
    assert (await route(trust_in(pair))(bearer(pair.sign(claims_of(roles=["internal"]))))).internal


# --- what a route asks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", ["AREA", ["OTHER", "AREA"]])
@pytest.mark.parametrize("aud", ["AREA", ["AREA"], ["X", "AREA"]])
async def test_an_audience_that_fits(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any, audience: Any, aud: Any
) -> None:
    pair = make_pair()
    await route(trust_in(pair), audience=audience)(bearer(pair.sign(claims_of(aud=aud))))


@pytest.mark.parametrize("aud", ["OTHER", "", "AREA2", "ARE", ["OTHER"], [], [["AREA"]], None, {"AREA": 1}, "area"])
async def test_an_audience_that_does_not_fit(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    aud: Any,
) -> None:
    pair = make_pair()
    authenticator = route(trust_in(pair), audience="AREA")
    sign = signer(pair)
    token = forge({"alg": pair.algorithm, "kid": "one"}, claims_of(aud=aud), sign)
    challenge = await refused(authenticator, bearer(token), "audience|malformed")
    assert 'error="invalid_token"' in challenge


async def test_one_token_on_routes_with_different_audiences(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    """The remembered signature must not remember one route's answer for another."""
    pair = make_pair()
    trust = trust_in(pair)
    call = bearer(pair.sign(claims_of()))
    for _ in range(2):
        await route(trust, audience="AREA")(call)
        await refused(route(trust, audience="OTHER"), call, "another audience")
        with pytest.raises(Forbidden):
            await route(trust, roles=["clerk"])(call)


async def test_the_issuer_that_a_route_asks_for(
    bearer: Any, route: Any, refused: Any, fixed_keys: Any, make_pair: Any, claims_of: Any
) -> None:
    pair = make_pair()
    key = fixed_keys(pair)
    trust = Trust([TrustedIssuer(name, frozenset({"ES256"}), key) for name in ("https://idp.test", "https://b.test")])
    authenticator = route(trust, issuer="https://b.test")
    await authenticator(bearer(pair.sign(claims_of(iss="https://b.test"))))
    await refused(authenticator, bearer(pair.sign(claims_of())), "another issuer")


async def test_any_of_the_roles(bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any) -> None:
    pair = make_pair()
    authenticator = route(trust_in(pair), roles=["clerk", "judge"])
    await authenticator(bearer(pair.sign(claims_of(roles=["judge"]))))
    with pytest.raises(Forbidden, match="one of the roles clerk, judge") as caught:
        await authenticator(bearer(pair.sign(claims_of(roles=["citizen"]))))
    assert 'error="insufficient_scope"' in dict(caught.value.headers)["www-authenticate"]


async def test_all_of_the_scopes(bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any) -> None:
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
async def test_times_with_ten_seconds_of_leeway(
    bearer: Any,
    route: Any,
    refused: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    claims: Any,
    words: Any,
    clock: Any,
) -> None:
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


async def test_a_remembered_token_expires_all_the_same(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, clock: Any
) -> None:
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
async def test_an_expiry_that_is_none(
    bearer: Any,
    route: Any,
    refused: Any,
    signer: Any,
    make_pair: Any,
    claims_of: Any,
    trust_in: Any,
    forge: Any,
    exp: Any,
) -> None:
    pair = make_pair()
    token = forge({"alg": pair.algorithm, "kid": "one"}, claims_of(exp=exp), signer(pair))
    await refused(route(trust_in(pair)), bearer(token), "no expiry|malformed")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"9" * 400])
async def test_an_expiry_beyond_numbers(
    bearer: Any, route: Any, refused: Any, signer: Any, make_pair: Any, trust_in: Any, forge: Any, number: Any
) -> None:
    pair = make_pair()
    claims = b'{"iss": "https://idp.test", "exp": ' + number + b"}"
    await refused(
        route(trust_in(pair)), bearer(forge({"alg": "ES256", "kid": "one"}, claims, signer(pair))), "malformed"
    )


# --- memory ----------------------------------------------------------------------------------------------------


async def test_a_token_is_verified_once_for_all_routes(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any, monkeypatch: Any
) -> Any:
    pair = make_pair()
    checks = 0
    signed = guard._signed

    def counted(*args: Any) -> Any:
        nonlocal checks
        checks += 1
        return signed(*args)

    monkeypatch.setattr(guard, "_signed", counted)
    trust = trust_in(pair)
    call = bearer(pair.sign(claims_of()))
    for authenticator in (route(trust), route(trust, audience="AREA"), route(trust)):
        await authenticator(call)
    assert checks == 1


async def test_bad_tokens_are_not_remembered_and_good_ones_up_to_a_bound(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, monkeypatch: Any
) -> None:
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


async def test_rotation_ends_remembered_tokens(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, jwks_server: Any, clock: Any
) -> None:
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


@pytest.mark.parametrize("kid", ["one", ""])
async def test_a_key_replaced_under_its_kid_or_without_one_is_found_at_once(
    bearer: Any, route: Any, refused: Any, claims_of: Any, trust_in: Any, jwks_server: Any, clock: Any, kid: str
) -> None:
    old, new, other = (new_pair("ES256", kid) for _ in range(3))
    jwks_server.keys = [old.jwk]
    async with httpx.AsyncClient() as client:
        keys = url_keys("https://idp.test", jwks_server.url, lambda: client, clock=clock)
        authenticator = route(trust_in(keys=keys, algorithms={"ES256"}))
        await authenticator(bearer(old.sign(claims_of())))
        jwks_server.keys = [new.jwk]
        await authenticator(bearer(new.sign(claims_of())))
        await refused(authenticator, bearer(old.sign(claims_of())), "signature")
        fetches = len(jwks_server.requests)
        for _ in range(5):
            await refused(authenticator, bearer(other.sign(claims_of())), "signature")
        assert len(jwks_server.requests) == fetches  # whoever makes tokens up causes one fetch in ten seconds
        clock.now += 10
        await refused(authenticator, bearer(other.sign(claims_of())), "signature")
        assert len(jwks_server.requests) == fetches + 1
        await keys.aclose()


@pytest.mark.parametrize("is_kept", [True, False])
async def test_tokens_of_a_withdrawn_key_are_refused_at_once_and_ask_for_little(
    bearer: Any, route: Any, refused: Any, claims_of: Any, trust_in: Any, clock: Any, is_kept: bool
) -> None:
    """Many clients may still have them; a key that is back is found all the same."""
    old, new = new_pair("ES256", "one"), new_pair("ES256", "one" if is_kept else "two")
    published, fetches = [old], 0

    async def fetch() -> tuple[Any, float]:
        nonlocal fetches
        fetches += 1
        return read_jwks(json.dumps({"keys": [pair.jwk for pair in published]}).encode()), 300.0

    keys = CachedKeys("https://idp.test", fetch, eager=False, clock=clock)
    authenticator = route(trust_in(keys=keys, algorithms={"ES256"}))
    await authenticator(bearer(old.sign(claims_of())))
    published = [new]
    await authenticator(bearer(new.sign(claims_of())))
    assert fetches == 2
    for number in range(5):
        await refused(authenticator, bearer(old.sign(claims_of(jti=str(number)))), "key that its issuer has withdrawn")
        await asyncio.sleep(0)
    assert fetches == 2  # a token caused a fetch a moment ago
    clock.now += 60
    published = [old, new]
    await refused(authenticator, bearer(old.sign(claims_of())), "key that its issuer has withdrawn")
    async with asyncio.timeout(10):
        while keys._asking is not None:
            await asyncio.wait([keys._asking])
    assert fetches == 3
    await authenticator(bearer(old.sign(claims_of())))
    await keys.aclose()


async def test_an_issuer_that_can_not_be_reached_is_503(
    bearer: Any, route: Any, make_pair: Any, claims_of: Any, trust_in: Any, unused_port: Any
) -> None:
    pair = make_pair()
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = url_keys("https://idp.test", f"http://127.0.0.1:{unused_port}/", lambda: client)
        with pytest.raises(IssuerUnavailable) as caught:
            await route(trust_in(keys=keys, algorithms={"ES256"}))(bearer(pair.sign(claims_of())))
    assert caught.value.status == 503
    assert "127.0.0.1" not in caught.value.detail


async def test_unknown_issuers_cause_no_fetch(
    bearer: Any, route: Any, refused: Any, make_pair: Any, claims_of: Any, trust_in: Any, jwks_server: Any
) -> None:
    pair = make_pair()
    keys = url_keys("https://idp.test", jwks_server.url, lambda: pytest.fail("a fetch"))
    await refused(
        route(trust_in(keys=keys, algorithms={"ES256"})), bearer(pair.sign(claims_of(iss="https://x.test"))), "issuer"
    )


async def test_a_verifier_of_nobody(make_pair: Any, claims_of: Any) -> None:
    with pytest.raises(Unauthorized, match="not trusted"):
        await TokenVerifier({}).verify(make_pair().sign(claims_of()))
