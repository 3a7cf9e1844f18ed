"""The gateway's HTTP clients against servers that others wrote: nginx, Node, Python's own."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge.api.call import HttpReply, HttpRequest
from bridge.errors import BadReply, UpstreamError
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import Client
from tests.oracles.aiohttp_client import AiohttpClient
from tests.oracles.clusters import http_cluster
from tests.servers import Server, need, running

HERE = Path(__file__).parent / "http"
READY = r"^ready (\d+)"
LARGE = 1 << 20

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("nginx", "nginx", "-v")
    command = (sys.executable, str(HERE / "nginx.py"))
    with running("nginx", command, tmp_path_factory.mktemp("nginx"), ready=READY) as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("Node", "node", "--version")
    with running("Node", ("node", str(HERE / "server.js")), tmp_path_factory.mktemp("node"), ready=READY) as server:
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = (sys.executable, str(HERE / "plain.py"))
    with running("http.server", command, tmp_path_factory.mktemp("plain"), ready=READY) as server:
        yield server


@pytest.fixture(params=[HttpClient, AiohttpClient], ids=["lean", "general"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    client: Client = request.param()
    yield client
    await client.aclose()


@pytest.fixture
def ask(client: Client) -> Callable[..., Any]:
    async def send(
        server: Server,
        method: str,
        path: str,
        body: bytes = b"",
        fields: Sequence[tuple[str, str]] = (("x-a", "b"),),
        decode: bool = True,
    ) -> HttpReply:
        async def addresses() -> list[tuple[str, int]]:
            return [("127.0.0.1", server.port)]

        upstream = http_cluster(addresses, client=client, tls=False, name="svc", port="80", max_reply=8 << 20)
        deadline = asyncio.get_running_loop().time() + 30
        reply: HttpReply = await upstream.send(HttpRequest(method, path, list(fields), body, decode), deadline=deadline)
        return reply

    return send


def header(reply: HttpReply, name: str) -> str:
    return dict(reply.headers).get(name, "")


# --- nginx ------------------------------------------------------------------------------------------------------------


async def test_nginx(nginx: Server, ask: Any) -> None:
    for _ in range(3):
        for method, path, status, body in (
            ("GET", "/hello", 200, b"hello"),
            ("HEAD", "/hello", 200, b""),
            ("GET", "/empty", 204, b""),
            ("GET", "/last", 200, b"bye"),
            ("GET", "/large", 200, b"0123456789abcdef" * (LARGE >> 4)),
            ("HEAD", "/large", 200, b""),
        ):
            reply = await ask(nginx, method, path)
            assert (reply.status, reply.body) == (status, body), path
    reply = await ask(nginx, "GET", "/moved")
    assert (reply.status, header(reply, "location")) == (302, "/hello")
    assert (await ask(nginx, "GET", "/none")).status == 404


async def test_nginx_in_chunks_and_coded(nginx: Server, ask: Any) -> None:
    reply = await ask(nginx, "GET", "/large", fields=[("accept-encoding", "gzip")], decode=False)
    assert header(reply, "content-encoding") == "gzip"
    assert gzip.decompress(reply.body) == b"0123456789abcdef" * (LARGE >> 4)


async def test_nginx_refuses_a_large_body_early(nginx: Server, ask: Any) -> None:
    for _ in range(3):
        assert (await ask(nginx, "POST", "/narrow", bytes(8 << 20))).status == 413


async def test_nginx_hangs_up(nginx: Server, ask: Any) -> None:
    with pytest.raises(UpstreamError, match="without an answer"):
        await ask(nginx, "GET", "/dropped")


# --- Node -------------------------------------------------------------------------------------------------------------


async def test_node_echoes(node: Server, ask: Any) -> None:
    for size in (0, 1, 1000, 65_536, 3 << 20):
        body = os.urandom(size)
        reply = await ask(node, "POST", "/echo", body)
        assert (reply.status, reply.body) == (200, body)
    seen = header(reply, "x-fields").split("|")
    assert dict(zip(seen[::2], seen[1::2], strict=True)) == {
        "host": "svc:80",
        "x-a": "b",
        "accept-encoding": "identity",
        "Content-Length": str(3 << 20),
    }


async def test_node_in_chunks_with_trailers(node: Server, ask: Any) -> None:
    for size in (1, 100_000, 2 << 20):
        body = os.urandom(size)
        assert (await ask(node, "POST", "/chunks", body)).body == body


async def test_node_says_more_and_less_than_one_reply(node: Server, ask: Any) -> None:
    for _ in range(3):
        assert (await ask(node, "GET", "/hints")).body == b"hinted"
        assert (await ask(node, "POST", "/last", b"x")).body == b"bye"
        assert (await ask(node, "HEAD", "/echo")).body == b""
        with pytest.raises(BadReply):
            await ask(node, "GET", "/half")
        with pytest.raises(UpstreamError, match="without an answer"):
            await ask(node, "POST", "/dropped")


async def test_node_says_how_long_it_keeps_connections(node: Server) -> None:
    client = HttpClient()
    await client.exchange(
        ("127.0.0.1", node.port),
        "GET",
        "/echo",
        [("host", "a")],
        b"",
        server_name=None,
        connect_timeout=5,
        max_reply=100,
    )
    [pool] = client._pools.values()
    assert pool.idle[0].until - pool.loop.time() <= 4
    await client.aclose()


async def test_many_at_once(node: Server, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.cluster.attempts.CONNECT", 30.0)  # 300 connections take their time on a busy machine
    bodies = [b"%d" % number * 500 for number in range(300)]
    replies = await asyncio.gather(*(ask(node, "POST", "/echo", body) for body in bodies))
    assert [reply.body for reply in replies] == bodies


# --- Python -----------------------------------------------------------------------------------------------------------


async def test_python(plain: Server, ask: Any) -> None:
    for path, kept in (("/until-close", False), ("/by-length", False), ("/kept", True)):
        peers = []
        for size in (1, 100_000, 1):
            body = os.urandom(size)
            reply = await ask(plain, "POST", path, body)
            assert reply.body == body
            peers.append(header(reply, "x-peer"))
        assert len(set(peers)) == (1 if kept else 3)
