"""Connections kept and not kept, and every way in which one can end under an exchange. Real sockets, either loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from bridge.errors import BadReply
from bridge.transport.http1.connection import PIECE, TURN, Http1Connection
from bridge.transport.http1.exchange import ConnectFailed, ConnectionDropped
from bridge.transport.http1.pool import Pool

OK = b"HTTP/1.1 200 OK\r\n"
LARGE = 24 << 20  # bytes that no socket takes at once


def reset(peer: Any) -> None:
    """What closes next, closes with a reset."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def soon(happened: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await happened.wait()


# --- kept, or not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n", True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", True),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", False),
        (OK + b"Content-Length: 2\r\n\r\nhi\r\n", False),
    ],
)
async def test_a_connection_is_kept_where_both_want_it(serve: Any, exchange: Any, said: bytes, kept: bool) -> None:
    server = await serve(said)
    for _ in range(3):
        _, body = await exchange(server)
        assert body == b"hi"
    assert server.connections == (1 if kept else 3)
    if not kept:
        await soon(server.closed)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_replies_without_a_body_keep_it(serve: Any, exchange: Any, status: bytes) -> None:
    server = await serve(b"HTTP/1.1 " + status + b"\r\n\r\n")
    for _ in range(3):
        head, body = await exchange(server)
        assert (head.status, body) == (int(status[:3]), b"")
    assert server.connections == 1


@pytest.mark.parametrize("poison", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"x", b"\r\n"])
async def test_bytes_on_an_idle_connection_end_it(serve: Any, exchange: Any, client: Any, poison: bytes) -> None:
    said = asyncio.Event()

    async def behave(peer: Any) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: 2\r\n\r\nhi")
        if peer.number == 1:
            await said.wait()
            await peer.say(poison)
            assert await peer.reader.read() == b""
            peer.server.closed.set()
        await peer.reader.read()

    server = await serve(behave)
    await exchange(server, "POST", b"x")
    said.set()
    await soon(server.closed)
    _, body = await exchange(server, "POST", b"x")
    assert (body, server.connections) == (b"hi", 2)


async def test_a_second_reply_right_behind_the_first_is_never_given_to_anybody(serve: Any, exchange: Any) -> None:
    server = await serve((OK + b"Content-Length: 2\r\n\r\nhi") * 2)
    with pytest.raises(BadReply, match="can't be read"):
        await exchange(server)
    await soon(server.closed)


async def test_an_idle_connection_that_the_service_closes_is_not_tried(serve: Any, exchange: Any, client: Any) -> None:
    async def once(peer: Any) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: 2\r\n\r\nhi")

    server = await serve(once)
    for _ in range(5):
        await exchange(server, "POST", b"x")
        [pool] = client._pools.values()
        while pool.idle:
            await asyncio.sleep(0)
    assert server.connections == 5


async def test_an_idle_connection_is_kept_no_longer_than_the_service_says(
    serve: Any, exchange: Any, client: Any
) -> None:
    server = await serve(OK + b"Keep-Alive: timeout=3\r\nContent-Length: 2\r\n\r\nhi")
    await exchange(server)
    [pool] = client._pools.values()
    [idle] = pool.idle
    assert 0 < idle.until - pool.loop.time() <= 2
    idle.until = pool.loop.time()  # as if that time had passed
    await exchange(server)
    assert server.connections == 2
    await soon(server.closed)


async def test_one_timer_closes_what_is_idle_for_too_long(serve: Any, exchange: Any, client: Any) -> None:
    server = await serve(OK + b"Content-Length: 2\r\n\r\nhi")
    await asyncio.gather(*(exchange(server) for _ in range(3)))
    [pool] = client._pools.values()
    assert len(pool.idle) == 3
    for idle in pool.idle[:2]:
        idle.until = 0.0
    client._sweep(pool.loop)
    assert len(pool.idle) == 1
    await soon(server.closed)
    pool.idle[0].until = 0.0
    client._sweep(pool.loop)
    assert client._pools == {}  # a pool that nobody uses is forgotten, or every address ever seen would stay
    assert client._timer is None
    _, body = await exchange(server)
    assert body == b"hi"


