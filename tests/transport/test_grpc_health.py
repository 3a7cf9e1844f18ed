"""gRPC's health protocol: who is passed over, when it is heard, and when it is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.spec.connection import ConnectionSpec
from bridge.cluster.attempts import ADDRESSES
from bridge.cluster.cluster import Cluster
from bridge.errors import Unavailable
from bridge.transport.grpc import health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

Serve = Callable[..., Awaitable[Any]]
Connect = Callable[..., Cluster]


async def echo(message: bytes, context: Any) -> bytes:
    return message


async def send(upstream: Cluster, message: bytes = b"abc", within: float = 5.0) -> GrpcReply:
    deadline = asyncio.get_running_loop().time() + within
    reply: GrpcReply = await upstream.send(GrpcRequest("/a.S/Do", message), deadline=deadline)
    return reply


class Watched:
    """Servers with a word on their health; `served` counts the calls of each."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.served: dict[int, int] = {}

    async def start(self, **said: Any) -> tuple[Any, Any]:
        """A server and its health servicer, which says `said` by service (``all`` for the server)."""
        number = len(self.served)
        self.served[number] = 0
        servicer = HealthServicer()

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


async def eventually(upstream: Cluster, good: Callable[[], bool]) -> None:
    """Calls until what the servers said has arrived."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(Unavailable):
                await send(upstream)
            if good():
                return
            await asyncio.sleep(0.01)  # a refusal waits for nothing, and would keep the word from being heard


async def test_those_that_do_not_serve_are_passed_over(watched: Watched, grpc_upstream: Connect, reports: Any) -> None:
    first, told = await watched.start(all=NOT_SERVING)
    second, _ = await watched.start(all=SERVING)
    upstream = grpc_upstream(first.address, second.address, connection=ConnectionSpec(health=True), outliers=reports)
    for _ in range(5):
        assert (await send(upstream)).code == 0
    assert watched.served == {0: 0, 1: 5}
    assert reports.unreached == []  # it takes connections
    await told.set("", SERVING)
    await eventually(upstream, lambda: watched.served[0] > 0)
    await told.set("", NOT_SERVING)
    before = watched.served[1]
    await eventually(upstream, lambda: watched.served[1] > before)


async def test_none_serves(watched: Watched, grpc_upstream: Connect) -> None:
    servers = [await watched.start(all=NOT_SERVING) for _ in range(2)]
    upstream = grpc_upstream(*(server.address for server, _ in servers), connection=ConnectionSpec(health=True))
    for _ in range(2):  # when it is heard first, and when it is known
        with pytest.raises(Unavailable, match="can't be reached") as caught:
            await send(upstream)
        assert "127.0.0.1" not in caught.value.detail
    assert watched.served == {0: 0, 1: 0}
    await servers[1][1].set("", SERVING)
    await eventually(upstream, lambda: watched.served[1] > 0)


async def test_one_service_of_several(watched: Watched, grpc_upstream: Connect) -> None:
    said = {"all": SERVING, "a.S": NOT_SERVING, "a.T": SERVING}
    server, _ = await watched.start(**said)
    assert (await send(grpc_upstream(server.address, connection=ConnectionSpec(health="a.T")))).code == 0
    for unfit in ("a.S", "a.Unknown"):
        with pytest.raises(Unavailable):
            await send(grpc_upstream(server.address, connection=ConnectionSpec(health=unfit)))
    assert watched.served == {0: 1}


async def test_a_server_that_can_not_say_counts_as_healthy(serve_grpc: Serve, grpc_upstream: Connect) -> None:
    server = await serve_grpc({"Do": echo})
    upstream = grpc_upstream(server.address, connection=ConnectionSpec(health=True))
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
    with pytest.raises(Unavailable, match="can't be reached"):
        await send(grpc_upstream(server.address, connection=ConnectionSpec(health=True)))


async def test_a_server_that_comes_back_is_asked_anew(watched: Watched, grpc_upstream: Connect) -> None:
    first, _ = await watched.start(all=SERVING)
    second, _ = await watched.start(all=SERVING)
    upstream = grpc_upstream(first.address, second.address, connection=ConnectionSpec(health=True))
    await send(upstream)
    await first.server.stop(0)
    await eventually(upstream, lambda: watched.served[1] > 0)
    assert watched.served[0] == 1


async def test_streams_go_to_the_healthy(watched: Watched, grpc_upstream: Connect) -> None:
    first, _ = await watched.start(all=NOT_SERVING)
    second, _ = await watched.start(all=SERVING)
    upstream = grpc_upstream(first.address, second.address, connection=ConnectionSpec(health=True))
    stream = await upstream.stream(
        GrpcRequest("/a.S/Do", b""), deadline=None, connect_by=asyncio.get_running_loop().time() + 5
    )
    await stream.write(b"abc")
    await stream.end()
    assert await stream.read() == b"abc"
    assert watched.served == {0: 0, 1: 1}
    stream.cancel()


async def test_the_ninth_may_serve_where_eight_do_not(watched: Watched, grpc_upstream: Connect) -> None:
    servers = [(await watched.start(all=NOT_SERVING))[0] for _ in range(ADDRESSES)]
    servers.append((await watched.start(all=SERVING))[0])
    upstream = grpc_upstream(*(server.address for server in servers), connection=ConnectionSpec(health=True))
    await eventually(upstream, lambda: watched.served[ADDRESSES] > 0)


async def test_a_server_that_starts_anew_is_heard_at_once(
    relay: Serve, grpc_upstream: Connect, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that broke off with its server says nothing of the next one at that address."""
    monkeypatch.setattr(health, "FIRST_PAUSE", 3600.0)  # what the watch of the old one would wait for
    first, _ = await watched.start(all=SERVING)
    second, _ = await watched.start(all=SERVING)
    between = await relay(first.address)
    upstream = grpc_upstream(between.address, connection=ConnectionSpec(health=True))
    await send(upstream)
    between.to = second.address
    between.drop()
    await eventually(upstream, lambda: watched.served[1] > 0)
