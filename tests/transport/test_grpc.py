"""`Cluster` against real sockets: the service's word comes back, trouble on the way is raised; never a hang."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.tls import Tls
from bridge.cluster.cluster import Cluster
from bridge.errors import BadReply, RequestError, Timeout, Unavailable
from tests.oracles.clusters import grpc_cluster

Address = tuple[str, int]
Send = Callable[..., Awaitable[GrpcReply]]


class Service:
    """Answers by what the message asks for; `seen` holds the metadata of each call."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str | bytes]] = []
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.hosts: list[str] = []

    async def answer(self, message: bytes, context: Any) -> bytes:
        self.seen.append(dict(context.invocation_metadata()))
        code, _, detail = message.decode().partition(":")
        if code.isdigit():
            trailers = (("grpc-status-details-bin", b"details"), ("x-trailer", "t"))
            context.set_trailing_metadata(trailers)
            await context.abort(next(c for c in grpc.StatusCode if c.value[0] == int(code)), detail)
        if code == "wait":
            self.entered.set()
            try:
                await asyncio.sleep(30)
            finally:
                self.cancelled.set()
        if code == "large":
            return b"x" * 100_000
        await context.send_initial_metadata((("x-initial", "i"),))
        context.set_trailing_metadata((("x-trailer", "t"),))
        return message[::-1]


