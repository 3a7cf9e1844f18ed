"""RFC 9113 at the listener: what ends a request, what ends the connection, and what is let pass; a row a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge.http2 import frames
from bridge.http2.frames import (
    COMPRESSION_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from bridge.http2.hpack import indexed, literal
from bridge.server.http2.core import MAX_STREAMS, WINDOW
from tests.server.http2.kit import END, ENDS, GET, POST, Client, answering, dialled, echoes, says_ok
from tests.transport.http2.kit import raw

Send = Callable[[Client], bytes]


def without(name: str) -> list[tuple[str, str]]:
    return [field for field in GET if field[0] != name]


def head(*fields: tuple[str, str], base: list[tuple[str, str]] = GET) -> Send:
    return lambda client: client.headers(1, [*base, *fields])


def body(length: str, *pieces: bytes) -> Send:
    def send(client: Client) -> bytes:
        parts = [client.data(1, piece, end=at == len(pieces) - 1) for at, piece in enumerate(pieces)]
        return b"".join([client.headers(1, [*POST, ("content-length", length)], end=not pieces), *parts])

    return send


def opened(*parts: bytes) -> Send:
    """A request that waits for its body, and then `parts`."""
    return lambda client: client.headers(1, POST, end=False) + b"".join(parts)


def block(data: bytes) -> Send:
    return lambda client: raw(frames.HEADERS, ENDS, 1, data)


RESETS: dict[str, tuple[Send, int]] = {
    "8.2.1 upper case in a name": (head(("X-A", "1")), PROTOCOL_ERROR),
    "8.2.1 a name that is no token": (head(("x a", "1")), PROTOCOL_ERROR),
    "8.2.1 an empty name": (head(("", "1")), PROTOCOL_ERROR),
    "8.2.1 LF in a value": (head(("x-a", "1\n2")), PROTOCOL_ERROR),
    "8.2.1 NUL in a value": (head(("x-a", "1\0")), PROTOCOL_ERROR),
    "8.2.1 a blank before a value": (head(("x-a", " 1")), PROTOCOL_ERROR),
    "8.2.1 a tab behind a value": (head(("x-a", "1\t")), PROTOCOL_ERROR),
    "8.2.2 connection": (head(("connection", "close")), PROTOCOL_ERROR),
    "8.2.2 keep-alive": (head(("keep-alive", "5")), PROTOCOL_ERROR),
    "8.2.2 proxy-connection": (head(("proxy-connection", "close")), PROTOCOL_ERROR),
    "8.2.2 transfer-encoding": (head(("transfer-encoding", "chunked")), PROTOCOL_ERROR),
    "8.2.2 upgrade": (head(("upgrade", "websocket")), PROTOCOL_ERROR),
    "8.2.2 te of another coding": (head(("te", "gzip")), PROTOCOL_ERROR),
    "8.3 an unknown pseudo-field": (head((":protocol", "websocket")), PROTOCOL_ERROR),
    "8.3 a response's pseudo-field": (head((":status", "200")), PROTOCOL_ERROR),
    "8.3 a pseudo-field behind a field": (head(("x-a", "1"), *GET[:1], base=GET[1:]), PROTOCOL_ERROR),
    "8.3 a pseudo-field twice": (head(GET[3]), PROTOCOL_ERROR),
    "8.3.1 no :method": (head(base=without(":method")), PROTOCOL_ERROR),
    "8.3.1 no :scheme": (head(base=without(":scheme")), PROTOCOL_ERROR),
    "8.3.1 no :path": (head(base=without(":path")), PROTOCOL_ERROR),
    "8.3.1 an empty :path": (head((":path", ""), base=without(":path")), PROTOCOL_ERROR),
    "8.3.1 a :path without a slash": (head((":path", "a"), base=without(":path")), PROTOCOL_ERROR),
    "8.3.1 a method that is no token": (head(base=[(":method", "G T"), *GET[1:]]), PROTOCOL_ERROR),
    "8.3.1 host is not :authority": (head(("host", "b")), PROTOCOL_ERROR),
    "8.1.1 content-length without a body": (body("1"), PROTOCOL_ERROR),
    "8.1.1 a body longer than content-length": (body("2", b"ab", b"c"), PROTOCOL_ERROR),
    "8.1.1 a body shorter than content-length": (body("4", b"ab", b"c"), PROTOCOL_ERROR),
    "8.1.1 content-length is no number": (body("-1", b""), PROTOCOL_ERROR),
    "8.1.1 two content-lengths": (head(("content-length", "1"), ("content-length", "2"), base=POST), PROTOCOL_ERROR),
    "8.1 a second section that is no end": (
        lambda client: client.headers(1, POST, end=False) + client.headers(1, [("x-a", "1")], end=False),
        PROTOCOL_ERROR,
    ),
    "8.1 a pseudo-field in trailers": (
        lambda client: client.headers(1, POST, end=False) + client.headers(1, [(":path", "/")]),
        PROTOCOL_ERROR,
    ),
    "6.9 a window by nothing": (opened(frames.window_update(1, 0)), PROTOCOL_ERROR),
    "6.9.1 a window above 2^31-1": (opened(*[frames.window_update(1, 2**31 - 1)] * 2), FLOW_CONTROL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("rule", RESETS)
async def test_what_ends_a_request(rule: str) -> None:
    send, code = RESETS[rule]
    async with answering(echoes) as served, dialled(served.port) as client:
        client.write(send(client))
        answer = await client.answer(1)
        assert (answer.heads, answer.reset) == ([], code)
        client.write(client.headers(3, GET))  # the connection goes on
        assert (await client.answer(3)).head[":status"] == "200"


def requests(*numbers: int) -> Send:
    return lambda client: b"".join([client.headers(number, GET) for number in numbers])


def sends(*parts: bytes) -> Send:
    return lambda client: b"".join(parts)


PING = raw(frames.PING, 0, 0, bytes(8))
ENDS_CONNECTION: dict[str, tuple[Send, int]] = {
    "4.2 a frame above the size": (sends(raw(frames.DATA, 0, 1, b"", length=16_385)), FRAME_SIZE_ERROR),
    "4.3 a block that is no HPACK": (block(b"\xff\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "4.3 an index in no table": (block(indexed(100)), COMPRESSION_ERROR),
    "4.3 a text that does not end": (block(b"\x00\x05ab"), COMPRESSION_ERROR),
    "5.1 DATA of an idle stream": (sends(raw(frames.DATA, 0, 1, b"a")), PROTOCOL_ERROR),
    "5.1 RST_STREAM of an idle stream": (sends(frames.rst_stream(1, 8)), PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE of an idle stream": (sends(frames.window_update(1, 1)), PROTOCOL_ERROR),
    "5.1.1 an even number": (requests(2), PROTOCOL_ERROR),
    "6.1 DATA of stream 0": (sends(raw(frames.DATA, 0, 0, b"a")), PROTOCOL_ERROR),
    "6.1 padding longer than its frame": (opened(raw(frames.DATA, frames.PADDED, 1, b"\x05a")), PROTOCOL_ERROR),
    "6.2 HEADERS of stream 0": (requests(0), PROTOCOL_ERROR),
    "6.2 HEADERS too short for their priority": (sends(raw(frames.HEADERS, ENDS | 0x20, 1, b"ab")), FRAME_SIZE_ERROR),
    "6.4 RST_STREAM of 3 bytes": (opened(raw(frames.RST_STREAM, 0, 1, b"abc")), FRAME_SIZE_ERROR),
    "6.5 SETTINGS of a stream": (sends(raw(frames.SETTINGS, 0, 1)), PROTOCOL_ERROR),
    "6.5 SETTINGS of 5 bytes": (sends(raw(frames.SETTINGS, 0, 0, b"abcde")), FRAME_SIZE_ERROR),
    "6.5 SETTINGS with ACK and values": (sends(raw(frames.SETTINGS, frames.ACK, 0, bytes(6))), FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH of 2": (sends(frames.settings([(2, 2)])), PROTOCOL_ERROR),
    "6.5.2 a window of 2^31": (sends(frames.settings([(4, 2**31)])), FLOW_CONTROL_ERROR),
    "6.5.2 frames of 100 bytes": (sends(frames.settings([(5, 100)])), PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE": (opened(raw(frames.PUSH_PROMISE, END, 1, bytes(4))), PROTOCOL_ERROR),
    "6.7 PING of 7 bytes": (sends(raw(frames.PING, 0, 0, bytes(7))), FRAME_SIZE_ERROR),
    "6.7 PING of a stream": (opened(raw(frames.PING, 0, 1, bytes(8))), PROTOCOL_ERROR),
    "6.8 GOAWAY of a stream": (opened(raw(frames.GOAWAY, 0, 1, bytes(8))), PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of 3 bytes": (sends(raw(frames.WINDOW_UPDATE, 0, 0, b"abc")), FRAME_SIZE_ERROR),
    "6.9 the connection's window by nothing": (sends(frames.window_update(0, 0)), PROTOCOL_ERROR),
    "6.9.1 the connection's window above 2^31-1": (sends(frames.window_update(0, 2**31 - 1)), FLOW_CONTROL_ERROR),
    "6.10 CONTINUATION of nothing": (sends(raw(frames.CONTINUATION, END, 1, b"a")), PROTOCOL_ERROR),
    "6.10 a block that is broken off": (sends(raw(frames.HEADERS, 0, 1, b"\x82"), PING), PROTOCOL_ERROR),
    "6.10 CONTINUATION of another stream": (
        sends(raw(frames.HEADERS, 0, 1, b"\x82"), raw(frames.CONTINUATION, END, 3, b"\x84")),
        PROTOCOL_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", ENDS_CONNECTION)
async def test_what_ends_the_connection(rule: str) -> None:
    send, code = ENDS_CONNECTION[rule]
    async with answering(echoes) as served, dialled(served.port) as client:
        client.write(send(client))
        assert await client.end() == code
    [record] = served.log
    assert (record.status, record.peer) == (400, "127.0.0.1")
    assert frames.name_of(code) in record.cause


@pytest.mark.parametrize(
    "beginning",
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + PING, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + raw(frames.SETTINGS, 1, 0)],
    ids=["another frame", "an acknowledgement"],
)
async def test_a_connection_begins_with_settings(beginning: bytes) -> None:
    async with answering(says_ok) as served, dialled(served.port, preface=b"") as client:
        client.write(beginning)
        assert await client.end() == PROTOCOL_ERROR


PASSES: dict[str, Send] = {
    "4.1 a frame of an unknown type": sends(raw(0x2A, 0xFF, 5, b"abc")),
    "5.1 PRIORITY of an idle stream": sends(raw(frames.PRIORITY, 0, 7, bytes(5))),
    "5.3.2 HEADERS with a priority": lambda client: raw(frames.HEADERS, ENDS | 0x20, 1, bytes(5) + client.block(GET)),
    "6.2 HEADERS with padding": lambda client: raw(
        frames.HEADERS, ENDS | frames.PADDED, 1, b"\x03" + client.block(GET) + bytes(3)
    ),
    "6.5.2 an unknown setting": sends(frames.settings([(0x99, 1)])),
    "6.5.2 ENABLE_PUSH of 1": sends(frames.settings([(2, 1)])),
    "6.10 a block in many frames": lambda client: _in_pieces(client.block(GET)),
    "8.1 trailers": lambda client: client.headers(1, POST, end=False) + client.headers(1, [("x-a", "1")]),
    "8.3.1 content-length twice, the same": head(("content-length", "0"), ("content-length", "0")),
    "5.1.1 numbers that are skipped": requests(1, 101, 203),
    "6.4 a reset twice": lambda client: client.headers(1, POST, end=False) + client.reset(1) * 2,
    "5.1 DATA of a stream that was reset": opened(frames.rst_stream(1, 8), frames.frame(0, 0, 1, b"a")),
}


def _in_pieces(data: bytes) -> bytes:
    first, *middle, last = [data[at : at + 2] for at in range(0, len(data), 2)]
    return b"".join(
        [
            raw(frames.HEADERS, frames.END_STREAM, 1, first),
            *[raw(frames.CONTINUATION, 0, 1, piece) for piece in middle],
            raw(frames.CONTINUATION, END, 1, last),
        ]
    )


@pytest.mark.parametrize("rule", PASSES)
async def test_what_passes(rule: str) -> None:
    async with answering(echoes) as served, dialled(served.port) as client:
        client.write(PASSES[rule](client))
        client.write(client.headers(1001, GET))
        assert (await client.answer(1001)).head[":status"] == "200"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([*GET, ("x-a", "a" * 70_000)], 431),
        ([*GET, *[("x-a", "a")] * 2000], 431),
        ([*without(":path"), (":path", "/" + "a" * 70_000)], 431),
        ([(":method", "CONNECT"), (":authority", "a:80")], 400),
        ([(":method", "OPTIONS"), *GET[1:3], (":path", "*")], 400),
        ([*without(":path"), (":path", "/a#b")], 400),
        ([*without(":path"), (":path", "/\xe9")], 400),
    ],
    ids=["one field", "many fields", "target", "CONNECT", "asterisk", "fragment", "no ASCII"],
)
@pytest.mark.parametrize("table", [True, False], ids=["dynamic table", "no table"])
async def test_a_head_that_is_refused(fields: list[tuple[str, str]], status: int, *, table: bool) -> None:
    async with answering(says_ok) as served, dialled(served.port) as client:
        if not table:
            await client.settled()
            client.write(client.headers(1, GET))
            await client.answer(1)
        blocks = client.block(fields)
        first, *others = [blocks[at : at + 16_384] for at in range(0, len(blocks), 16_384)]
        client.write(raw(frames.HEADERS, frames.END_STREAM | (0 if others else END), 3, first))
        for at, piece in enumerate(others):
            client.write(raw(frames.CONTINUATION, END if at == len(others) - 1 else 0, 3, piece))
        answer = await client.answer(3)
        assert (answer.head[":status"], answer.head["content-type"]) == (str(status), "application/problem+json")
        client.write(client.headers(5, GET))
        assert (await client.answer(5)).body == b"ok"
    [record] = served.log
    assert (record.status, record.trace_id) == (status, answer.head["x-trace-id"])


async def test_more_requests_than_are_allowed_at_a_time() -> None:
    async with answering(echoes) as served, dialled(served.port) as client:
        numbers = range(1, 2 * MAX_STREAMS + 4, 2)
        client.write(*[client.headers(number, POST, end=False) for number in numbers])
        assert (await client.answer(numbers[-1])).reset == REFUSED_STREAM
        assert (await client.answer(numbers[-2])).reset == REFUSED_STREAM
        assert numbers[-3] not in client.answers
        client.write(client.data(1, b"a", end=True))
        await client.answer(1)
        client.write(client.headers(numbers[-1] + 2, GET))
        assert (await client.answer(numbers[-1] + 2)).head[":status"] == "200"


async def test_what_the_server_says_first() -> None:
    async with answering(says_ok) as served, dialled(served.port) as client:
        await client.read()
        kind, flags, number, payload = client.frames[0]
        assert (kind, flags, number) == (frames.SETTINGS, 0, 0)
        assert dict(frames.read_settings(payload, 0)) == {1: 0, 3: MAX_STREAMS, 4: WINDOW, 6: 65_536}


async def test_a_table_that_was_not_given_up() -> None:
    """RFC 7541, section 4.2: the acknowledgement of a smaller table is followed by its size."""
    async with answering(says_ok) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await client.answer(1)
        await client.settled()
        client.write(raw(frames.HEADERS, ENDS, 3, indexed(2) + indexed(4) + indexed(6) + literal("host", b"a")))
        assert await client.end() == COMPRESSION_ERROR


async def test_a_window_that_becomes_negative() -> None:
    """Section 6.9.2."""

    async def handler(request: Any) -> None:
        await request.answer(200, [], b"x" * 20_000)

    async with answering(handler) as served, dialled(served.port, settings=_window(10_000)) as client:
        client.write(client.headers(1, GET))
        await client.until(lambda: 1 in client.answers and len(client.answers[1].body) == 10_000)
        client.write(raw(frames.SETTINGS, 0, 0, _window(1_000)), frames.window_update(1, 9_000))
        await client.alive()
        assert len(client.answers[1].body) == 10_000
        client.write(frames.window_update(1, 10_000))
        assert len((await client.answer(1)).body) == 20_000


def _window(size: int) -> bytes:
    return (4).to_bytes(2, "big") + size.to_bytes(4, "big")


async def test_data_after_the_end() -> None:
    waiting: list[Any] = []

    async def handler(request: Any) -> None:
        waiting.append(request)
        await request.gone()

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET), client.data(1, b"a"))
        assert (await client.answer(1)).reset == STREAM_CLOSED


async def test_more_than_the_window() -> None:
    """Section 6.9."""

    async def handler(request: Any) -> None:
        request.connection.watch(lambda: None, half=False)
        await request.side(lambda reply: [])._left()

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), *[client.data(1, b"x" * 16_384)] * (WINDOW // 16_384 + 1))
        assert (await client.answer(1)).reset == FLOW_CONTROL_ERROR
