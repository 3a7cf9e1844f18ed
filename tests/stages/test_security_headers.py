"""`security_headers`: which responses have them, and when HTTPS is told to browsers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridge.config.settings import load
from bridge.server.tls import ListenerTls
from bridge.stages.security_headers import FIELDS, TRANSPORT
from tests.conftest import Start, Upstream, serving
from tests.server.test_tls import NAME, Files
from tests.servers import need

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
    ("trusted", "proto", "told"),
    [
        (True, "https", True),
        (True, "http", False),
        (True, "http, https", True),  # of two proxies; the last one is trusted
        (True, "https, http", False),
        (False, "https", False),
    ],
)
async def test_https_of_a_proxy(start: Start, upstream: Upstream, trusted: bool, proto: str, told: bool) -> None:
    proxies = load({"BRIDGE_TRUSTED_PROXIES": "127.0.0.1"}).trusted_proxies if trusted else ()
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, trusted_proxies=proxies) as gateway:
        answer = await gateway.client.get("/yes", headers={"x-forwarded-proto": proto})
        assert (TRANSPORT[0] in answer.headers) is told


@pytest.mark.live
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_a_client_keeps_to_https(start: Start, upstream: Upstream, tmp_path: Path, version: str) -> None:
    """curl's own list of hosts (RFC 6797): nothing is on it before a route has said so; then http becomes https."""
    need("curl with HSTS", "sh", "-c", "curl --version | grep -q HSTS")
    files, authority, known = Files(tmp_path), tmp_path / "authority.pem", tmp_path / "hsts"
    files.authority.cert_pem.write_to_path(str(authority))
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, tls_cert=files.certificate, tls_key=files.key) as gateway:
        async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:

            async def curl(scheme: str, path: str) -> str:
                command = ["curl", "-sS", version, "--cacert", str(authority), "--hsts", str(known)]
                command += ["--connect-to", f"{NAME}:{port}:127.0.0.1:{port}", "-o", "/dev/null"]
                command += ["-w", "%{response_code} %{scheme}", f"{scheme}://{NAME}:{port}{path}"]
                process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
                return (await process.communicate())[0].decode().lower()

            assert await curl("https", "/no") == "200 https"
            assert NAME not in known.read_text()
            assert await curl("https", "/guarded") == "401 https"  # refusals tell it, too
            assert NAME in known.read_text()
            assert await curl("http", "/yes") == "200 https"


async def test_https_of_the_gateway(start: Start, upstream: Upstream) -> None:
    """The stage goes by the setting: the test's client does not speak TLS, and would be told the same if it did."""
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, tls_cert="cert.pem") as gateway:
        answer = await gateway.client.get("/yes")
        assert answer.headers[TRANSPORT[0]] == TRANSPORT[1]
        assert TRANSPORT[0] not in (await gateway.client.get("/no")).headers
