"""Passthrough passes bodies on while they arrive: in step, under back-pressure, and bounded by silence alone.

The services are asyncio's streams with a script each, and so are the clients: who is to wait for whom is written down,
and nothing is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bridge.http2 import frames
from bridge.transport.http1 import upload
from bridge.transport.http1.exchange import PER_ADDRESS
from tests.server.http2.kit import GET as H2_GET
from tests.server.http2.kit import dialled

Script = Callable[["Peer"], Awaitable[None]]
Serve = Callable[[Script], contextlib.AbstractAsyncContextManager["Service"]]

SPEC = {
    "route": "/p/{rest*}",
    "upstream": "svc:80",
    "auth": "none",
    "transform": {"request": "passthrough", "response": "passthrough"},
}
GET = b"GET /p/a HTTP/1.1\r\nHost: a\r\n\r\n"
PUT = b"PUT /p/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"PUT /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = 32 << 20  #: more than the kernel's buffers of all sockets on the way hold
WITHIN = 30.0


class Peer:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def chunks(self, size: int) -> bytes:
        """The data of chunks of so many bytes together; where the gateway cuts it is its own."""
        text = b""
        while len(text) < size:
            text += await self.read_chunk()
        return text

    async def chunk(self, text: bytes) -> None:
        await self.say(b"%x\r\n%s\r\n" % (len(text), text))

    async def read_chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def end(self) -> bytes:
        """What comes until the other end closes; a reset is an end, too."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""


