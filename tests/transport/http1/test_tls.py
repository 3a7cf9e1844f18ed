"""HTTP over TLS (RFC 9110, section 4.2.2; RFC 9112, section 9.8): names, ends, and large messages."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from bridge.errors import BadReply
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import ConnectFailed, ConnectionDropped

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("svc.example").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
async def client(authority: trustme.CA) -> Any:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    authority.configure_trust(context)
    client = HttpClient(ssl_context=context)
    yield client
    await client.aclose()


async def test_name_and_protocol_are_told(serve: Any, exchange: Any, server_context: ssl.SSLContext) -> None:
    told = []

    async def behave(peer: Any) -> None:
        told.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        while True:
            await peer.request()
            await peer.say(OK + b"Content-Length: 2\r\n\r\nhi")

    server_context.sni_callback = lambda _, name, __: told.append(name)
    server = await serve(behave, ssl=server_context)
    for _ in range(3):
        assert (await exchange(server, server_name="svc.example"))[1] == b"hi"
    assert told == ["svc.example", "http/1.1"]


@pytest.mark.parametrize("name", ["other.example", "example", "127.0.0.1"])
async def test_another_name_is_not_trusted(
    serve: Any, exchange: Any, server_context: ssl.SSLContext, name: str
) -> None:
    server = await serve(OK + b"Content-Length: 2\r\n\r\nhi", ssl=server_context)
    with pytest.raises(ConnectFailed) as told:
        await exchange(server, server_name=name)
    assert told.value.untrusted
    assert server.seen == []


async def test_another_authority_is_not_trusted(serve: Any, exchange: Any, server_context: ssl.SSLContext) -> None:
    server = await serve(OK + b"Content-Length: 2\r\n\r\nhi", ssl=server_context)
    stranger = ssl.create_default_context()
    trustme.CA().configure_trust(stranger)
    with pytest.raises(ConnectFailed) as told:
        await exchange(server, server_name="svc.example", trust=stranger)
    assert told.value.untrusted
    assert (await exchange(server, server_name="svc.example"))[1] == b"hi"


async def test_who_speaks_no_tls_is_not_trusted_either(serve: Any, exchange: Any) -> None:
    async def plain(peer: Any) -> None:
        await peer.reader.read(1)
        await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.reader.read()

    with pytest.raises(ConnectFailed) as told:
        await exchange(await serve(plain), server_name="svc.example")
    assert told.value.untrusted


@pytest.mark.parametrize("resets", [True, False])
async def test_a_service_that_hangs_up_in_the_handshake(serve: Any, exchange: Any, resets: bool) -> None:
    async def rude(peer: Any) -> None:
        await peer.reader.read(1)
        if resets:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with pytest.raises(ConnectFailed):
        await exchange(await serve(rude), server_name="svc.example")


async def test_a_certificate_that_the_service_wants_and_does_not_get(
    serve: Any, exchange: Any, authority: trustme.CA, server_context: ssl.SSLContext
) -> None:
    """With TLS 1.3 the client learns of it only after the request is sent."""
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    server = await serve(OK + b"Content-Length: 2\r\n\r\nhi", ssl=server_context)
    with pytest.raises((ConnectFailed, ConnectionDropped)):
        await exchange(server, server_name="svc.example")
    assert server.seen == []


async def test_large_messages_both_ways(serve: Any, exchange: Any, server_context: ssl.SSLContext) -> None:
    async def echo(peer: Any) -> None:
        while True:
            seen = await peer.request()
            await peer.say(OK + b"Content-Length: %d\r\n\r\n" % len(seen.body), seen.body)

    server = await serve(echo, ssl=server_context)
    body = os.urandom(8 << 20)
    for _ in range(2):
        _, came = await exchange(server, "POST", body, server_name="svc.example", max_reply=8 << 20)
        assert came == body
    assert server.connections == 1


# --- how it ends ------------------------------------------------------------------------------------------------------


class Blocking:
    """A server on blocking sockets, since those can end TLS without a word; `address` is where."""

    def __init__(self, context: ssl.SSLContext, says: bytes, alert: bool) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listening.getsockname()
        self._thread = threading.Thread(target=self._serve, args=(context, says, alert))
        self._thread.start()

    def _serve(self, context: ssl.SSLContext, says: bytes, alert: bool) -> None:
        accepted, _ = self._listening.accept()
        accepted.settimeout(20)
        with context.wrap_socket(accepted, server_side=True) as there:
            there.recv(10_000)
            there.sendall(says)
            if alert:
                there.unwrap().close()
            else:
                os.close(there.detach())

    def stop(self) -> None:
        self._thread.join()
        self._listening.close()


@pytest.fixture
def blocking(server_context: ssl.SSLContext) -> Iterator[Callable[[bytes, bool], Blocking]]:
    """``blocking(says, alert)``: answers one request, and ends with a closure alert or without."""
    made: list[Blocking] = []

    def make(says: bytes, alert: bool) -> Blocking:
        made.append(Blocking(server_context, says, alert))
        return made[-1]

    yield make
    for one in made:
        one.stop()


async def test_a_body_until_close_is_whole_only_with_an_alert(blocking: Any, exchange: Any) -> None:
    _, body = await exchange(blocking(OK + b"\r\nhello", True), server_name="svc.example")
    assert body == b"hello"
    with pytest.raises(BadReply, match="broke off"):
        await exchange(blocking(OK + b"\r\nhello", False), server_name="svc.example")


@pytest.mark.parametrize("alert", [True, False])
async def test_a_body_with_a_length_needs_no_alert(blocking: Any, exchange: Any, client: Any, alert: bool) -> None:
    server = blocking(OK + b"Content-Length: 5\r\n\r\nhello", alert)
    _, body = await exchange(server, "POST", b"x", server_name="svc.example")
    assert body == b"hello"
    [pool] = client._pools.values()
    async with asyncio.timeout(20):
        while pool.connections:
            await asyncio.sleep(0.001)
    assert pool.unused


async def test_our_own_end_is_told(serve: Any, exchange: Any, client: Any, server_context: ssl.SSLContext) -> None:
    ended: list[Any] = []

    class Watching(ssl.SSLObject):
        def read(self, len: int = 1024, buffer: Any = None) -> Any:
            came = super().read(len, buffer) if buffer is not None else super().read(len)
            if not came:  # an alert; an end without one raises
                ended.append(came)
            return came

    server_context.sslobject_class = Watching
    server = await serve(OK + b"Content-Length: 2\r\n\r\nhi", ssl=server_context)
    await exchange(server, server_name="svc.example")
    await client.aclose()
    async with asyncio.timeout(20):
        await server.closed.wait()
    assert ended
