"""A route's ``retry`` over real sockets: what is sent again, when, to whom, and what never is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from bridge.api.call import HttpRequest, Retry
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.upstream import Upstream
from bridge.api.transport import Address
from bridge.cluster.cluster import Cluster
from bridge.config.specfile import read_value
from bridge.errors import BindError, SpecError, Timeout, Unavailable, UpstreamError
from bridge.transport.grpc.transport import GrpcTransport
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.transport import HttpTransport
from bridge.transport.registry import policy_of
from tests.conftest import Start
from tests.oracles.clusters import http_cluster

POLICY = Retry(3, 0.01, 0.05, 2.0, frozenset((502, 503, 504)))
LOST, GOOD = "lost", 200


@dataclass
class Service:
    """Answers by `answers`, then with 200. `seen`: the method of each request, and when it came."""

    answers: list[int | str] = field(default_factory=list[int | str])
    seen: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    address: Address = ("", 0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.seen.append((head.split(b" ", 1)[0].decode(), time.monotonic()))
                answer = self.answers.pop(0) if self.answers else GOOD
                if answer == LOST:
                    break
                if answer == "begun":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
                    await writer.drain()
                    break
                body = b"" if head.startswith(b"HEAD") else b"hi"
                writer.write(f"HTTP/1.1 {answer} X\r\nContent-Length: 2\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


Serve = Callable[..., Awaitable[Service]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(503, LOST, …)``: a `Service` with these answers."""
    servers: list[asyncio.Server] = []

    async def make(*answers: int | str) -> Service:
        service = Service(list(answers))
        servers.append(await asyncio.start_server(service, "127.0.0.1", 0))
        service.address = servers[-1].sockets[0].getsockname()[:2]
        return service

    yield make
    for server in servers:
        server.close()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


@pytest.fixture
def cluster(client: HttpClient) -> Callable[..., Cluster]:
    """``cluster(service, …, retry=…)``: the instances take turns."""

    def make(*services: Service | Address, retry: Retry | None = POLICY) -> Cluster:
        turns = [service.address if isinstance(service, Service) else service for service in services]

        async def lookup() -> list[Address]:
            turns.append(turns.pop(0))
            return [turns[-1], *turns[:-1]]

        return http_cluster(lookup, client=client, name="svc", port="80", max_reply=1000, retry=retry)

    return make


async def ask(cluster: Cluster, method: str = "GET", within: float = 5.0) -> int:
    deadline = asyncio.get_running_loop().time() + within
    reply = await cluster.send(HttpRequest(method, "/"), deadline=deadline)
    return int(reply.status)


# --- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [502, 503, 504, LOST])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_call_is_sent_again(serve: Serve, cluster: Any, answer: Any, method: str) -> None:
    service = await serve(answer, answer)
    assert await ask(cluster(service), method) == GOOD
    assert [seen for seen, _ in service.seen] == [method] * 3


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_calls_are_not(serve: Serve, cluster: Any, method: str) -> None:
    service = await serve(503, LOST)
    assert await ask(cluster(service), method) == 503
    with pytest.raises(UpstreamError, match="without an answer"):
        await ask(cluster(service), method)
    assert len(service.seen) == 2


async def test_without_a_policy_nothing_is(serve: Serve, cluster: Any) -> None:
    service = await serve(503, LOST)
    assert await ask(cluster(service, retry=None)) == 503
    with pytest.raises(UpstreamError):
        # The kept connection may be stale, which is asked once more; a new one that is lost is not.
        await ask(cluster(await serve(LOST), retry=None))
    assert len(service.seen) == 1


@pytest.mark.parametrize("answer", [500, 501, 404, 429])
async def test_other_statuses_are_answers(serve: Serve, cluster: Any, answer: int) -> None:
    service = await serve(answer)
    assert await ask(cluster(service)) == answer
    assert len(service.seen) == 1


async def test_the_listed_statuses_alone(serve: Serve, cluster: Any) -> None:
    service = await serve(429, 503)
    retry = Retry(3, 0.01, 0.05, 2.0, frozenset((429,)))
    assert await ask(cluster(service, retry=retry)) == 503
    assert len(service.seen) == 2


