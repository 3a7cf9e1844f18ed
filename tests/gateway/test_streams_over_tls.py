"""Passthrough with TLS on both sides, by HTTP/1.1 and by HTTP/2: what passes while it arrives, under back-pressure.

The services are scripts on TLS sockets, as in `test_streamed_bodies`; the clients are httpx, which agrees on the
version by ALPN, and `websockets`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bridge.server.tls import ListenerTls
from tests.conftest import Running, Start, serving
from tests.gateway.test_streamed_bodies import EVENTS, LARGE, Peer, Script, Service
from tests.gateway.websocket_kit import library
from tests.server.http2.kit import Answer, dialled
from tests.server.test_tls import NAME, Files

SPEC = """
route: /p/{rest*}
upstream: https://svc:443
auth: none
connection: {ca: secrets/ca.pem}
transform: {request: passthrough, response: passthrough, passthrough: {websocket: true}}
"""
PIECE = bytes(range(256)) * 256
WITHIN = 60.0

Secured = Callable[[int], contextlib.AbstractAsyncContextManager["Front"]]


class Front:
    """A gateway that serves HTTPS."""

    def __init__(self, gateway: Running, port: int, files: Files) -> None:
        self.gateway, self.port, self.files = gateway, port, files

    @contextlib.asynccontextmanager
    async def client(self, version: str) -> AsyncIterator[httpx.AsyncClient]:
        options: dict[str, Any] = {"http2": version == "HTTP/2", "verify": self.files.client(), "timeout": WITHIN}
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", **options) as client:
            yield client

    def socket(self, path: str, **options: Any) -> connect:
        # The address is where to; the name is what the certificate is for.
        url = f"wss://{NAME}:{self.port}{path}"
        return connect(url, ssl=self.files.client(), host="127.0.0.1", port=self.port, **options)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def context(files: Files) -> ssl.SSLContext:
    """Of the service."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files.authority.issue_cert("svc").configure_cert(made)
    return made


@pytest.fixture
def before(start: Start, files: Files) -> Secured:
    """``async with before(port) as front``: a gateway in front of the service at `port`."""

    @contextlib.asynccontextmanager
    async def secured(service: int) -> AsyncIterator[Front]:
        secrets = {"secrets/ca.pem": files.authority.cert_pem.bytes().decode()}
        mesh, routes = {"svc": f"127.0.0.1:{service}"}, {"p.yml": SPEC}
        async with asyncio.timeout(WITHIN), start(mesh=mesh, routes=routes, files=secrets) as gateway:
            async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
                yield Front(gateway, port, files)

    return secured


@pytest.fixture
def behind(before: Secured, context: ssl.SSLContext) -> Any:
    """``async with behind(script) as (front, service)``"""

    @contextlib.asynccontextmanager
    async def scripted(script: Script) -> AsyncIterator[tuple[Front, Service]]:
        service = Service(script)
        server = await asyncio.start_server(service.run, "127.0.0.1", 0, ssl=context)
        try:
            async with before(server.sockets[0].getsockname()[1]) as front:
                yield front, service
        finally:
            server.close()

    return scripted


SNI = {"sni_hostname": NAME}
VERSIONS = pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])


async def until_still(count: Callable[[], int]) -> int:
    """Wait until `count` grows no more."""
    before = -1
    while before != count() or not before:
        before = count()
        await asyncio.sleep(0.2)
    return before


# --- down -------------------------------------------------------------------------------------------------------------


@VERSIONS
async def test_an_event_arrives_as_it_is_sent(behind: Any, version: str) -> None:
    """The service sends the next one when the client has the last."""
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(peer: Peer) -> None:
        await peer.head()
        await peer.say(EVENTS)
        for number in range(50):
            await peer.chunk(b"data: %d\n\n" % number)
            assert await got.get() == b"data: %d\n\n" % number
        await peer.say(b"0\r\n\r\n")

    async with behind(events) as (front, _), front.client(version) as client:
        async with client.stream("GET", "/p/events", extensions=SNI) as answer:
            assert (answer.http_version, answer.headers["content-type"]) == (version, "text/event-stream")
            text = b""
            async for part in answer.aiter_raw():
                got.put_nowait(part)
                text += part
    assert text == b"".join(b"data: %d\n\n" % number for number in range(50))


