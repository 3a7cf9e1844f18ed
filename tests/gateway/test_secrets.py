"""Secrets of routes: which a registered route may name, and that they go only where the operator bound them. A canary
stands wherever a publisher could have them sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.errors import SetupError
from tests.conftest import Upstream, listening
from tests.soap_kit import SOAP11, WSDL_DIR

LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
KEY = "BRIDGE_SECRET_LEDGER_KEY"
OWN = "BRIDGE_SECRET_CITY_HALL__KEY"
#: RFC 7517, appendix A.1.
EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "kid": "1",
}
ISSUER_SECRET = "issuer-secret-" + "x" * 40
ANSWER = (
    f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><posted xmlns="urn:ledger"><entry>1</entry></posted></s:Body></s:Envelope>'
).encode()
BINDINGS = f"""
- {{secret: {KEY}, upstreams: ["svc:80"]}}
- {{secret: {OWN}, upstreams: [svc]}}
- {{secret: BRIDGE_SECRET_SHARED, upstreams: ["svc:80"], tenants: [city-hall]}}
- {{secret: secrets/city-hall/*, upstreams: ["https://svc:443", "http://svc:80"]}}
- {{secret: secrets/ledger.key, upstreams: ["svc:81"]}}
"""
PUBLISHER = {"roles": ("api_publisher",), "sub": "pat"}


def spec(value: Any, upstream: str = "svc:80", **more: Any) -> dict[str, Any]:
    soap = {"wsdl": "ledger.wsdl", "operation": "post", "headers": {"AuthHeader": {"user": "u", "key": value}}}
    return {
        "route": "/v1/ledger",
        "upstream": upstream,
        "auth": {"type": "none"},
        "transform": {"request": "soap", "soap": {**soap, **more.pop("soap", {})}},
        **more,
    }


def wsse(variable: str, upstream: str = "svc:80") -> dict[str, Any]:
    return spec("k", upstream, soap={"security": {"username": "u", "password_env": variable}})


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEY, OWN, "BRIDGE_SECRET_SHARED", "BRIDGE_SECRET_OTHER__KEY", "BRIDGE_SECRET_UNBOUND", "PAYROLL"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("IDP_SECRET", ISSUER_SECRET)


@pytest.fixture
async def running(start: Any, upstream: Upstream) -> Any:
    """A gateway with bindings, whose mesh knows the good service and one of the attacker's choice."""
    upstream.headers, upstream.body = [("content-type", "text/xml")], ANSWER
    canary = Upstream()
    files = {
        "wsdl/ledger.wsdl": LEDGER,
        "secrets.yml": BINDINGS,
        "issuers.yml": "- {issuer: idp, secret_env: IDP_SECRET}\n- {issuer: court, jwks_file: secrets/court.json}\n",
        "secrets/court.json": json.dumps({"keys": [EC_KEY]}),
        "secrets/ledger.key": "k1",
        "secrets/city-hall/key": "k2",
        "secrets/other/key": "k3",
    }
    async with listening(canary) as canary.port:
        mesh = {"svc": f"127.0.0.1:{upstream.port}", "evil": f"127.0.0.1:{canary.port}"}
        async with start(mesh=mesh, files=files) as gateway:
            gateway.canary = canary
            yield gateway


async def everywhere(running: Any, given: dict[str, Any], **claims: Any) -> str:
    """What the publisher is told on a dry run, at registration and when another route is replaced: the same."""
    headers = running.bearer(**{**PUBLISHER, **claims})
    dry = await running.client.post("/-/routes/check", json=given, headers=headers)
    assert dry.status_code == 200
    assert not dry.json()["ok"]
    put = await running.client.post("/register", json=given, headers=headers)
    assert put.status_code == 400, put.text
    harmless = {"route": "/v1/harmless", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
    made = await running.client.post("/register", json=harmless, headers=headers)
    assert made.status_code == 201
    replaced = await running.client.put(made.headers["location"], json=given, headers=headers)
    assert replaced.status_code == 400
    assert (await running.client.delete(made.headers["location"], headers=headers)).status_code == 204
    reason = dry.json()["problems"][0]["reason"]
    assert reason in put.text.replace('\\"', '"')
    assert reason in replaced.text.replace('\\"', '"')
    assert "value-of" not in dry.text + put.text + replaced.text
    return str(reason)


NEVER = [
    "PATH",
    "HOME",
    "IDP_SECRET",
    "PAYROLL",
    "BRIDGE_STORE",
    "BRIDGE_HOME",
    "bridge_secret_ledger_key",
    "LEDGER_KEY",
]


@pytest.mark.parametrize("variable", NEVER)
async def test_no_variable_but_those_for_routes(running: Any, variable: str) -> None:
    wsdl_auth = spec("k", soap={"wsdl": "http://127.0.0.1:9/x.wsdl", "wsdl_auth": {"bearer_env": variable}})
    basic = {"username": "u", "password_env": variable}
    for given in (
        spec({"$env": variable}),
        wsse(variable),
        wsdl_auth,
        spec("k", soap={"wsdl": "http://127.0.0.1:9/x.wsdl", "wsdl_auth": basic}),
        spec("k", soap={"headers": {}, "request": {"constants": {"account": {"$env": variable}}}}),
    ):
        told = await everywhere(running, given)
        assert (
            told
            == f"{variable} can't be named by a route; a route may name variables that begin with BRIDGE_SECRET_ only"
        )
    assert not running.canary.seen


async def test_bound_secrets_go_where_they_are_bound(running: Any, upstream: Upstream) -> None:
    made = await running.register(spec({"$env": KEY}))
    assert made.status_code == 201, made.text
    answered = await running.client.post("/v1/ledger", json={"account": "a", "cents": 1})
    assert answered.status_code == 200, answered.text
    assert f"value-of-{KEY}".encode() in upstream.seen[-1].body


@pytest.mark.parametrize("upstream_", ["evil:80", "svc:8080", "svc.evil:80", "SVC:80", "svc:http"])
async def test_bound_secrets_go_nowhere_else(running: Any, upstream_: str) -> None:
    for given in (spec({"$env": KEY}, upstream_), wsse(KEY, upstream_)):
        told = await everywhere(running, given)
        assert told == (
            f"{KEY} is not bound to {upstream_}; the operator may allow it in secrets.yml, as "
            f"{{secret: {KEY}, upstreams: ['{upstream_}']}}"
        )
    assert not running.canary.seen


PROTO = """syntax = "proto3";
package t;
message M { string region = 1; }
service S { rpc Call(M) returns (M); }
"""


@pytest.mark.parametrize("place", ["metadata", "fields"])
async def test_grpc_routes_are_no_way_around(running: Any, place: str) -> None:
    (running.home / "protos/t.proto").write_text(PROTO)
    name = {"metadata": "x-key", "fields": "region"}[place]

    def grpc(variable: str, upstream: str) -> dict[str, Any]:
        options = {"protos": ["t.proto"], place: {name: {"$env": variable}}}
        transform = {"request": "grpc", "grpc": options}
        return {"route": "/g", "upstream": upstream, "auth": {"type": "none"}, "transform": transform}

    assert "can't be named by a route" in await everywhere(running, grpc("IDP_SECRET", "svc:80"))
    assert "is not bound to evil:80" in await everywhere(running, grpc(KEY, "evil:80"))
    assert (await running.register(grpc(KEY, "svc:80"))).status_code == 201


async def test_nobody_learns_which_secrets_there_are(running: Any) -> None:
    there = await everywhere(running, spec({"$env": "BRIDGE_SECRET_UNBOUND"}))
    not_there = await everywhere(running, spec({"$env": "BRIDGE_SECRET_NOT_SET"}))
    assert there.replace("UNBOUND", "NOT_SET") == not_there
    there = await everywhere(running, spec({"$file": "secrets/other/key"}))
    not_there = await everywhere(running, spec({"$file": "secrets/other/nil"}))
    assert there.replace("key", "nil") == not_there


CITY = {"tenant": "city-hall"}


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ({"$env": OWN}, True),
        ({"$env": "BRIDGE_SECRET_SHARED"}, True),
        ({"$file": "secrets/city-hall/key"}, True),
        ({"$env": KEY}, False),  # bound there, and the operator's
        ({"$env": "BRIDGE_SECRET_OTHER__KEY"}, False),
        ({"$file": "secrets/other/key"}, False),
        ({"$file": "secrets/ledger.key"}, False),
        ({"$file": "secrets/./other/key"}, False),
        ({"$file": "secrets/city-hall/../other/key"}, False),
    ],
)
async def test_a_tenant_has_its_own(running: Any, upstream: Upstream, value: dict[str, str], allowed: bool) -> None:
    if not allowed:
        await everywhere(running, spec(value), **CITY)
        assert not upstream.seen
        return
    made = await running.register(spec(value), **CITY)
    assert made.status_code == 201, made.text
    assert (await running.client.post("/v1/ledger", json={"account": "a", "cents": 1})).status_code == 200
    assert ("value-of-" if "$env" in value else "k2").encode() in upstream.seen[-1].body


async def test_a_secret_of_one_tenant_is_no_others(running: Any) -> None:
    for tenant in ("other", "city_hall", "city.hall", "City-Hall", "city"):
        for value in ({"$env": OWN}, {"$env": "BRIDGE_SECRET_SHARED"}, {"$file": "secrets/city-hall/key"}):
            await everywhere(running, spec(value), tenant=tenant)


async def test_files_of_tls_are_secrets_too(running: Any) -> None:
    given = spec("k", "https://evil:443", connection={"ca": "secrets/ledger.key"})
    assert "secrets/ledger.key is not bound to evil:443" in await everywhere(running, given)


async def test_a_file_that_an_issuer_uses_is_nobodys(running: Any, start: Any) -> None:
    (running.home / "secrets.yml").write_text('- {secret: "secrets/*", upstreams: ["svc:80"]}')
    async with start() as again:
        told = await everywhere(again, spec({"$file": "secrets/court.json"}))
        assert told == "secrets/court.json is a file that the gateway itself uses"


async def test_a_binding_that_is_taken_back_counts_at_the_next_start(
    running: Any, start: Any, upstream: Upstream
) -> None:
    made = await running.register(spec({"$env": KEY}))
    assert made.status_code == 201
    (running.home / "secrets.yml").write_text("[]")
    async with start() as again:
        shown = await again.client.get(made.headers["location"], headers=again.bearer(**PUBLISHER))
        assert shown.json()["status"] == "BROKEN"
        assert "is not bound to svc:80" in shown.json()["problems"][0]
        assert (await again.client.post("/v1/ledger", json={"account": "a", "cents": 1})).status_code == 404
        assert not upstream.seen


async def test_the_operators_own_files_need_no_binding(start: Any, upstream: Upstream) -> None:
    upstream.headers, upstream.body = [("content-type", "text/xml")], ANSWER
    routes = {"a.yml": json.dumps(spec({"$env": KEY}, "other:80", tenant="revenue"))}
    files = {"wsdl/ledger.wsdl": LEDGER}
    async with start(mesh={"other": f"127.0.0.1:{upstream.port}"}, routes=routes, files=files) as gateway:
        assert (await gateway.client.post("/v1/ledger", json={"account": "a", "cents": 1})).status_code == 200
        assert f"value-of-{KEY}".encode() in upstream.seen[-1].body


async def test_nor_may_they_name_what_is_the_gateways(start: Any) -> None:
    for number, variable in enumerate(NEVER):
        routes = {"a.yml": json.dumps(spec({"$env": variable}))}
        with pytest.raises(SetupError, match=f"{variable} can't be named by a route"):
            async with start(mesh={}, routes=routes, files={"wsdl/ledger.wsdl": LEDGER}):
                pytest.fail(f"{number}: it started")


# --- credentials for a WSDL: bound to its origin ---------------------------------------------------------------------


async def test_credentials_of_a_wsdl_go_to_its_origin_only(start: Any) -> None:
    wsdls, canary = Upstream(body=LEDGER.encode(), headers=[("content-type", "text/xml")]), Upstream()
    async with listening(wsdls) as wsdls.port, listening(canary) as canary.port:
        binding = {"secret": KEY, "wsdls": [f"http://127.0.0.1:{wsdls.port}"], "upstreams": ["svc:80"]}
        files = {"secrets.yml": json.dumps([binding])}
        async with start(mesh={}, files=files, fetch_networks="127.0.0.0/8") as gateway:

            def given(url: str) -> dict[str, Any]:
                return spec("k", soap={"wsdl": url, "wsdl_auth": {"bearer_env": KEY}})

            for url in (f"http://127.0.0.1:{canary.port}/x.wsdl", f"http://localhost:{wsdls.port}/x.wsdl"):
                assert "is not bound to http://" in await everywhere(gateway, given(url))
            assert not canary.seen
            assert not wsdls.seen
            made = await gateway.register(given(f"http://127.0.0.1:{wsdls.port}/x.wsdl"))
            assert made.status_code == 201, made.text
            assert wsdls.seen[-1].header("authorization") == [f"Bearer value-of-{KEY}"]
            # What may go to a WSDL's origin may not go upstream for that, nor the other way round.
            (gateway.home / "wsdl/ledger.wsdl").write_text(LEDGER)
            await everywhere(gateway, wsse(KEY, "svc:81"))
