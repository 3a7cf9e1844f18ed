"""WebSockets as an enemy opens them, and as what leaves them behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.server import websocket
from bridge.server.websocket import ServerWebSocket
from bridge.websocket import connection
from tests.fronts.test_ends import dialled, given_up
from tests.process_log import without_services

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Host: a", "Upgrade: websocket", "Connection: upgrade")
VERSION = "Sec-WebSocket-Version: 13"


def handshake(path: str, *fields: str, line: str = "GET {} HTTP/1.1") -> bytes:
    return "\r\n".join([line.format(path), *(fields or (*UPGRADE, KEY, VERSION)), "", ""]).encode("latin-1")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame of up to 125 bytes, under a mask of zeros (RFC 6455, section 5.2)."""
    return struct.pack(">BB4x", opcode | (fin << 7), len(payload) | 0x80) + payload


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No client may make the gateway's own log speak of failures."""
    caplog.set_level(logging.WARNING)
    yield
    # By this time `caplog.records` holds those of the teardown alone.
    assert without_services(caplog.get_records("call")) == []


@pytest.mark.parametrize(
    ("status", "wire"),
    [
        (400, handshake("/flow/count/1", line="POST {} HTTP/1.1")),
        (400, handshake("/flow/count/1", *UPGRADE, "Sec-WebSocket-Key: short", VERSION)),
        (400, handshake("/flow/count/1", *UPGRADE, KEY, KEY, VERSION)),
        (426, handshake("/flow/count/1", *UPGRADE, KEY, "Sec-WebSocket-Version: 8")),
        (400, handshake("/flow/count/1", *UPGRADE, KEY, VERSION, "Content-Length: 5")),
        (400, handshake("/flow/count/1", *UPGRADE, KEY, VERSION, "Transfer-Encoding: chunked")),
        (400, handshake("/flow/count/1", *UPGRADE, KEY, VERSION, "Sec-WebSocket-Protocol: a b;;")),
        (400, handshake("/flow/count/1", *UPGRADE, KEY, VERSION, "Origin: a", "Origin: b")),
        (400, handshake("/flow/count/1", *UPGRADE[1:], KEY, VERSION)),  # no Host
        (400, handshake("/flow/count/1", *UPGRADE, "Host: b", KEY, VERSION)),
        (400, handshake("/flow/../count/1", *UPGRADE, KEY, VERSION)),
        (400, handshake("http://evil/flow/count/1", *UPGRADE, KEY, VERSION)),
        (400, handshake("*", *UPGRADE, KEY, VERSION)),
        (400, handshake("/flow/count/\xe9", *UPGRADE, KEY, VERSION)),
        (431, handshake("/flow/count/1", *UPGRADE, KEY, VERSION, "Cookie: " + "x" * 10_000)),
        (431, handshake("/flow/count/1", *UPGRADE, KEY, VERSION, *["A: b"] * 200)),
        (431, handshake("/flow/count/1?" + "x" * 10_000, *UPGRADE, KEY, VERSION)),
        (404, handshake("/nowhere", *UPGRADE, KEY, VERSION)),
        (405, handshake("/flow/flow.Flow/Once", *UPGRADE, KEY, VERSION)),
    ],
)
async def test_what_is_no_handshake_is_a_problem_and_a_line(stage: Any, status: int, wire: bytes) -> None:
    async with stage() as made, asyncio.timeout(5):
        async with dialled(made) as (reader, writer):
            writer.write(wire)
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert json.loads(body)["status"] == status
    assert b"x-trace-id" in head.lower()
    assert (b"sec-websocket-version: 13" in head.lower()) is (status == 426)
    assert [line["status"] for line in made.gateway.log()] == [status]