@VERSIONS
async def test_a_large_download(behind: Any, version: str) -> None:
    async def download(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // len(PIECE)):
            await peer.say(PIECE)
        await peer.end()

    async with behind(download) as (front, _), front.client(version) as client:
        answer = await client.get("/p/file", extensions=SNI)
        assert (answer.http_version, answer.headers["content-length"]) == (version, str(LARGE))
        assert answer.content == PIECE * (LARGE // len(PIECE))
    [line] = front.gateway.log()
    assert (line["status"], line["bytes_out"], line.get("cause")) == (200, LARGE, None)


@VERSIONS
async def test_a_service_is_not_read_while_the_client_does_not_read(behind: Any, version: str) -> None:
    sent = 0

    async def endless(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.say(PIECE)
            sent += len(PIECE)

    async with behind(endless) as (front, service), front.client(version) as client:
        async with client.stream("GET", "/p/file", extensions=SNI):
            assert 0 < await until_still(lambda: sent) < LARGE
        await client.aclose()
        await service.left.wait()  # a client that leaves ends the call at the service
    [line] = front.gateway.log()
    assert line["status"] in (200, 499)


@VERSIONS
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked", "Connection: close"])
async def test_a_download_that_is_cut_is_no_whole_one(behind: Any, version: str, framing: str) -> None:
    """Without TLS's closure alert, the end of a connection is not the end of a body (RFC 9112, section 9.8)."""
    read = asyncio.Event()

    async def cut(peer: Peer) -> None:
        await peer.head()
        await peer.say(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        await peer.chunk(b"a" * 1000)
        await read.wait()
        peer.writer.transport.abort()

    async def download(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/p/file", extensions=SNI) as answer:
            async for _ in answer.aiter_raw():
                read.set()

    async with behind(cut) as (front, _), front.client(version) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await download(client)
    [line] = front.gateway.log()
    assert line["status"] == 200
    assert "within the reply's body" in line["cause"]


# --- up ---------------------------------------------------------------------------------------------------------------


@VERSIONS
async def test_a_client_is_not_read_while_the_service_does_not_read(behind: Any, version: str) -> None:
    """Then it is, and all of the body arrives."""
    go_on, made, got = asyncio.Event(), 0, 0

    async def reluctant(peer: Peer) -> None:
        nonlocal got
        assert f"content-length: {LARGE}\r\n" in await peer.head()
        await go_on.wait()
        for _ in range(LARGE // len(PIECE)):
            got += await peer.reader.readexactly(len(PIECE)) == PIECE
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await peer.end()

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(LARGE // len(PIECE)):
            yield PIECE
            made += len(PIECE)

    async with behind(reluctant) as (front, _), front.client(version) as client:
        put = client.put("/p/file", content=body(), headers={"content-length": str(LARGE)}, extensions=SNI)
        putting = asyncio.create_task(put)
        assert 0 < await until_still(lambda: made) < LARGE
        go_on.set()
        answer = await putting
        assert (answer.http_version, answer.content) == (version, b"ok")
    assert got == LARGE // len(PIECE)
    [line] = front.gateway.log()
    assert (line["status"], line["bytes_in"]) == (200, LARGE)


async def echo(peer: Peer) -> None:
    """A service that answers each piece before it reads the next."""
    await peer.head()
    await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(20):
        await peer.chunk(await peer.chunks(2))
    assert await peer.read_chunk() == b""
    await peer.say(b"0\r\n\r\n")


async def test_both_ways_at_once(behind: Any) -> None:
    """Each piece is answered before the next is sent. (httpx sends all of a body before it reads.)"""
    async with behind(echo) as (front, _):
        client = Peer(*await front.files.dial(front.port))
        await client.say(b"PUT /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            await client.chunk(b"%02d" % number)
            if not number:
                assert " 200 " in await client.head()
            assert await client.chunks(2) == b"%02d" % number
        await client.say(b"0\r\n\r\n")
        assert await client.read_chunk() == b""
        client.writer.close()


async def test_both_ways_at_once_by_http_2(behind: Any) -> None:
    fields = [(":method", "PUT"), (":scheme", "https"), (":authority", NAME), (":path", "/p/a")]
    async with behind(echo) as (front, _):
        trusting = front.files.client()
        trusting.set_alpn_protocols(["h2"])
        async with dialled(front.port, context=trusting) as client:
            client.write(client.headers(1, fields, end=False))
            answer = client.answers.setdefault(1, Answer())
            for number in range(20):
                client.write(client.data(1, b"%02d" % number))
                while len(answer.body) < 2 * number + 2:
                    assert await client.read()
            client.write(client.data(1, b"", end=True))
            await client.answer(1)
    assert answer.head[":status"] == "200"
    assert answer.body == b"".join(b"%02d" % number for number in range(20))


# --- WebSockets -------------------------------------------------------------------------------------------------------


async def test_a_websocket(before: Secured, context: ssl.SSLContext) -> None:
    async def service(socket: ServerConnection) -> None:
        async for message in socket:
            if message == "close":
                await socket.close(4001, "asked for")
            else:
                await socket.send(message)

    names = [Subprotocol("chat")]
    async with library(service, ssl=context, subprotocols=names) as port, before(port) as front:
        async with front.socket("/p/socket", subprotocols=names) as client:
            assert client.subprotocol == "chat"
            for message in ("", "größer", b"\x00\xff", "x" * 300_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send("close")
            with pytest.raises(ConnectionClosed):
                await client.recv()
        assert (client.close_code, client.close_reason) == (4001, "asked for")


async def test_a_websocket_s_side_that_does_not_read_stops_the_other_s_reading(
    before: Secured, context: ssl.SSLContext
) -> None:
    go_on, size, count = asyncio.Event(), len(PIECE), LARGE // len(PIECE)

    async def service(socket: ServerConnection) -> None:
        await go_on.wait()
        for _ in range(count):
            assert await socket.recv() == PIECE
        await socket.send("all")
        await socket.wait_closed()

    async with library(service, ssl=context, compression=None) as port, before(port) as front:
        async with front.socket("/p/socket", compression=None) as client:
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(count):
                    await client.send(PIECE)
                    sent += size

            sending = asyncio.create_task(send())
            assert 0 < await until_still(lambda: sent) < LARGE
            go_on.set()
            await sending
            assert await client.recv() == "all"
    [line] = front.gateway.log()
    assert (line["messages_up"], line["bytes_in"], line["close_code"]) == (count, LARGE, 1000)
