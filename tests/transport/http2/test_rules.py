"""Each rule that a server may break, the clause beside it, and what must come of it."""

from __future__ import annotations

import math
import struct

import pytest

from bridge.http2 import frames
from bridge.http2.flood_guard import IDLE_FRAMES, MAX_ANSWERS
from bridge.http2.flood_guard import SETTINGS as MOST_SETTINGS
from bridge.http2.frames import Http2Error
from bridge.http2.header_block import BLOCK
from bridge.transport.http2.connection import Http2Connection
from tests.transport.http2.kit import LIST, REQUEST, WINDOW, Caught, cut, raw

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, UPDATE, CONT = range(10)
HELLO = raw(SETTINGS, 0, 0)
OK = b"\x88\x5f\x10application/grpc"  # :status 200, content-type
STATUS_0 = b"\x00\x0bgrpc-status\x010"


def setting(key: int, value: int) -> bytes:
    return raw(SETTINGS, 0, 0, struct.pack(">HL", key, value))


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def begun(streams: int = 2) -> tuple[Http2Connection, list[Caught]]:
    """A connection with that many requests under way (streams 1, 3, …), each sent whole; nothing left to take."""
    http = Http2Connection(window=WINDOW, max_list=LIST, output=lambda: None)
    http.receive(HELLO)
    made = [Caught() for _ in range(streams)]
    for stream in made:
        http.open(stream, REQUEST, b"x", end=True)
        stream.told.clear()
    http.take()
    return http, made


