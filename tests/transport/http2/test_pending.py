"""How many streams at once (RFC 9113, section 5.1.2), and a server that says goodbye (6.8)."""

from __future__ import annotations

from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamReset
from h2.settings import SettingCodes

from tests.transport.http2.kit import DONE, Caught, Pair, made, of, raw, received

GOAWAY = 7


def goaway(last: int, code: int = 0, note: bytes = b"") -> bytes:
    return raw(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + note)


def arrived(pair: Pair) -> list[int]:
    return [event.stream_id or 0 for event in of(RequestReceived, pair.turn())]


@pytest.mark.parametrize("most", [1, 2, 7])
def test_as_many_at_once_as_they_take(most: int) -> None:
    pair = made(MAX_CONCURRENT_STREAMS=most)
    streams = [pair.open(b"%d" % at) for at in range(20)]
    done = 0
    while done < 20:
        pair.turn()
        assert pair.theirs.open_inbound_streams == len(pair.ours.streams) <= most
        stream = streams[done]
        assert stream.id == 2 * done + 1  # in the order in which they were asked for
        pair.answer(stream, b"x")
        pair.turn()
        assert stream.body == b"x"
        done += 1
    assert [received(pair.events, stream.id) for stream in streams] == [b"%d" % at for at in range(20)]


def test_none_at_all_until_they_say_so() -> None:
    pair = made(MAX_CONCURRENT_STREAMS=0)
    streams = [pair.open(), pair.open()]
    assert arrived(pair) == []
    pair.theirs.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    assert arrived(pair) == [1]
    pair.theirs.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    assert arrived(pair) == [3]
    assert [stream.id for stream in streams] == [1, 3]


def test_fewer_than_there_are_lets_them_be() -> None:
    pair = made(MAX_CONCURRENT_STREAMS=3)
    streams = [pair.open() for _ in range(5)]
    assert len(arrived(pair)) == 3
    pair.theirs.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    pair.turn()
    assert len(pair.ours.streams) == 3
    for stream in streams[:3]:
        assert streams[3].id == 0
        pair.answer(stream)
        pair.turn()
    assert list(pair.ours.streams.values()) == [streams[3]]


@pytest.mark.parametrize("how", ["answer", "cancel", "reset", "rule"])
def test_whatever_ends_one_makes_room(how: str) -> None:
    pair = made(MAX_CONCURRENT_STREAMS=1)
    first, second = pair.open(b"x", end=how == "answer"), pair.open()
    pair.turn()
    if how == "answer":
        pair.answer(first)
    elif how == "cancel":
        pair.ours.cancel(first)
    elif how == "reset":
        pair.theirs.reset_stream(first.id, ErrorCodes.INTERNAL_ERROR)
    else:
        pair.ours.receive(raw(8, 0, first.id, bytes(4)))
    assert arrived(pair) == [3]
    assert second.id == 3


def test_the_end_of_a_long_request_makes_room() -> None:
    pair = made(MAX_CONCURRENT_STREAMS=1, INITIAL_WINDOW_SIZE=10)
    first, second = pair.open(bytes(20)), pair.open()
    pair.turn()
    pair.theirs.send_headers(first.id, [(b":status", b"200"), *DONE], end_stream=True)
    pair.turn()
    assert second.id == 0  # half of the first is still open
    pair.theirs.increment_flow_control_window(10, first.id)
    assert arrived(pair) == [3]
    assert second.id == 3
    assert list(pair.ours.streams) == [3]


def test_one_that_waits_is_fed_and_given_up() -> None:
    pair = made(MAX_CONCURRENT_STREAMS=1)
    first, fed, dropped, last = (pair.open(b"0", end=at in (0, 3)) for at in range(4))
    pair.ours.send(fed, b"1")
    pair.ours.send(fed, b"2", end=True)
    pair.ours.send(fed, b"3")
    pair.ours.cancel(dropped)
    pair.turn()
    for stream in (first, fed):
        pair.answer(stream)
        pair.turn()
    assert received(pair.events, fed.id) == b"012"
    assert (dropped.id, dropped.told, last.id) == (0, [], 5)
    assert not of(StreamReset, pair.events)  # nobody had heard of it


