"""``tenants.yml`` at a running gateway: what a tenant may register, who has which role where, a change of the file."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.offline import judge
from bridge.config.settings import load
from tests.conftest import Running, Start

TENANTS = """\
tenants:
  revenue:
    paths: [/v1/vat, /revenue]
    hosts: [revenue.api.example, "*.revenue.example"]
    upstreams: [svc, "revenue-*"]
  desk: {hosts: [desk.example], upstreams: [svc]}
  health: {paths: [/health], upstreams: [svc]}
roles:
- {role: api_publisher, tenant: revenue, issuer: "urn:bridge:local", subjects: [pat]}
- {role: api_admin, tenant: revenue, claims: {sub: [boss]}}
- {role: auditor, tenant: health, issuer: "urn:bridge:local", subjects: [boss, ann]}
- {role: api_publisher, tenant: health, issuer: "https://idp.example", subjects: [pat]}
- {role: auditor, tenant: "*", issuer: "urn:bridge:local", subjects: [eve]}
"""
FORBIDDEN = "urn:bridge:problem:forbidden"


def spec(route: str, upstream: str = "svc:80", **more: Any) -> dict[str, Any]:
    guards = {"auth": {"type": "none"}, "transform": {"request": "passthrough"}}
    return {"route": route, "upstream": upstream} | guards | more


@pytest.fixture
async def gateway(start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr("bridge.config.file_follower.POLL", 0.02)
    async with start(mesh={"svc": "127.0.0.1:9"}, files={"tenants.yml": TENANTS}) as running:
        yield running


@pytest.mark.parametrize(
    ("tenant", "own"),
    [
        ("revenue", spec("/v1/vat")),
        ("revenue", spec("/v1/vat/{number}/{rest*}", "revenue-a:1")),
        ("revenue", spec("/v1/v%61t/x")),
        ("revenue", spec("/revenue/a", host="a.b.Revenue.example")),
        ("desk", spec("/v1/vat", host="desk.example")),
        ("desk", spec("/", host="desk.example")),
        ("", spec("/anywhere", "other:80", tenant="revenue")),
    ],
)
async def test_what_is_a_tenants_own_is_registered(gateway: Running, tenant: str, own: dict[str, Any]) -> None:
    answer = await gateway.register(own, tenant=tenant)
    assert answer.status_code == 201, answer.text


TOKEN = {"type": "client_credentials", "client_id": "a", "client_secret": {"$env": "BRIDGE_SECRET_REVENUE__A"}}


@pytest.mark.parametrize(
    ("tenant", "foreign", "key", "reason"),
    [
        (
            "revenue",
            spec("/v1/vats"),
            "route",
            "/v1/vats is not below a path of the tenant revenue, for which tenants.yml has /v1/vat, /revenue",
        ),
        ("revenue", spec("/v1"), "route", "/v1 is not below"),
        ("revenue", spec("/"), "route", "is not below"),
        ("revenue", spec("/{a}/vat"), "route", "is not below"),
        ("revenue", spec("/v1/{rest*}"), "route", "is not below"),
        ("revenue", spec("/health"), "route", "is not below"),
        ("revenue", spec("/v1/vat", host="revenue.example"), "host", "revenue.example is no host of"),
        ("revenue", spec("/v1/vat", host="desk.example"), "host", "desk.example is no host"),
        ("revenue", spec("/other", host="a.revenue.example"), "route", "/other is not below"),
        ("revenue", spec("/v1/vat", "svc-2:80"), "upstream", "svc-2:80 is no upstream of the tenant revenue, for"),
        (
            "revenue",
            spec("/v1/vat", upstream_auth=TOKEN | {"token_upstream": "idp:80/token"}),
            "upstream_auth/token_upstream",
            "idp:80 is no upstream",
        ),
        ("desk", spec("/desk"), "route", "for which tenants.yml has none"),
        ("nobody", spec("/nobody"), "tenant", "the tenant nobody owns nothing: it has no entry in tenants.yml"),
    ],
)
async def test_what_is_not_is_refused(
    gateway: Running, tenant: str, foreign: dict[str, Any], key: str, reason: str
) -> None:
    answer = await gateway.register(foreign, tenant=tenant)
    assert (answer.status_code, answer.json()["type"]) == (403, FORBIDDEN), answer.text
    assert answer.json()["errors"][0]["pointer"] == f"/{key}"
    assert reason in answer.json()["errors"][0]["reason"]
    headers = gateway.bearer(roles=("api_publisher",), tenant=tenant)
    dry = (await gateway.client.post("/-/routes/check", json=foreign, headers=headers)).json()
    assert (dry["ok"], dry["problems"][0]["key"]) == (False, key.replace("/", "."))
    # A spec with another fault is no way around, either. What `/` occupies is known once it is bound.
    answer = await gateway.register({**foreign, "timeout": "soon"}, tenant=tenant)
    assert answer.status_code == (400 if foreign["route"] == "/" else 403)


async def test_nobody_takes_anothers_path_at_a_host_of_its_own(gateway: Running) -> None:
    """What desk publishes at its host keeps nobody else from their paths, and the other way round."""
    answers = [
        await gateway.register(spec("/v1/vat", host="desk.example"), tenant="desk"),
        await gateway.register(spec("/v1/vat/a"), tenant="revenue"),
        await gateway.register(spec("/{any}/{rest*}", host="desk.example"), tenant="desk"),
        await gateway.register(spec("/revenue", host="revenue.api.example"), tenant="revenue"),
        await gateway.register(spec("/health"), tenant="health"),
        await gateway.register(spec("/health/a", host="desk.example"), tenant="desk"),
    ]
    assert [answer.status_code for answer in answers] == [201] * 6, [answer.text for answer in answers]
    assert (await gateway.register(spec("/operator"))).status_code == 201
    refused = await gateway.register(spec("/operator", host="desk.example"), tenant="desk")
    assert refused.status_code == 403, "what belongs to the operator is at every host"


@pytest.mark.parametrize("rest", ["", "# to be written\n", "roles: []\n", TENANTS[TENANTS.index("roles:") :]])
async def test_a_file_that_was_cut_short_opens_nothing(
    gateway: Running, rest: str, caplog: pytest.LogCaptureFixture
) -> None:
    (gateway.home / "tenants.yml").write_text(rest)
    with caplog.at_level(logging.ERROR):
        await gateway.app.state.reload()
    assert any("tenants.yml:1: the key tenants is missing, which" in message for message in caplog.messages)
    assert (
        'current{file="tenants.yml"} 0.0'
        in (await gateway.client.get("/-/metrics", headers=gateway.bearer(roles=("auditor",)))).text
    )
    assert (await gateway.register(spec("/health"), tenant="revenue")).status_code == 403


async def test_a_change_and_a_roll_back_are_judged_too(gateway: Running) -> None:
    operator = gateway.bearer(roles=("api_admin",))
    made = await gateway.register(spec("/old", tenant="revenue"))
    where = made.headers["location"]
    assert "route: /old is not below" in made.json()["warnings"][0]
    mine = gateway.bearer(roles=("api_publisher",), tenant="revenue")
    assert (await gateway.client.put(where, json=spec("/old"), headers=mine)).status_code == 403
    assert (await gateway.client.put(where, json=spec("/revenue/new"), headers=mine)).status_code == 200
    back = await gateway.client.post(f"{where}/rollback", json={"revision": 1}, headers=mine)
    assert (back.status_code, back.json()["errors"][0]["pointer"]) == (403, "/route")
    back = await gateway.client.post(f"{where}/rollback", json={"revision": 1}, headers=operator)
    assert back.status_code == 200
    assert (await gateway.client.delete(where, headers=mine)).status_code == 204


async def test_a_file_that_changes_cuts_off_nothing_and_says_what_it_would_refuse(
    gateway: Running, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await gateway.register(spec("/v1/vat"), tenant="revenue")).status_code == 201
    operator = gateway.bearer(roles=("auditor",))
    tenants = gateway.home / "tenants.yml"

    async def marks() -> list[str]:
        listed = (await gateway.client.get("/-/routes", headers=operator)).json()["routes"]
        return [warning for route in listed for warning in route.get("warnings", ()) if "/v1/vat" in warning]

    async def current() -> bool:
        return (
            'current{file="tenants.yml"} 1.0'
            in (await gateway.client.get("/-/metrics", headers=gateway.bearer(roles=("auditor",)))).text
        )

    assert not await marks()
    tenants.write_text(TENANTS.replace("/v1/vat, ", ""))
    with caplog.at_level(logging.WARNING):
        await gateway.app.state.reload()
    told = "registered route 1 serves, though it could not be registered now: route: /v1/vat is not below a path"
    assert any(told in message for message in caplog.messages)
    assert (await marks())[0].startswith("route: /v1/vat is not below a path of the tenant revenue")
    assert (await gateway.client.get("/v1/vat")).status_code == 503  # it is live: its upstream is away
    assert (await gateway.register(spec("/v1/vat/b"), tenant="revenue")).status_code == 403

    tenants.write_text("tenants: []\n")
    with caplog.at_level(logging.ERROR):
        await gateway.app.state.reload()
    assert any("tenants.yml:1: tenants: " in message for message in caplog.messages)
    assert not await current()
    assert (await gateway.register(spec("/v1/vat/b"), tenant="revenue")).status_code == 403, "the last good one counts"

    tenants.unlink()
    await gateway.app.state.reload()
    assert await current()
    assert (await gateway.register(spec("/v1/vat/b"), tenant="revenue")).status_code == 201


async def test_the_file_is_followed(gateway: Running, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is wrong leaves the last good one in force."""
    tenants = gateway.home / "tenants.yml"

    async def until(route: str, status: int) -> None:
        headers = gateway.bearer(roles=("api_publisher",), tenant="revenue")
        async with asyncio.timeout(20):
            while True:
                dry = await gateway.client.post("/-/routes/check", json=spec(route), headers=headers)
                if dry.json()["ok"] is (status == 200):
                    return
                await asyncio.sleep(0.02)

    await until("/late", 403)
    tenants.write_text(TENANTS.replace("/v1/vat, ", "/v1/vat, /late, "))
    await until("/late", 200)
    caplog.set_level(logging.INFO, "bridge")
    tenants.write_text("tenants: []\n")
    async with asyncio.timeout(20):
        while (
            'current{file="tenants.yml"} 0.0'
            not in (await gateway.client.get("/-/metrics", headers=gateway.bearer(roles=("auditor",)))).text
        ):
            await asyncio.sleep(0.02)
    await until("/late", 200)
    assert any(message.endswith("the tenants before it are kept") for message in caplog.messages)
    assert "tenants.yml: read again" not in caplog.messages