# --- cut short --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resets", [True, False])
async def test_until_close(serve: Any, exchange: Any, resets: bool) -> None:
    """A reset is no end of a body, a close is."""
    read = asyncio.Event()

    async def behave(peer: Any) -> None:
        await peer.request()
        await peer.say(OK + b"\r\n", b"hel", b"lo")
        if resets:
            await read.wait()
            reset(peer)

    server = await serve(behave)
    asked = asyncio.ensure_future(exchange(server))
    if not resets:
        assert (await asked)[1] == b"hello"
        return
    while not server.seen:
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0.001)
    read.set()
    with pytest.raises(BadReply):
        await asked


@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("before", [b"", OK + b"Content-Le"])
async def test_a_fresh_connection_that_ends_too_early(serve: Any, exchange: Any, resets: bool, before: bytes) -> None:
    async def behave(peer: Any) -> None:
        await peer.request()
        await peer.say(before)
        if resets:
            reset(peer)

    server = await serve(behave)
    with pytest.raises((ConnectionDropped, BadReply)) as told:
        await exchange(server)
    if not before:
        assert isinstance(told.value, ConnectionDropped)
        assert not told.value.reused
    elif not resets:  # with a reset, what was said before it may be lost
        assert isinstance(told.value, BadReply)


async def test_a_half_closed_service_may_finish_its_answer(serve: Any, exchange: Any) -> None:
    async def behave(peer: Any) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: 2\r\n\r\nhi")
        peer.writer.write_eof()
        await peer.reader.read()

    server = await serve(behave)
    for _ in range(2):
        _, body = await exchange(server, "POST", b"x")
        assert body == b"hi"
        await soon(server.closed)
    assert server.connections == 2


async def test_cancelled_in_the_middle(serve: Any, exchange: Any) -> None:
    async def behave(peer: Any) -> None:
        await peer.request()
        await peer.say(
            OK + b"Content-Length: 5\r\n\r\nhel" if peer.number == 1 else OK + b"Content-Length: 2\r\n\r\nhi"
        )
        await peer.reader.read()

    server = await serve(behave)
    asked = asyncio.ensure_future(exchange(server))
    while not server.seen:
        await asyncio.sleep(0.001)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await soon(server.closed)
    assert (await exchange(server))[1] == b"hi"


async def test_cancelled_when_the_answer_is_there(serve: Any, exchange: Any, monkeypatch: Any) -> None:
    """The connection is free again by then, and may be somebody else's: it must be left alone."""
    server = await serve(OK + b"Content-Length: 2\r\n\r\nhi")
    await exchange(server)
    release = Pool.release

    def and_cancel(pool: Pool, connection: Http1Connection, keep: float) -> None:
        release(pool, connection, keep)
        asked.cancel()

    monkeypatch.setattr(Pool, "release", and_cancel)
    asked = asyncio.ensure_future(exchange(server))
    with pytest.raises(asyncio.CancelledError):
        await asked
    monkeypatch.setattr(Pool, "release", release)
    await exchange(server)
    assert server.connections == 1


# --- large requests ---------------------------------------------------------------------------------------------------


async def test_a_large_body_is_given_out_in_pieces(serve: Any, exchange: Any, client: Any) -> None:
    """To a service that reads nothing no more than a few pieces are handed; once it reads, it gets every byte."""
    go = asyncio.Event()

    async def behave(peer: Any) -> None:
        await go.wait()
        seen = await peer.request()
        await peer.say(OK + b"Content-Length: 2\r\n\r\n" + (b"ok" if seen.body == body else b"no"))
        await peer.reader.read()

    body = bytes(range(256)) * (LARGE >> 8)
    server = await serve(behave)
    asked = asyncio.ensure_future(exchange(server, "POST", body))
    while not server.connections:
        await asyncio.sleep(0.001)
    for _ in range(50):
        await asyncio.sleep(0.001)
    [pool] = client._pools.values()
    [connection] = pool.connections
    assert connection._transport.get_write_buffer_size() <= 2 * PIECE
    go.set()
    assert (await asked)[1] == b"ok"


