"""The end of the server, and requests that nobody answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.api.downstream import ServerRequest
from bridge.server.state import ServerState
from tests.server.test_bodies import GET, PLAIN, answering
from tests.server.test_wire import END, OPEN, problem, talk


async def test_a_call_that_takes_too_long_is_told_why(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: ServerRequest) -> None:
        await asyncio.sleep(30)

    async with answering(handler, drain=0.1) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"close", b"keep-alive"))
        await asyncio.sleep(0.1)
    answer = await reader.read()
    problem(answer, 503, "shutting-down")
    assert b"retry-after: 1" in answer
    writer.close()
    assert "longer than BRIDGE_DRAIN" in caplog.text


async def test_requests_that_have_come_are_answered_and_no_others() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        arrived.set()
        await go_on.wait()
        await request.answer(200, [("content-length", "2")], b"ok")

    async with answering(handler) as port, asyncio.timeout(10):
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"close", b"keep-alive") * 3)
        await arrived.wait()
        asyncio.get_running_loop().call_later(0.1, go_on.set)
    assert (await reader.read()).count(b"HTTP/1.1 200 ") == 3
    assert await idle.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    for each in (writer, idle_writer):
        each.close()


async def test_who_is_in_a_hurry_waits_for_nobody() -> None:
    hurry = asyncio.Event()
    server = ServerState(None, lambda request: None, lambda record: None, 0)
    task = asyncio.create_task(asyncio.sleep(30))
    server.tasks.add(task)
    asyncio.get_running_loop().call_later(0.05, hurry.set)
    async with asyncio.timeout(5):
        await server.drain(30, hurry)
    assert task.cancelled()


async def test_a_handler_that_fails_or_forgets_to_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: ServerRequest) -> None:
        if request.path == "/fails":
            raise ValueError("a defect")

    async with answering(handler) as port:
        for path in (b"/fails", b"/forgets"):
            problem(await talk(port, GET.replace(b"/a", path)), 500, "internal")
    assert "a defect" in caplog.text
    assert "without a complete answer" in caplog.text


async def test_an_answer_that_is_not_completed_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Any) -> None:
        await request.begin(200, PLAIN)
        await request.send(b"ab")

    async with answering(handler) as port:
        assert (await talk(port, GET)).endswith(b"2\r\nab\r\n")
    assert "without a complete answer" in caplog.text


async def test_every_request_goes_the_direct_way(gateway: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the pages that Starlette answers."""
    await gateway.register(OPEN)

    def refuse(app: Any, exchange: Any) -> Any:
        raise AssertionError("it went by ASGI")

    monkeypatch.setattr("bridge.server.connection.run_asgi", refuse)
    post = b"POST /p/a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + END
    for asked in (GET.replace(b"/a", b"/p/a"), b"GET /p/a HTTP/1.0\r\n\r\n", post + b"ok"):
        assert b"HTTP/1.1 200 " in await talk(gateway.port, asked)
    assert [request.body for request in upstream.seen] == [b"", b"", b"ok"]


async def test_date_is_on_every_answer(gateway: Any) -> None:
    for asked in (GET, b"nonsense\r\n\r\n", GET.replace(b"/a", b"/-/health/live")):
        head = (await talk(gateway.port, asked)).partition(b"\r\n\r\n")[0]
        assert head.lower().count(b"\r\ndate: ") == 1
