"""Who ends first, and what is left of it: nothing at the service, no task, one line in the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.process_log import without_services

HANGS = "/flow/count/5?hang_after=1"
FLOODS = "/flow/count/2000000000?size=1000"


@contextlib.asynccontextmanager
async def dialled(stage: Any, *, window: int = 0) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the gateway. `window`: bytes that the kernel keeps for the reader."""
    sock = socket.socket()
    if window:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", stage.gateway.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 12 if window else 1 << 16)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *fields, "", ""]).encode()


async def given_up(stage: Any) -> None:
    await asyncio.wait_for(stage.flow.cancelled.wait(), 5)


async def test_a_client_that_leaves_with_a_second_request_under_way(stage: Any) -> None:
    """The second request, which waits for the first one's end, must not hide that its client has left."""
    async with stage() as made:
        async with dialled(made) as (reader, writer):
            writer.write(get(HANGS) + get("/flow/count/1"))
            await reader.readuntil(b'{"n":1}')
        await given_up(made)
    assert [(line["path"], line["status"]) for line in made.gateway.log()] == [("/flow/count/5", 499)]


async def test_pipelined_streams_are_answered_in_turn(stage: Any) -> None:
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(5):
        writer.write(get("/flow/count/2") + get("/flow/count/1") + get("/nowhere"))
        for expected in (b'{"n":2}', b'{"n":1}'):
            assert expected in await reader.readuntil(b"0\r\n\r\n")
        assert b" 404 " in await reader.readuntil(b"\r\n")


async def test_a_handshake_behind_a_stream_is_not_taken(stage: Any) -> None:
    """Frames would come between the stream's chunks, and nobody would notice that its client leaves."""
    upgrade = get(
        "/flow/rooms/blue", "Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    async with stage() as made:
        async with dialled(made) as (reader, writer):
            writer.write(get(HANGS) + upgrade)
            told = await reader.readuntil(b'{"n":1}')
        await given_up(made)
    assert b" 101 " not in told
    assert [line["status"] for line in made.gateway.log()] == [499]


async def filled(writer: asyncio.StreamWriter) -> None:
    """Chunks of messages, until nobody takes more."""
    line = json.dumps({"n": 1, "text": "x" * 60_000}).encode() + b"\n"
    with contextlib.suppress(TimeoutError):
        while True:
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await asyncio.wait_for(writer.drain(), 0.3)


async def test_a_client_that_leaves_a_service_that_does_not_read(stage: Any) -> None:
    """It speaks on and on: what it says may not be taken for ever, for nobody."""
    async with stage() as made:
        async with dialled(made) as (reader, writer):
            writer.write(get("/flow/rooms/blue/echo", "Transfer-Encoding: chunked", method="POST"))
            writer.write(b'9\r\n{"n":99}\n\r\n')
            reading = asyncio.create_task(reader.readuntil(b"never"))
            await filled(writer)
            reading.cancel()
        await given_up(made)
    assert made.gateway.log()[0]["status"] == 499


async def test_a_client_that_leaves_a_service_that_neither_reads_nor_speaks(stage: Any) -> None:
    """Nothing tells that it left, but the idle limit holds."""
    async with stage("stream: {idle: 500ms}") as made:
        made.flow.hold.clear()
        async with dialled(made) as (_, writer):
            writer.write(get("/flow/sum", "Transfer-Encoding: chunked", method="POST"))
            await filled(writer)
        await given_up(made)
    assert len(made.gateway.log()) == 1


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/flow/count/5?size=4000000&hang_after=1", "stream: {idle: 300ms, heartbeat: 20ms}"),  # a heartbeat is due
        ("/flow/count/2?size=4000000", "stream: {idle: 300ms}"),  # the end is
        ("/flow/count/5?size=4000000&fail_after=2", "stream: {idle: 300ms}"),  # an error is
        (FLOODS, "stream: {idle: 300ms}"),
    ],
)
async def test_a_client_that_never_reads_is_let_go(stage: Any, path: str, keys: str) -> None:
    async with stage(keys) as made:
        async with dialled(made, window=2048) as (_, writer):
            writer.write(get(path))
            for _ in range(100):
                if made.gateway.log():
                    break
                await asyncio.sleep(0.05)
            assert [line["status"] for line in made.gateway.log()] == [499]


