"""What reaches the gateway's socket and is no request yet: bounded, timed, and answered like everything else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge.server import connection as wire
from bridge.server.connection import LENGTHY, STEP

OPEN = {"route": "/p/{rest*}", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
END = b"Host: a\r\nConnection: close\r\n\r\n"


async def talk(port: int, *parts: bytes, half_close: bool = False) -> bytes:
    """Send `parts` one after another; everything that comes back until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def problem(answer: bytes, status: int, slug: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    told = json.loads(body)
    assert head.split()[1] == str(status).encode()
    assert fields["content-type"] == "application/problem+json"
    assert fields["connection"] == "close"
    assert fields["content-length"] == str(len(body))
    assert told["type"] == f"urn:bridge:problem:{slug}"
    assert told["status"] == told["code"] == status
    assert told["trace_id"] == fields["x-trace-id"]


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\n" + END,
        b"GET /p/\xc3\xa9 HTTP/1.1\r\n" + END,
        b"GET /p/a HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /p/a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n",
        b"POST /p/a HTTP/1.1\r\nContent-Length: -1\r\n" + END,
        b"POST /p/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"zz\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem_too(gateway: Any, upstream: Any, request_: bytes) -> None:
    await gateway.register(OPEN)
    problem(await talk(gateway.port, request_), 400, "bad-request")
    assert upstream.seen == []


async def test_it_is_in_the_log(start: Any) -> None:
    async with start(mesh={}) as gateway:
        await talk(gateway.port, b"nonsense\r\n\r\n")
    [line] = gateway.log()
    assert (line["status"], line["peer"]) == (400, "127.0.0.1")


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /p/a HTTP/1.1\r\nX: ", b"a" * 70_000, b"\r\n" + END],
        [b"GET /p/a HTTP/1.1\r\n", *[b"X: aaaaaaaaaa\r\n"] * 6000, END],
        [b"GET /p/a HTTP/1.1\r\nX: ", *[b"a" * 30_000] * 20],
        [b"GET /p/" + b"a" * 70_000 + b" HTTP/1.1\r\n" + END],
    ],
    ids=["one field", "many fields", "without end", "target"],
)
async def test_a_header_has_a_greatest_size(gateway: Any, upstream: Any, parts: list[bytes]) -> None:
    await gateway.register(OPEN)
    problem(await talk(gateway.port, b"".join(parts)), 431, "head-too-large")
    assert upstream.seen == []


async def test_a_large_header_within_it_passes(gateway: Any) -> None:
    await gateway.register({**OPEN, "transform": {"request": "passthrough"}})
    answer = await talk(gateway.port, b"GET /p/a HTTP/1.1\r\nX: " + b"a" * 30_000 + b"\r\n" + END)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_header_has_its_time(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_TIMEOUT", 0.1)
    problem(await talk(gateway.port, b"GET /p/a HTTP/1.1\r\nHost: a\r\n"), 408, "request-timeout")
    for silence in (b"", b"\r\n\r\n"):
        assert await talk(gateway.port, silence) == b""
    second = await talk(gateway.port, b"GET /-/health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /p")
    assert second.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in second


async def test_a_body_may_take_longer_than_a_header(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_TIMEOUT", 0.05)
    await gateway.register(OPEN)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /p/a HTTP/1.1\r\nContent-Length: 2\r\n" + END)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        writer.write(b"ok")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_client_may_close_its_half(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    request = b"GET /p/a HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await talk(gateway.port, request, half_close=True)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(upstream.body)
    assert (await talk(gateway.port, request * 3, half_close=True)).count(b"HTTP/1.1 200 ") == 3
    assert (
        await talk(gateway.port, b"POST /p/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", half_close=True) == b""
    )


async def test_nonsense_behind_a_request_does_not_answer_it(gateway: Any, upstream: Any) -> None:
    release = asyncio.Event()

    async def slow(request: Any) -> Any:
        await release.wait()
        return 200, [("content-type", "text/plain")], b"the answer"

    upstream.answer = slow
    await gateway.register(OPEN)
    call = asyncio.create_task(talk(gateway.port, b"GET /p/a HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n"))
    async with asyncio.timeout(10):
        while not upstream.seen:
            await asyncio.sleep(0.01)
    release.set()
    answer = await call
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"the answer")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_an_upgrade_is_answered_without(gateway: Any, caplog: pytest.LogCaptureFixture) -> None:
    await gateway.register(OPEN)
    answer = await talk(
        gateway.port, b"GET /p/a HTTP/1.1\r\nUpgrade: websocket\r\nHost: a\r\nConnection: upgrade, close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert caplog.text == ""


def chunks(body: bytes, size: int) -> bytes:
    return b"".join(
        [b"%x\r\n%s\r\n" % (len(body[at : at + size]), body[at : at + size]) for at in range(0, len(body), size)]
    )


@pytest.mark.parametrize("size", [1, 3, 100_000])
async def test_a_body_in_small_chunks_arrives_and_so_does_what_follows(gateway: Any, upstream: Any, size: int) -> None:
    await gateway.register(OPEN)
    body = bytes(range(256)) * 400
    post = b"POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % chunks(body, size)
    length = b"POST /p/b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    get = b"GET /p/c HTTP/1.1\r\n" + END
    answer = await talk(gateway.port, post + length + post + get)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert [(seen.target, seen.body) for seen in upstream.seen] == [
        ("/p/a", body), ("/p/b", body), ("/p/a", body), ("/p/c", b"")
    ]  # fmt: skip


async def test_what_is_left_of_a_chunked_body_after_its_answer_is_bounded(
    gateway: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says how long it is. What is short is read, so that the connection serves the next request."""
    await gateway.register(OPEN)
    refused = b"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    get = b"GET /p/c HTTP/1.1\r\n" + END
    answer = await talk(gateway.port, refused, chunks(b"x" * 60_000, 10_000) + b"0\r\n\r\n" + get)
    assert answer.count(b"HTTP/1.1 404 ") == answer.count(b"HTTP/1.1 200 ") == 1

    monkeypatch.setattr(wire, "KEEP_ALIVE", 600.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(refused)
    assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    writer.write(chunks(b"x" * 200_000, 10_000))
    async with asyncio.timeout(10):
        await reader.read()  # until the gateway closes
    writer.close()


async def test_what_is_no_chunk_within_many_is_refused(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    head = b"POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    problem(
        await talk(gateway.port, head + chunks(b"x" * 50_000, 1) + b"zz\r\n" + b"1\r\nx\r\n" * 5000), 400, "bad-request"
    )
    assert upstream.seen == []


async def test_small_chunks_are_parsed_in_steps(gateway: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read from the network brings tens of thousands of them."""
    await gateway.register(OPEN)
    largest = 0
    received = wire.ServerConnection.data_received

    def data_received(self: wire.ServerConnection, data: bytes) -> None:
        nonlocal largest
        if self._backlog is None and len(data) <= LENGTHY:
            largest = max(largest, len(data))
        else:
            assert self._backlog is not None or len(data) > STEP
        received(self, data)

    monkeypatch.setattr(wire.ServerConnection, "data_received", data_received)
    head = b"POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    answer = await talk(gateway.port, head + b"Connection: close\r\n\r\n" + chunks(b"x" * 60_000, 1) + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert upstream.seen[0].body == b"x" * 60_000
