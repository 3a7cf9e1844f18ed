"""``auth: {type: mtls}``: which certificates a route takes, and what it says of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bridge.api.authenticator import Authenticator
from bridge.api.call import Call
from bridge.api.certificates import ShownCertificates
from bridge.api.spec.auth import Auth
from bridge.config.settings import load
from bridge.errors import BindError, ClientError, Forbidden, SettingsError, Unauthorized
from bridge.stages.auth.api_key import MemoryKeys
from bridge.stages.auth.auth import build_authenticator
from bridge.stages.auth.client_cas import ClientCas
from bridge.stages.auth.possession import possession_of
from bridge.stages.auth.stored_key import mint_key
from tests.authorities import Authority, Issued

SPEC = TypeAdapter(Auth)
COURT, REVENUE = Authority("Court CA"), Authority("Revenue CA")
TEXT, KEY = mint_key("payroll", roles=["clerk"])

Build = Callable[..., Authenticator]


@dataclass
class Arrived:
    """A request, as far as auth asks for it."""

    certificates: ShownCertificates | None = None
    method: str = "GET"
    peer: str = "192.0.2.7"
    secure: bool = True


def call(issued: Issued | None = None, headers: Any = (), **more: Any) -> Call:
    made = Call(more.get("method", "GET"), headers=headers, peer=more.get("peer", "192.0.2.7"))
    made.request = Arrived(issued.shown() if issued else None, **more)
    return made


@pytest.fixture
def build(tmp_path: Path, make_pair: Any, trust_in: Any) -> Build:
    entries = [
        {"name": "court", "ca": "court.pem", "tenant": "court", "roles": ["clerk"], "scopes": ["read"]},
        {"name": "revenue", "ca": "revenue.pem"},
    ]
    (tmp_path / "client-cas.yml").write_text(json.dumps(entries))
    for name, authority in (("court", COURT), ("revenue", REVENUE)):
        (tmp_path / f"{name}.pem").write_text(authority.pem)
    cas = ClientCas(tmp_path / "client-cas.yml", tmp_path)
    trust = trust_in(make_pair())

    def make(auth: Any, **settings: Any) -> Authenticator:
        possession = possession_of(load({}, **settings), cas)
        return build_authenticator(SPEC.validate_python(auth), trust, MemoryKeys([KEY]), possession=possession)

    return make


async def test_a_caller_is_who_the_certificate_says(build: Build) -> None:
    route = build({"type": "mtls"})
    caller = await route(call(COURT.issue(sans=["uri:spiffe://court.example/clerk"])))
    assert (caller.subject, caller.tenant) == ("spiffe://court.example/clerk", "court")
    assert caller.roles == {"clerk"}
    assert caller.scopes == {"read"}
    assert caller.key == "cert:court|spiffe://court.example/clerk"
    assert caller.is_named
    assert route.consumes == frozenset()


async def test_no_certificate_is_401_and_a_wrong_one_403(build: Build) -> None:
    route = build({"type": "mtls", "ca": "court"})
    for without in (call(), Call()):
        with pytest.raises(Unauthorized, match="takes a client certificate, and the call has none") as caught:
            await route(without)
        assert caught.value.headers == (("www-authenticate", 'Certificate realm="hms-bridge"'),)
    with pytest.raises(Forbidden, match="another authority than this route takes") as refused:
        await route(call(REVENUE.issue()))
    assert refused.value.cause == "client certificate of CN=clerk,O=Court, by revenue: not one of this route"
    with pytest.raises(Forbidden, match="of no authority"):
        await route(call(Authority("Court CA").issue()))


async def test_roles_and_scopes(build: Build) -> None:
    clerk = build({"type": "mtls", "roles": ["clerk"], "scopes": ["read"], "methods": {"POST": {"roles": ["judge"]}}})
    assert await clerk(call(COURT.issue()))
    for refused in (call(REVENUE.issue()), call(COURT.issue(), method="POST")):
        with pytest.raises(Forbidden, match="This needs the role") as caught:
            await clerk(refused)
        assert not caught.value.headers


@pytest.mark.parametrize(
    ("rules", "subject", "taken"),
    [
        (["CN=clerk,O=Court"], "CN=clerk,O=Court", True),
        (["CN=clerk,O=Court"], "O=Court,CN=clerk", False),
        (["CN=clerk,O=Court"], "CN=clerk,OU=x,O=Court", False),
        (["CN=clerk,O=Court"], "CN=Clerk,O=Court", False),
        (["CN=judge", "CN=clerk"], "CN=clerk", True),
        (["CN=*,O=Court"], "CN=anybody,O=Court", True),
        (["CN=*,O=Court"], "CN=x\\,O\\=Court,O=Evil", False),
        (["CN=*,O=Court"], "CN=x,O=Court,O=Court", False),
        (["CN=desk-*-a*,O=Court"], "CN=desk-1-ab,O=Court", True),
        (["CN=desk-*-a*,O=Court"], "CN=desk-1-a,O=Court", False),
        (["CN=desk-*"], "CN=desk-", False),
        (["CN=a+OU=b"], "OU=b+CN=a", True),
        (["CN=a+OU=b"], "CN=a", False),
        (["1.3.6.1.4.1.99999.1=x"], "1.3.6.1.4.1.99999.1=x", True),
    ],
)
async def test_rules_on_subjects(build: Build, rules: list[str], subject: str, taken: bool) -> None:
    route = build({"type": "mtls", "subjects": rules})
    if taken:
        assert await route(call(COURT.issue(subject)))
        return
    with pytest.raises(Forbidden, match="a subject that this route does not take"):
        await route(call(COURT.issue(subject)))


@pytest.mark.parametrize(
    ("rule", "name", "taken"),
    [
        ("dns:api.example", "dns:API.example", True),
        ("dns:*.example", "dns:api.example", True),
        ("dns:*.example", "dns:a.api.example", False),
        ("dns:*.example", "dns:example", False),
        ("dns:api.example", "uri:api.example", False),
        ("uri:spiffe://court.example/ns/*/sa/clerk", "uri:spiffe://court.example/ns/tax/sa/clerk", True),
        ("uri:spiffe://court.example/ns/*/sa/clerk", "uri:spiffe://court.example/ns/tax/x/sa/clerk", False),
        ("uri:spiffe://court.example/*", "uri:spiffe://court.example/a", True),
        ("uri:spiffe://court.example/*", "uri:spiffe://court.example.evil/a", False),
        ("uri:spiffe://court.example/*", "uri:spiffe://court.example/a?b", False),
        ("email:*@court.example", "email:ann@Court.Example", True),
        ("email:ann@court.example", "email:Ann@court.example", False),
        ("email:*@court.example", "email:a@evil.example", False),
    ],
)
async def test_rules_on_other_names(build: Build, rule: str, name: str, taken: bool) -> None:
    route = build({"type": "mtls", "sans": ["dns:other.example", rule]})
    if taken:
        assert await route(call(COURT.issue(sans=["dns:more.example", name])))
        return
    with pytest.raises(Forbidden, match="has no name"):
        await route(call(COURT.issue(sans=[name])))


async def test_with_rules_of_both_kinds_both_must_be_met(build: Build) -> None:
    route = build({"type": "mtls", "subjects": ["CN=a"], "sans": ["dns:a.example"]})
    assert await route(call(COURT.issue("CN=a", sans=["dns:a.example"])))
    for subject, name in (("CN=b", "dns:a.example"), ("CN=a", "dns:b.example")):
        with pytest.raises(Forbidden):
            await route(call(COURT.issue(subject, sans=[name])))


async def test_no_rule_takes_long_to_compare(build: Build) -> None:
    stars = "a*" * 40 + "b"
    route = build({"type": "mtls", "sans": [f"uri:x:{stars}"]})
    with pytest.raises(Forbidden):
        await route(call(COURT.issue(sans=["uri:x:" + "a" * 4000])))


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"ca": "curt"}, "auth.ca: curt is not an authority of clients; it needs an entry in client-cas.yml"),
        ({"subjects": ["CN=a", "clerk"]}, "auth.subjects[1]: 'clerk' is no distinguished name; write CN=clerk"),
        ({"subjects": ["CN=clerk, O=Court"]}, "auth.subjects[0]: 'CN=clerk, O=Court' is no distinguished name"),
        ({"subjects": ["*"]}, "auth.subjects[0]: '*' is no distinguished name"),
        ({"sans": ["api.example"]}, "auth.sans[0]: 'api.example' is no name; write dns:NAME"),
        ({"sans": ["uri:clerk"]}, "auth.sans[0]: 'uri:clerk' is no name"),
        ({"sans": ["email:clerk"]}, "auth.sans[0]: 'email:clerk' is no name"),
    ],
)
def test_what_is_wrong_with_a_rule(build: Build, auth: Any, message: str) -> None:
    with pytest.raises(BindError) as caught:
        build({"type": "mtls"} | auth)
    assert str(caught.value).startswith(message)


def test_without_authorities_no_route_asks_for_certificates(trust_in: Any, make_pair: Any) -> None:
    for auth in ({"type": "mtls"}, {"type": "JWT", "proof": "certificate"}, {"any": [{"type": "mtls"}]}):
        with pytest.raises(BindError, match=r"no authority of clients is configured.*client-cas\.yml"):
            build_authenticator(SPEC.validate_python(auth), trust_in(make_pair()), MemoryKeys())


async def test_among_several_kinds(build: Build) -> None:
    either = build({"any": [{"type": "mtls", "ca": "court"}, {"type": "mtls", "ca": "revenue"}, {"type": "api_key"}]})
    assert (await either(call(REVENUE.issue()))).tenant == ""
    assert (await either(call(headers=[("x-api-key", TEXT)]))).subject == "payroll"
    with pytest.raises(Unauthorized, match=r"takes a client certificate or an API key") as caught:
        await either(call())
    assert [value.split()[0] for _, value in caught.value.headers] == ["Certificate", "ApiKey"]
    with pytest.raises(Forbidden, match="of no authority"):  # the kind that is there decides
        await either(call(Authority().issue(), headers=[("x-api-key", TEXT)]))
    optional = build({"any": [{"type": "mtls"}, {"type": "none"}]})
    assert (await optional(call())).key == "ip:192.0.2.7"


def test_openapi(build: Build) -> None:
    part = build({"type": "mtls", "roles": ["clerk"]}).openapi_scheme()
    assert part.schemes["mutualTLS"]["type"] == "mutualTLS"
    assert part.requirements == ({"mutualTLS": ["clerk"]},)


# --- behind a proxy (RFC 9440) ----------------------------------------------------------------------------------------

BEHIND = {"trusted_proxies": "10.0.0.0/8", "client_cert_header": "on"}


def field(issued: Issued) -> str:
    import base64

    return f":{base64.b64encode(issued.der).decode()}:"


async def test_a_trusted_proxy_sends_the_certificate(build: Build) -> None:
    route = build({"type": "mtls"}, **BEHIND)
    low = Authority("Desk CA", above=Authority("Office CA", above=COURT)).issue()
    chain = ", ".join(field(Issued(each, None)) for each in low.chain)
    for fields in (
        [("client-cert", field(COURT.issue()))],
        [("client-cert", field(low)), ("client-cert-chain", chain)],
        [("client-cert", field(low)), *(("client-cert-chain", field(Issued(each, None))) for each in low.chain)],
    ):
        assert (await route(call(headers=fields, peer="10.1.1.1"))).tenant == "court"


async def test_nobody_else_does(build: Build) -> None:
    fields = [("client-cert", field(COURT.issue("CN=judge")))]
    for settings in (BEHIND, {"trusted_proxies": "10.0.0.0/8"}, {}):
        route = build({"type": "mtls"}, **settings)
        peer = "192.0.2.7" if settings is BEHIND else "10.1.1.1"
        with pytest.raises(Unauthorized):
            await route(call(headers=fields, peer=peer))
        assert (await route(call(COURT.issue("CN=clerk"), headers=fields, peer=peer))).subject == "CN=clerk"


async def test_a_proxys_own_certificate_is_not_its_clients(build: Build) -> None:
    route = build({"type": "mtls"}, **BEHIND)
    with pytest.raises(Unauthorized):
        await route(call(COURT.issue("CN=proxy"), peer="10.1.1.1"))


async def test_the_certificate_in_a_field_is_judged_again(build: Build) -> None:
    route = build({"type": "mtls", "ca": "court"}, **BEHIND)
    for issued in (Authority("Court CA").issue(), REVENUE.issue()):
        for _ in range(2):
            with pytest.raises(Forbidden):
                await route(call(headers=[("client-cert", field(issued))], peer="10.1.1.1"))


GOOD = field(COURT.issue())


@pytest.mark.parametrize(
    "fields",
    [
        [("client-cert", GOOD), ("client-cert", GOOD)],
        [("client-cert", f"{GOOD}, {GOOD}")],
        [("client-cert", GOOD[1:-1])],
        [("client-cert", GOOD.replace(":", '"'))],
        [("client-cert", "")],
        [("client-cert", "::")],
        [("client-cert", ":AAAA:")],
        [("client-cert", ":*:")],
        [("client-cert", ":A:")],
        [("client-cert", f"{GOOD};a=1")],
        [("client-cert", f":{'A' * 17_000}:")],
        [("client-cert-chain", GOOD)],
        [("client-cert", GOOD), ("client-cert-chain", "x")],
        [("client-cert", GOOD), ("client-cert-chain", f"{GOOD},,{GOOD}")],
        [("client-cert", GOOD), ("client-cert-chain", ",".join([GOOD] * 9))],
    ],
)
async def test_a_field_that_cant_be_read_is_400(build: Build, fields: Any) -> None:
    route = build({"any": [{"type": "mtls"}, {"type": "none"}]}, **BEHIND)
    if fields[0][0] == "client-cert-chain":  # where nothing is presented, `none` decides
        route = build({"type": "mtls"}, **BEHIND)
    with pytest.raises(ClientError) as caught:
        await route(call(headers=fields, peer="10.1.1.1"))
    assert caught.value.status == 400
    assert "Client-Cert" in caught.value.detail


def test_the_field_needs_proxies_that_may_send_it() -> None:
    with pytest.raises(SettingsError, match="BRIDGE_CLIENT_CERT_HEADER: it needs BRIDGE_TRUSTED_PROXIES beside it"):
        possession_of(load({}, client_cert_header="on"), ClientCas())
