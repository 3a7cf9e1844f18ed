"""Pages below ``/-/``: who needs a token, and on which listener (``BRIDGE_ADMIN_BIND``, ``BRIDGE_ADMIN_PUBLIC``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.admin.credentials import new_key
from bridge.config.settings import PAGES, load
from bridge.errors import SettingsError
from tests.conftest import Running, Start, serving
from tests.server.test_request_line import status
from tests.server.test_wire import talk

PATHS = {
    "health": "/-/health/live",
    "metrics": "/-/metrics",
    "openapi": "/-/openapi.json",
    "docs": "/-/docs",
    "console": "/-/console",
}
SPEC = {"upstream": "svc:80", "methods": ["GET"], "auth": {"type": "none"}, "transform": {"request": "passthrough"}}


def two_tenants() -> dict[str, str]:
    return {f"{name}.yml": json.dumps({**SPEC, "route": f"/{name}/a", "tenant": name}) for name in ("t1", "t2")}


async def statuses(client: httpx.AsyncClient, **headers: str) -> dict[str, int]:
    return {page: (await client.get(path, headers=headers)).status_code for page, path in PATHS.items()}


@contextlib.asynccontextmanager
async def admin_client(gateway: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the pages' own listener."""
    async with serving(gateway.app, handler=gateway.app.admin) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client


async def test_by_default_all_pages_are_for_everybody(gateway: Running) -> None:
    assert await statuses(gateway.client) == dict.fromkeys(PAGES, 200)


async def test_a_page_that_is_not_public_needs_a_token_of_one_who_may_read(start: Start) -> None:
    async with start(mesh={}, admin_public="health") as gateway:
        refused = dict.fromkeys(PAGES, 401) | {"health": 200}
        assert await statuses(gateway.client) == refused
        for role in ("api_publisher", "api_admin", "auditor"):
            assert await statuses(gateway.client, **gateway.bearer(roles=(role,))) == dict.fromkeys(PAGES, 200)
        citizen = gateway.bearer(roles=("citizen",))
        assert await statuses(gateway.client, **citizen) == dict.fromkeys(PAGES, 403) | {"health": 200}
        answer = await gateway.client.get("/-/metrics")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert answer.json()["trace_id"] == answer.headers["x-trace-id"]
        assert (await gateway.client.get("/-/static/docs.css")).status_code == 200
        assert (await gateway.client.get("/-/nothing")).status_code == 404
    lines = [line for line in gateway.log() if line["path"] == "/-/metrics"]
    assert [(line["status"], line.get("subject")) for line in lines] == [
        (401, None), (200, "citizen"), (200, "citizen"), (200, "citizen"), (403, "citizen"), (401, None),
    ]  # fmt: skip


async def test_none_of_them_is_public_and_docs_bring_the_document_they_show(start: Start) -> None:
    async with start(mesh={}, admin_public="none") as gateway:
        assert await statuses(gateway.client) == dict.fromkeys(PAGES, 401)
    async with start(mesh={}, admin_public="docs") as gateway:
        assert await statuses(gateway.client) == dict.fromkeys(PAGES, 401) | {"docs": 200, "openapi": 200}


async def test_a_tenants_token_shows_that_tenants_routes_only(start: Start) -> None:
    async with start(mesh={}, routes=two_tenants(), admin_public="health") as gateway:
        mine = gateway.bearer(roles=("auditor",), tenant="t1")
        document = (await gateway.client.get("/-/openapi.json", headers=mine)).json()
        assert list(document["paths"]) == ["/t1/a"]
        for path, status in (
            ("/-/openapi.json?tenant=t1", 200),
            ("/-/openapi.json?tenant=t2", 403),
            ("/-/metrics", 200),
        ):
            assert (await gateway.client.get(path, headers=mine)).status_code == status, path
        whole = gateway.bearer(roles=("auditor",))
        assert len((await gateway.client.get("/-/openapi.json", headers=whole)).json()["paths"]) == 2


async def test_a_tenants_token_reads_the_figures_of_its_own_routes(start: Start) -> None:
    async with start(mesh={}, routes=two_tenants(), admin_public="health") as gateway:
        for path in ("/t1/a", "/t2/a", "/t2/b", "/nothing"):
            await gateway.client.get(path)

        async def metrics(tenant: str) -> str:
            headers = gateway.bearer(roles=("auditor",), tenant=tenant)
            return (await gateway.client.get("/-/metrics", headers=headers)).text

        while 'route="none"' not in (whole := await metrics("")):  # it is counted after its answer
            await asyncio.sleep(0.01)
        assert set(re.findall('route="([^"]+)"', whole)) >= {"file:t1.yml", "file:t2.yml", "none"}
        assert "bridge_routes 2.0" in whole
        mine = await metrics("t1")
        assert set(re.findall('route="([^"]+)"', mine)) == {"file:t1.yml"}
        assert 'bridge_requests_total{method="GET",route="file:t1.yml",status="503"} 1.0' in mine
        assert "bridge_routes 1.0" in mine
        assert "config_file" not in mine
        assert "t2" not in mine
        assert "bridge_requests" not in await metrics("t3")


