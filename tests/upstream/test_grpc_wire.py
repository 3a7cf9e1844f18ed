"""What a route's `connection` does to gRPC, on the wire: sizes, compression, keepalive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bridge.errors import BadReply, TooLarge, Unavailable
from bridge.spec import Connection
from bridge.transformer import GrpcReply, GrpcRequest
from bridge.upstream.grpc import GrpcUpstream, _options

Serve = Callable[..., Awaitable[Any]]
Connect = Callable[..., GrpcUpstream]


async def echo(message: bytes, context: Any) -> bytes:
    """The message, or as many bytes, or trailers as long, as it asks for."""
    what, _, count = message.partition(b":")
    if what == b"give":
        return bytes(int(count))
    if what == b"trail":
        context.set_trailing_metadata((("x-long", "t" * int(count)),))
    return message


async def send(upstream: GrpcUpstream, message: bytes = b"abc", within: float = 5.0) -> GrpcReply:
    deadline = asyncio.get_running_loop().time() + within
    return await upstream.send(GrpcRequest("/a.S/Do", message), deadline=deadline)


# --- sizes -----------------------------------------------------------------------------------------------------------


async def test_messages_are_bounded_both_ways(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    upstream = grpc_upstream(server.address, connection=Connection(max_message=1000))
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
    upstream = grpc_upstream(server.address, connection=Connection(max_message=10**6), max_reply=1000)
    with pytest.raises(BadReply, match="larger"):
        await send(upstream, b"give:1001")


async def test_metadata_is_bounded(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    wide = grpc_upstream(server.address, connection=Connection(max_metadata=64 * 1024))
    assert len(dict((await send(wide, b"trail:30000")).trailers)["x-long"]) == 30_000
    narrow = grpc_upstream(server.address, connection=Connection(max_metadata=2000))
    assert (await send(narrow, b"trail:1000")).code == 0
    for upstream, count in ((narrow, 3000), (grpc_upstream(server.address), 30_000)):
        with pytest.raises(BadReply, match="metadata"):
            await send(upstream, b"trail:%d" % count)


# --- the connection itself -------------------------------------------------------------------------------------------


class Relay:
    """Passes bytes between a client and `address`, counts them, and falls silent when told to."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._to = address
        self._tasks: set[asyncio.Task[None]] = set()
        self.up = 0
        self.open = asyncio.Event()
        self.open.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[str, int]]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        for task in (self._pass(reader, back, count=True), self._pass(there, writer, count=False)):
            self._tasks.add(asyncio.ensure_future(task))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        try:
            while data := await reader.read(65536):
                self.up += len(data) if count else 0
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("coding", ["gzip", "deflate", None])
async def test_requests_are_compressed(serve_grpc: Serve, grpc_upstream: Connect, coding: Any) -> None:
    server = await serve_grpc({"Do": echo}, options=[("grpc.max_receive_message_length", -1)])
    relay = Relay(server.address)
    async with relay.running() as address:
        upstream = grpc_upstream(address, connection=Connection(compression=coding), max_reply=1 << 20)
        assert (await send(upstream, bytes(1_000_000))).message == bytes(1_000_000)
        assert (relay.up < 20_000) == (coding is not None)
        await upstream.aclose()


async def test_a_dead_connection_is_noticed(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    async def stay(messages: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"here"
        await asyncio.sleep(60)

    server = await serve_grpc({"Stay": stay}, stream=True)
    relay = Relay(server.address)
    async with relay.running() as address, asyncio.timeout(10):
        hasty = Connection.model_construct(keepalive=0.3)  # a spec may not say so little
        upstream = grpc_upstream(address, connection=hasty)
        stream = await upstream.stream(
            GrpcRequest("/a.S/Stay", b""), deadline=None, connect_by=asyncio.get_running_loop().time() + 5
        )
        assert await stream.read() == b"here"
        relay.open.clear()
        assert await stream.read() is None
        with pytest.raises(Unavailable):
            await stream.status()
        relay.open.set()


def test_by_default_no_server_is_asked_too_often() -> None:
    """grpc-core and grpc-go end a connection that is tested more often than every five minutes."""
    options = dict(_options(Connection()))
    assert options["grpc.keepalive_time_ms"] > 300_000
    assert "grpc.keepalive_permit_without_calls" not in options