class Service:
    """:ivar connections: how many were made. :ivar left: set when a script has ended."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.left = asyncio.Event()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.script(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.left.set()
            writer.close()


@pytest.fixture
def behind(start: Any) -> Any:
    """``async with behind(script, spec={…}, **settings) as (gateway, service)``"""

    @contextlib.asynccontextmanager
    async def behind(script: Script, spec: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Any]:
        service = Service(script)
        server = await asyncio.start_server(service.run, "127.0.0.1", 0)
        mesh = {"svc": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        routes = {"p.yml": json.dumps({**SPEC, **(spec or {})})}
        async with asyncio.timeout(WITHIN), start(mesh=mesh, routes=routes, **settings) as gateway:
            try:
                yield gateway, service
            finally:
                server.close()

    return behind


async def connect(gateway: Any, *parts: bytes, limit: int = 1 << 16) -> Peer:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", gateway.port, limit=limit))
    await peer.say(*parts)
    return peer


# --- down -------------------------------------------------------------------------------------------------------------


async def test_an_event_arrives_as_it_is_sent(behind: Any) -> None:
    """The service sends the next one when the client has the last: one that waited for more would wait for ever."""
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.say(EVENTS)
            for number in range(50):
                await peer.chunk(b"data: %d\n\n" % number)
                assert await got.get() == b"data: %d\n\n" % number
            await peer.say(b"0\r\n\r\n")

    async with behind(events) as (gateway, service):
        client = await connect(gateway, GET)
        head = await client.head()
        assert "content-type: text/event-stream" in head
        assert "transfer-encoding: chunked" in head
        for _ in range(50):
            got.put_nowait(await client.read_chunk())
        assert await client.read_chunk() == b""
        await client.say(GET)
        await client.head()  # the connection goes on, and so does that to the service
        client.writer.close()
    assert service.connections == 1
    assert [line["status"] for line in gateway.log()] == [200, 499]


async def test_the_timeout_is_for_the_head(behind: Any) -> None:
    async def slow(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        for _ in range(6):
            await asyncio.sleep(0.1)
            await peer.chunk(b"x")
        await peer.say(b"0\r\n\r\n")
        await peer.head()
        await peer.end()

    async with behind(slow, {"timeout": "300ms"}) as (gateway, _):
        client = await connect(gateway, GET)
        await client.head()
        assert [await client.read_chunk() for _ in range(7)] == [b"x"] * 6 + [b""]
        await client.say(GET)
        assert " 504 " in await client.head()
        client.writer.close()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_download_of_any_size(behind: Any, framing: str) -> None:
    piece = bytes(range(256)) * 256

    async def download(peer: Peer) -> None:
        await peer.head()
        fields = {"length": b"Content-Length: %d\r\n" % LARGE, "chunked": b"Transfer-Encoding: chunked\r\n"}
        await peer.say(b"HTTP/1.1 200 OK\r\nETag: x\r\n" + fields.get(framing, b"") + b"\r\n")
        for _ in range(LARGE // len(piece)):
            await (peer.chunk if framing == "chunked" else peer.say)(piece)
        if framing == "chunked":
            await peer.say(b"0\r\n\r\n")

    async with behind(download, max_reply=1000) as (gateway, _):
        answer = await gateway.client.get("/p/a")
        assert answer.headers.get("content-length") == (str(LARGE) if framing == "length" else None)
        assert answer.headers["etag"] == "x"
        assert answer.content == piece * (LARGE // len(piece))
    [line] = gateway.log()
    assert (line["status"], line["bytes_out"], line.get("cause")) == (200, LARGE, None)


async def test_a_service_is_not_read_while_the_client_does_not_read(behind: Any) -> None:
    sent = 0

    async def endless(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.say(bytes(100_000))
            sent += 100_000

    async with behind(endless) as (gateway, service):
        client = await connect(gateway, GET)
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < LARGE
        client.writer.transport.abort()
        await service.left.wait()  # a client that leaves ends the call at the service


async def test_a_client_that_leaves_a_silent_stream(behind: Any) -> None:
    async def silent(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        await peer.end()

    async with behind(silent) as (gateway, service):
        client = await connect(gateway, GET)
        await client.head()
        client.writer.close()
        await service.left.wait()
    [line] = gateway.log()
    assert (line["status"], line["upstream_status"], line["bytes_out"]) == (499, 200, 0)


async def test_a_client_that_leaves_before_the_head(behind: Any) -> None:
    asked = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.end()

    async with behind(silent) as (gateway, service):
        client = await connect(gateway, GET)
        await asked.wait()
        # A reset: half a close may be that of a client that still reads.
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await service.left.wait()  # long before the route's timeout
    [line] = gateway.log()
    assert line["status"] == 499


async def test_a_service_may_take_longer_for_the_head_than_silence_may_last(behind: Any) -> None:
    """What comes after the head is held to it all the same."""

    async def slow(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(100_000)
        await asyncio.sleep(0.5)
        await peer.say(EVENTS)
        await peer.chunk(b"a")
        await peer.end()

    async with behind(slow, {"stream": {"idle": "200ms"}}) as (gateway, service):
        client = await connect(gateway, PUT % 100_000, bytes(100_000))
        assert " 200 " in await client.head()
        assert await client.end() == b"1\r\na\r\n"
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert "nothing was said" in line["cause"]


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_reply_that_breaks_off_is_no_whole_one(
    behind: Any, framing: bytes, version: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        await peer.chunk(b"a" * 1000)

    caplog.set_level(logging.WARNING, "bridge.upstream")
    async with behind(broken) as (gateway, _):
        client = await connect(gateway, GET.replace(b"HTTP/1.1", version))
        if version == b"HTTP/1.0" and b"chunked" in framing:
            with pytest.raises(ConnectionResetError):  # nothing else tells the end of the body
                await client.reader.read()
        else:
            await client.head()
            assert not (await client.end()).endswith(b"0\r\n\r\n")
        client.writer.close()
    [line] = gateway.log()
    assert line["status"] == 200
    assert "within the reply's body" in line["cause"]
    assert "broke" in caplog.text or "within the reply's body" in caplog.text


async def test_a_silent_service_is_given_up(behind: Any) -> None:
    async def silent(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        await peer.chunk(b"a")
        await peer.end()

    async with behind(silent, {"stream": {"idle": "200ms"}}) as (gateway, service):
        client = await connect(gateway, GET)
        await client.head()
        assert await client.end() == b"1\r\na\r\n"
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert (line["status"], line["bytes_out"]) == (200, 1)
    assert "nothing was said" in line["cause"]


async def test_a_stream_may_have_a_timeout_as_a_whole(behind: Any) -> None:
    async def ticking(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        while True:
            await peer.chunk(b"a")
            await asyncio.sleep(0.05)

    async with behind(ticking, {"stream": {"timeout": "300ms"}}) as (gateway, service):
        client = await connect(gateway, GET)
        await client.head()
        assert (await client.end()).startswith(b"1\r\na\r\n")
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert line["status"] == 200
    assert "took longer" in line["cause"]


async def test_a_client_that_stops_reading_is_closed(behind: Any) -> None:
    async def endless(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
        while True:
            await peer.say(bytes(100_000))

    async with behind(endless, {"stream": {"idle": "200ms"}}) as (gateway, service):
        client = await connect(gateway, GET)
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert (line["status"], line["cause"]) == (499, "The client stopped reading.")


async def test_a_client_of_http2_that_stops_reading_is_reset(behind: Any) -> None:
    async def endless(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
        while True:
            await peer.say(bytes(100_000))

    async with behind(endless, {"stream": {"idle": "200ms"}}) as (gateway, service), dialled(gateway.port) as client:
        client.write(client.headers(1, [*H2_GET[:3], (":path", "/p/a")]))
        assert (await client.answer(1)).reset == frames.INTERNAL_ERROR
        await service.left.wait()
        await client.alive()
    [line] = gateway.log()
    assert (line["status"], line["cause"]) == (499, "The client stopped reading.")


async def test_many_listeners_keep_nobody_out(behind: Any) -> None:
    """The gateway has 256 connections to an address for calls; those that listen are not among them."""

    async def events(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        await peer.end()

    async with behind(events) as (gateway, service):
        clients = [await connect(gateway, GET) for _ in range(PER_ADDRESS + 20)]
        for client in clients:
            await client.head()
        assert service.connections == len(clients)
        for client in clients:
            client.writer.close()


@pytest.mark.parametrize("in_steps", [True, False])
async def test_trailers_of_a_reply(behind: Any, in_steps: bool) -> None:
    read = asyncio.Event()

    async def summed(peer: Peer) -> None:
        await peer.head()
        trailers = b"0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\nServer: x\r\n\r\n"
        if in_steps:
            await peer.say(EVENTS + b"1\r\na\r\n")
            await read.wait()
            await peer.say(trailers)
        else:
            await peer.say(EVENTS + b"1\r\na\r\n" + trailers)
        await peer.end()

    async with behind(summed) as (gateway, _):
        client = await connect(gateway, GET)
        assert "transfer-encoding: chunked" in await client.head()
        assert await client.read_chunk() == b"a"
        read.set()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"0\r\nx-sum: 7\r\n\r\n"
        client.writer.close()


@pytest.mark.parametrize("body", [b"", b"1\r\na\r\n"])
async def test_trailers_end_a_reply_once(behind: Any, body: bytes) -> None:
    """What follows them on the connection is the next reply, also if there is no body before them."""

    async def summed(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.say(EVENTS + body + b"0\r\nX-Sum: 7\r\nX-Name: M\xfcller\r\nX-Utf: M\xc3\xbcller\r\n\r\n")

    async with behind(summed) as (gateway, _):
        client = await connect(gateway, GET, GET)
        for _ in range(2):
            assert (await client.head()).startswith("http/1.1 200 ")
            rest = await client.reader.readexactly(len(body))
            assert rest == body
            trailers = await client.reader.readuntil(b"\r\n\r\n")
            assert trailers == b"0\r\nx-sum: 7\r\nx-name: M\xfcller\r\nx-utf: M\xc3\xbcller\r\n\r\n"
        client.writer.close()


async def test_trailers_of_a_compressed_reply(behind: Any) -> None:
    """But for those about the bytes, which are others now (RFC 9530)."""

    async def summed(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunk(b"a" * 5000)
        await peer.say(b"0\r\nX-Sum: 7\r\nContent-Digest: sha-256=:AA==:\r\n\r\n")
        await peer.end()

    async with behind(summed, {"compress": True}) as (gateway, _):
        client = await connect(gateway, GET[:-2] + b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n")
        assert "content-encoding: gzip" in await client.head()
        text = b""
        while size := int(await client.reader.readuntil(b"\r\n"), 16):
            text += (await client.reader.readexactly(size + 2))[:-2]
        assert gzip.decompress(text) == b"a" * 5000
        assert await client.end() == b"x-sum: 7\r\n\r\n"
        client.writer.close()


# --- up ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_arrives_as_it_is_sent(behind: Any, framing: str) -> None:
    """The client sends the next piece when the service has the last."""
    got: asyncio.Queue[bytes] = asyncio.Queue()
    count = 20
    heads: list[str] = []

    async def reading(peer: Peer) -> None:
        for _ in range(2):
            heads.append(await peer.head())
            for _ in range(count):
                got.put_nowait(await (peer.chunks(10_000) if framing == "chunked" else peer.reader.readexactly(10_000)))
            if framing == "chunked":
                assert await peer.read_chunk() == b""
            await peer.say(OK)

    async with behind(reading, max_body=1000) as (gateway, service):
        client = await connect(gateway)
        for _ in range(2):
            await client.say(CHUNKED if framing == "chunked" else PUT % (count * 10_000))
            for number in range(count):
                piece = b"%d" % (number % 10) * 10_000
                await (client.chunk(piece) if framing == "chunked" else client.say(piece))
                assert await got.get() == piece
            if framing == "chunked":
                await client.say(b"0\r\n\r\n")
            assert " 200 " in await client.head()
            assert await client.reader.readexactly(2) == b"ok"
        client.writer.close()
    assert service.connections == 1
    assert ("content-length: 200000\r\n" if framing == "length" else "transfer-encoding: chunked\r\n") in heads[0]
    assert [(line["status"], line["bytes_in"], line["bytes_out"]) for line in gateway.log()] == [(200, 200_000, 2)] * 2


async def test_what_follows_an_upload_is_the_next_request(behind: Any) -> None:
    """Its bytes go past the parser; those after it don't."""
    body = bytes(range(256)) * 1000
    seen: list[bytes] = []

    async def reading(peer: Peer) -> None:
        while True:
            head = await peer.head()
            seen.append(await peer.reader.readexactly(len(body)) if head.startswith("put") else head.encode())
            await peer.say(OK)

    async with behind(reading) as (gateway, _):
        client = await connect(gateway, PUT % len(body) + body + GET + PUT % len(body) + body + GET)
        for _ in range(4):
            await client.head()
            assert await client.reader.readexactly(2) == b"ok"
        client.writer.close()
    assert [seen[0], seen[2]] == [body, body]
    assert seen[1].startswith(b"get /p/a ")
    assert seen[3].startswith(b"get /p/a ")