#: What ends the connection (section 5.4.1): clause, code, bytes.
FATAL = {
    "4.2 a frame above SETTINGS_MAX_FRAME_SIZE": ("FRAME_SIZE_ERROR", raw(DATA, 0, 1, length=16_385)),
    "4.2 an unknown one, too": ("FRAME_SIZE_ERROR", raw(0xFA, 0, 0, length=16_385)),
    "4.3 a block that can't be decoded": ("COMPRESSION_ERROR", raw(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff")),
    "4.3 of trailers": ("COMPRESSION_ERROR", raw(HEADERS, 4, 1, OK) + raw(HEADERS, 5, 1, b"\x00")),
    "5.1 DATA of an idle stream": ("PROTOCOL_ERROR", raw(DATA, 0, 99, b"x")),
    "5.1 HEADERS of an idle stream": ("PROTOCOL_ERROR", raw(HEADERS, 4, 99, OK)),
    "5.1 RST_STREAM of an idle stream": ("PROTOCOL_ERROR", raw(RST, 0, 99, number(8))),
    "5.1 WINDOW_UPDATE of an idle stream": ("PROTOCOL_ERROR", raw(UPDATE, 0, 99, number(1))),
    "5.1.1 a stream with an even number": ("PROTOCOL_ERROR", raw(HEADERS, 4, 2, OK)),
    "6.1 DATA of stream 0": ("PROTOCOL_ERROR", raw(DATA, 0, 0, b"x")),
    "6.1 padding as long as the payload": ("PROTOCOL_ERROR", raw(DATA, 8, 1, b"\x04abc")),
    "6.1 padding without its length": ("PROTOCOL_ERROR", raw(DATA, 8, 1)),
    "6.2 HEADERS of stream 0": ("PROTOCOL_ERROR", raw(HEADERS, 4, 0, OK)),
    "6.2 padding longer than HEADERS": ("PROTOCOL_ERROR", raw(HEADERS, 0xC, 1, b"\xff" + OK)),
    "6.2 HEADERS too short for their priority": ("FRAME_SIZE_ERROR", raw(HEADERS, 0x24, 1, b"\x00\x00\x00\x00")),
    "6.2 a block that something else breaks off": (
        "PROTOCOL_ERROR",
        raw(HEADERS, 0, 1, OK) + raw(PING, 0, 0, b"8" * 8),
    ),
    "6.2 a block that another's HEADERS break off": ("PROTOCOL_ERROR", raw(HEADERS, 0, 1) + raw(HEADERS, 4, 3, OK)),
    "6.2 a block that an unknown frame breaks off": ("PROTOCOL_ERROR", raw(HEADERS, 0, 1) + raw(0xFA, 0, 1)),
    "6.4 RST_STREAM of stream 0": ("PROTOCOL_ERROR", raw(RST, 0, 0, number(8))),
    "6.4 RST_STREAM of 3 bytes": ("FRAME_SIZE_ERROR", raw(RST, 0, 1, b"\x00\x00\x08")),
    "6.5 SETTINGS of a stream": ("PROTOCOL_ERROR", raw(SETTINGS, 0, 1)),
    "6.5 ACK with settings": ("FRAME_SIZE_ERROR", raw(SETTINGS, 1, 0, bytes(6))),
    "6.5 SETTINGS of 5 bytes": ("FRAME_SIZE_ERROR", raw(SETTINGS, 0, 0, bytes(5))),
    "6.5.2 a server that enables push": ("PROTOCOL_ERROR", setting(2, 1)),
    "6.5.2 a window above 2^31-1": ("FLOW_CONTROL_ERROR", setting(4, 2**31)),
    "6.5.2 frames below 2^14": ("PROTOCOL_ERROR", setting(5, 16_383)),
    "6.5.2 frames above 2^24-1": ("PROTOCOL_ERROR", setting(5, 2**24)),
    "6.6 PUSH_PROMISE against SETTINGS_ENABLE_PUSH": ("PROTOCOL_ERROR", raw(PUSH, 4, 1, number(2) + OK)),
    "6.7 PING of a stream": ("PROTOCOL_ERROR", raw(PING, 0, 1, bytes(8))),
    "6.7 PING of 7 bytes": ("FRAME_SIZE_ERROR", raw(PING, 0, 0, bytes(7))),
    "6.7 an answer to PING of 9 bytes": ("FRAME_SIZE_ERROR", raw(PING, 1, 0, bytes(9))),
    "6.8 GOAWAY of a stream": ("PROTOCOL_ERROR", raw(GOAWAY, 0, 1, bytes(8))),
    "6.8 GOAWAY of 7 bytes": ("FRAME_SIZE_ERROR", raw(GOAWAY, 0, 0, bytes(7))),
    "6.9 WINDOW_UPDATE of 5 bytes": ("FRAME_SIZE_ERROR", raw(UPDATE, 0, 1, bytes(5))),
    "6.9 the connection's window by 0": ("PROTOCOL_ERROR", raw(UPDATE, 0, 0, number(0))),
    "6.9.1 the connection's window above 2^31-1": ("FLOW_CONTROL_ERROR", raw(UPDATE, 0, 0, number(2**31 - 1))),
    "6.9.2 a change that widens a stream's above it": (
        "FLOW_CONTROL_ERROR",
        raw(UPDATE, 0, 1, number(2**31 - 1 - 65_535)) + setting(4, 65_537),
    ),
    "6.10 CONTINUATION of nothing": ("PROTOCOL_ERROR", raw(CONT, 4, 1, OK)),
    "6.10 CONTINUATION behind a block that is whole": ("PROTOCOL_ERROR", raw(HEADERS, 4, 1, OK) + raw(CONT, 4, 1)),
    "6.10 CONTINUATION of another stream": ("PROTOCOL_ERROR", raw(HEADERS, 0, 1, OK) + raw(CONT, 4, 3)),
}


@pytest.mark.parametrize(("code", "data"), FATAL.values(), ids=FATAL)
def test_what_ends_the_connection(code: str, data: bytes) -> None:
    http, _ = begun()
    with pytest.raises(Http2Error) as broken:
        http.receive(data)
    assert frames.name_of(broken.value.code) == code


#: Section 3.4: the first frame is SETTINGS, whatever the others are.
FIRST = {
    "PING": raw(PING, 0, 0, bytes(8)),
    "ACK": raw(SETTINGS, 1, 0),
    "GOAWAY": raw(GOAWAY, 0, 0, bytes(8)),
    "unknown": raw(0xFA, 0, 0),
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x0a" + bytes(20),
}


@pytest.mark.parametrize("data", FIRST.values(), ids=FIRST)
def test_what_does_not_begin_with_settings(data: bytes) -> None:
    http = Http2Connection(window=WINDOW, max_list=LIST, output=lambda: None)
    with pytest.raises(Http2Error):
        http.receive(data)
    assert not http.ready


#: What ends one stream and nothing else (section 5.4.2): clause, code, bytes.
OF_ONE_STREAM = {
    "5.1 DATA behind its end": ("STREAM_CLOSED", raw(HEADERS, 5, 1, OK) + raw(DATA, 0, 1, b"x")),
    "5.1 HEADERS behind its end": ("STREAM_CLOSED", raw(HEADERS, 5, 1, OK) + raw(HEADERS, 4, 1, OK)),
    "6.9 its window by 0": ("PROTOCOL_ERROR", raw(UPDATE, 0, 1, number(0))),
    "6.9.1 its window above 2^31-1": ("FLOW_CONTROL_ERROR", raw(UPDATE, 0, 1, number(2**31 - 1))),
    "6.9.1 more than its window": ("FLOW_CONTROL_ERROR", raw(HEADERS, 4, 1, OK) + raw(DATA, 0, 1, bytes(16_384)) * 5),
    "6.9.1 padding counts": ("FLOW_CONTROL_ERROR", raw(DATA, 8, 1, b"\x00" + bytes(16_383)) * 5),
}


@pytest.mark.parametrize(("code", "data"), OF_ONE_STREAM.values(), ids=OF_ONE_STREAM)
def test_what_ends_one_stream(code: str, data: bytes) -> None:
    http = Http2Connection(window=WINDOW, max_list=LIST, output=lambda: None)
    http.receive(HELLO)
    broken, other = Caught(), Caught()
    http.open(broken, REQUEST, b"x", end=False)  # open on our side, so that its end on theirs closes nothing
    http.open(other, REQUEST, b"x", end=False)
    http.take()
    http.receive(data)
    resets = [each for each in cut(http.take()) if each[0] == RST]
    assert [(stream, frames.name_of(int.from_bytes(payload, "big"))) for _, _, stream, payload in resets] == [(1, code)]
    assert broken.last_word[::2] == ("closed", True)
    assert list(http.streams.values()) == [other]
    http.receive(raw(HEADERS, 4, 3, OK))
    assert other.last_word[0] == "headers"


#: What must be borne: clause, bytes; the answer that follows on stream 1 must come whole.
BORNE = {
    "4.1 an unknown frame": raw(0xFA, 0xFF, 7, b"what"),
    "4.1 unknown flags": raw(PING, 0xFE, 0, bytes(8)),
    "4.1 the reserved bit": raw(PING, 0, 1 << 31, bytes(8)),
    "5.1 frames of a closed stream": raw(RST, 0, 3, number(8)) + raw(DATA, 0, 3, b"x") + raw(UPDATE, 0, 3, number(9)),
    "5.1 a closed one's header section": raw(RST, 0, 3, number(8)) + raw(HEADERS, 4, 3, b"\xff\xff"),
    "5.1 a closed one reset once more": raw(RST, 0, 3, number(8)) * 2,
    "6.1 empty DATA": raw(HEADERS, 4, 3, OK) + raw(DATA, 0, 3),
    "5.3.2 PRIORITY, whatever it says (6.3 would have it looked at)": raw(PRIORITY, 0, 99, bytes(5))
    + raw(PRIORITY, 0, 1, bytes(4))
    + raw(PRIORITY, 0, 0, bytes(5)),
    "6.5.2 an unknown setting": setting(0xFE, 2**32 - 1),
    "6.5.2 the least and largest values": setting(1, 2**32 - 1)
    + setting(4, 2**31 - 1)
    + setting(5, 2**24 - 1)
    + setting(6, 0),
    "6.5.2 push stays off": setting(2, 0),
    "6.5.3 an ACK": raw(SETTINGS, 1, 0),
    "6.7 an answer that nobody asked for": raw(PING, 1, 0, bytes(8)),
    "6.9.1 the largest window": raw(UPDATE, 0, 1, number(2**31 - 1 - 65_534)),
    "7 an unknown error code": raw(RST, 0, 3, number(2**32 - 1)),
}


@pytest.mark.parametrize("data", BORNE.values(), ids=BORNE)
def test_what_is_borne(data: bytes) -> None:
    http, (stream, _) = begun()
    http.receive(data)
    http.receive(raw(HEADERS, 4, 1, OK) + raw(DATA, 0, 1, b"abc") + raw(HEADERS, 5, 1, STATUS_0))
    assert [each[0] for each in stream.told] == ["headers", "data", "headers"]
    assert 1 not in http.streams


#: Blocks that are one, however they are cut: flags and payload of HEADERS, then of each CONTINUATION (6.2, 6.10).
CUT = {
    "whole": [(0x4, OK)],
    "padded": [(0xC, b"\x05" + OK + b"12345")],
    "padded by nothing": [(0xC, b"\x00" + OK)],
    "with a priority": [(0x24, bytes(5) + OK)],
    "padded with a priority": [(0x2C, b"\x03" + bytes(5) + OK + b"123")],
    "continued": [(0, OK[:3]), (4, OK[3:])],
    "padded and continued": [(8, b"\x02" + OK[:3] + b"12"), (4, OK[3:])],
    "byte by byte": [(0, b""), *((0, OK[at : at + 1]) for at in range(len(OK))), (4, b"")],
}


@pytest.mark.parametrize("parts", CUT.values(), ids=CUT)
@pytest.mark.parametrize("end", [0, 1])
def test_a_block_in_parts(parts: list[tuple[int, bytes]], end: int) -> None:
    http, (stream, _) = begun()
    for at, (flags, part) in enumerate(parts):
        assert stream.told == []
        http.receive(raw(CONT if at else HEADERS, flags | (0 if at else end), 1, part))
    assert stream.told == [("headers", 200, (("content-type", "application/grpc"),), "", bool(end))]
    assert (1 in http.streams) is not bool(end)


#: Frames that cost work and bring nothing (10.5): each must end the connection when there is no end of it.
FLOODS = {
    "PING": raw(PING, 0, 0, bytes(8)),
    "SETTINGS": raw(SETTINGS, 0, 0),
    "SETTINGS that are answers": raw(SETTINGS, 1, 0),
    "PING that are answers": raw(PING, 1, 0, bytes(8)),
    "PRIORITY": raw(PRIORITY, 0, 1, bytes(5)),
    "empty DATA": raw(DATA, 0, 1),
    "DATA of padding": raw(DATA, 8, 1, b"\x00"),
    "WINDOW_UPDATE": raw(UPDATE, 0, 0, number(1)),
    "WINDOW_UPDATE of a stream": raw(UPDATE, 0, 1, number(1)),
    "WINDOW_UPDATE of a closed one": raw(UPDATE, 0, 3, number(1)),
    "RST_STREAM of a closed one": raw(RST, 0, 3, number(8)),
    "HEADERS of a closed one": raw(HEADERS, 4, 3, OK),
    "informational HEADERS": raw(HEADERS, 4, 1, b"\x08\x03103"),
    "GOAWAY": raw(GOAWAY, 0, 0, number(2**31 - 1) + bytes(4)),
    "unknown": raw(0xFA, 0, 0),
}


@pytest.mark.parametrize("one", FLOODS.values(), ids=FLOODS)
def test_floods_are_bounded(one: bytes) -> None:
    http, _ = begun()
    http.receive(raw(RST, 0, 3, number(8)))

    def flood() -> None:
        for _ in range(IDLE_FRAMES + 1):
            http.receive(one)
            http.take()

    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):
        flood()


@pytest.mark.parametrize("one", [FLOODS["PING"], FLOODS["SETTINGS"]])
def test_answers_that_are_not_read_are_bounded(one: bytes) -> None:
    http, _ = begun()
    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):
        http.receive(one * (MAX_ANSWERS + 1))
    assert len(http.take()) < 20 * (MAX_ANSWERS + 1)