@pytest.mark.parametrize(
    "after",
    [
        b"\x00" * 100,  # no masks
        b"\xff" * 100,  # reserved bits
        frame(1, b"\xff\xfe"),  # no UTF-8
        frame(0, b"x"),  # goes on with nothing
        frame(9, b"x", fin=False),  # a ping in parts
        struct.pack(">BBQ4x", 0x81, 0xFF, 1 << 40),  # a terabyte
        frame(8, b"\x03"),  # a close with half a code
        frame(8, struct.pack(">H", 1005)),  # a code that nobody may send
        b"",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("early", [True, False])
async def test_frames_that_are_none(stage: Any, after: bytes, early: bool) -> None:
    """Before the handshake's answer, or behind it."""
    async with stage() as made, asyncio.timeout(5):
        async with dialled(made) as (reader, writer):
            writer.write(handshake("/flow/count/5?hang_after=1"))
            if early:
                await asyncio.sleep(0)
            else:
                await reader.readuntil(b'{"n":1}')
            writer.write(after)
            writer.write_eof()
            await reader.read(-1)
        if made.flow.calls:
            await given_up(made)
    assert len(made.gateway.log()) == 1


WRONG = [
    (frame(1, b"\xff\xfe"), 1007),
    (frame(1, b"\xed\xa0\x80"), 1007),  # half a surrogate pair
    (frame(1, b"\xc0\xaf"), 1007),  # longer than it need be
    (frame(1, b"\xc3", fin=False) + frame(0, b"\x28"), 1007),
    (frame(8, struct.pack(">H", 1000) + b"\xff"), 1007),  # the reason of a close
    *[(frame(8, struct.pack(">H", code)), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)],
    (frame(9, b"x", fin=False), 1002),
    (frame(8, fin=False), 1002),
    (struct.pack(">BBH4x", 0x89, 0xFE, 126) + b"x" * 126, 1002),  # a ping that is too long
    *[(bytes([0x81 | bit]) + frame(1)[1:], 1002) for bit in (0x10, 0x20, 0x40)],  # reserved
    *[(frame(opcode), 1002) for opcode in (3, 7, 11, 15)],
    (b"\x81\x01x", 1002),  # no mask
    (struct.pack(">BBQ4x", 0x81, 0xFF, 1 << 63), 1009),
]


@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
async def test_what_is_wrong_with_a_frame_is_said(stage: Any, early: bool) -> None:
    """RFC 6455, sections 5 and 7.4, also to a client that doesn't wait for its handshake's answer."""
    async with stage() as made, asyncio.timeout(20):
        for frames, code in WRONG:
            async with dialled(made) as (reader, writer):
                begin = handshake("/flow/rooms/blue")
                writer.write(begin + frames if early else begin)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                if not early:
                    writer.write(frames)
                said = await reader.read()
            assert (said[:1], said[2:4]) == (b"\x88", struct.pack(">H", code)), frames


async def test_a_ping_before_the_answer_is_answered_behind_it(stage: Any) -> None:
    async with stage() as made, asyncio.timeout(10), dialled(made) as (reader, writer):
        writer.write(handshake("/flow/rooms/blue") + frame(9, b"hello"))
        writer.write(frame(1, b'{"n":1}'))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(7) == b"\x8a\x05hello"
        assert b'{"n":1,"room":"blue"}' in await reader.readuntil(b"}")


async def test_too_much_before_the_answer_is_cut_off(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_EARLY", 100)
    async with stage() as made, asyncio.timeout(10), dialled(made) as (reader, writer):
        writer.write(handshake("/flow/rooms/blue") + frame(9, b"x" * 125))
        said = b""
        with contextlib.suppress(ConnectionResetError):
            said = await reader.read()
        assert said == b""


async def test_a_client_that_leaves_before_it_is_accepted(stage: Any) -> None:
    async with stage() as made:
        for turns in range(12):
            async with dialled(made) as (_, writer):
                writer.write(handshake("/flow/count/5?hang_after=1"))
                for _ in range(turns):
                    await asyncio.sleep(0)
    log = made.gateway.log()
    assert {line["status"] for line in log} <= {101, 499}


async def test_a_client_that_leaves_a_flood(stage: Any) -> None:
    async with stage() as made:
        async with dialled(made) as (reader, writer):
            writer.write(handshake("/flow/count/2000000000?size=100"))
            await reader.readuntil(b'"n":100,')
            writer.write(frame(8, struct.pack(">H", 1000)))
            while await reader.read(1 << 16):
                pass
        await given_up(made)
    assert [line["status"] for line in made.gateway.log()] == [499]


async def test_pings_are_not_answered_to_who_does_not_read(stage: Any) -> None:
    pings = frame(9, b"x" * 125) * 1000
    async with stage() as made:
        async with dialled(made, window=2048) as (reader, writer):
            writer.write(handshake("/flow/count/5?hang_after=1"))
            await reader.readuntil(b"\r\n\r\n")
            sent = 0
            try:
                while sent < 64_000_000:
                    writer.write(pings)
                    await asyncio.wait_for(writer.drain(), 0.5)
                    sent += len(pings)
            except TimeoutError:
                pass
        await given_up(made)
    assert sent < 32_000_000


async def test_fragments_of_nothing_are_not_kept(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    whole = ServerWebSocket._end_message

    def counted(socket: ServerWebSocket) -> None:
        kept.append(len(socket._fragments))
        whole(socket)

    monkeypatch.setattr(ServerWebSocket, "_end_message", counted)
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(20):
        writer.write(handshake("/flow/rooms/blue"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(1, b'{"n":', fin=False))
        for _ in range(20):
            writer.write(frame(0, fin=False) * 1000)
            await writer.drain()
        writer.write(frame(0, b"1}"))
        assert b'{"n":1,"room":"blue"}' in await reader.readuntil(b"}")
    assert kept == [2]


async def test_a_frame_larger_than_a_body_may_be(stage: Any) -> None:
    async with stage(max_body=10_000) as made:
        async with connect(f"ws://127.0.0.1:{made.gateway.port}/flow/rooms/blue") as socket:
            await socket.send(json.dumps({"text": "x" * 20_000}))
            assert json.loads(await socket.recv())["error"]["status"] == 413
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    assert socket.close_code == 1011


async def test_raw_bytes_are_binary_frames(stage: Any) -> None:
    async with stage() as made, connect(f"ws://127.0.0.1:{made.gateway.port}/flow/files/2") as socket:
        assert [await socket.recv(), await socket.recv()] == [b"0;", b"1;"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000


async def test_the_idle_limit_holds_for_who_says_nothing(stage: Any) -> None:
    async with stage("stream: {idle: 200ms}") as made:
        async with connect(f"ws://127.0.0.1:{made.gateway.port}/flow/rooms/blue/echo") as socket:
            assert json.loads(await socket.recv())["error"]["type"] == "urn:bridge:problem:upstream-timeout"
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    assert socket.close_code == 1011


BEARER_NONE = ["bearer", "a-secret-of-mine"]


async def test_a_token_among_the_subprotocols_stays_here(stage: Any) -> None:
    async with stage() as made:
        url = f"ws://127.0.0.1:{made.gateway.port}/flow/count/1"
        async with connect(url, subprotocols=BEARER_NONE) as socket:  # type: ignore[arg-type]  # plain texts
            assert socket.subprotocol == "bearer"
            await socket.recv()
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url}?nothing=1", subprotocols=BEARER_NONE).__aenter__()  # type: ignore[arg-type]
    assert refused.value.response.status_code == 400
    assert all(BEARER_NONE[1] not in str(values) for _, values in made.flow.calls)
    assert BEARER_NONE[1] not in (made.gateway.home / ".bridge/access.log").read_text()


async def test_bytes_at_random(stage: Any) -> None:
    async with stage() as made:
        for _ in range(30):
            async with dialled(made) as (reader, writer):
                writer.write(handshake("/flow/rooms/blue"))
                await reader.readuntil(b"\r\n\r\n")
                writer.write(os.urandom(200))
                writer.write_eof()
                await reader.read(-1)
    assert len(made.gateway.log()) == 30


SMALL = json.dumps({"n": 1, "text": "x" * 30_000}).encode()


def fragments(text: bytes, size: int) -> bytes:
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    return b"".join([frame(0 if at else 1, part, fin=False) for at, part in enumerate(parts)]) + frame(0)


@pytest.mark.parametrize("size", [1, 3])
async def test_messages_in_small_fragments_arrive_whole(stage: Any, size: int) -> None:
    """Tens of thousands come with one read from the network; they are parsed in steps, and joined as they come."""
    async with stage() as made, asyncio.timeout(20):
        async with dialled(made) as (reader, writer):
            writer.write(handshake("/flow/rooms/blue"))
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            pings = frame(9) * 300
            writer.write(
                pings + fragments(SMALL, size) + pings + fragments(SMALL, size) + frame(1, b'{"n": 7}') + frame(1)
            )
            heard = b""
            while b"\x88" not in heard:
                heard += await reader.read(1 << 16)
    assert heard.count(b"x" * 30_000) == 2
    assert heard.index(b"x" * 30_000) < heard.index(b'"n":7')
    assert heard.count(b"\x8a\x00") == 600  # pongs


async def test_others_have_their_turn_between_fragments(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PAUSE", -1.0)
    turns: list[int] = []
    async with stage() as made, asyncio.timeout(20):
        async with dialled(made) as (reader, writer):
            writer.write(handshake("/flow/rooms/blue"))
            await reader.readuntil(b"\r\n\r\n")
            parse = ServerWebSocket._parse_on

            def counted(self: ServerWebSocket) -> None:
                turns.append(1)
                parse(self)

            monkeypatch.setattr(ServerWebSocket, "_parse_on", counted)
            writer.write(fragments(b'{"n": 1}' + b" " * 10_000, 1) + frame(1))
            heard = b""
            while b"\x88" not in heard:
                heard += await reader.read(1 << 16)
    assert b'"n":1' in heard
    assert len(turns) > 7 * 10_000 // connection.STEP // 2