async def test_an_answer_that_has_begun_is_final(serve: Serve, cluster: Any) -> None:
    service = await serve("begun")
    with pytest.raises(UpstreamError):
        await ask(cluster(service))
    assert len(service.seen) == 1


async def test_the_last_answer_is_given_when_attempts_end(serve: Serve, cluster: Any) -> None:
    service = await serve(503, 502, 504, 503)
    assert await ask(cluster(service)) == 504
    assert len(service.seen) == 3


async def test_the_next_attempt_goes_to_the_next_instance(serve: Serve, cluster: Any) -> None:
    bad, good = await serve(*[503] * 9), await serve()
    assert await ask(cluster(bad, good)) == GOOD
    assert (len(bad.seen), len(good.seen)) == (1, 1)


async def test_no_connection_is_tried_again_whatever_the_call(serve: Serve, cluster: Any) -> None:
    """Nothing was sent."""
    service = await serve()
    dead, found = ("127.0.0.1", 1), 0

    async def lookup() -> list[Address]:
        nonlocal found
        found += 1
        return [service.address] if found > 2 else [dead]

    both = cluster(service)
    both.lookup = lookup
    assert await ask(both, "POST") == GOOD
    assert found == 3
    found = 0
    once = cluster(service, retry=None)
    once.lookup = lookup
    with pytest.raises(Unavailable):
        await ask(once, "POST")
    assert found == 1


async def test_a_name_that_nobody_answers_to_is_looked_up_again(serve: Serve, cluster: Any) -> None:
    service, lookups = await serve(), 0

    async def lookup() -> list[Address]:
        nonlocal lookups
        lookups += 1
        if lookups < 3:
            raise Unavailable("nobody")
        return [service.address]

    found = cluster(service)
    found.lookup = lookup
    assert await ask(found, "POST") == GOOD
    lookups = -10
    with pytest.raises(Unavailable, match="nobody"):
        await ask(found, "POST")
    assert lookups == -7


async def test_the_waits_grow_and_the_deadline_ends_them(serve: Serve, cluster: Any) -> None:
    service = await serve(*[503] * 9)
    retry = Retry(5, 0.05, 10.0, 12.0, frozenset((503,)))
    began = time.monotonic()
    assert await ask(cluster(service, retry=retry), within=5.0) == 503  # 50 ms, 600 ms, and 7 s would be too long
    assert time.monotonic() - began < 5.0
    times = [at for _, at in service.seen]
    assert len(times) == 3
    assert 0.04 <= times[1] - times[0] < times[2] - times[1]


async def test_attempts_share_the_deadline(cluster: Any, serve: Serve) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    bad = await serve(503)
    turns = cluster(bad, server.sockets[0].getsockname()[:2])
    began = time.monotonic()
    with pytest.raises(Timeout):
        await ask(turns, within=0.3)
    assert time.monotonic() - began < 2
    server.close()


async def test_a_service_that_fails_a_lot_is_not_asked_more_often(serve: Serve, cluster: Any) -> None:
    service = await serve(*[503] * 100)
    asked = cluster(service)
    for _ in range(20):
        assert await ask(asked) == 503
    assert len(service.seen) < 20 + 10


# --- the spec ---------------------------------------------------------------------------------------------------------