@pytest.mark.parametrize("part", [b"", b"x", bytes(16_384)])
def test_a_block_without_end_is_bounded(part: bytes) -> None:
    http, _ = begun()
    http.receive(raw(HEADERS, 0, 1))

    def flood() -> None:
        for _ in range(BLOCK + 1):
            http.receive(raw(CONT, 0, 1, part))

    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):
        flood()


def test_a_section_above_the_limit_is_read_past() -> None:
    """6.5.2: it costs its own stream, and a closed one nothing."""
    http, (stream, other) = begun()
    http.receive(raw(HEADERS, 0, 1, OK))
    for _ in range(3):
        http.receive(raw(CONT, 0, 1, bytes(10_000)))
    http.receive(raw(CONT, 4, 1))
    assert [each[:2] for each in stream.told] == [("headers", None)]
    assert stream.last_word[3] == "it is larger than allowed"
    http.receive(raw(HEADERS, 4, 3, OK))
    assert other.last_word[1] == 200


@pytest.mark.parametrize("key", [4, 3, 0x7777], ids=["window", "streams", "unknown"])
def test_settings_are_bounded(key: int) -> None:
    """Each parameter costs work, and one of a window a look at each stream."""
    many = struct.pack(">HL", key, 70_000)
    http, _ = begun()
    http.receive(raw(SETTINGS, 0, 0, many * MOST_SETTINGS))
    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM: SETTINGS of 65"):
        http.receive(raw(SETTINGS, 0, 0, many * (MOST_SETTINGS + 1)))
    http, _ = begun()

    def flood() -> None:
        for _ in range(IDLE_FRAMES // MOST_SETTINGS + 1):
            http.receive(raw(SETTINGS, 0, 0, many * MOST_SETTINGS))
            http.take()

    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):
        flood()


