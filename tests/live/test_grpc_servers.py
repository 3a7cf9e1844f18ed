"""The house's own HTTP/2 client against servers and proxies of other stacks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.cluster.cluster import Cluster
from tests.live.envoy_kit import BINARY, envoy
from tests.oracles.clusters import grpc_cluster
from tests.servers import Server, need, running

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
LARGE = bytes(range(256)) * 20_000  # 5.1 MB
PATIENCE = 60.0

#: What a Node server may announce; each is a clause that its nghttp2 holds us to.
NODE = {
    "node": "{}",
    "node without a table": '{"headerTableSize": 0}',
    "node, narrow": '{"initialWindowSize": 1000, "maxConcurrentStreams": 7}',
}

NGINX = """
daemon off; master_process on; worker_processes 1; error_log stderr notice; pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 300; http2_max_concurrent_streams 50;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://127.0.0.1:{service}; }} }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, service: int) -> Iterator[int]:
    """nginx in front of the service; it can't choose a port itself, so it is tried again where ours is gone."""
    for left in reversed(range(3)):
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port: int = bound.getsockname()[1]
        home = folder / str(port)
        home.mkdir()
        (home / "nginx.conf").write_text(NGINX.format(folder=home, port=port, service=service))
        with contextlib.ExitStack() as stack:
            command = ("nginx", "-e", "stderr", "-p", str(home), "-c", str(home / "nginx.conf"))
            try:
                stack.enter_context(running("nginx", command, home, ready=r"start worker process (\d+)"))
            except pytest.fail.Exception as error:
                if not left or "Address already in use" not in str(error):
                    raise
                continue
            yield port
            return


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """gRPC's own server, which gives each message back."""

    async def flow(messages: Any, context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    async def refuse(messages: Any, context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "né")
        yield b""

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    methods = {"Do": flow, "Flow": flow, "Refuse": refuse}
    handlers = {name: grpc.stream_stream_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.S", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@pytest.fixture(params=[*NODE, "nginx", "envoy"])
async def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    kind: str = request.param
    async with contextlib.AsyncExitStack() as stack:
        if kind in NODE:
            need("Node", "node", "--version")
            command = ("node", str(HERE / "node/grpc_echo.js"), NODE[kind])
            server: Server = stack.enter_context(running(kind, command, tmp_path, ready=r"^ready (\d+)"))
            port = server.port
        elif kind == "nginx":
            need("nginx", "nginx", "-v")
            port = await asyncio.to_thread(
                stack.enter_context, nginx(tmp_path, await stack.enter_async_context(echo()))
            )
        else:
            need("Envoy", BINARY, "--version")
            behind = await stack.enter_async_context(echo())
            port = await asyncio.to_thread(stack.enter_context, envoy(tmp_path, behind, transcodes=False))

        async def addresses() -> Sequence[tuple[str, int]]:
            return [("127.0.0.1", port)]

        made = grpc_cluster(addresses, tls=False, max_reply=1 << 24, name="tally")
        stack.push_async_callback(made.aclose)
        yield made


def soon() -> float:
    return asyncio.get_running_loop().time() + PATIENCE


async def send(upstream: Cluster, message: bytes, method: str = "Do") -> GrpcReply:
    reply: GrpcReply = await upstream.send(GrpcRequest(f"/a.S/{method}", message), deadline=soon())
    return reply


async def test_one_message_each_way(upstream: Cluster) -> None:
    for message in (b"", b"hello", LARGE, b"again"):
        reply = await send(upstream, message)
        assert (reply.code, reply.message) == (0, message)
    refused = await send(upstream, b"x", "Refuse")
    assert (refused.code, refused.detail) == (9, "né")


async def test_a_thousand_at_once(upstream: Cluster) -> None:
    messages = [b"%d" % at * (at % 50) for at in range(1000)]
    replies = await asyncio.gather(*(send(upstream, message) for message in messages))
    assert [reply.message for reply in replies] == messages


async def test_streams_both_ways(upstream: Cluster) -> None:
    async def talk(messages: list[bytes]) -> list[bytes]:
        stream = await upstream.stream(GrpcRequest("/a.S/Flow", b""), deadline=soon(), connect_by=soon())
        heard = []

        async def write() -> None:
            for message in messages:
                await stream.write(message)
            await stream.end()

        writing = asyncio.ensure_future(write())
        while (message := await stream.read()) is not None:
            heard.append(message)
        await writing
        assert (await stream.status()).code == 0
        return heard

    talks = [[b"%d" % at] * 100 for at in range(20)]
    assert await asyncio.gather(*map(talk, talks)) == talks
    assert await talk([LARGE, b"", LARGE]) == [LARGE, b"", LARGE]


async def test_each_message_is_answered_before_the_next(upstream: Cluster) -> None:
    stream = await upstream.stream(GrpcRequest("/a.S/Flow", b""), deadline=soon(), connect_by=soon())
    for at in range(50):
        await stream.write(b"%d" % at)
        assert await stream.read() == b"%d" % at
    stream.cancel()
    assert (await send(upstream, b"after")).message == b"after"
