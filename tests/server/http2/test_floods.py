"""Clients that make work, or keep what they don't take (RFC 9113, section 10.5): each is bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from bridge.api.downstream import ServerRequest
from bridge.http2 import frames, hpack
from bridge.http2.flood_guard import IDLE_FRAMES
from bridge.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from bridge.server.http2 import connection as lifecycle
from bridge.server.http2.core import MAX_RESETS
from tests.server.http2.kit import END, GET, POST, Client, answering, dialled, says_ok
from tests.server.test_wire import talk
from tests.transport.http2.kit import raw

MANY = IDLE_FRAMES + 10


async def waits(request: ServerRequest) -> None:
    await asyncio.Event().wait()


async def in_parts(client: Client, request: Callable[[int], bytes]) -> None:
    """Many requests, in parts: more at once than may run are refused, which is another limit."""
    for first in range(1, 4 * MAX_RESETS, MAX_RESETS):
        client.write(*[request(number) for number in range(first, first + MAX_RESETS, 2)])
        with contextlib.suppress(AssertionError):  # it may be at its end
            await client.alive()


async def test_rapid_reset() -> None:
    """CVE-2023-44487: requests that are reset at once. Each is cancelled, and soon the connection ends."""
    running, most, begun = 0, 0, 0

    async def handler(request: ServerRequest) -> None:
        nonlocal running, most, begun
        begun += 1
        running += 1
        most = max(most, running)
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1

    async with answering(handler) as served, dialled(served.port) as client:
        await in_parts(client, lambda number: client.headers(number, GET) + client.reset(number))
        assert await client.end() == ENHANCE_YOUR_CALM
    assert begun <= MAX_RESETS + 1
    assert most <= 200
    assert running == 0


async def test_resets_that_the_client_provokes() -> None:
    """CVE-2025-8671: the server is made to reset, by frames that break a rule."""
    async with answering(waits) as served, dialled(served.port) as client:
        await in_parts(client, lambda number: client.headers(number, POST, end=False) + frames.window_update(number, 0))
        assert await client.end() == ENHANCE_YOUR_CALM


async def test_clients_that_cancel_some_of_their_calls_may_go_on() -> None:
    async def handler(request: ServerRequest) -> None:
        await (says_ok if request.path == "/a" else waits)(request)

    async with answering(handler) as served, dialled(served.port) as client:
        slow = [*GET[:3], (":path", "/slow")]
        for number in range(1, 8 * MAX_RESETS, 4):
            client.write(client.headers(number, slow), client.headers(number + 2, GET))
            assert (await client.answer(number + 2)).body == b"ok"
            client.write(client.reset(number))
        await client.alive()


def continuations(client: Client) -> list[bytes]:
    empty = raw(frames.CONTINUATION, 0, 1, b"")
    return [raw(frames.HEADERS, frames.END_STREAM, 1, client.block(GET)), *[empty] * MANY]


def continued(client: Client) -> list[bytes]:
    piece = raw(frames.CONTINUATION, 0, 1, b"\x00\x01a\x01b")
    return [raw(frames.HEADERS, frames.END_STREAM, 1, client.block(GET)), *[piece] * MANY]


def large_block(client: Client) -> list[bytes]:
    piece = raw(frames.CONTINUATION, 0, 1, b"\x00\x01a\x7f\x81\x7e" + b"b" * 16_000)
    return [raw(frames.HEADERS, frames.END_STREAM, 1, client.block(GET)), *[piece] * 80]


def bomb(client: Client) -> list[bytes]:
    """A field of 4,000 bytes in the table, and a thousand references to it, of a byte each."""
    field = client.block([*GET, ("x-a", "a" * 3900)])
    return [raw(frames.HEADERS, END | frames.END_STREAM, 1, field + b"\xbe" * 1000)]


FLOODS: dict[str, Callable[[Client], list[bytes]]] = {
    "CONTINUATIONs without bytes (CVE-2024-27316)": continuations,
    "CONTINUATIONs of small fields": continued,
    "a block without end": large_block,
    "an HPACK bomb": bomb,
    "PINGs": lambda client: [raw(frames.PING, 0, 0, bytes(8))] * MANY,
    "SETTINGS": lambda client: [raw(frames.SETTINGS, 0, 0)] * MANY,
    "settings": lambda client: [frames.settings([(4, 65_535)] * 1000)],
    "acknowledgements": lambda client: [raw(frames.SETTINGS, 1, 0)] * MANY,
    "PRIORITYs": lambda client: [raw(frames.PRIORITY, 0, 1, bytes(5))] * MANY,
    "unknown frames": lambda client: [raw(0x2A, 0, 0)] * MANY,
    "empty DATA": lambda client: [client.headers(1, POST, end=False), *[client.data(1, b"")] * MANY],
    "windows by a byte": lambda client: [client.headers(1, POST, end=False), *[frames.window_update(1, 1)] * MANY],
    "malformed requests": lambda client: [
        client.headers(number, [*GET, ("connection", "close")]) for number in range(1, 300, 2)
    ],
    "trailers of closed streams": lambda client: [
        client.headers(1, POST, end=False), client.reset(1), *[client.headers(1, [("x-a", "1")])] * MANY
    ],
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_the_connection(flood: str) -> None:
    async def drains(client: Client) -> int | None:
        return await client.end()

    async with answering(waits) as served, dialled(served.port) as client:
        client.acknowledges = flood != "an HPACK bomb"
        parts = FLOODS[flood](client)
        end = asyncio.create_task(drains(client))
        for part in parts:
            client.write(part)
        assert await end == ENHANCE_YOUR_CALM


async def test_answers_that_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks and does not read: what it is owed is bounded, and the connection ends."""
    lost = asyncio.Event()
    connection_lost = lifecycle.Http2ServerConnection.connection_lost

    def telling(self: Any, exc: Exception | None) -> None:
        connection_lost(self, exc)
        lost.set()

    monkeypatch.setattr(lifecycle.Http2ServerConnection, "connection_lost", telling)
    monkeypatch.setattr(lifecycle.Http2ServerConnection, "_schedule", lambda self: None)
    async with answering(waits) as served, dialled(served.port) as client:
        client.write(*[raw(frames.PING, 0, 0, bytes(8))] * 5000)
        assert await client.end() == ENHANCE_YOUR_CALM
        await asyncio.wait_for(lost.wait(), 10)