def test_windows_that_change_for_very_many_streams_cost_more() -> None:
    http, _ = begun(streams=2000)
    changes = 0
    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):  # noqa: PT012  # at which one is what is asked
        for changes in range(IDLE_FRAMES):
            http.receive(setting(4, 70_000 + changes % 2))
            http.take()
    assert changes < 50


def test_continuations_in_small_pieces_are_bounded() -> None:
    http, _ = begun()
    http.receive(raw(HEADERS, 0, 1, OK))

    def flood() -> None:
        for _ in range(IDLE_FRAMES + 1):
            http.receive(raw(CONT, 0, 1, b"\x88"))

    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):
        flood()


def test_windows_that_open_by_a_byte_are_bounded() -> None:
    http = Http2Connection(window=WINDOW, max_list=LIST, output=lambda: None)
    http.receive(HELLO)
    http.open(Caught(), REQUEST, b"x" * 1_000_000, end=True)
    http.take()

    def flood(by: int) -> None:
        for _ in range(IDLE_FRAMES + 1):
            http.receive(raw(UPDATE, 0, 1, number(by)) + raw(UPDATE, 0, 0, number(by)))
            http.take()

    with pytest.raises(Http2Error, match="ENHANCE_YOUR_CALM"):
        flood(1)


def test_much_at_once_is_read_in_steps() -> None:
    """As the socket's side lets it: what came is all read, whatever the steps are."""
    heard = []
    for pause in (math.inf, -1.0):
        http = Http2Connection(window=WINDOW, max_list=LIST, output=lambda: None, pause=pause)
        http.receive(HELLO)
        stream = Caught()
        http.open(stream, REQUEST, b"", end=True)
        http.receive(raw(HEADERS, 4, 1, OK) + raw(DATA, 0, 1, b"x") * 5000 + raw(DATA, 0, 1, b"y" * 100)[:50])
        steps = 1
        while http.more:
            http.receive(b"")
            steps += 1
        http.receive(raw(DATA, 0, 1, b"y" * 100)[50:] + raw(HEADERS, 5, 1, STATUS_0))
        heard.append(stream.told)
        assert (steps > 100) == (pause < 0)
    assert heard[0] == heard[1]
    assert len(heard[0]) > 5000