def test_ten_thousand_that_wait_and_are_given_up() -> None:
    """Each in the time of one, not of all."""
    pair = made(MAX_CONCURRENT_STREAMS=1)
    streams = [pair.open() for _ in range(10_000)]
    for stream in streams[1:]:
        pair.ours.cancel(stream)
    assert arrived(pair) == [1]
    pair.answer(streams[0])
    assert arrived(pair) == []


# --- GOAWAY -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.ENHANCE_YOUR_CALM, 4711])
def test_those_that_they_have_not_looked_at(code: Any) -> None:
    """The identifier is the last that they did: those above may be sent again elsewhere (section 8.7)."""
    pair = made(MAX_CONCURRENT_STREAMS=4)
    streams = [pair.open() for _ in range(6)]
    pair.turn()
    pair.ours.receive(goaway(3, int(code), b"because"))
    assert pair.ours.draining
    assert pair.ours.goaway
    assert [stream.last_word for stream in streams] == [("flushed",)] * 2 + [("lost", True)] * 4
    for stream in streams[:2]:
        pair.theirs.send_headers(stream.id, [(b":status", b"200"), *DONE], end_stream=True)
    pair.turn()
    assert [stream.last_word[0] for stream in streams[:2]] == ["headers"] * 2
    assert pair.ours.streams == {}


def test_nothing_new_begins_behind_it() -> None:
    pair = made()
    stream = pair.open(b"x", end=False)
    pair.turn()
    pair.ours.receive(goaway(2**31 - 1))
    assert pair.open().told == [("lost", True)]
    pair.ours.send(stream, b"y", end=True)  # what is under way goes on
    assert received(pair.turn(), 1) == b"y"


def test_our_own_goodbye_sends_those_away_that_wait() -> None:
    """They were never sent, and may be on another connection."""
    pair = made(MAX_CONCURRENT_STREAMS=1)
    first, waiting = pair.open(), pair.open()
    pair.ours.leave()
    assert [told[0] for told in waiting.told] == ["lost"]
    assert "lost" not in [told[0] for told in first.told]


def test_a_goodbye_in_two_steps() -> None:
    """First the largest identifier, so that what is on its way still counts; then the last one in truth."""
    pair = made()
    streams = [pair.open() for _ in range(3)]
    pair.turn()
    pair.ours.receive(goaway(2**31 - 1))
    assert [stream.last_word for stream in streams] == [("flushed",)] * 3
    pair.ours.receive(goaway(1))
    assert [stream.last_word for stream in streams] == [("flushed",), ("lost", True), ("lost", True)]
    pair.ours.receive(goaway(0))
    assert streams[0].last_word == ("lost", True)


def test_a_word_for_those_that_were_lost_is_read_past() -> None:
    pair = made()
    stream = pair.open()
    pair.turn()
    pair.ours.receive(goaway(0))
    pair.answer(stream, b"after all")
    pair.turn()
    assert stream.last_word == ("lost", True)


# --- the end of the numbers (section 5.1.1) ---------------------------------------------------------------------------


def test_numbers_run_out() -> None:
    pair = made(MAX_CONCURRENT_STREAMS=1)
    pair.ours._next = 2**31 - 3
    streams: list[Caught] = [pair.open() for _ in range(4)]
    assert arrived(pair) == [2**31 - 3]
    pair.answer(streams[0])
    assert arrived(pair) == [2**31 - 1]
    assert pair.ours.draining
    assert [stream.last_word for stream in streams[2:]] == [("lost", True)] * 2
    pair.answer(streams[1], b"last")
    pair.turn()
    assert streams[1].body == b"last"
