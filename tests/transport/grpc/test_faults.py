"""Services that misbehave, over real sockets: whatever they do, the call ends as it should, and soon."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trustme

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.tls import Tls
from bridge.cluster.cluster import Cluster
from bridge.errors import BadReply, RequestError, Timeout, Unavailable, UpstreamError
from bridge.transport.grpc import subchannel as peers
from bridge.transport.grpc.framing import encode_message
from bridge.transport.http2 import transport
from tests.transport.grpc.kit import HELLO, OK, Said, done, section
from tests.transport.http2.kit import cut, raw

SETTINGS, PING, GOAWAY, RST = raw(4, 0, 0), raw(6, 0, 0, bytes(8)), 7, 3
ANSWER = b"".join(said.on(1) for said in HELLO)
PREFACE = 24

Serve = Callable[..., Awaitable[Any]]


@pytest.fixture
def clients() -> str:
    """The general client has its own tests."""
    return "lean"


async def send(upstream: Cluster, message: bytes = b"q", within: float = 10.0) -> GrpcReply:
    deadline = asyncio.get_running_loop().time() + within
    reply: GrpcReply = await upstream.send(GrpcRequest("/a.S/Do", message), deadline=deadline)
    return reply


class Reading:
    """The server's side of one connection: the client's frames, one by one."""

    def __init__(self, peer: Any) -> None:
        self.reader, self.writer = peer.reader, peer.writer

    async def preface(self) -> None:
        assert (await self.reader.readexactly(PREFACE)).startswith(b"PRI")

    async def frame(self) -> tuple[int, int, int, bytes]:
        head = await self.reader.readexactly(9)
        return cut(head + await self.reader.readexactly(int.from_bytes(head[:3], "big")))[0]

    async def until(self, kind: int) -> tuple[int, int, int, bytes]:
        while True:
            found = await self.frame()
            if found[0] == kind:
                return found

    async def request(self) -> int:
        """The next request's number, once it is here whole."""
        while True:
            found = await self.frame()
            if found[0] in (0, 1) and found[1] & 1:
                return found[2]

    async def rest(self) -> bytes:
        data = bytearray()
        while more := await self.reader.read(65_536):
            data += more
        return bytes(data)


def speaking(*after_settings: bytes) -> Callable[[Any], Awaitable[None]]:
    """A server that greets, waits for a request, says this, and stays."""

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        await client.request()
        await peer.say(*after_settings)
        await client.rest()

    return behave


@pytest.mark.parametrize("size", [*range(0, len(ANSWER), 7), len(ANSWER) - 1])
@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_an_answer_that_breaks_off(serve: Serve, grpc_upstream: Any, size: int, how: str) -> None:
    """Within each frame: head, payload, between two."""

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        await client.request()
        await peer.say(ANSWER[:size])
        peer.writer.reset = how == "reset"

    server = await serve(behave)
    with pytest.raises(Unavailable):
        await send(grpc_upstream(server.address))
    assert server.connections == 1  # what may have been done is not done again


async def test_byte_by_byte(serve: Serve, grpc_upstream: Any) -> None:
    server = await serve(speaking(*(ANSWER[at : at + 1] for at in range(len(ANSWER)))))
    assert (await send(grpc_upstream(server.address))).message == b"hello"


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        PING + SETTINGS,
        b"\x00" * 100,
        b"SSH-2.0-x\r\n" + bytes(20),
    ],
)
async def test_who_does_not_speak_http2(serve: Serve, grpc_upstream: Any, greeting: bytes) -> None:
    told: list[bytes] = []

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(greeting)
        told.append(await client.rest())

    server = await serve(behave)
    with pytest.raises(Unavailable):
        await send(grpc_upstream(server.address))


