"""What a route's `connection` does to gRPC, on the wire: sizes, compression, keepalive, health."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from bridge.errors import BadReply, TooLarge, Unavailable
from bridge.spec import Connection
from bridge.transformer import GrpcReply, GrpcRequest
from bridge.upstream.grpc import GrpcUpstream
from bridge.upstream.grpc_options import channel_options

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

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
    options = dict(channel_options(Connection(), "a", secure=False, max_reply=1))
    assert options["grpc.keepalive_time_ms"] > 300_000
    assert "grpc.keepalive_permit_without_calls" not in options


# --- health ----------------------------------------------------------------------------------------------------------


class Watched:
    """Servers with a word on their health; `served` counts the calls of each."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.served: dict[int, int] = {}

    async def start(self, **said: Any) -> tuple[Any, Any]:
        """A server and its health servicer, which says `said` by service (``all`` for the server)."""
        number = len(self.served)
        self.served[number] = 0
        servicer = health.HealthServicer()

        async def answer(message: bytes, context: Any) -> bytes:
            self.served[number] += 1
            return message

        def add(server: Any) -> None:
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

        for service, status in said.items():
            await servicer.set("" if service == "all" else service, status)
        return await self._serve({"Do": answer}, add=add), servicer


@pytest.fixture
def watched(serve_grpc: Serve) -> Watched:
    return Watched(serve_grpc)


async def eventually(upstream: GrpcUpstream, good: Callable[[], bool]) -> None:
    """Calls until what the servers said has arrived."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(Unavailable):
                await send(upstream)
            if good():
                return
            await asyncio.sleep(0.01)  # a refusal waits for nothing, and would keep the word from being heard


async def test_those_that_do_not_serve_are_passed_over(watched: Watched, grpc_upstream: Connect) -> None:
    failed: list[Any] = []
    first, told = await watched.start(all=NOT_SERVING)
    second, _ = await watched.start(all=SERVING)
    upstream = grpc_upstream(first.address, second.address, connection=Connection(health=True), failed=failed.append)
    for _ in range(5):
        assert (await send(upstream)).code == 0
    assert watched.served == {0: 0, 1: 5}
    assert failed == []  # it takes connections
    await told.set("", SERVING)
    await eventually(upstream, lambda: watched.served[0] > 0)
    await told.set("", NOT_SERVING)
    before = watched.served[1]
    await eventually(upstream, lambda: watched.served[1] > before)


async def test_none_serves(watched: Watched, grpc_upstream: Connect) -> None:
    servers = [await watched.start(all=NOT_SERVING) for _ in range(2)]
    upstream = grpc_upstream(*(server.address for server, _ in servers), connection=Connection(health=True))
    for _ in range(2):  # when it is heard first, and when it is known
        with pytest.raises(Unavailable, match="says that it serves") as caught:
            await send(upstream)
        assert "127.0.0.1" not in caught.value.detail
    assert watched.served == {0: 0, 1: 0}
    await servers[1][1].set("", SERVING)
    await eventually(upstream, lambda: watched.served[1] > 0)


async def test_one_service_of_several(watched: Watched, grpc_upstream: Connect) -> None:
    said = {"all": SERVING, "a.S": NOT_SERVING, "a.T": SERVING}
    server, _ = await watched.start(**said)
    assert (await send(grpc_upstream(server.address, connection=Connection(health="a.T")))).code == 0
    for unfit in ("a.S", "a.Unknown"):
        with pytest.raises(Unavailable):
            await send(grpc_upstream(server.address, connection=Connection(health=unfit)))
    assert watched.served == {0: 1}


async def test_a_server_that_can_not_say_counts_as_healthy(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    upstream = grpc_upstream(server.address, connection=Connection(health=True))
    assert (await send(upstream)).code == 0
    assert (await send(upstream)).code == 0


async def test_health_that_fails_is_no_health(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    class Broken(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated, without types
        async def Watch(self, request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    server = await serve_grpc(
        {"Do": echo},
        add=lambda server: health_pb2_grpc.add_HealthServicer_to_server(Broken(), server),
    )
    with pytest.raises(Unavailable, match="says that it serves"):
        await send(grpc_upstream(server.address, connection=Connection(health=True)))


async def test_a_server_that_comes_back_is_asked_anew(watched: Watched, grpc_upstream: Connect) -> None:
    first, _ = await watched.start(all=SERVING)
    second, _ = await watched.start(all=SERVING)
    upstream = grpc_upstream(first.address, second.address, connection=Connection(health=True))
    await send(upstream)
    await first.server.stop(0)
    await eventually(upstream, lambda: watched.served[1] > 0)
    assert watched.served[0] == 1


async def test_streams_go_to_the_healthy(watched: Watched, grpc_upstream: Connect) -> None:
    first, _ = await watched.start(all=NOT_SERVING)
    second, _ = await watched.start(all=SERVING)
    upstream = grpc_upstream(first.address, second.address, connection=Connection(health=True))
    stream = await upstream.stream(
        GrpcRequest("/a.S/Do", b""), deadline=None, connect_by=asyncio.get_running_loop().time() + 5
    )
    await stream.write(b"abc")
    await stream.end()
    assert await stream.read() == b"abc"
    assert watched.served == {0: 0, 1: 1}
    stream.cancel()
