"""A WebSocket on our own server, below the gateway: bounds, pings, and its ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.api.call import JSON_TYPE, Reply
from bridge.api.downstream import ServerRequest
from bridge.errors import ClientDisconnected
from bridge.websocket import connection
from tests.fronts.test_websocket_attacks import frame, handshake
from tests.server.test_bodies import answering


def no_fields(reply: Reply) -> list[tuple[str, str]]:
    return []


async def echo(request: ServerRequest) -> None:
    """Says what it hears, until it hears nothing."""
    side = request.side(no_fields)
    await side.start(Reply(200, [JSON_TYPE]))
    while (message := await side.read()) is not None:
        await side.write([message])
    await side.close(b"", failed=False)


async def closed(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(socket.recv(), 5)
    return socket.close_code


async def test_a_message_larger_than_the_bound() -> None:
    async with answering(echo, max_message=10) as port, connect(f"ws://127.0.0.1:{port}/") as socket:
        await socket.send("x" * 10)
        assert await socket.recv() == "x" * 10
        await socket.send(["x" * 6, "x" * 6])  # in fragments
        assert await closed(socket) == 1009


async def test_a_message_of_many_fragments() -> None:
    parts = [f"{number:06} " for number in range(2000)]
    async with answering(echo, max_message=1 << 20) as port, connect(f"ws://127.0.0.1:{port}/") as socket:
        await socket.send(parts)
        assert await socket.recv() == "".join(parts)


async def test_a_client_that_answers_no_ping_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PING_INTERVAL", 0.1)
    async with answering(echo) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake("/"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b"\x89\x06bridge" + b"\x88\x18\x03\xf3keepalive ping timeout"
        writer.close()


async def test_a_client_that_answers_pings_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PING_INTERVAL", 0.05)
    async with answering(echo) as port, connect(f"ws://127.0.0.1:{port}/") as socket:
        await asyncio.sleep(0.5)
        await socket.send("still here")
        assert await socket.recv() == "still here"


async def test_pongs_that_are_not_read_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that the application lets wait can't be heard."""
    monkeypatch.setattr(connection, "PING_INTERVAL", 0.05)
    go_on = asyncio.Event()

    async def slow(request: ServerRequest) -> None:
        side = request.side(no_fields)
        await side.start(Reply(200, [JSON_TYPE]))
        await go_on.wait()
        await side.write([await side.read() or b"", await side.read() or b""])
        await side.close(b"", failed=False)

    async with answering(slow, max_message=1 << 20) as port, connect(f"ws://127.0.0.1:{port}/") as socket:
        await socket.send("a" * 2000)
        await socket.send("b" * 2000)
        await asyncio.sleep(0.4)
        go_on.set()
        assert [len(await socket.recv()), len(await socket.recv())] == [2000, 2000]


async def test_the_end_of_the_server() -> None:
    over: list[BaseException] = []

    async def handler(request: ServerRequest) -> None:
        try:
            await echo(request)
        except ClientDisconnected as error:
            over.append(error)
            raise

    async with answering(handler) as port:
        socket = await connect(f"ws://127.0.0.1:{port}/").__aenter__()
        await socket.send("x")
        await socket.recv()
    assert await closed(socket) == 1012
    assert len(over) == 1


async def test_the_end_of_the_server_before_the_handshake_is_answered() -> None:
    async def handler(request: ServerRequest) -> None:
        await asyncio.sleep(30)

    async with answering(handler, drain=0.1) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake("/"))
        await asyncio.sleep(0.1)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["detail"] == "The gateway is shutting down."
    writer.close()


async def test_a_handler_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: ServerRequest) -> None:
        if request.path == "/before":
            raise ValueError("a defect")
        await request.side(no_fields).start(Reply(200, [JSON_TYPE]))
        raise ValueError("a later defect")

    async with answering(handler) as port, asyncio.timeout(5):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/before").__aenter__()
        assert json.loads(refused.value.response.body or b"")["type"] == "urn:bridge:problem:internal"
        async with connect(f"ws://127.0.0.1:{port}/after") as socket:
            assert await closed(socket) == 1006
    assert "a defect" in caplog.text
    assert "a later defect" in caplog.text


async def test_a_client_that_answers_no_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.1)

    async def handler(request: ServerRequest) -> None:
        side = request.side(no_fields)
        await side.start(Reply(200, [JSON_TYPE]))
        await side.close(b"", failed=False)

    async with answering(handler) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake("/"))
        await reader.readuntil(b"\x88\x02\x03\xe8")
        writer.write(frame(1, b"too late"))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_fields_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fields(reply: Reply) -> list[tuple[str, str]]:
        return [("content-type", "text/plain"), ("x-name", "M\u00fcller"), ("x-twice", "1"), ("x-twice", "2")]

    async def handler(request: ServerRequest) -> None:
        side = request.side(fields)
        await side.start(Reply(200, [JSON_TYPE]))
        await side.close(b"", failed=False)

    async with answering(handler) as port:
        socket: Any
        async with connect(f"ws://127.0.0.1:{port}/") as socket:
            headers = socket.response.headers
    assert "content-type" not in headers
    assert (headers["x-name"], headers.get_all("x-twice")) == ("M\u00fcller", ["1", "2"])
    assert len(headers.get_all("date")) == 1