async def test_who_says_nothing(serve: Serve, grpc_upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting is bounded: it is not over before SETTINGS are here."""
    monkeypatch.setattr("bridge.transport.grpc.subchannel.CONNECT", 0.2)
    monkeypatch.setattr(peers, "CONNECT", 0.2)

    async def behave(peer: Any) -> None:
        await Reading(peer).rest()

    server = await serve(behave)
    with pytest.raises(Unavailable):
        await send(grpc_upstream(server.address))


async def test_tls_without_alpn(serve: Serve, grpc_upstream: Any) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("tally").configure_cert(context)

    async def behave(peer: Any) -> None:
        await Reading(peer).rest()

    server = await serve(behave, ssl=context)
    upstream = grpc_upstream(server.address, tls=True, name="tally", trust=Tls(authority.cert_pem.bytes()))
    with pytest.raises(Unavailable) as refused:
        await send(upstream)
    assert "ALPN" in (refused.value.cause or "")


#: RFC 9113, section 10.5.
FLOODS = {
    "SETTINGS": SETTINGS,
    "PING": PING,
    "empty DATA": raw(0, 0, 1),
    "RST_STREAM": raw(3, 0, 1, bytes(4)),
    "WINDOW_UPDATE": raw(8, 0, 0, b"\x00\x00\x00\x01"),
    "CONTINUATION": raw(9, 0, 1, b"x"),
    "informational": raw(1, 4, 1, b"\x08\x03103"),
}


@pytest.mark.parametrize("one", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_ended(serve: Serve, grpc_upstream: Any, one: bytes) -> None:
    told: list[bytes] = []

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        await client.request()
        first = raw(1, 0, 1, OK) if one == FLOODS["CONTINUATION"] else b""
        reading = asyncio.ensure_future(client.rest())
        try:
            await peer.say(first)
            while not reading.done():
                await peer.say(one * 1000)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        told.append(await reading)

    server = await serve(behave)
    with pytest.raises(UpstreamError):
        await send(grpc_upstream(server.address))
    async with asyncio.timeout(10):
        await server.closed.wait()
    if told:  # unless the reset has overtaken it
        last = [each for each in cut(told[0]) if each[0] == GOAWAY]
        assert [each[3][4:8] for each in last] in ([b"\x00\x00\x00\x0b"], [])


async def test_who_stops_reading(serve: Serve, grpc_upstream: Any) -> None:
    """The deadline holds, and so does the PING that is sent."""

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS + raw(4, 0, 0, b"\x00\x04\x7f\xff\xff\xff") + raw(8, 0, 0, b"\x7f\x00\x00\x00"))
        await asyncio.Event().wait()

    server = await serve(behave)
    with pytest.raises(Timeout):
        await send(grpc_upstream(server.address), bytes(8_000_000), within=0.5)
    hasty = grpc_upstream(server.address, connection=ConnectionSpec.model_construct(keepalive=0.2))
    with pytest.raises(Unavailable) as lost:
        await send(hasty, bytes(8_000_000))
    assert "does not answer a PING" in (lost.value.cause or "")


async def test_pings_while_calls_wait(serve: Serve, grpc_upstream: Any) -> None:
    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        number = await client.request()
        for _ in range(3):
            while (ping := await client.until(6))[1]:
                pass
            await peer.say(raw(6, 1, 0, ping[3]))
        await peer.say(b"".join(said.on(number) for said in HELLO))
        await client.rest()

    server = await serve(behave)
    upstream = grpc_upstream(server.address, connection=ConnectionSpec.model_construct(keepalive=0.05))
    assert (await send(upstream)).message == b"hello"


async def test_an_idle_connection_is_given_back(
    serve: Serve, grpc_upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "IDLE", 0.1)
    server = await serve(speaking(ANSWER))
    upstream = grpc_upstream(server.address, connection=ConnectionSpec.model_construct(keepalive=0.05))
    assert (await send(upstream)).message == b"hello"
    async with asyncio.timeout(10):
        await server.closed.wait()
    server.closed.clear()
    assert (await send(upstream)).message == b"hello"
    assert server.connections == 2


async def test_a_connection_that_is_used_between_two_looks_is_not_idle(serve: Serve, grpc_upstream: Any) -> None:
    server = await serve(Refusing(0, "refused"))
    upstream = grpc_upstream(server.address)
    await send(upstream)
    (peer,) = upstream.channel._subchannels.values()
    link = peer._current
    link._idle_time = transport.IDLE
    assert link._timer is not None
    link._timer.cancel()
    link._tick()
    assert link.usable
    link._timer.cancel()
    link._idle_time = transport.IDLE
    link._tick()
    assert not link.usable


# --- sending again --------------------------------------------------------------------------------------------------


class Refusing:
    """Refuses the first `count` calls in one of the ways that mean that nothing was done about them."""

    def __init__(self, count: int, how: str) -> None:
        self.count, self.how = count, how
        self.seen = 0

    async def __call__(self, peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        while True:
            number = await client.request()
            self.seen += 1
            if self.seen > self.count:
                await peer.say(b"".join(said.on(number) for said in HELLO))
            elif self.how == "refused":
                await peer.say(raw(RST, 0, number, b"\x00\x00\x00\x07"))
            elif self.how == "goodbye":
                await peer.say(raw(GOAWAY, 0, 0, bytes(8)))
            else:  # it has begun to answer
                await peer.say(HELLO[0].on(number), raw(RST, 0, number, b"\x00\x00\x00\x07"))


@pytest.mark.parametrize("how", ["refused", "goodbye"])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_calls_that_nobody_looked_at_are_sent_again(
    serve: Serve, grpc_upstream: Any, how: str, count: int
) -> None:
    """gRFC A6, "Transparent Retries": twice at most."""
    service = Refusing(count, how)
    server = await serve(service)
    upstream = grpc_upstream(server.address)
    if count <= 2:
        assert (await send(upstream)).message == b"hello"
    else:
        with pytest.raises(Unavailable):
            await send(upstream)
    assert service.seen == min(count, 2) + 1


async def test_calls_that_were_begun_are_not(serve: Serve, grpc_upstream: Any) -> None:
    service = Refusing(1, "begun")
    server = await serve(service)
    with pytest.raises(RequestError):
        await send(grpc_upstream(server.address))
    assert service.seen == 1


async def test_goodbyes_amid_many_calls(serve: Serve, grpc_upstream: Any) -> None:
    """A server that says goodbye every few calls, as one that limits a connection's age: each call is answered once."""
    answered: list[bytes] = []

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        bodies: dict[int, bytes] = {}
        last = 0
        while True:
            kind, flags, number, payload = await client.frame()
            if kind == 0:
                bodies[number] = bodies.get(number, b"") + payload
            if kind != 0 or not flags & 1 or (last and number > last):
                continue
            message = bodies.pop(number)
            answered.append(message[5:])
            if number == 41:
                last = number
                await peer.say(raw(GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)))
            said = [section(OK), Said(None, encode_message(message[5:]), False), section(done(), end=True)]
            await peer.say(b"".join(each.on(number) for each in said))

    server = await serve(behave)
    upstream = grpc_upstream(server.address)
    for _ in range(5):
        messages = [b"%d" % (len(answered) + at) for at in range(40)]
        replies = await asyncio.gather(*(send(upstream, message) for message in messages))
        assert [reply.message for reply in replies] == messages
    assert len(answered) == len(set(answered)) == 200
    assert server.connections > 5


