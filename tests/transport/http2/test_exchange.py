"""Whole exchanges with python-hyper's h2 as the server, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes

from bridge.http2.frames import Http2Error
from bridge.http2.hpack import literal
from tests.transport.http2.kit import DONE, LIST, OK, REQUEST, Caught, Pair, made, of, received

WHOLE = ["headers", "data", "headers"]


def kinds(stream: Caught) -> list[str]:
    return [each[0] for each in stream.told if each[0] != "flushed"]


def test_a_request_and_its_answer() -> None:
    pair = made()
    stream = pair.open(b"hello")
    seen = pair.turn()
    (asked,) = of(RequestReceived, seen)
    assert asked.headers is not None
    assert dict(asked.headers) == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/a.S/Do",
        b":authority": b"tally",
        b"te": b"trailers",
    }
    assert received(seen, 1) == b"hello"
    assert [event.stream_id for event in of(StreamEnded, seen)] == [1]
    pair.answer(stream, b"world")
    pair.turn()
    assert stream.told == [
        ("flushed",),
        ("headers", 200, (("content-type", "application/grpc"),), "", False),
        ("data", b"world", False),
        ("headers", None, (("grpc-status", "0"),), "", True),
    ]
    assert pair.ours.streams == {}
    assert pair.theirs.open_inbound_streams == 0


def test_streams_have_odd_numbers_in_order() -> None:  # section 5.1.1
    pair = made()
    streams = [pair.open() for _ in range(5)]
    assert [event.stream_id for event in of(RequestReceived, pair.turn())] == [1, 3, 5, 7, 9]
    for stream in reversed(streams):
        pair.answer(stream, str(stream.id).encode())
    pair.turn()
    assert [stream.body for stream in streams] == [b"1", b"3", b"5", b"7", b"9"]


def test_the_body_in_pieces() -> None:
    pair = made()
    stream = pair.open(b"a", end=False)
    pair.ours.send(stream, b"b")
    assert received(pair.turn(), 1) == b"ab"
    pair.ours.send(stream, b"c", end=True)
    seen = pair.turn()
    assert received(seen, 1) == b"c"
    assert of(StreamEnded, seen)
    pair.ours.send(stream, b"d")  # nothing comes behind the end
    assert pair.ours.take() == b""


def test_an_end_alone_is_an_empty_frame() -> None:
    pair = made()
    stream = pair.open(end=False)
    pair.turn()
    pair.ours.send(stream, b"", end=True)
    seen = pair.turn()
    assert [(event.data, event.stream_id) for event in of(DataReceived, seen)] == [(b"", 1)]
    assert of(StreamEnded, seen)


def test_a_request_without_a_body_ends_with_its_headers() -> None:
    pair = made()
    pair.open()
    seen = pair.turn()
    assert of(RequestReceived, seen)[0].stream_ended is not None
    assert not of(DataReceived, seen)


def test_trailers_of_theirs_alone() -> None:
    pair = made()
    stream = pair.open()
    pair.turn()
    pair.theirs.send_headers(stream.id, [*OK, *DONE], end_stream=True)
    pair.turn()
    assert stream.last_word[1:] == (200, (("content-type", "application/grpc"), ("grpc-status", "0")), "", True)


def test_informational_sections_come_before_the_answer() -> None:  # section 8.1
    pair = made()
    stream = pair.open()
    pair.turn()
    for _ in range(3):
        pair.theirs.send_headers(stream.id, [(b":status", b"103"), (b"link", b"x")])
    pair.answer(stream, b"x")
    pair.turn()
    assert [each[1] for each in stream.told if each[0] == "headers"] == [103, 103, 103, 200, None]


@pytest.mark.parametrize("largest", [16_384, 16_385, 60_000, 2**24 - 1])
def test_request_headers_larger_than_a_frame(largest: int) -> None:  # sections 4.2, 6.10
    pair = made(MAX_FRAME_SIZE=largest, MAX_HEADER_LIST_SIZE=1 << 20)
    pair.theirs.decoder.max_header_list_size = 1 << 20
    stream = Caught()
    pair.ours.open(stream, REQUEST + literal("x-long", b"v" * 100_000), b"body", end=True)
    seen = pair.turn()
    asked = of(RequestReceived, seen)[0].headers
    assert asked is not None
    assert dict(asked)[b"x-long"] == b"v" * 100_000
    assert received(seen, 1) == b"body"


def test_answer_headers_larger_than_a_frame() -> None:
    pair = made(max_list=1 << 20)
    stream = pair.open()
    pair.turn()
    pair.theirs.send_headers(stream.id, [*OK, (b"x-long", bytes(range(33, 123)) * 1000)], end_stream=True)
    pair.turn()
    assert len(dict(stream.last_word[2])["x-long"]) == 90_000


@pytest.mark.parametrize("pad", [0, 1, 255])
def test_padding(pad: int) -> None:  # section 6.1
    pair = made()
    stream = pair.open()
    pair.turn()
    pair.theirs.send_headers(stream.id, OK)
    # Padding is paid for in windows, and given back with nobody asking.
    for _ in range(1000):
        pair.theirs.send_data(stream.id, b"xy", pad_length=pad)
        pair.turn()
        pair.ours.credit(stream, 2)
    assert stream.body == b"xy" * 1000
    assert pair.theirs.local_flow_control_window(stream.id) > 32_000


def test_ping_both_ways() -> None:  # section 6.7
    pair = made()
    pair.theirs.ping(b"12345678")
    assert [event.ping_data for event in of(PingAckReceived, pair.turn())] == [b"12345678"]
    pair.ours.ping()
    assert pair.ours.pinged
    pair.turn()
    assert not pair.ours.pinged


def test_settings_are_acknowledged() -> None:  # section 6.5.3
    pair = made()
    assert len(of(SettingsAcknowledged, pair.events)) == 1
    pair.theirs.update_settings({SettingCodes.MAX_FRAME_SIZE: 20_000, SettingCodes.INITIAL_WINDOW_SIZE: 100})
    assert len(of(SettingsAcknowledged, pair.turn())) == 1
    assert pair.theirs.remote_settings.enable_push == 0
    assert pair.theirs.remote_settings.header_table_size == 0
    assert pair.theirs.remote_settings.max_header_list_size == LIST


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 65_536])
@pytest.mark.parametrize("midway", [False, True])
def test_a_table_that_they_shrink(size: int, midway: bool) -> None:
    """RFC 7541, section 4.2: the encoder acknowledges a smaller table at the beginning of its next block."""
    pair = made()
    if midway:
        pair.open()
        pair.turn()
    pair.theirs.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
    pair.turn()
    for _ in range(2):
        pair.open()
        assert of(RequestReceived, pair.turn())


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR, 4711])
@pytest.mark.parametrize("when", ["before", "headers", "data", "sending"])
def test_a_reset(code: Any, when: str) -> None:  # section 6.4
    pair = made()
    stream, other = pair.open(end=when != "sending"), pair.open()
    pair.turn()
    if when in ("headers", "data"):
        pair.theirs.send_headers(stream.id, OK)
    if when == "data":
        pair.theirs.send_data(stream.id, b"some")
    pair.theirs.reset_stream(stream.id, code)
    pair.turn()
    assert stream.last_word == ("closed", int(code), False)
    assert list(pair.ours.streams.values()) == [other]
    pair.ours.send(stream, b"more", end=True)
    pair.ours.cancel(stream)
    pair.ours.credit(stream, 100_000)
    assert pair.ours.take() == b""  # section 5.1: nothing but PRIORITY may be sent on it
    pair.answer(other, b"x")
    pair.turn()
    assert kinds(other) == WHOLE


def test_a_reset_without_error_behind_the_answer() -> None:
    """Section 8.1: a server that needs no more of the request says so; the answer stands."""
    pair = made()
    stream = pair.open(b"x", end=False)
    pair.turn()
    pair.answer(stream, b"early")
    pair.theirs.reset_stream(stream.id, ErrorCodes.NO_ERROR)
    pair.turn()
    assert kinds(stream) == [*WHOLE, "closed"]
    assert pair.ours.streams == {}


@pytest.mark.parametrize("when", ["at once", "sent", "headers", "data"])
def test_a_call_that_is_given_up(when: str) -> None:
    pair = made()
    stream = pair.open(b"x", end=False)
    if when != "at once":
        pair.turn()
    if when in ("headers", "data"):
        pair.theirs.send_headers(stream.id, OK)
        pair.turn()
    if when == "data":
        pair.theirs.send_data(stream.id, b"some")
        pair.turn()
    told = len(stream.told)
    pair.ours.cancel(stream)
    pair.ours.cancel(stream)
    seen = of(StreamReset, pair.turn())
    assert [(event.stream_id, event.error_code) for event in seen] == [(1, ErrorCodes.CANCEL)]
    assert pair.ours.streams == {}
    assert pair.theirs.open_inbound_streams == 0
    assert len(stream.told) == told


def test_what_comes_for_one_that_was_given_up_is_read_past() -> None:
    """Section 5.1: it was on its way. The connection's window gets it back all the same."""
    pair = made()
    for _ in range(400):
        stream = pair.open()
        pair.turn()
        pair.theirs.send_headers(stream.id, OK)
        for _ in range(4):
            pair.theirs.send_data(stream.id, bytes(16_000))
        pair.theirs.send_headers(stream.id, DONE, end_stream=True)
        pair.ours.cancel(stream)
        pair.turn()
        assert kinds(stream) == []
    assert pair.theirs.outbound_flow_control_window > 1_000_000  # 25.6 MB went by