async def test_roles_alone_leave_paths_to_who_comes_first(start: Start) -> None:
    roles = TENANTS[TENANTS.index("roles:") :]
    async with start(mesh={"svc": "127.0.0.1:9"}, files={"tenants.yml": roles}) as gateway:
        assert (await gateway.register(spec("/any"), tenant="nobody")).status_code == 201
        assert (await gateway.register(spec("/any/b"), tenant="revenue")).status_code == 403


@pytest.mark.parametrize(
    ("claims", "tenant", "reads", "publishes"),
    [
        ({"sub": "pat"}, "", 200, 201),
        ({"sub": "pat"}, "revenue", 200, 201),
        ({"sub": "pat"}, "health", 403, 403),  # the role there is of another issuer's pat
        ({"sub": "pat", "tenant": "revenue"}, "", 200, 201),
        ({"sub": "pat", "tenant": "revenue"}, "health", 403, 403),
        ({"sub": "pat", "tenant": "health"}, "", 403, 403),  # a token that names a tenant is of that one only
        ({"sub": "boss"}, "", 400, 400),  # of two tenants
        ({"sub": "boss"}, "revenue", 200, 201),
        ({"sub": "boss"}, "health", 200, 403),
        ({"sub": "ann"}, "", 200, 403),
        ({"sub": "eve"}, "", 200, 403),
        ({"sub": "eve"}, "revenue", 200, 403),
        ({"sub": "eve", "tenant": "revenue"}, "", 200, 403),
        ({"sub": "eve", "tenant": "revenue", "roles": ("api_publisher",)}, "", 200, 201),
        ({"sub": "kim"}, "", 403, 403),
        ({"sub": "kim"}, "revenue", 403, 403),
        ({"sub": "kim", "roles": ("api_publisher",)}, "revenue", 200, 201),
        ({"sub": "kim", "roles": ("api_publisher",)}, "a b", 400, 400),
        ({"sub": "kim", "roles": ("clerk",)}, "", 403, 403),
    ],
)
async def test_who_acts_where(
    gateway: Running, claims: dict[str, Any], tenant: str, reads: int, publishes: int
) -> None:
    headers = gateway.bearer(**claims) | ({"x-tenant": tenant} if tenant else {})
    assert (await gateway.client.get("/-/routes", headers=headers)).status_code == reads
    answer = await gateway.client.post("/-/routes", json=spec("/revenue/a"), headers=headers)
    assert answer.status_code == publishes, answer.text
    if publishes == 201:
        shown = await gateway.client.get(answer.headers["location"], headers=headers)
        assert shown.json()["tenant"] == "revenue"