async def test_a_tenants_token_reads_how_many_routes_of_its_own_there_are(start: Start) -> None:
    async with start(mesh={}, routes=two_tenants(), admin_public="none") as gateway:
        for tenant, routes in (("t1", 1), ("t3", 0), ("", 2)):
            headers = gateway.bearer(roles=("auditor",), tenant=tenant)
            ready = (await gateway.client.get("/-/health/ready", headers=headers)).json()
            assert ready == {"status": "ready", "routes": routes}


async def test_an_api_key_reads_metrics(start: Start, tmp_path: Path) -> None:
    settings = load({}, home=tmp_path / "home")
    keys = [(await new_key(settings, "prometheus", "", [role], [], ""))[0] for role in ("auditor", "clerk")]
    async with start(mesh={}, admin_public="health") as gateway:
        for key, status in zip(keys, (200, 403), strict=True):
            assert (await gateway.client.get("/-/metrics", headers={"x-api-key": key})).status_code == status


async def test_with_a_listener_of_their_own_the_public_one_has_no_pages(start: Start, upstream: Any) -> None:
    upstream.body = b'"served"'
    routes = {"a.yml": json.dumps({**SPEC, "route": "/v1/a"})}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes, admin_bind="127.0.0.1:0") as gateway, admin_client(gateway) as admin:
        publisher = gateway.bearer(roles=("api_publisher",))
        hidden = dict.fromkeys(PAGES, 404) | {"health": 200}
        assert await statuses(gateway.client) == await statuses(gateway.client, **publisher) == hidden
        assert await statuses(admin) == dict.fromkeys(PAGES, 200)
        spec = {**SPEC, "route": "/v1/b"}
        for method, path in (
            ("POST", "/register"), ("GET", "/register"), ("POST", "/-/routes"), ("GET", "/-/routes"),
            ("POST", "/-/routes/check"), ("GET", "/-/routes/a.yml"), ("GET", "/-/static/docs.css"), ("GET", "/-/"),
        ):  # fmt: skip
            answer = await gateway.client.request(method, path, json=spec, headers=publisher)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:bridge:problem:not-found"), path
        assert (await admin.post("/register", json=spec)).status_code == 401
        assert (await admin.post("/register", json=spec, headers=publisher)).status_code == 201
        assert (await gateway.client.get("/v1/b")).json() == "served"
        for path in ("/v1/a", "/", "/nothing"):
            answer = await admin.get(path)
            assert (answer.status_code, answer.json()["status"]) == (404, 404), path


async def test_what_stays_public_beside_an_own_listener_is_chosen(start: Start) -> None:
    async with start(mesh={}, admin_bind="127.0.0.1:0", admin_public="openapi,docs") as gateway:
        shown = dict.fromkeys(PAGES, 404) | {"docs": 200, "openapi": 200}
        assert await statuses(gateway.client) == shown
        assert (await gateway.client.get("/-/static/docs.css")).status_code == 200
        async with admin_client(gateway) as admin:
            assert await statuses(admin) == dict.fromkeys(PAGES, 200)


async def test_no_websocket_passes_by_the_admin_listener(start: Start) -> None:
    routes = {"a.yml": json.dumps({**SPEC, "route": "/v1/a"})}
    handshake = (
        b" HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with start(mesh={}, routes=routes, admin_bind="127.0.0.1:0") as gateway:
        async with serving(gateway.app, handler=gateway.app.admin) as port:
            for path in (b"/v1/a", b"/-/routes", b"/register"):
                assert status(await talk(port, b"GET " + path + handshake)) == 404


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:9", "127.0.0.1:9"),
        ("[::1]:0", "[::1]:0"),
        ("localhost:80", "localhost:80"),
        ("unix:/a/b", "unix:/a/b"),
    ],
)
def test_an_address_of_the_listener(text: str, shown: str) -> None:
    assert str(load({"BRIDGE_ADMIN_BIND": text}).admin_bind) == shown


@pytest.mark.parametrize("text", ["", "9090", ":9090", "a:b", "a:70000", "::1:80", "unix:", "http://a:1", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"BRIDGE_ADMIN_BIND: .* write HOST:PORT, \[IPv6\]:PORT or unix:PATH"):
        load({"BRIDGE_ADMIN_BIND": text})


def test_pages_are_chosen_by_name() -> None:
    assert load({"BRIDGE_ADMIN_PUBLIC": "health, metrics"}).public_pages == {"health", "metrics"}
    assert load({"BRIDGE_ADMIN_PUBLIC": ""}).public_pages == load({"BRIDGE_ADMIN_PUBLIC": "none"}).public_pages == set()
    with pytest.raises(SettingsError, match="BRIDGE_ADMIN_PUBLIC: there is no page 'metric'; choose from health, "):
        load({"BRIDGE_ADMIN_PUBLIC": "metric"})


def test_a_list_in_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("admin_bind: unix:admin.sock\nadmin_public: [health, openapi]\n")
    settings = load({}, tmp_path / "a.yml")
    assert settings.public_pages == {"health", "openapi"}
    assert str(settings.admin_bind) == "unix:admin.sock"
