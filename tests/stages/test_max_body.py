"""`max_body` of a route: less or more than BRIDGE_MAX_BODY, and who may allow more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Running, Start, Upstream

ROUTE = "route: /{name}\nupstream: svc:80\nauth: none\ntransform: {{request: {kind}}}\n"
SPEC = {"route": "/r", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}


@pytest.fixture
async def gateway(start: Start, upstream: Upstream) -> AsyncIterator[Running]:
    routes = {
        "plain.yml": ROUTE.format(name="plain", kind="passthrough"),
        "small.yml": ROUTE.format(name="small", kind="passthrough") + "max_body: 1k\n",
        "large.yml": ROUTE.format(name="large", kind="passthrough") + "max_body: 64k\n",
    }
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, max_body=10_000) as running:
        yield running


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 500):
        yield b"x" * 500
    yield b"x" * (size % 500)


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize(("path", "limit"), [("/plain", 10_000), ("/small", 1024), ("/large", 65536)])
async def test_the_limit_of_a_route(gateway: Running, upstream: Upstream, path: str, limit: int, chunked: bool) -> None:
    def body(size: int) -> Any:
        return _pieces(size) if chunked else b"x" * size

    whole = await gateway.client.post(path, content=body(limit))
    assert whole.status_code == 200
    assert upstream.seen[-1].body == b"x" * limit
    more = await gateway.client.post(path, content=body(limit + 1))
    assert (more.status_code, more.json()["type"]) == (413, "urn:bridge:problem:too-large")
    assert more.json()["detail"] == f"A request body may have at most {limit} bytes."
    assert len(upstream.seen) == 1


async def test_an_announced_body_is_refused_before_it_is_read(gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /small HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1025\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_publisher_can_allow_less_but_not_more(gateway: Running, upstream: Upstream) -> None:
    more = await gateway.register({**SPEC, "max_body": "10001"})
    assert more.status_code == 400
    assert more.json()["errors"] == [
        {
            "pointer": "/max_body",
            "reason": "a registered route may take 10000 bytes at most (BRIDGE_MAX_BODY); only a file may allow more",
        }
    ]
    assert (await gateway.register({**SPEC, "max_body": 10_000})).status_code == 201
    less = {**SPEC, "route": "/less", "max_body": "100"}
    assert (await gateway.register(less)).status_code == 201
    assert (await gateway.client.post("/r", content=b"x" * 10_000)).status_code == 200
    assert (await gateway.client.post("/less", content=b"x" * 100)).status_code == 200
    assert (await gateway.client.post("/less", content=b"x" * 101)).status_code == 413
    assert len(upstream.seen) == 2


async def test_a_dry_run_says_the_same(gateway: Running) -> None:
    headers = gateway.bearer(roles=("api_publisher",), sub="publisher")
    answer = await gateway.client.post("/-/routes/check", json={**SPEC, "max_body": "1G"}, headers=headers)
    assert "only a file may allow more" in answer.text


@pytest.mark.parametrize("size", ["0", "-1", "1.5", "many", "true"])
async def test_what_is_no_size(gateway: Running, size: str) -> None:
    answer = await gateway.register({**SPEC, "max_body": size})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/max_body"
