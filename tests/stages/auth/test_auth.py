"""A spec's auth block: the kinds, their choice by ``any``, who is internal, and what OpenAPI says of them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from pydantic import TypeAdapter

from bridge.api.call import Call, Identity
from bridge.api.spec.auth import Auth
from bridge.errors import BindError, Forbidden, Unauthorized
from bridge.stages.auth.api_key import MemoryKeys
from bridge.stages.auth.auth import build_admin_authenticator, build_authenticator
from bridge.stages.auth.needs import require_role
from bridge.stages.auth.stored_key import mint_key

SPEC = TypeAdapter(Auth)
INSIDE = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
TEXT, KEY = mint_key("payroll", roles=["clerk"])


@pytest.fixture
def build(make_pair: Any, trust_in: Any) -> Any:
    store, trust = MemoryKeys([KEY]), trust_in(make_pair())

    def make(auth: Any, internal: Any = ()) -> Any:
        return build_authenticator(SPEC.validate_python(auth), trust, store, internal)

    return make


@pytest.fixture
def token(make_pair: Any, claims_of: Any) -> Any:
    return lambda **claims: ("authorization", f"Bearer {make_pair().sign(claims_of(**claims))}")


async def test_none_knows_callers_by_address(build: Any) -> None:
    everyone = build({"type": "none"}, INSIDE)
    assert await everyone(Call(peer="192.0.2.7")) == Identity(key="ip:192.0.2.7")
    assert (await everyone(Call(peer="10.1.2.3"))).internal
    assert (await everyone(Call(peer=""))).key == "ip:"
    assert everyone.consumes == frozenset()


async def test_an_ipv6_caller_is_its_64(build: Any) -> None:
    everyone = build({"type": "none"})
    keys = {(await everyone(Call(peer=f"2001:db8:1:2::{tail:x}"))).key for tail in range(1, 50)}
    assert keys == {"ip:2001:db8:1:2::/64"}
    assert (await everyone(Call(peer="2001:db8:1:3::1"))).key == "ip:2001:db8:1:3::/64"
    assert (await everyone(Call(peer="::ffff:192.0.2.7"))).key == "ip:192.0.2.7"


@pytest.mark.parametrize(
    ("peer", "inside"),
    [
        ("10.0.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("", False),
        ("unix", False),
    ],
)
async def test_callers_from_internal_networks(build: Any, token: Any, peer: Any, inside: Any) -> None:
    headers = [token(), ("x-api-key", TEXT)]
    for auth in ({"type": "none"}, {"type": "JWT"}, {"type": "api_key"}, {"any": [{"type": "JWT"}]}):
        assert (await build(auth, INSIDE)(Call(headers=headers, peer=peer))).internal is inside


BY_METHOD = {"roles": ["clerk", "reader"], "methods": {"GET": {"scopes": ["r"]}, "POST": {"roles": ["clerk"]}}}


@pytest.mark.parametrize(
    ("method", "roles", "scope", "missing"),
    [
        ("GET", ["reader"], "r", None),
        ("GET", ["reader"], "w", "the scope r"),
        ("HEAD", ["reader"], "", "the scope r"),
        ("WEBSOCKET", ["reader"], "", "the scope r"),
        ("GET", ["other"], "r", "one of the roles clerk, reader"),
        ("POST", ["reader"], "", "the role clerk"),
        ("POST", ["clerk"], "", None),
        ("DELETE", ["reader"], "", None),
        ("DELETE", ["other"], "", "one of the roles clerk, reader"),
    ],
)
async def test_methods_have_conditions_of_their_own(
    build: Any, token: Any, method: str, roles: Any, scope: str, missing: str | None
) -> None:
    authenticate = build({"type": "JWT", **BY_METHOD})
    call = Call(method, headers=[token(roles=roles, scope=scope)])
    if missing is None:
        assert (await authenticate(call)).roles == frozenset(roles)
        assert authenticate.known(call) is not None
        return
    with pytest.raises(Forbidden, match=missing):
        await authenticate(call)
    with pytest.raises(Forbidden, match=missing):  # the signature is known now
        authenticate.known(call)


async def test_conditions_by_method_of_api_keys(build: Any) -> None:
    authenticate = build({"any": [{"type": "api_key", "methods": {"POST": {"roles": ["admin"]}}}]})
    assert (await authenticate(Call(headers=[("x-api-key", TEXT)]))).subject == "payroll"
    with pytest.raises(Forbidden, match="the role admin"):
        await authenticate(Call("POST", headers=[("x-api-key", TEXT)]))


def test_blocks_with_conditions_by_method_can_share_an_authenticator() -> None:
    one, same = (SPEC.validate_python({"type": "JWT", **BY_METHOD}) for _ in range(2))
    other = SPEC.validate_python({"type": "JWT", "roles": ["clerk", "reader"]})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


def test_an_issuer_that_nobody_trusts_is_found_at_bind(build: Any) -> None:
    with pytest.raises(BindError, match=r"https://x\.test is not a trusted issuer"):
        build({"type": "JWT", "issuer": "https://x.test"})


def test_what_is_consumed(build: Any) -> None:
    assert build({"type": "JWT"}).consumes == {"authorization"}
    assert build({"type": "api_key", "header": "Agency-Key"}).consumes == {"agency-key"}
    both = build({"any": [{"type": "JWT"}, {"type": "api_key"}, {"type": "none"}]})
    assert both.consumes == {"authorization", "x-api-key"}


# --- any -------------------------------------------------------------------------------------------------------


async def test_the_kind_that_is_present_decides(build: Any, token: Any) -> None:
    either = build({"any": [{"type": "JWT"}, {"type": "api_key"}]})
    assert (await either(Call(headers=[token()]))).subject == "ann"
    assert (await either(Call(headers=[("x-api-key", TEXT)]))).subject == "payroll"
    assert (await either(Call(headers=[("x-api-key", TEXT), token()]))).subject == "ann"


async def test_wrong_credentials_get_no_second_chance(build: Any) -> None:
    either = build({"any": [{"type": "JWT"}, {"type": "api_key"}, {"type": "none"}]})
    with pytest.raises(Unauthorized, match="no JWT"):
        await either(Call(headers=[("authorization", "Bearer x"), ("x-api-key", TEXT)]))
    with pytest.raises(Unauthorized, match="not an API key"):
        await either(Call(headers=[("x-api-key", "x")]))


async def test_without_credentials_the_answer_names_what_is_accepted(build: Any) -> None:
    either = build({"any": [{"type": "JWT"}, {"type": "api_key"}]})
    with pytest.raises(Unauthorized) as caught:
        await either(Call(headers=[("authorization", "Basic YTpi")]))
    assert "a bearer token in the Authorization header or an API key in the X-API-Key header" in caught.value.detail
    assert [value.split()[0] for _, value in caught.value.headers] == ["Bearer", "ApiKey"]


async def test_none_lets_callers_without_credentials_in_wherever_it_stands(build: Any, token: Any) -> None:
    for kinds in ([{"type": "none"}, {"type": "JWT"}], [{"type": "JWT"}, {"type": "none"}]):
        either = build({"any": kinds})
        assert (await either(Call(peer="192.0.2.7"))).key == "ip:192.0.2.7"
        assert (await either(Call(headers=[token()]))).subject == "ann"
    assert (await build({"any": [{"type": "none"}]})(Call(peer="192.0.2.7"))).key == "ip:192.0.2.7"


async def test_several_entries_of_one_kind_are_tried_in_turn(build: Any, token: Any) -> None:
    either = build({"any": [{"type": "JWT", "audience": "X"}, {"type": "JWT", "audience": "AREA", "roles": ["clerk"]}]})
    assert (await either(Call(headers=[token(roles=["clerk"])]))).subject == "ann"
    with pytest.raises(Forbidden):
        await either(Call(headers=[token()]))
    with pytest.raises(Unauthorized, match="audience"):
        await either(Call(headers=[token(aud="Z")]))


# --- admin and OpenAPI -----------------------------------------------------------------------------------------


async def test_the_admin_api_takes_any_audience_and_asks_for_a_role(make_pair: Any, trust_in: Any, token: Any) -> None:
    admin = build_admin_authenticator(trust_in(make_pair()))
    identity = await admin(Call(headers=[token(aud="ANYTHING", roles=["api_publisher"])]))
    require_role(identity, "api_publisher")
    with pytest.raises(Forbidden, match="the role api_publisher"):
        require_role(await admin(Call(headers=[token(aud=None)])), "api_publisher")
    with pytest.raises(Unauthorized):
        await admin(Call())


def test_openapi(build: Any) -> None:
    assert build({"type": "none"}).openapi_scheme().requirements == ()
    jwt = build({"type": "JWT", "roles": ["clerk"], "scopes": ["read"]}).openapi_scheme()
    assert jwt.schemes["bearerJWT"] | {"description": ""} == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "",
    }
    assert jwt.requirements == ({"bearerJWT": ["clerk", "read"]},)
    both = build({"any": [{"type": "JWT"}, {"type": "api_key", "header": "Agency-Key"}]}).openapi_scheme()
    assert both.requirements == ({"bearerJWT": []}, {"apiKey_agency-key": []})
    assert both.schemes["apiKey_agency-key"]["name"] == "Agency-Key"
    optional = build({"any": [{"type": "api_key"}, {"type": "none"}]}).openapi_scheme()
    assert optional.requirements == ({"apiKey": []}, {})
