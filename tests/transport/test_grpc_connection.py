"""What a spec's ``connection`` asks for, and retries: against real servers of gRPC's own library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from bridge.api.call import GrpcRequest, Retry
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.tls import Tls
from bridge.api.transport import Target
from bridge.cluster import attempts
from bridge.cluster.cluster import Cluster
from bridge.errors import BadReply, RequestError, Timeout, TooLarge, Unavailable
from bridge.transport.grpc.subchannel import ConnectionOptions, Subchannel
from tests.oracles.grpcio.subchannel import GrpcioSubchannel

Make = Callable[..., Cluster]
REQUEST = GrpcRequest("/a.S/Do", b"hello")


def soon(seconds: float = 10) -> float:
    return asyncio.get_running_loop().time() + seconds


class Service:
    """Refuses the first `refusals` calls with `code`; `seen` holds the metadata of each call."""

    def __init__(self, refusals: int = 0, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.refusals, self.code = refusals, code
        self.trailers: tuple[tuple[str, str], ...] = ()
        self.begins = False
        self.seen: list[dict[str, Any]] = []
        self.peers: list[Any] = []

    async def answer(self, message: bytes, context: Any) -> bytes:
        self.seen.append(dict(context.invocation_metadata()))
        self.peers.append(context.auth_context())
        if len(self.seen) <= self.refusals:
            if self.begins:
                await context.send_initial_metadata((("x-begun", "yes"),))
            context.set_trailing_metadata(self.trailers)
            await context.abort(self.code, "not now")
        return message


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def pem(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes()


async def test_mutual_tls(serve_grpc: Any, grpc_upstream: Make, authority: trustme.CA) -> None:
    server, client = authority.issue_cert("tally.internal"), authority.issue_cert("gateway.internal")
    credentials = grpc.ssl_server_credentials(
        [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())], pem(authority), require_client_auth=True
    )
    service = Service()
    running = await serve_grpc({"Do": service.answer}, credentials=credentials)
    shown = {"certificate": client.cert_chain_pems[0].bytes(), "key": client.private_key_pem.bytes()}
    trust = Tls(pem(authority), **shown, server_name="tally.internal")
    upstream = grpc_upstream(running.address, tls=True, name="tally-svc", trust=trust)
    assert (await upstream.send(REQUEST, deadline=soon())).message == b"hello"
    assert b"gateway.internal" in service.peers[0]["x509_subject_alternative_name"]
    for wrong in (
        Tls(pem(authority), server_name="tally.internal"),  # shows no certificate
        Tls(pem(authority), **shown, server_name="other.internal"),
        Tls(pem(trustme.CA()), **shown, server_name="tally.internal"),
    ):
        other = grpc_upstream(running.address, tls=True, name="tally-svc", trust=wrong)
        with pytest.raises(RequestError) as refused:
            await other.send(REQUEST, deadline=soon(2))
        assert refused.value.status in (502, 503, 504)
    assert len(service.seen) == 1


# --- limits ---------------------------------------------------------------------------------------------


async def test_max_message_bounds_both_ways(serve_grpc: Any, grpc_upstream: Make) -> None:
    running = await serve_grpc({"Do": Service().answer})
    upstream = grpc_upstream(running.address, connection=ConnectionSpec(max_message=100))
    assert (await upstream.send(GrpcRequest("/a.S/Do", bytes(90)), deadline=soon())).message == bytes(90)
    with pytest.raises(TooLarge):
        await upstream.send(GrpcRequest("/a.S/Do", bytes(200)), deadline=soon())


async def test_metadata_of_an_answer_is_bounded(serve_grpc: Any, grpc_upstream: Make) -> None:
    async def chatty(message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-much", "x" * 5000),))
        return message

    running = await serve_grpc({"Do": chatty})
    small = grpc_upstream(running.address, connection=ConnectionSpec(max_metadata=1000))
    with pytest.raises(BadReply, match="more metadata"):
        await small.send(REQUEST, deadline=soon())
    assert (await grpc_upstream(running.address).send(REQUEST, deadline=soon())).code == 0


# --- health ---------------------------------------------------------------------------------------------------------


async def healthy(serve_grpc: Any, service: Service, health: HealthServicer) -> Any:
    def add(server: Any) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(health, server)

    return await serve_grpc({"Do": service.answer}, add=add)


async def test_an_address_that_does_not_serve_is_passed_over(serve_grpc: Any, grpc_upstream: Make) -> None:
    first, second = Service(), Service()
    health = HealthServicer()
    await health.set("tally", health_pb2.HealthCheckResponse.NOT_SERVING)
    resting = await healthy(serve_grpc, first, health)
    other = await serve_grpc({"Do": second.answer})  # knows nothing of health, and counts as serving
    upstream = grpc_upstream(resting.address, other.address, connection=ConnectionSpec(health="tally"))
    await upstream.send(REQUEST, deadline=soon())
    assert (len(first.seen), len(second.seen)) == (0, 1)
    await health.set("tally", health_pb2.HealthCheckResponse.SERVING)
    async with asyncio.timeout(10):
        while not first.seen:
            await upstream.send(REQUEST, deadline=soon())
    await health.set("tally", health_pb2.HealthCheckResponse.NOT_SERVING)
    async with asyncio.timeout(10):
        count = -1
        while len(first.seen) != count:
            count = len(first.seen)
            await upstream.send(REQUEST, deadline=soon())
            await asyncio.sleep(0.02)


async def test_where_none_serves_it_is_503(serve_grpc: Any, grpc_upstream: Make) -> None:
    health = HealthServicer()
    await health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    service = Service()
    running = await healthy(serve_grpc, service, health)
    upstream = grpc_upstream(running.address, connection=ConnectionSpec(health=True))
    with pytest.raises(Unavailable) as refused:
        await upstream.send(REQUEST, deadline=soon(1))
    assert "don't serve" in refused.value.cause
    assert service.seen == []


# --- retries --------------------------------------------------------------------------------------------------------


def policy(**changes: Any) -> Retry:
    given: dict[str, Any] = {
        "max_attempts": 4, "initial_backoff": 0.001, "max_backoff": 0.002, "multiplier": 2.0, "codes": frozenset({14})
    }  # fmt: skip
    return Retry(**{**given, **changes})


def asking(**changes: Any) -> GrpcRequest:
    return GrpcRequest("/a.S/Do", b"hello", retry=policy(**changes))


async def test_what_the_policy_lists_is_tried_again(serve_grpc: Any, grpc_upstream: Make) -> None:
    service = Service(refusals=2)
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    assert (await upstream.send(asking(), deadline=soon())).message == b"hello"
    assert [one.get("grpc-previous-rpc-attempts") for one in service.seen] == [None, "1", "2"]


@pytest.mark.parametrize(
    ("service", "changes", "calls"),
    [
        (Service(9), {}, 4),
        (Service(9), {"max_attempts": 2}, 2),
        (Service(9, grpc.StatusCode.INTERNAL), {}, 1),
        (Service(9, grpc.StatusCode.ABORTED), {"codes": frozenset({10, 14})}, 4),
    ],
)
async def test_as_often_as_it_says(
    serve_grpc: Any, grpc_upstream: Make, service: Service, changes: Any, calls: int
) -> None:
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    reply = await upstream.send(asking(**changes), deadline=soon())
    assert (reply.code, len(service.seen)) == (service.code.value[0], calls)
    service.seen.clear()


async def test_without_a_policy_nothing_is(serve_grpc: Any, grpc_upstream: Make) -> None:
    service = Service(1)
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    assert (await upstream.send(REQUEST, deadline=soon())).code == 14
    assert len(service.seen) == 1


async def test_a_service_that_has_begun_to_answer_is_not_asked_again(serve_grpc: Any, grpc_upstream: Make) -> None:
    service = Service(1)
    service.begins = True
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    assert (await upstream.send(asking(), deadline=soon())).code == 14
    assert len(service.seen) == 1


@pytest.mark.parametrize(("pushback", "calls"), [("0", 2), ("-1", 1), ("soon", 1)])
async def test_the_service_may_say_when(serve_grpc: Any, grpc_upstream: Make, pushback: str, calls: int) -> None:
    service = Service(1)
    service.trailers = (("grpc-retry-pushback-ms", pushback),)
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    # Only a pushback of nothing is quicker than the policy's own hour.
    await upstream.send(asking(initial_backoff=3600.0, max_backoff=3600.0), deadline=soon(7200))
    assert len(service.seen) == calls


async def test_no_delay_passes_the_deadline(serve_grpc: Any, grpc_upstream: Make) -> None:
    service = Service(1)
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    reply = await upstream.send(asking(initial_backoff=60.0, max_backoff=60.0), deadline=soon(5))
    assert (reply.code, len(service.seen)) == (14, 1)


async def test_a_server_that_is_down_is_not_asked_by_everybody_again(serve_grpc: Any, grpc_upstream: Make) -> None:
    service = Service(1000)
    upstream = grpc_upstream((await serve_grpc({"Do": service.answer})).address)
    for _ in range(20):
        await upstream.send(asking(), deadline=soon())
    assert len(service.seen) < 20 + attempts.MAX_TOKENS


async def test_the_methods_own_timeout(serve_grpc: Any, grpc_upstream: Make) -> None:
    async def slow(message: bytes, context: Any) -> bytes:
        await asyncio.Event().wait()
        return message

    upstream = grpc_upstream((await serve_grpc({"Do": slow})).address)
    with pytest.raises(Timeout):
        await upstream.send(GrpcRequest("/a.S/Do", b"", timeout=0.05), deadline=soon(60))


async def test_an_address_that_another_call_gives_up_takes_no_connection(clients: str) -> None:
    """The attempt is shared. Who waits for it when it is ended was not cancelled, and goes on to the next address."""
    begun = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        begun.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    address = ("127.0.0.1", server.sockets[0].getsockname()[1])
    target = Target("", "1", None, ConnectionSpec(), 1)
    peer = (
        GrpcioSubchannel(address, target) if clients == "general" else Subchannel(address, ConnectionOptions.of(target))
    )
    waiting = asyncio.create_task(peer.connect(10))
    async with asyncio.timeout(5):
        await begun.wait()
        await peer.aclose()
        assert await waiting is False
    server.close()
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# --- a server that takes few calls at once ------------------------------------------------------------------------


async def test_calls_that_last_keep_no_other_waiting(serve_grpc: Any, grpc_upstream: Make) -> None:
    """One call a connection: each further one gets a connection of its own, while there are not too many."""

    async def echo(messages: Any, context: Any) -> Any:
        async for message in messages:
            yield message

    server = await serve_grpc({"Echo": echo}, stream=True, options=[("grpc.max_concurrent_streams", 1)])
    upstream = grpc_upstream(server.address, clients="lean")
    async with asyncio.timeout(5):
        for _ in range(4):
            stream = await upstream.stream(GrpcRequest("/a.S/Echo", b""), deadline=None, connect_by=soon(5))
            await stream.write(b"abc")
            assert await stream.read() == b"abc"


async def test_more_calls_than_there_is_room_for_take_turns(serve_grpc: Any, grpc_upstream: Make) -> None:
    async def slow(message: bytes, context: Any) -> bytes:
        await asyncio.sleep(0.01)
        return message

    server = await serve_grpc({"Do": slow}, options=[("grpc.max_concurrent_streams", 1)])
    upstream = grpc_upstream(server.address)
    sending = (upstream.send(GrpcRequest("/a.S/Do", b"%d" % n), deadline=soon(20)) for n in range(100))
    assert [reply.message for reply in await asyncio.gather(*sending)] == [b"%d" % n for n in range(100)]