async def test_a_large_block_of_a_connection_that_has_no_table() -> None:
    async with answering(says_ok) as served, dialled(served.port) as client:
        await client.settled()
        client.write(client.headers(1, GET))
        await client.answer(1)
        piece = raw(frames.CONTINUATION, 0, 3, b"\x00\x01a\x7f\x81\x7e" + b"b" * 16_000)
        client.write(raw(frames.HEADERS, frames.END_STREAM, 3, client.block(GET)), *[piece] * 20)
        client.write(raw(frames.CONTINUATION, END, 3, b""))
        assert (await client.answer(3)).head[":status"] == "431"
        await client.alive()


@pytest.mark.parametrize("number", [1, 3])
async def test_a_block_of_many_small_fields(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field may be one byte: of a request or of trailers, no more are decoded than a header may have."""
    decoded: list[int] = []
    entry = hpack._entry

    def counting(index: int) -> tuple[bytes, bytes]:
        decoded.append(index)
        return entry(index)

    monkeypatch.setattr(hpack, "_entry", counting)
    async with answering(waits) as served, dialled(served.port) as client:
        await client.settled()
        client.write(client.headers(1, POST, end=False))
        await client.alive()
        decoded.clear()
        end = frames.END_STREAM
        client.write(
            raw(frames.HEADERS, end, number, b""), *[raw(frames.CONTINUATION, 0, number, b"\x90" * 16_000)] * 15
        )
        client.write(raw(frames.CONTINUATION, END, number, b""))
        answer = await client.answer(number)
        if number == 1:
            assert answer.reset == frames.PROTOCOL_ERROR
        else:
            assert answer.head[":status"] == "431"
        assert len(decoded) < 1100
        await client.alive()


async def test_a_block_that_can_not_be_decoded_within_another() -> None:
    async with answering(says_ok) as served, dialled(served.port) as client:
        client.write(raw(frames.HEADERS, END | frames.END_STREAM, 1, client.block(GET) + b"\xff\xff\xff\xff\xff"))
        assert await client.end() == COMPRESSION_ERROR


# --- what takes too long ---------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "TICK", 0.05)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("table", ["", "without a table"])
async def test_a_response_that_is_never_taken(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "STREAM_STALL", 0.2)
    large = b"x" * (70_000 if table else 10_000)

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [], large)

    async with answering(handler) as served, dialled(served.port, settings=(4).to_bytes(2, "big") + bytes(4)) as client:
        client.write(client.headers(1, GET))
        answer = await client.answer(1)
        assert (answer.body, answer.ended, answer.reset) == (b"", False, frames.CANCEL)
        await client.alive()
        assert not served.server.tasks


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("part", ["preface", "SETTINGS", "head"])
async def test_what_begins_and_does_not_go_on(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "HEAD_TIMEOUT", 0.2)
    async with answering(says_ok) as served:
        if part == "head":
            async with dialled(served.port) as client:
                client.acknowledges = False  # nothing may come within a head
                client.write(raw(frames.HEADERS, 0, 1, client.block(GET)))
                assert await client.end() == frames.NO_ERROR
        else:
            if part == "preface":  # otherwise a busy machine may reach it before the preface is read
                monkeypatch.setattr("bridge.server.connection.HEAD_TIMEOUT", 0.2)
            assert await talk(served.port, frames.PREFACE if part == "SETTINGS" else frames.PREFACE[:20]) is not None


@pytest.mark.usefixtures("quick")
async def test_a_connection_without_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "IDLE", 0.2)
    async with answering(says_ok) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await client.answer(1)
        assert await client.end() == frames.NO_ERROR
        assert client.goaway_last == 1
