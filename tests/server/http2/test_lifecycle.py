"""The end of the server, as clients of HTTP/2 see it."""

from __future__ import annotations

import asyncio
import socket

import hpack
import pytest

from bridge.api.downstream import ServerRequest
from bridge.http2 import frames
from tests.server.http2.kit import GET, answering, dialled, says_ok
from tests.server.test_wire import talk
from tests.transport.http2.kit import raw


async def test_requests_that_have_come_are_answered_and_no_others() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        arrived.set()
        await go_on.wait()
        await says_ok(request)

    async with answering(handler) as served, dialled(served.port) as client, dialled(served.port) as idle:
        client.write(client.headers(1, GET))
        await asyncio.wait_for(arrived.wait(), 10)
        await idle.alive()
        draining = asyncio.create_task(served.server.drain(10, asyncio.Event()))
        assert await idle.end() == frames.NO_ERROR
        await client.until(lambda: client.goaway is not None)
        assert (client.goaway, client.goaway_last) == (frames.NO_ERROR, 1)
        client.write(client.headers(3, GET), client.data(3, b"late"))
        await client.alive()
        go_on.set()
        assert (await client.answer(1)).body == b"ok"
        await client.end()
        assert 3 not in client.answers
        await draining


async def test_goaway_does_not_name_streams_that_were_ignored() -> None:
    """Section 6.8: the number may not become higher. A client would not send again what it names."""
    go_on = asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        await go_on.wait()
        await says_ok(request)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await client.alive()
        for connection in list(served.server.connections):
            connection.shutdown()
        client.write(client.headers(3, GET), raw(frames.DATA, 0, 0, b""))  # of no stream: an error
        assert await client.end() == frames.PROTOCOL_ERROR
        assert client.goaway_last == 1
        go_on.set()


async def test_a_client_may_read_the_last_response_at_its_own_pace() -> None:
    """It grants windows as it reads, also after the server has sent everything: a reset would take the rest along."""
    size = 3_000_000

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [("content-length", str(size))], bytes(size))

    async with answering(handler) as served:
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(peer, ("127.0.0.1", served.port))
            wide = raw(frames.SETTINGS, 0, 0, b"\x00\x04\x7f\xff\xff\xff") + frames.window_update(0, 1 << 30)
            request = raw(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, hpack.Encoder().encode(GET))
            await loop.sock_sendall(peer, frames.PREFACE + wide + request)
            got = len(await loop.sock_recv(peer, 1000))
            for connection in list(served.server.connections):
                connection.shutdown()
            while piece := await loop.sock_recv(peer, 64 * 1024):
                got += len(piece)
                await loop.sock_sendall(peer, frames.window_update(0, len(piece)))
    assert got > size


@pytest.mark.parametrize("how", ["too long", "in a hurry"])
async def test_a_call_that_takes_too_long_is_told_why(how: str) -> None:
    arrived = asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await asyncio.wait_for(arrived.wait(), 10)
        hurry = asyncio.Event()
        if how == "in a hurry":
            hurry.set()
        await served.server.drain(0.1 if how == "too long" else 30, hurry)
        answer = await client.answer(1)
        assert (answer.head[":status"], answer.head["retry-after"]) == ("503", "1")
        assert b"shutting-down" in answer.body
        await client.end()


async def test_a_connection_that_is_accepted_when_the_server_stops() -> None:
    async with answering(says_ok) as served, dialled(served.port) as client:
        await client.alive()
        served.server.stopping = True
        async with dialled(served.port) as late:
            await late.end()
        client.close()


async def test_a_client_that_says_goodbye() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        arrived.set()
        await go_on.wait()
        await says_ok(request)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET), raw(frames.GOAWAY, 0, 0, bytes(8)))
        await asyncio.wait_for(arrived.wait(), 10)
        go_on.set()
        assert (await client.answer(1)).body == b"ok"
        await client.end()


async def test_http1_on_the_same_port() -> None:
    async with answering(says_ok) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        assert (await client.answer(1)).body == b"ok"
        answer = await talk(served.port, b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