async def test_a_bound_caller_sees_its_tenant_alone(gateway: Running) -> None:
    for tenant, route in (("revenue", "/revenue"), ("health", "/health"), ("", "/")):
        assert (await gateway.register(spec(route), tenant=tenant)).status_code == 201

    async def seen(sub: str, **more: str) -> list[str]:
        listed = await gateway.client.get("/-/routes", headers=gateway.bearer(sub=sub) | more)
        return [route["route"] for route in listed.json()["routes"]]

    assert await seen("pat") == ["/revenue"]
    assert await seen("ann") == ["/health"]
    assert await seen("eve") == ["/revenue", "/health", "/"]
    assert await seen("eve", **{"x-tenant": "health"}) == ["/health"]


async def test_a_field_that_names_several_tenants_is_refused(gateway: Running) -> None:
    fields = [*gateway.bearer(sub="boss").items(), ("x-tenant", "health"), ("x-tenant", "revenue")]
    assert (await gateway.client.get("/-/routes", headers=fields)).status_code == 400


async def test_check_warns_of_the_operators_own_files(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/a.yml").write_text(json.dumps(spec("/v1/vats", tenant="revenue")))
    (tmp_path / "mesh.yml").write_text("svc: 127.0.0.1:9")
    (tmp_path / "tenants.yml").write_text(TENANTS)
    faults, notes, count, _ = await judge(load({}, home=tmp_path), [])
    assert (faults, count) == ([], 1)
    assert [note.partition("a.yml: ")[2][:40] for note in notes] == ["route: /v1/vats is not below a path of the"[:40]]


@pytest.mark.parametrize(
    ("tenants", "public", "status"),
    [("tenants: {a: {paths: [/a]}}\n", None, 401), ("tenants: {a: {paths: [/a]}}\n", "metrics", 200), ("", None, 200)],
)
async def test_metrics_are_not_for_everybody_where_there_are_tenants(
    start: Start, tenants: str, public: str | None, status: int
) -> None:
    settings = {} if public is None else {"admin_public": public}
    async with start(mesh={}, files={"tenants.yml": tenants}, **settings) as gateway:
        assert (await gateway.client.get("/-/metrics")).status_code == status
        assert (await gateway.client.get("/-/health/ready")).status_code == (401 if public else 200)