@pytest.mark.parametrize("resets", [True, False])
async def test_an_early_answer_counts_and_ends_the_connection(serve: Any, exchange: Any, resets: bool) -> None:
    """Whether the service then waits, or closes with most of the request unread, which resets the connection."""

    async def behave(peer: Any) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        if not resets:
            await asyncio.Event().wait()

    server = await serve(behave)
    for _ in range(2):
        head, body = await exchange(server, "POST", bytes(LARGE))
        assert (head.status, body) == (413, b"no")
    assert server.connections == 2


async def test_a_reply_that_drips_beside_a_request_that_is_read_slowly(serve: Any, exchange: Any) -> None:
    async def behave(peer: Any) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(OK + b"Content-Length: 24\r\n\r\n")
        for _ in range(24):
            await peer.reader.readexactly(LARGE // 24)
            await peer.say(b"x")
        await peer.reader.read()

    server = await serve(behave)
    _, body = await exchange(server, "POST", bytes(LARGE))
    assert body == b"x" * 24


async def test_ipv6(serve: Any, exchange: Any) -> None:
    try:
        server = await serve(OK + b"Content-Length: 2\r\n\r\nhi", host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")

    class There:
        address = ("::1", server.port)

    _, body = await exchange(There)
    assert body == b"hi"
    server = await serve(b"nonsense\r\n\r\n", host="::1")
    There.address = ("::1", server.port)
    with pytest.raises(BadReply) as told:
        await exchange(There)
    assert told.value.cause.startswith(f"[::1]:{server.port}: ")


async def test_a_service_that_closes_as_soon_as_it_is_reached(serve: Any, exchange: Any) -> None:
    async def rude(peer: Any) -> None:
        peer.writer.close()

    server = await serve(rude)
    for _ in range(20):
        with pytest.raises((ConnectionDropped, ConnectFailed)):
            await exchange(server, "POST", b"x")


# --- large messages ---------------------------------------------------------------------------------------------------


class Pipe:
    """A transport that takes and holds any number of bytes at once, as the kernel may."""

    def __init__(self) -> None:
        self.reading, self.written = True, 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None: ...

    def close(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n" % LARGE, b"Connection: close\r\n"], ids=["length", "close"])
async def test_a_large_message_passes_in_turns(head: bytes) -> None:
    pipe: Any = Pipe()
    pool: Any = Pool((("127.0.0.1", 1), None, None), 1)
    connection = Http1Connection(pool)
    connection.connection_made(pipe)
    future = connection.begin(b"POST / HTTP/1.1\r\n\r\n", b"x" * LARGE, without_body=False, limit=LARGE)
    most = written = 0
    while written < pipe.written:
        most, written = max(most, pipe.written - written), pipe.written
        await asyncio.sleep(0)
    assert written > LARGE
    assert most <= TURN + PIECE
    connection.data_received(OK + head + b"\r\n")
    turns, left = 0, LARGE
    while left:
        read = 0
        while pipe.reading and left:
            size = min(PIECE, left)
            connection.data_received(b"y" * size)
            left, read = left - size, read + size
        assert 0 < read <= TURN + PIECE
        turns += 1
        while not pipe.reading and left:
            await asyncio.sleep(0)
    assert turns > LARGE // (TURN + PIECE) - 2
    if b"close" in head:
        connection.eof_received()
    _, body = await future
    assert isinstance(body, list)  # it is joined elsewhere
    assert b"".join(body) == b"y" * LARGE
