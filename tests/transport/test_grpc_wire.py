"""What a route's `connection` does to gRPC, on the wire: sizes, compression, keepalive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.transport import Target
from bridge.cluster.cluster import Cluster
from bridge.errors import BadReply, TooLarge, Unavailable
from bridge.transport.grpc.subchannel import KEEPALIVE
from tests.oracles.grpcio.subchannel import options_of

Serve = Callable[..., Awaitable[Any]]
Connect = Callable[..., Cluster]


async def echo(message: bytes, context: Any) -> bytes:
    """The message, or as many bytes, or trailers as long, as it asks for."""
    what, _, count = message.partition(b":")
    if what == b"give":
        return bytes(int(count))
    if what == b"trail":
        context.set_trailing_metadata((("x-long", "t" * int(count)),))
    return message


async def send(upstream: Cluster, message: bytes = b"abc", within: float = 5.0) -> GrpcReply:
    deadline = asyncio.get_running_loop().time() + within
    reply: GrpcReply = await upstream.send(GrpcRequest("/a.S/Do", message), deadline=deadline)
    return reply


# --- sizes -----------------------------------------------------------------------------------------------------------


async def test_messages_are_bounded_both_ways(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    upstream = grpc_upstream(server.address, connection=ConnectionSpec(max_message=1000))
    assert len((await send(upstream, b"give:1000")).message) == 1000
    with pytest.raises(BadReply, match="larger"):
        await send(upstream, b"give:1001")
    assert len((await send(upstream, bytes(1000))).message) == 1000
    with pytest.raises(TooLarge):
        await send(upstream, bytes(1001))
    stream = await upstream.stream(
        GrpcRequest("/a.S/Do", b""), deadline=None, connect_by=asyncio.get_running_loop().time() + 5
    )
    await stream.write(bytes(1001))
    assert await stream.read() is None
    with pytest.raises(TooLarge):
        await stream.status()


async def test_a_route_may_not_take_more_than_the_gateway(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    upstream = grpc_upstream(server.address, connection=ConnectionSpec(max_message=10**6), max_reply=1000)
    with pytest.raises(BadReply, match="larger"):
        await send(upstream, b"give:1001")


async def test_metadata_is_bounded(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    wide = grpc_upstream(server.address, connection=ConnectionSpec(max_metadata=64 * 1024))
    assert len(dict((await send(wide, b"trail:30000")).trailers)["x-long"]) == 30_000
    narrow = grpc_upstream(server.address, connection=ConnectionSpec(max_metadata=2000))
    assert (await send(narrow, b"trail:1000")).code == 0
    for upstream, count in ((narrow, 3000), (grpc_upstream(server.address), 40_000)):
        with pytest.raises(BadReply, match="metadata"):
            await send(upstream, b"trail:%d" % count)


async def test_metadata_of_32_kib_is_taken_unless_the_route_says_otherwise(
    serve_grpc: Serve, grpc_upstream: Connect, clients: str
) -> None:
    if clients != "lean":
        pytest.skip("gRPC's own library has another default")
    server = await serve_grpc({"Do": echo})
    assert len(dict((await send(grpc_upstream(server.address), b"trail:30000")).trailers)["x-long"]) == 30_000


# --- the connection itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "deflate", None])
async def test_requests_are_compressed(serve_grpc: Serve, relay: Serve, grpc_upstream: Connect, coding: Any) -> None:
    server = await serve_grpc({"Do": echo}, options=[("grpc.max_receive_message_length", -1)])
    between = await relay(server.address)
    upstream = grpc_upstream(between.address, connection=ConnectionSpec(compression=coding), max_reply=1 << 20)
    assert (await send(upstream, bytes(1_000_000))).message == bytes(1_000_000)
    assert (between.up < 20_000) == (coding is not None)


async def test_a_dead_connection_is_noticed(serve_grpc: Serve, relay: Serve, grpc_upstream: Connect) -> None:
    async def stay(messages: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"here"
        await asyncio.sleep(60)

    server = await serve_grpc({"Stay": stay}, stream=True)
    between = await relay(server.address)
    async with asyncio.timeout(10):
        hasty = ConnectionSpec.model_construct(keepalive=0.3)  # a spec may not say so little
        upstream = grpc_upstream(between.address, connection=hasty)
        stream = await upstream.stream(
            GrpcRequest("/a.S/Stay", b""), deadline=None, connect_by=asyncio.get_running_loop().time() + 5
        )
        assert await stream.read() == b"here"
        between.open.clear()
        assert await stream.read() is None
        with pytest.raises(Unavailable):
            await stream.status()


def test_by_default_no_server_is_asked_too_often() -> None:
    """grpc-core and grpc-go end a connection that is tested more often than every five minutes."""
    assert KEEPALIVE > 300
    options = dict(options_of(Target("", "1", None, ConnectionSpec(), 1)).options)
    assert options["grpc.keepalive_time_ms"] == KEEPALIVE * 1000
    assert "grpc.keepalive_permit_without_calls" not in options
