"""`security_headers`: which responses have them, and when HTTPS is told to browsers."""

from __future__ import annotations

import pytest

from bridge.config.settings import load
from bridge.stages.security_headers import FIELDS, TRANSPORT
from tests.conftest import Start, Upstream

ROUTE = "route: {route}\nupstream: svc:80\nauth: {auth}\ntransform: {{request: passthrough}}\n{lines}\n"
ROUTES = {
    "default.yml": ROUTE.format(route="/default", auth="none", lines=""),
    "yes.yml": ROUTE.format(route="/yes", auth="none", lines="security_headers: true"),
    "no.yml": ROUTE.format(route="/no", auth="none", lines="security_headers: false"),
    "guarded.yml": ROUTE.format(route="/guarded", auth="{type: JWT}", lines="security_headers: true"),
}
NAMES = {name for name, _ in (*FIELDS, TRANSPORT)}


@pytest.mark.parametrize("setting", ["off", "on"])
async def test_who_has_them(start: Start, upstream: Upstream, setting: str) -> None:
    settings = load({"BRIDGE_SECURITY_HEADERS": setting})
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, security_headers=settings.security_headers) as gateway:
        for path, status, expected in [
            ("/default", 200, setting == "on"),
            ("/yes", 200, True),
            ("/no", 200, False),
            ("/guarded", 401, True),
        ]:
            answer = await gateway.client.get(path)
            assert answer.status_code == status
            found = {name: value for name, value in answer.headers.items() if name in NAMES}
            assert found == (dict(FIELDS) if expected else {}), path


async def test_what_the_service_says_stays(start: Start, upstream: Upstream) -> None:
    upstream.headers = [("content-type", "text/html"), ("X-Frame-Options", "SAMEORIGIN")]
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as gateway:
        answer = await gateway.client.get("/yes")
        assert answer.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


@pytest.mark.parametrize(
    ("trusted", "proto", "told"), [(True, "https", True), (True, "http", False), (False, "https", False)]
)
async def test_https_of_a_proxy(start: Start, upstream: Upstream, trusted: bool, proto: str, told: bool) -> None:
    proxies = load({"BRIDGE_TRUSTED_PROXIES": "127.0.0.1"}).trusted_proxies if trusted else ()
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, trusted_proxies=proxies) as gateway:
        answer = await gateway.client.get("/yes", headers={"x-forwarded-proto": proto})
        assert (TRANSPORT[0] in answer.headers) is told


async def test_https_of_the_gateway(start: Start, upstream: Upstream) -> None:
    """The stage goes by the setting: the test's client does not speak TLS, and would be told the same if it did."""
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, tls_cert="cert.pem") as gateway:
        answer = await gateway.client.get("/yes")
        assert answer.headers[TRANSPORT[0]] == TRANSPORT[1]
        assert TRANSPORT[0] not in (await gateway.client.get("/no")).headers