class Running:
    def __init__(self, service: Service, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.server = grpc.aio.server()
        handlers = {"Do": grpc.unary_unary_rpc_method_handler(service.answer)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.S", handlers),))
        place = f"127.0.0.1:{port}"
        bound = self.server.add_secure_port(place, credentials) if credentials else self.server.add_insecure_port(place)
        self.address: Address = ("127.0.0.1", bound)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def running(service: Service) -> AsyncIterator[Running]:
    made = Running(service)
    await made.server.start()
    yield made
    await made.server.stop(None)


@pytest.fixture
async def connect(clients: str) -> AsyncIterator[Callable[..., Send]]:
    """Makes upstreams for addresses (a list that may change), and closes them."""
    made: list[Cluster] = []

    def connect(addresses: list[Address], **options: Any) -> Send:
        async def resolve() -> Sequence[Address]:
            return list(addresses)

        upstream = grpc_cluster(resolve, clients=clients, **options)
        made.append(upstream)

        async def send(message: bytes, *, within: float = 5.0, path: str = "/a.S/Do", **given: Any) -> GrpcReply:
            deadline = asyncio.get_running_loop().time() + within
            reply: GrpcReply = await upstream.send(
                GrpcRequest(path, message, **given), deadline=deadline, trace=[("x-trace-id", "t1")]
            )
            return reply

        return send

    yield connect
    await asyncio.gather(*(upstream.aclose() for upstream in made))


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[asyncio.Server]:
    """Takes connections and says nothing."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with server:
        yield server
        for writer in writers:
            writer.close()


async def closed(address: Address) -> None:
    """Until nobody listens at `address`: a stopped server of gRPC still takes connections for a moment, only to drop
    them, and shares the port with the next one."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                with contextlib.suppress(ConnectionResetError):
                    _, writer = await asyncio.open_connection(*address)
                    writer.close()


def port_of(server: asyncio.Server) -> Address:
    return ("127.0.0.1", server.sockets[0].getsockname()[1])


async def test_a_call_with_metadata_both_ways(running: Running, service: Service, connect: Callable[..., Send]) -> None:
    send = connect([running.address], name="tally-svc")
    reply = await send(b"abc", metadata=[("x-agency", "g"), ("x-raw-bin", b"\x00\xff")])
    assert (reply.code, reply.message) == (0, b"cba")
    assert dict(reply.metadata) == {"x-initial": "i"}
    assert dict(reply.trailers) == {"x-trailer": "t"}
    seen = service.seen[0]
    assert (seen["x-agency"], seen["x-raw-bin"], seen["x-trace-id"]) == ("g", b"\x00\xff", "t1")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_of_the_service_comes_back(
    running: Running, connect: Callable[..., Send], code: grpc.StatusCode
) -> None:
    reply = await connect([running.address])(f"{code.value[0]}:the reason".encode())
    assert (reply.code, reply.detail, reply.status_details) == (code.value[0], "the reason", b"details")
    assert ("x-trailer", "t") in reply.trailers


async def test_a_method_that_is_not_there_is_the_service_s_word(running: Running, connect: Callable[..., Send]) -> None:
    assert (await connect([running.address])(b"x", path="/a.S/No")).code == 12


async def test_our_deadline(running: Running, service: Service, connect: Callable[..., Send]) -> None:
    send = connect([running.address])
    with pytest.raises(Timeout):
        await send(b"wait", within=0.2)
    await asyncio.wait_for(service.cancelled.wait(), 5)
    with pytest.raises(Timeout):
        await send(b"x", within=0)
    with pytest.raises(Timeout):
        await send(b"x", within=-1)


async def test_a_client_that_leaves_cancels_the_call(
    running: Running, service: Service, connect: Callable[..., Send]
) -> None:
    call = asyncio.ensure_future(connect([running.address])(b"wait"))
    await asyncio.wait_for(service.entered.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(service.cancelled.wait(), 5)


async def test_an_answer_that_is_too_large(running: Running, connect: Callable[..., Send]) -> None:
    with pytest.raises(BadReply, match="larger"):
        await connect([running.address])(b"large")


async def test_nobody_listens(connect: Callable[..., Send]) -> None:
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(connect([("127.0.0.1", 1)])(b"x", within=10), 3)
    assert "127.0.0.1" not in caught.value.detail
    assert "127.0.0.1:1" in caught.value.cause
    assert caught.value.headers


async def test_there_is_no_address(connect: Callable[..., Send]) -> None:
    with pytest.raises(Unavailable, match="can't be reached"):
        await connect([])(b"x")


async def test_the_next_address_is_tried_when_nothing_was_sent(
    running: Running, connect: Callable[..., Send], reports: Any
) -> None:
    send = connect([("127.0.0.1", 1), running.address], outliers=reports)
    assert (await send(b"abc")).message == b"cba"
    assert (reports.unreached, reports.answered) == ([("127.0.0.1", 1)], [running.address])


async def test_a_silent_address_takes_its_share_of_the_deadline_only(
    running: Running, connect: Callable[..., Send]
) -> None:
    async with silent() as server:
        assert (await connect([port_of(server), running.address])(b"abc", within=1.0)).message == b"cba"
        with pytest.raises(Timeout):
            await connect([port_of(server)])(b"x", within=0.3)


async def test_what_answers_is_not_grpc(connect: Callable[..., Send]) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    async with server:
        with pytest.raises(RequestError) as caught:
            await connect([port_of(server)])(b"x", within=3)
    assert caught.value.status in (502, 503)
    assert "127.0.0.1" not in caught.value.detail


async def test_a_service_that_dies_in_the_call_and_comes_back(service: Service, connect: Callable[..., Send]) -> None:
    first = Running(service)
    await first.server.start()
    send = connect([first.address])
    call = asyncio.ensure_future(send(b"wait"))
    await asyncio.wait_for(service.entered.wait(), 5)
    await first.server.stop(0)
    with pytest.raises(Unavailable) as caught:
        await call
    assert "127.0.0.1" not in caught.value.detail
    with pytest.raises(Unavailable):
        await send(b"abc")
    await closed(first.address)
    again = Running(service, port=first.address[1])
    await again.server.start()
    try:
        assert (await send(b"abc")).message == b"cba"
    finally:
        await again.server.stop(None)


async def test_a_service_that_restarts_is_asked_anew_at_once(service: Service, connect: Callable[..., Send]) -> None:
    """A call that GOAWAY says was not looked at is sent again by gRPC's core, on a connection that it opens itself.
    When none is to be had, that the core then waits is no reason to refuse the next call."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)  # RFC 9113, 3.4: the client's preface
        writer.write(b"\0\0\0\x04\0\0\0\0\0")  # SETTINGS
        kind = b""
        while kind != b"\x01":  # HEADERS
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind = head[3:4]
        leaving.close()
        writer.write(b"\0\0\x08\x07\0\0\0\0\0" + bytes(8))  # GOAWAY: no stream was looked at
        writer.close()

    leaving = await asyncio.start_server(leave, "127.0.0.1", 0)
    address = port_of(leaving)
    send = connect([address])
    with pytest.raises(Unavailable):
        await send(b"abc")
    again = Running(service, port=address[1])
    await again.server.start()
    try:
        assert (await send(b"abc")).message == b"cba"
    finally:
        await again.server.stop(None)


async def test_a_refused_call_is_sent_once(running: Running, service: Service, connect: Callable[..., Send]) -> None:
    assert (await connect([running.address, running.address])(b"14:busy")).code == 14
    assert len(service.seen) == 1


async def test_addresses_that_left_are_let_go(running: Running, connect: Callable[..., Send]) -> None:
    addresses = [running.address]
    send = connect(addresses)
    await send(b"a")
    other = Running(Service())
    await other.server.start()
    try:
        addresses[:] = [other.address]
        assert (await send(b"abc")).message == b"cba"
    finally:
        await other.server.stop(None)


async def test_many_calls_at_once_share_one_connection_attempt(running: Running, connect: Callable[..., Send]) -> None:
    send = connect([running.address])
    replies = await asyncio.gather(*(send(str(n).encode() + b"x") for n in range(50)))
    assert [reply.message for reply in replies] == [f"x{str(n)[::-1]}".encode() for n in range(50)]


async def test_tls_wants_the_mesh_name_in_the_certificate(service: Service, connect: Callable[..., Send]) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("tally-svc")
    keys = [(issued.private_key_pem.bytes(), b"".join(blob.bytes() for blob in issued.cert_chain_pems))]
    secure = Running(service, grpc.ssl_server_credentials(keys))
    await secure.server.start()
    roots = authority.cert_pem.bytes()
    try:
        send = connect([secure.address], tls=True, name="tally-svc", trust=Tls(roots=roots))
        assert (await send(b"abc")).message == b"cba"
        others: list[dict[str, Any]] = [{"name": "other-svc", "trust": Tls(roots=roots)}, {"name": "tally-svc"}]
        for options in others:
            with pytest.raises(Unavailable):
                await connect([secure.address], tls=True, **options)(b"abc", within=3)
    finally:
        await secure.server.stop(None)