async def test_a_client_is_not_read_while_the_service_does_not_read(behind: Any) -> None:
    asked = asyncio.Event()

    async def lazy(peer: Peer) -> None:
        await peer.head()
        await asked.wait()
        size = 0
        while size < LARGE:
            size += len(await peer.reader.read(1 << 20))
        await peer.say(OK)

    async with behind(lazy) as (gateway, _):
        client = await connect(gateway, PUT % LARGE)
        client.writer.write(bytes(LARGE))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.writer.drain(), 0.3)  # the kernel's buffers are full, and nobody reads them
        asked.set()
        assert " 200 " in await client.head()
        client.writer.close()
    [line] = gateway.log()
    assert line["bytes_in"] == LARGE


async def test_time_does_not_count_while_the_client_sends(behind: Any) -> None:
    async def reading(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(600_000)
        await peer.say(OK)
        await peer.head()
        await peer.reader.readexactly(600_000)
        await peer.end()  # and no answer

    async with behind(reading, {"timeout": "300ms"}) as (gateway, _):
        for status in (" 200 ", " 504 "):
            client = await connect(gateway, PUT % 600_000)
            for _ in range(6):
                await asyncio.sleep(0.1)
                await client.say(bytes(100_000))
            assert status in await client.head()
            client.writer.close()


async def test_a_client_that_stops_sending(behind: Any) -> None:
    async def reading(peer: Peer) -> None:
        await peer.head()
        await peer.end()

    async with behind(reading, {"stream": {"idle": "200ms"}}) as (gateway, service):
        client = await connect(gateway, PUT % 100_000, b"abc")
        answer = await client.head()
        assert " 408 " in answer
        assert "connection: close" in answer
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert (line["status"], line["bytes_in"]) == (408, 3)


async def test_a_service_that_stops_reading(behind: Any) -> None:
    async def deaf(peer: Peer) -> None:
        await peer.head()
        await asyncio.Event().wait()

    async with behind(deaf, {"stream": {"idle": "300ms"}}) as (gateway, _):
        client = await connect(gateway, PUT % LARGE)
        client.writer.write(bytes(LARGE))
        assert " 504 " in await client.head()
        client.writer.transport.abort()
    [line] = gateway.log()
    assert "the service took nothing of the request" in line["cause"]


async def test_a_client_that_leaves_within_its_upload(behind: Any) -> None:
    asked = asyncio.Event()

    async def reading(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(3)
        asked.set()
        await peer.end()

    async with behind(reading) as (gateway, service):
        client = await connect(gateway, PUT % 100_000, b"abc")
        await asked.wait()
        client.writer.close()
        await service.left.wait()
    [line] = gateway.log()
    assert (line["status"], line["bytes_in"]) == (499, 3)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_larger_than_the_route_allows(behind: Any, framing: str) -> None:
    """Its client goes on sending, and reads the answer all the same."""

    async def reading(peer: Peer) -> None:
        await peer.head()
        await peer.end()

    async with behind(reading, {"max_body": "200k"}) as (gateway, service):
        client = await connect(gateway, CHUNKED if framing == "chunked" else PUT % 9_000_000_000)
        if framing == "chunked":
            await client.chunk(bytes(150_000))
            await client.chunk(bytes(150_000))
        answer = await client.head()
        assert " 413 " in answer
        assert "connection: close" in answer
        assert json.loads(await client.end())["type"] == "urn:bridge:problem:too-large"
        await client.say(bytes(100_000))
        if framing == "chunked":
            await service.left.wait()
        client.writer.close()
    assert service.connections == (framing == "chunked")
    [line] = gateway.log()
    assert line["status"] == 413
    assert line["bytes_in"] < 300_000


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_service_refuses_while_the_upload_is_under_way(behind: Any, framing: str) -> None:
    refused = asyncio.Event()

    async def small(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(10)
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        refused.set()
        await peer.end()

    async with behind(small) as (gateway, service):
        client = await connect(gateway, CHUNKED if framing == "chunked" else PUT % 9_000_000_000)
        await (client.chunk if framing == "chunked" else client.say)(bytes(100_000))
        await refused.wait()
        answer = await client.head()
        assert " 413 " in answer
        assert "connection: close" in answer
        assert await client.reader.read() == b"much"
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert (line["status"], line["upstream_status"]) == (413, 413)


async def test_a_service_answers_and_hangs_up_within_the_upload(behind: Any) -> None:
    """It closes with bytes unread, so its kernel sends a reset: a write fails before its answer is read."""

    async def rude(peer: Peer) -> None:
        await peer.head()
        await peer.reader.read(10)
        peer.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")

    async def send(client: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await client.say(bytes(100_000))

    async with behind(rude) as (gateway, _):
        for _ in range(5):
            client = await connect(gateway, PUT % 9_000_000_000)
            sending = asyncio.create_task(send(client))
            assert " 413 " in await client.head()
            sending.cancel()
            client.writer.transport.abort()


@pytest.mark.parametrize("methods", [["GET"], None])
@pytest.mark.parametrize("size", [5, 9_000_000_000])
async def test_head_is_not_asked_as_get(behind: Any, methods: list[str] | None, size: int) -> None:
    lines = []

    async def files(peer: Peer) -> None:
        while True:
            lines.append((await peer.head()).partition("\r\n")[0])
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)

    async with behind(files, {"methods": methods} if methods else None) as (gateway, service):
        for _ in range(2):
            answer = await gateway.client.head("/p/a")
            assert (answer.status_code, answer.headers["content-length"]) == (200, str(size))
    assert lines == ["head /p/a http/1.1"] * 2
    assert service.connections == 1


async def test_an_answer_that_begins_before_the_upload_ends(behind: Any) -> None:
    async def echo(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        while chunk := await peer.read_chunk():
            await peer.chunk(chunk.upper())
        await peer.say(b"0\r\nX-End: yes\r\n\r\n")
        await peer.end()

    async with behind(echo) as (gateway, _):
        client = await connect(gateway, CHUNKED)
        await client.head()
        for letter in b"abc":
            await client.chunk(bytes([letter]))
            assert await client.read_chunk() == bytes([letter]).upper()
        await client.say(b"0\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"0\r\nx-end: yes\r\n\r\n"
        client.writer.close()
    [line] = gateway.log()
    assert (line["status"], line["bytes_in"], line["bytes_out"]) == (200, 3, 3)


@pytest.mark.parametrize("in_steps", [True, False])
async def test_trailers_of_a_request(behind: Any, in_steps: bool) -> None:
    got = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def reading(peer: Peer) -> None:
        await peer.head()
        begun.set()
        assert await peer.read_chunk() == b"a"
        got.set_result(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.say(OK)

    trailers = b"0\r\nX-Sum: 7\r\nAuthorization: Bearer x\r\nHost: b\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    async with behind(reading) as (gateway, _):
        client = await connect(gateway, CHUNKED + b"1\r\na\r\n" + (b"" if in_steps else trailers))
        if in_steps:
            await begun.wait()
            await client.say(trailers)
        assert " 200 " in await client.head()
        client.writer.close()
        assert await got == b"0\r\nx-sum: 7\r\n\r\n"


async def test_trailers_of_a_request_are_octets(behind: Any) -> None:
    """As in a head: UTF-8 stays what it is, other octets above ASCII become UTF-8."""
    got = asyncio.get_running_loop().create_future()

    async def reading(peer: Peer) -> None:
        await peer.head()
        assert await peer.read_chunk() == b"a"
        got.set_result(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.say(OK)

    async with behind(reading) as (gateway, _):
        client = await connect(gateway, CHUNKED + b"1\r\na\r\n0\r\nX-A: \xc3\xbc\r\nX-B: \xfc\r\n\r\n")
        assert " 200 " in await client.head()
        client.writer.close()
        assert await got == b"0\r\nx-a: \xc3\xbc\r\nx-b: \xc3\xbc\r\n\r\n"


@pytest.mark.parametrize("part", [b"0\r\nX-A: ", b"5;a="])
async def test_framing_that_does_not_end(behind: Any, part: bytes) -> None:
    """A trailer or a chunk's extension: the parser reports neither before its end."""

    async def reading(peer: Peer) -> None:
        await peer.head()
        await peer.read_chunk()
        await peer.end()

    async with behind(reading) as (gateway, service):
        client = await connect(gateway, CHUNKED + b"1\r\na\r\n" + part)
        await client.say(b"a" * 200_000)
        assert " 431 " in await client.head()
        await service.left.wait()
        client.writer.close()


async def test_an_upload_that_becomes_invalid_after_its_answer_began(behind: Any) -> None:
    """The service is not left waiting for the rest, nor does the client get a whole answer."""

    async def echo(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS + b"1\r\na\r\n")
        await peer.end()

    async with behind(echo) as (gateway, service):
        client = await connect(gateway, CHUNKED + b"1\r\na\r\n")
        await client.head()
        assert await client.read_chunk() == b"a"
        await client.say(b"no size\r\n")
        assert await client.end() == b""
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert line["cause"] == "What was sent is not a valid HTTP/1.1 request."


# --- Expect -----------------------------------------------------------------------------------------------------------

EXPECTS = PUT.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 10


async def test_the_service_says_whether_the_body_is_wanted(behind: Any) -> None:
    asked, heads = asyncio.Event(), []

    async def careful(peer: Peer) -> None:
        heads.append(await peer.head())
        await asked.wait()
        await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.reader.readexactly(10) == b"0123456789"
        await peer.say(OK)

    async with behind(careful) as (gateway, _):
        client = await connect(gateway, EXPECTS)
        asked.set()
        assert await client.head() == "http/1.1 100 continue\r\n\r\n"
        await client.say(b"0123456789")
        assert " 200 " in await client.head()
        assert await client.reader.readexactly(2) == b"ok"
        client.writer.close()
    assert "expect: 100-continue\r\n" in heads[0]


async def test_the_service_refuses_a_body_before_it_is_sent(behind: Any) -> None:
    async def careful(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        assert await peer.end() == b""

    async with behind(careful) as (gateway, service):
        client = await connect(gateway, EXPECTS)
        assert " 413 " in await client.head()
        assert await client.reader.read() == b"much"
        await service.left.wait()
        client.writer.close()
    [line] = gateway.log()
    assert (line["status"], line["bytes_in"]) == (413, 0)


@pytest.mark.parametrize("auth", ["none", {"type": "JWT", "audience": "A"}])
async def test_a_client_that_sends_what_it_was_not_asked_for(behind: Any, auth: Any) -> None:
    """RFC 9110, section 10.1.1, allows it: a reset would take the answer along."""

    async def careful(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")

    async with behind(careful, {"auth": auth}) as (gateway, _):
        client = await connect(gateway, EXPECTS.replace(b" 10\r", b" 1000000\r"))
        assert (" 413 " if auth == "none" else " 401 ") in await client.head()
        await client.reader.read()
        for _ in range(10):
            await client.say(bytes(100_000))
        client.writer.close()


async def test_a_service_that_does_not_know_the_expectation(behind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "EXPECT_WAIT", 0.05)

    async def old(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(10)
        await peer.say(OK)

    async with behind(old) as (gateway, _):
        client = await connect(gateway, EXPECTS)
        assert " 100 " in await client.head()
        await client.say(b"0123456789")
        assert " 200 " in await client.head()
        client.writer.close()


async def test_http_1_0_has_no_expectations(behind: Any) -> None:
    """RFC 9110, section 10.1.1: it would take the 100 for the answer."""
    heads, begun = [], asyncio.Event()

    async def careful(peer: Peer) -> None:
        heads.append(await peer.head())
        begun.set()
        assert await peer.reader.readexactly(10) == b"0123456789"
        await peer.say(OK)

    async with behind(careful) as (gateway, _):
        client = await connect(gateway, EXPECTS.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await begun.wait()
        await client.say(b"0123456789")
        assert (await client.head()).startswith("http/1.1 200 ")
        assert await client.end() == b"ok"
        client.writer.close()
    assert "expect" not in heads[0]


# --- sending again ----------------------------------------------------------------------------------------------------


async def test_a_body_of_which_something_was_sent_is_not_sent_again(behind: Any) -> None:
    async def hangs_up(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(10)

    spec = {"retry": {"attempts": 3, "backoff": "1ms"}}
    async with behind(hangs_up, spec) as (gateway, service):
        assert (await gateway.client.put("/p/a", content=b"0123456789")).status_code == 502
        assert service.connections == 3  # it came whole, and PUT is idempotent
        client = await connect(gateway, PUT % 100_000, b"0123456789")
        assert " 502 " in await client.head()
        client.writer.close()
        assert service.connections == 4


async def test_a_body_of_which_nothing_was_sent_is_sent_again(behind: Any) -> None:
    async def second(peer: Peer) -> None:
        await peer.head()
        if service.connections > 1:
            await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")
            await peer.reader.readexactly(10)
            await peer.say(OK)

    spec = {"retry": {"attempts": 3, "backoff": "1ms"}}
    async with behind(second, spec) as (gateway, service):
        client = await connect(gateway, EXPECTS)
        assert " 100 " in await client.head()
        await client.say(b"0123456789")
        assert " 200 " in await client.head()
        client.writer.close()
        assert service.connections == 2


# --- with a cache -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "body", "cached"),
    [
        (b"Content-Length: 5\r\n", b"hello", True),
        (b"Content-Length: 1000000\r\n", bytes(1_000_000), True),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", True),
        (b"Content-Length: 3000000\r\n", bytes(3_000_000), False),
        (b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", False),
    ],
)
async def test_replies_that_are_small_and_whole_are_cached(
    behind: Any, fields: bytes, body: bytes, cached: bool
) -> None:
    async def twice(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.say(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
            await peer.say(body[:3])  # not at once
            await asyncio.sleep(0.01)
            await peer.say(body[3:])

    async with behind(twice, {"cache": {"ttl": "60s"}}) as (gateway, _):
        answers = [await gateway.client.get("/p/a") for _ in range(2)]
    size = len(body) if body[:1] == b"\0" else 5
    assert [len(answer.content) for answer in answers] == [5 if b"hello" in body else size] * 2
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "HIT" if cached else "MISS"]


async def test_a_condition_that_is_met_frees_the_connection(behind: Any) -> None:
    async def tagged(peer: Peer) -> None:
        await peer.head()
        await peer.say(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 9000000\r\n\r\n')
        await peer.end()

    async with behind(tagged, {"cache": {"ttl": "60s"}}) as (gateway, service):
        answer = await gateway.client.get("/p/a", headers={"if-none-match": '"x"'})
        assert answer.status_code == 304
        await service.left.wait()