def test_a_push_is_refused() -> None:  # section 8.4
    pair = made()
    stream = pair.open()
    pair.turn()
    pair.theirs.remote_settings[SettingCodes.ENABLE_PUSH] = 1
    pair.theirs.remote_settings.acknowledge()
    asked = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    pair.theirs.push_stream(stream.id, 2, asked)
    with pytest.raises(Http2Error, match="PROTOCOL_ERROR"):
        pair.turn()


def test_our_goodbye() -> None:  # section 6.8
    pair = made()
    stream = pair.open()
    pair.turn()
    pair.ours.leave()
    late = pair.open()
    assert late.told == [("lost", True)]
    assert [event.error_code for event in of(ConnectionTerminated, pair.turn())] == [0]
    assert stream.told == [("flushed",)]


def test_a_connection_that_is_lost() -> None:
    pair = made(MAX_CONCURRENT_STREAMS=1)
    sent, waits = pair.open(), pair.open()
    pair.turn()
    pair.ours.lose("gone")
    pair.ours.lose("gone")
    assert (sent.last_word, waits.told) == (("lost", False), [("lost", True)])
    assert pair.ours.streams == {}


def test_trailers_of_ours_are_never_sent() -> None:
    pair: Pair = made()
    pair.open(b"x")
    assert not of(TrailersReceived, pair.turn())