async def test_a_whole_answer_that_nobody_reads_is_not_kept(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.server.flow.STALL", 0.2)
    async with stage() as made:
        async with dialled(made, window=2048) as (_, writer):
            asked = get("/flow/flow.Flow/Once", "Content-Length: 16", method="POST") + b'{"size":3000000}'
            writer.write(asked * 4)
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    while True:
                        writer.write(b"\r\n")
                        await writer.drain()
                        await asyncio.sleep(0.05)
    assert {line["status"] for line in made.gateway.log()} <= {200, 499}


async def test_head_ends_with_the_head(stage: Any) -> None:
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(5):
        writer.write(get(HANGS, method="HEAD") + get("/flow/count/1"))
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        assert b'{"n":1}' in await reader.readuntil(b"0\r\n\r\n")
        await given_up(made)


async def test_http_1_0_gets_no_chunks(stage: Any) -> None:
    """RFC 9112, section 6.1: none to a client that does not say HTTP/1.1. The end of the connection is the end."""
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(5):
        writer.write(get("/flow/count/2", version="1.0"))
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b'{"n":1}\n{"n":2}\n'


async def test_http_1_0_sees_that_a_stream_is_broken_off(stage: Any) -> None:
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(5):
        writer.write(get("/flow/files/4?fail_after=2", version="1.0"))
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)


async def test_who_waits_for_100_continue_and_is_refused_is_told_to_begin_anew(stage: Any) -> None:
    """Whether its body still comes can't be known: it may not be taken for the next request, nor that for the body."""
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(5):
        writer.write(
            get("/flow/sum", "Content-Type: text/xml", "Content-Length: 5", "Expect: 100-continue", method="POST")
        )
        head = await reader.readuntil(b"\r\n\r\n")
    assert b" 415 " in head
    assert b"connection: close" in head.lower()


async def test_a_response_that_ends_before_its_request(stage: Any) -> None:
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(5):
        writer.write(get("/flow/sum", "Transfer-Encoding: chunked", method="POST") + b'9\r\n{"n":13}\n\r\n')
        assert b" 429 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b'9\r\n{"n":14}\n\r\n0\r\n\r\n' + get("/flow/count/1"))
        assert b'{"n":1}' in await reader.readuntil(b"0\r\n\r\n")
    assert [line["status"] for line in made.gateway.log()] == [429, 200]


@pytest.mark.parametrize("content_type", ["application/grpc-web+proto", "application/connect+proto"])
async def test_a_client_without_heartbeats_that_leaves_before_the_head(stage: Any, content_type: str) -> None:
    async with stage() as made:
        async with dialled(made) as (_, writer):
            message = made.flow.request(upto=5, wait=True).SerializeToString()
            body = bytes([0, 0, 0, 0, len(message)]) + message
            fields = [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
            writer.write(get("/flow/flow.Flow/Count", *fields, method="POST") + body)
            await asyncio.wait_for(made.flow.called.wait(), 5)
            writer.close()
            await given_up(made)
    assert made.gateway.log()[0]["status"] == 499


async def test_nothing_is_left_behind(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Clients that leave at every moment: no task stays, nothing is logged as unforeseen."""
    caplog.set_level(logging.WARNING)
    async with stage() as made:
        await made.client.get("/flow/count/1")
        before = len(asyncio.all_tasks())
        for at in range(24):
            async with dialled(made) as (reader, writer):
                writer.write(get(("/flow/count/20", HANGS, FLOODS, "/flow/files/3")[at % 4]))
                for _ in range(at // 4):
                    await asyncio.sleep(0)
                if at >= 16:
                    await reader.read(10)
        for _ in range(100):
            if len(asyncio.all_tasks()) <= before and len(made.gateway.log()) >= 25:
                break
            await asyncio.sleep(0.02)
        assert len(asyncio.all_tasks()) <= before + 1
    assert {line["status"] for line in made.gateway.log()} <= {200, 499}
    assert without_services(caplog.records) == []


@pytest.mark.parametrize("path", [HANGS, FLOODS])
async def test_the_servers_end_is_told(stage: Any, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """What still runs after the time to drain is cancelled by the server; its client learns why, and may come again."""
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(10):
        writer.write(get(path))
        await reader.readuntil(b'{"n":1')
        [task] = [task for task in asyncio.all_tasks() if "ServerState.run" in repr(task.get_coro())]
        task.cancel()
        told = await reader.readuntil(b"\r\n0\r\n\r\n")
        await given_up(made)
    assert b"urn:bridge:problem:shutting-down" in told
    assert [(line["status"], line["cause"]) for line in made.gateway.log()] == [(200, "The gateway is shutting down.")]
    assert without_services(caplog.records, logging.ERROR) == []