async def test_who_gives_up_and_stays(serve: Serve, grpc_upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9113, section 5.4.1: after GOAWAY for an error a server closes. Node says it, and leaves the rest open."""
    monkeypatch.setattr(transport, "ERROR_GRACE", 0.1)

    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS)
        number = await client.request()
        await peer.say(raw(GOAWAY, 0, 0, number.to_bytes(4, "big") + b"\x00\x00\x00\x09"))
        await asyncio.Event().wait()

    server = await serve(behave)
    with pytest.raises(Unavailable) as lost:
        await send(grpc_upstream(server.address), within=60)
    assert "COMPRESSION_ERROR" in (lost.value.cause or "")


async def test_pending_have_deadlines(serve: Serve, grpc_upstream: Any) -> None:
    async def behave(peer: Any) -> None:
        client = Reading(peer)
        await client.preface()
        await peer.say(raw(4, 0, 0, b"\x00\x03\x00\x00\x00\x00"))
        assert not [each for each in cut(await client.rest()) if each[0] == 1]

    server = await serve(behave)
    upstream = grpc_upstream(server.address)
    ended = await asyncio.gather(*(send(upstream, within=0.3) for _ in range(20)), return_exceptions=True)
    assert [type(each) for each in ended] == [Timeout] * 20


async def test_a_reply_that_is_not_grpc_is_no_retry(serve: Serve, grpc_upstream: Any) -> None:
    server = await serve(speaking(raw(1, 5, 1, b"\x8d")))  # :status 404
    with pytest.raises(BadReply):
        await send(grpc_upstream(server.address))
    assert server.connections == 1
