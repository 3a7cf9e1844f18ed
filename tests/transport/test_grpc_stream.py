"""`Cluster.stream` against gRPC's own servers: every cardinality, every end, and back-pressure both ways."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.stream import UpstreamStream
from bridge.cluster.cluster import Cluster
from bridge.errors import BadReply, RequestError, Timeout, Unavailable, UpstreamError
from bridge.transport.grpc.subchannel import WINDOW
from tests.oracles.clusters import grpc_cluster

Messages = AsyncIterator[bytes]
Open = Callable[..., Awaitable[UpstreamStream]]


class Service:
    """Streams; `wrote` and `took` count messages at the service's side."""

    def __init__(self) -> None:
        self.seen: dict[str, str | bytes] = {}
        self.wrote = self.took = 0
        self.entered, self.cancelled, self.go, self.refused = (asyncio.Event() for _ in range(4))

    async def echo(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        """Each message back, reversed; metadata before and after."""
        self.seen = dict(context.invocation_metadata())
        await context.send_initial_metadata((("x-initial", "i"), ("x-raw-bin", b"\x00\xff")))
        async for message in messages:
            yield message[::-1]
        context.set_trailing_metadata((("x-trailer", "t"),))

    async def join(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        """All of them as one (a client stream)."""
        yield b",".join([message async for message in messages])

    async def count(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        """As many as the one message says (a server stream)."""
        async for message in messages:
            for n in range(int(message)):
                yield b"%d" % n

    async def refuse(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        """As many messages as the first one says, then a status; the rest that comes is not read."""
        async for message in messages:
            for n in range(int(message)):
                yield b"%d" % n
            break
        self.refused.set()
        context.set_trailing_metadata((("grpc-status-details-bin", b"details"), ("x-trailer", "t")))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "polls are closed")

    async def large(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        yield b"small"
        yield b"x" * 100_000

    async def pour(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        """Without end, as fast as they are taken."""
        while True:
            yield bytes(1000)
            self.wrote += 1

    async def stay(self, messages: Messages, context: Any) -> AsyncIterator[bytes]:
        """One message, then nothing until `go`; then all that comes is counted."""
        self.entered.set()
        try:
            yield b"here"
            await self.go.wait()
            async for _ in messages:
                self.took += 1
            yield b"%d" % self.took
        except BaseException:
            self.cancelled.set()
            raise

    @property
    def methods(self) -> dict[str, Any]:
        names = ("echo", "join", "count", "refuse", "large", "pour", "stay")
        return {name.title(): getattr(self, name) for name in names}


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def running(service: Service, serve_grpc: Callable[..., Awaitable[Any]]) -> Any:
    return await serve_grpc(service.methods, stream=True)


@pytest.fixture
async def call(running: Any, grpc_upstream: Callable[..., Cluster]) -> Open:
    """``await call("Echo", within=…)``: a stream of that method, by default without a deadline."""
    upstream = grpc_upstream(running.address)

    async def call(method: str, *, within: float | None = None, **given: Any) -> Any:
        now = asyncio.get_running_loop().time()
        return await upstream.stream(
            GrpcRequest(f"/a.S/{method}", b"", **given),
            deadline=None if within is None else now + within,
            connect_by=now + 5,
            trace=[("x-trace-id", "t1")],
        )

    return call


async def rest(stream: UpstreamStream) -> list[bytes]:
    found = []
    while (message := await stream.read()) is not None:
        found.append(message)
    return found


async def write_on(stream: UpstreamStream) -> None:
    for _ in range(20_000):
        await stream.write(bytes(1000))


async def settled(count: Callable[[], int]) -> int:
    """What `count` says when it has stopped growing."""
    last, still = -1, 0
    async with asyncio.timeout(20):
        while still < 5:
            still = still + 1 if count() == last else 0
            last = count()
            await asyncio.sleep(0.05)  # there is no event for what does not happen
    return last


@contextlib.asynccontextmanager
async def soon(seconds: float = 10.0) -> AsyncIterator[None]:
    async with asyncio.timeout(seconds):
        yield


async def test_both_ways_with_metadata_before_and_after(call: Open, service: Service) -> None:
    stream = await call("Echo", metadata=[("x-agency", "g"), ("x-raw-bin", b"\x01")])
    for message in (b"abc", b"", b"de"):  # an answer before the next question: nothing waits for the end
        await stream.write(message)
        assert await stream.read() == message[::-1]
    assert dict(await stream.metadata()) == {"x-initial": "i", "x-raw-bin": b"\x00\xff"}
    await stream.end()
    assert await stream.read() is None
    assert await stream.status() == GrpcReply(0, metadata=await stream.metadata(), trailers=(("x-trailer", "t"),))
    assert (service.seen["x-agency"], service.seen["x-raw-bin"], service.seen["x-trace-id"]) == ("g", b"\x01", "t1")


async def test_one_and_one(call: Open) -> None:
    stream = await call("Echo")
    await stream.write(b"abc")
    await stream.end()
    assert await rest(stream) == [b"cba"]
    assert (await stream.status()).code == 0


async def test_many_and_one(call: Open) -> None:
    stream = await call("Join")
    for n in range(20):
        await stream.write(b"%d" % n)
    await stream.end()
    assert await rest(stream) == [b",".join(b"%d" % n for n in range(20))]
    assert (await stream.status()).code == 0


async def test_one_and_many(call: Open) -> None:
    stream = await call("Count")
    await stream.write(b"300")
    await stream.end()
    assert await rest(stream) == [b"%d" % n for n in range(300)]
    assert (await stream.status()).code == 0


async def test_a_stream_of_nothing(call: Open) -> None:
    stream = await call("Echo")
    await stream.end()
    await stream.end()
    assert await rest(stream) == []
    assert (await stream.status()).code == 0


@pytest.mark.parametrize("before", [0, 1, 200])
async def test_the_service_s_status_after_some_messages(call: Open, before: int) -> None:
    stream = await call("Refuse")
    await stream.write(b"%d" % before)
    assert await rest(stream) == [b"%d" % n for n in range(before)]
    for _ in range(2):
        reply = await stream.status()
        assert (reply.code, reply.detail, reply.status_details) == (9, "polls are closed", b"details")
        assert ("x-trailer", "t") in reply.trailers


async def test_a_service_that_answers_without_reading_on_is_heard_out(call: Open, service: Service) -> None:
    stream = await call("Refuse")
    await stream.write(b"200")
    writing = asyncio.ensure_future(write_on(stream))  # far into what the service never reads
    await service.refused.wait()
    await writing
    assert len(await rest(stream)) == 200
    assert (await stream.status()).code == 9
    await stream.write(b"late")
    await stream.end()


async def test_a_method_that_is_not_there(call: Open) -> None:
    stream = await call("No")
    assert await stream.read() is None
    assert list(await stream.metadata()) == []
    assert (await stream.status()).code == 12


async def test_a_message_that_is_too_large(call: Open) -> None:
    stream = await call("Large")
    assert await rest(stream) == [b"small"]
    with pytest.raises(BadReply, match="larger"):
        await stream.status()


async def test_the_deadline(call: Open, service: Service) -> None:
    stream = await call("Stay", within=0.3)
    async with soon():
        assert await rest(stream) == [b"here"]
    with pytest.raises(Timeout):
        await stream.status()
    await asyncio.wait_for(service.cancelled.wait(), 5)
    with pytest.raises(Timeout):
        await call("Stay", within=-1)


async def test_connecting_has_its_own_bound(
    serve: Callable[..., Awaitable[Any]], grpc_upstream: Callable[..., Cluster]
) -> None:
    async def silent(peer: Any) -> None:
        await peer.reader.read()

    server = await serve(silent)
    now = asyncio.get_running_loop().time()
    async with soon(2):
        with pytest.raises(Timeout):
            await grpc_upstream(server.address).stream(
                GrpcRequest("/a.S/Echo", b""), deadline=None, connect_by=now + 0.2
            )


async def test_nobody_listens(grpc_upstream: Callable[..., Cluster]) -> None:
    with pytest.raises(Unavailable):
        await grpc_upstream(("127.0.0.1", 1)).stream(
            GrpcRequest("/a.S/Echo", b""), deadline=None, connect_by=asyncio.get_running_loop().time() + 5
        )


async def test_a_service_that_dies_midway(call: Open, running: Any) -> None:
    stream = await call("Stay")
    assert await stream.read() == b"here"
    reading = asyncio.ensure_future(stream.read())
    await running.server.stop(0)
    async with soon():
        assert await reading is None
        with pytest.raises(RequestError) as caught:
            await stream.status()
    assert caught.value.status in (502, 503)
    assert "127.0.0.1" not in caught.value.detail
    await stream.write(b"nobody hears it")


async def test_a_call_given_up_is_seen_by_the_service(call: Open, service: Service) -> None:
    stream = await call("Stay")
    assert await stream.read() == b"here"
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    stream.cancel()
    async with soon():
        assert await reading is None
        await service.cancelled.wait()
        with pytest.raises(UpstreamError, match="given up"):
            await stream.status()
    stream.cancel()


@pytest.mark.parametrize("waiting", ["read", "write", "status"])
async def test_a_task_that_is_cancelled_cancels_the_call(call: Open, service: Service, waiting: str) -> None:
    stream = await call("Stay")
    await asyncio.wait_for(service.entered.wait(), 5)
    assert await stream.read() == b"here"

    async def wait() -> None:
        while True:
            await (stream.write(bytes(10_000)) if waiting == "write" else getattr(stream, waiting)())

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0.05)  # until it waits; there is no event for that
    task.cancel()
    async with soon():
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.cancelled.wait()


async def test_closing_the_upstream_ends_its_streams(running: Any, grpc_upstream: Callable[..., Cluster]) -> None:
    upstream = grpc_upstream(running.address)
    now = asyncio.get_running_loop().time()
    stream = await upstream.stream(GrpcRequest("/a.S/Stay", b""), deadline=None, connect_by=now + 5)
    assert await stream.read() == b"here"
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    async with soon():
        await upstream.aclose()
        assert await reading is None
        with pytest.raises(Unavailable, match="shutting down"):
            await stream.status()


async def test_a_stream_outlives_its_address(
    service: Service, running: Any, serve_grpc: Callable[..., Awaitable[Any]], clients: Any
) -> None:
    addresses = [running.address]

    async def resolve() -> list[tuple[str, int]]:
        return list(addresses)

    upstream = grpc_cluster(resolve, tls=False, max_reply=1000, clients=clients)
    now = asyncio.get_running_loop().time()
    stream = await upstream.stream(GrpcRequest("/a.S/Echo", b""), deadline=None, connect_by=now + 5)
    addresses[:] = [(await serve_grpc(service.methods, stream=True)).address]
    other = await upstream.stream(GrpcRequest("/a.S/Echo", b""), deadline=None, connect_by=now + 5)
    for one in (stream, other, stream):
        await one.write(b"abc")
        assert await one.read() == b"cba"
    await stream.end()
    assert await stream.read() is None
    await upstream.aclose()


async def test_a_slow_reader_slows_the_service(call: Open, service: Service) -> None:
    stream = await call("Pour")
    for _ in range(2000):  # at full speed first, which is when the core would widen its window
        await stream.read()
    ahead = await settled(lambda: service.wrote) - 2000
    assert 0 < ahead * 1000 < 2 * WINDOW
    stopped = service.wrote
    for _ in range(2000):
        await stream.read()
    assert service.wrote > stopped
    stream.cancel()


async def test_a_slow_service_slows_us(call: Open, service: Service) -> None:
    stream = await call("Stay")
    wrote = 0

    async def write() -> None:
        nonlocal wrote
        for _ in range(20_000):
            await stream.write(bytes(1000))
            wrote += 1
        await stream.end()

    writing = asyncio.ensure_future(write())
    assert await settled(lambda: wrote) < 10_000  # the service's window, and what the core holds
    assert not writing.done()
    service.go.set()
    await writing
    assert await rest(stream) == [b"here", b"20000"]


@pytest.mark.parametrize(
    ("length", "most"),
    [(20_000, 400_000), pytest.param(100_000, 2_000_000, marks=pytest.mark.slow)],
)
async def test_many_small_messages_in_flat_memory(call: Open, length: int, most: int) -> None:
    stream = await call("Count")
    await stream.write(b"%d" % length)
    await stream.end()
    count = before = 0
    tracemalloc.start()
    try:
        while (message := await stream.read()) is not None:
            assert message == b"%d" % count
            count += 1
            if count == 1000:
                before = tracemalloc.get_traced_memory()[0]
        assert count == length
        assert tracemalloc.get_traced_memory()[1] - before < most
    finally:
        tracemalloc.stop()