SPEC = {"route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}


def test_the_spec_and_its_defaults() -> None:
    assert read_value(SPEC).retry is None
    retry = read_value({**SPEC, "retry": {}}).retry
    assert policy_of(HttpTransport(), retry) == Retry(3, 0.1, 2.0, 2.0, frozenset((502, 503, 504)))
    assert policy_of(GrpcTransport(), retry) == Retry(3, 0.1, 2.0, 2.0, frozenset((14,)))
    full = {"attempts": 5, "backoff": "50ms", "max_backoff": "1s", "multiplier": 1.5, "on": [429, 503]}
    policy = Retry(5, 0.05, 1.0, 1.5, frozenset((429, 503)))
    assert policy_of(HttpTransport(), read_value({**SPEC, "retry": full}).retry) == policy


@pytest.mark.parametrize(
    "retry",
    [
        {"attempts": 1}, {"attempts": 6}, {"attempts": True}, {"backoff": 0}, {"backoff": "soon"}, {"multiplier": 0.5},
        {"on": []}, {"on": 503}, {"backoff": "3s"}, {"max_attempts": 3}, 3,
    ],
)  # fmt: skip
def test_what_is_no_policy(retry: Any) -> None:
    with pytest.raises(SpecError):
        read_value({**SPEC, "retry": retry})


@pytest.mark.parametrize(
    ("transport", "on"),
    [(HttpTransport(), ["UNAVAILABLE"]), (HttpTransport(), [200]), (HttpTransport(), [600]), (GrpcTransport(), [503]),
     (GrpcTransport(), ["OK"]), (GrpcTransport(), ["NOPE"])],
)  # fmt: skip
def test_a_status_that_the_protocol_has_not(transport: Any, on: list[Any]) -> None:
    with pytest.raises(BindError) as bad:
        policy_of(transport, RetrySpec(on=tuple(on)))
    assert bad.value.faults[0].key == "retry.on"


# --- through the gateway ----------------------------------------------------------------------------------------------


async def test_an_http_route(start: Start, serve: Serve) -> None:
    service = await serve(503, 503, 503)
    spec = "route: /{rest*}\nupstream: svc:80\nauth: none\nretry: {backoff: 10ms, on: [503]}\n"
    routes = {"a.yml": f"{spec}transform: {{request: passthrough, response: passthrough}}\n"}
    async with start(mesh={"svc": f"127.0.0.1:{service.address[1]}"}, routes=routes) as gateway:
        refused = await gateway.client.post("/x")
        assert (refused.status_code, refused.json()["upstream_status"]) == (502, 503)
        assert (await gateway.client.get("/x")).status_code == GOOD
    assert [method for method, _ in service.seen] == ["POST", "GET", "GET", "GET"]


PROTO = """
syntax = "proto3";
package a;
service S {
  rpc Peek(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Keep(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Do(M) returns (M);
}
message M { string text = 1; }
"""


async def test_a_grpc_route_and_the_method_that_differs(start: Start) -> None:
    seen: list[str] = []

    def method(name: str) -> Any:
        async def answer(message: bytes, context: Any) -> bytes:
            seen.append(name)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            return message

        return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    handlers = {name: method(name) for name in ("Peek", "Keep", "Do")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.S", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    spec = "route: /\nupstream: svc:80\nauth: none\nretry: {attempts: 3, backoff: 10ms}\n"
    calls = "calls: {Keep: {retry: {max_attempts: 2, initial_backoff: 10ms}}}"
    routes = {"a.yml": f"{spec}transform: {{request: grpc, grpc: {{protos: [a.proto], {calls}}}}}\n"}
    async with start(mesh={"svc": f"127.0.0.1:{port}"}, routes=routes, files={"protos/a.proto": PROTO}) as gateway:
        for name, times in (("Peek", 3), ("Keep", 2), ("Do", 1)):
            seen.clear()
            assert (await gateway.client.post(f"/a.S/{name}", json={})).status_code == 503
            assert seen == [name] * times
    await server.stop(None)


async def test_routes_that_differ_in_retry_alone_share_connections(tmp_path: Any) -> None:
    from bridge.api.spec.connection import ConnectionSpec
    from bridge.cluster.mesh import open_mesh
    from bridge.cluster.pool import Upstreams
    from bridge.config.settings import Settings

    mesh = open_mesh("static:mesh.yml", tmp_path)
    upstreams = Upstreams(mesh, Settings(home=tmp_path))
    upstream = Upstream.parse("svc:80")
    plain, retried = (
        upstreams.bind(upstream, "http", ConnectionSpec()),
        upstreams.bind(upstream, "http", ConnectionSpec(), RetrySpec()),
    )
    assert plain is not retried
    assert plain.channel is retried.channel
    assert plain.throttle is retried.throttle
    await upstreams.aclose()
    await mesh.aclose()
