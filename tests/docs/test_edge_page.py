"""The examples of docs/edge.md, each served and called."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridge.admin.credentials import new_key
from bridge.config.settings import load
from bridge.stages.security_headers import FIELDS, TRANSPORT
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.docs.tables import code, table

PAGE = ROOT / "docs" / "edge.md"
CORS, IP, FROM, MAX_BODY, HEADERS = (block.text for block in blocks_of(PAGE))
SPEC = "route: /{n}\nupstream: svc:80\nauth: none\ntransform: {{request: passthrough}}\n{line}\n"


def routes(block: str) -> dict[str, str]:
    """A route for each line of a block, at ``/0``, ``/1`` and so on."""
    return {f"{n}.yml": SPEC.format(n=n, line=line) for n, line in enumerate(block.splitlines())}


#: origin of the page -> the routes that let it read a reply, and those that do so with cookies
PAGES = {
    "https://app.example.org": ({0, 1, 2, 3}, {2}),
    "https://a.example.org": ({1, 3}, set[int]()),
    "http://localhost:5173": ({1, 3}, set[int]()),
    "https://evil.test": ({3}, set[int]()),
}


async def test_cors(start: Start, upstream: Upstream) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes(CORS)) as gateway:
        for origin, (readable, with_cookies) in PAGES.items():
            replies = [await gateway.client.get(f"/{n}", headers={"origin": origin}) for n in range(5)]
            allowed = [reply.headers.get("access-control-allow-origin") for reply in replies]
            assert {n for n in range(5) if allowed[n] in (origin, "*")} == readable
            cookies = {n for n in range(5) if "access-control-allow-credentials" in replies[n].headers}
            assert cookies & readable == with_cookies
        asked = {"origin": "http://localhost:5173", "access-control-request-method": "POST"}
        fields = (await gateway.client.options("/1", headers=asked)).headers
        assert fields["access-control-allow-methods"] == "GET, HEAD, POST"
        assert fields["access-control-allow-headers"] == "content-type, x-clerk, x-request-timeout"
        assert fields["access-control-max-age"] == "3600"


@pytest.mark.parametrize(
    ("address", "statuses"),
    [
        ("203.0.113.7", [200, 200, 200]),
        ("203.0.113.66", [200, 403, 403]),
        ("2001:db8::7", [200, 200, 403]),
        ("198.51.100.1", [403, 200, 403]),
        ("::ffff:203.0.113.66", [200, 403, 403]),
    ],
)
async def test_addresses(start: Start, upstream: Upstream, address: str, statuses: list[int]) -> None:
    proxies = load({"BRIDGE_TRUSTED_PROXIES": "127.0.0.1"}).trusted_proxies
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes(IP), trusted_proxies=proxies) as gateway:
        headers = {"x-forwarded-for": address}
        assert [(await gateway.client.get(f"/{n}", headers=headers)).status_code for n in range(3)] == statuses


async def test_credentials(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    key, _ = await new_key(load({}, home=tmp_path / "home"), "billing", "", [], [], "")
    spec = SPEC.replace("auth: none\n", "")
    files = {f"{n}.yml": spec.format(n=n, line=line) for n, line in enumerate(FROM.splitlines())}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=files) as gateway:
        token = gateway.token()

        async def statuses(query: str = "", **headers: str) -> list[int]:
            answers = [await gateway.client.get(f"/{n}{query}", headers=headers) for n in range(3)]
            return [answer.status_code for answer in answers]

        assert await statuses(authorization=f"Bearer {token}") == [200, 200, 401]
        assert await statuses(cookie=f"session={token}") == [200, 401, 401]
        assert await statuses(f"?access_token={token}") == [401, 200, 401]
        assert await statuses(f"?api_key={key}") == [401, 401, 200]
        assert await statuses(**{"x-api-key": key}) == [401, 401, 200]


async def test_security_headers(start: Start, upstream: Upstream) -> None:
    rows = {code(name)[0]: code(value)[0] for name, value in table("docs/edge.md", "Security headers")}
    assert {name.lower(): value for name, value in rows.items()} == dict((*FIELDS, TRANSPORT))
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes(HEADERS)) as gateway:
        answer = await gateway.client.get("/0")
        assert dict(FIELDS).items() <= dict(answer.headers).items()
        for page in ("docs", "console"):
            assert dict(FIELDS).items() <= dict((await gateway.client.get(f"/-/{page}")).headers).items()


async def test_size_of_bodies(start: Start, upstream: Upstream) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes(MAX_BODY)) as gateway:
        answer = await gateway.client.post("/0", content=b"x" * (9 * 1024**2))
        assert answer.status_code == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST /0 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (64 * 1024**2 + 1))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()
