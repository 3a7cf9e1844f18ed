"""What holds for any bytes, however they are cut, and for any order of events."""

from __future__ import annotations

import itertools
from typing import Any

from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.http2.flood_guard import MAX_ANSWERS
from bridge.http2.frames import Http2Error
from bridge.http2.hpack import literal
from bridge.transport.http2.connection import Http2Connection
from tests.transport.http2.kit import DONE, LIST, OK, REQUEST, WINDOW, Caught, made, of, raw


def begun() -> tuple[Http2Connection, list[Caught]]:
    http = Http2Connection(window=WINDOW, max_list=LIST, output=lambda: None)
    http.receive(raw(4, 0, 0))
    streams = [Caught() for _ in range(4)]
    for stream in streams:
        http.open(stream, REQUEST, bytes(40_000), end=True)
    http.take()
    return http, streams


def talk() -> bytes:
    """What h2 says to four requests: every kind of frame."""
    pair = made()
    streams = [pair.open() for _ in range(4)]
    pair.turn()
    theirs = pair.theirs
    theirs.send_headers(1, [(b":status", b"103")])
    theirs.ping(b"12345678")
    theirs.send_headers(1, OK)
    theirs.send_data(1, b"some bytes", pad_length=7)
    theirs.send_headers(3, [*OK, (b"x-long", bytes(range(33, 123)) * 100)])
    theirs.increment_flow_control_window(5)
    theirs.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 7, SettingCodes.MAX_FRAME_SIZE: 20_000})
    theirs.send_data(3, bytes(5000))
    theirs.send_headers(1, DONE, end_stream=True)
    theirs.reset_stream(5, 8)
    theirs.send_data(3, b"", end_stream=True)
    theirs.send_headers(7, [*OK, *DONE], end_stream=True)
    cut = raw(1, 0, 7, b"\x88") + raw(9, 0, 7, literal("a", b"b")) + raw(9, 4, 7, literal("c", b"d"))
    data = theirs.data_to_send()
    theirs.close_connection()
    assert len(streams) == 4
    return cut + data + theirs.data_to_send() + raw(250, 1, 2, b"unknown")


TALK = talk()


def outcome(pieces: list[bytes]) -> tuple[Any, ...]:
    http, streams = begun()
    fault = None
    try:
        for piece in pieces:
            http.receive(piece)
    except Http2Error as error:
        fault = str(error)
    return fault, [stream.told for stream in streams], http.take(), http.draining, sorted(http.streams)


WHOLE = outcome([TALK])


def test_the_talk_is_a_good_one() -> None:
    fault, told, _, draining, left = WHOLE
    assert fault is None
    assert [each[-1][0] for each in told] == ["headers", "data", "closed", "headers"]
    assert draining
    assert left == [3, 7]  # whose requests wait for windows


@given(some.lists(some.integers(0, len(TALK)), max_size=30))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(TALK)]
    assert outcome([TALK[one:other] for one, other in itertools.pairwise(at)]) == WHOLE


def test_byte_by_byte() -> None:
    assert outcome([TALK[at : at + 1] for at in range(len(TALK))]) == WHOLE


def bounded(http: Http2Connection, streams: list[Caught], size: int) -> None:
    """What is kept is no more than what was promised, and what is said no more than was asked."""
    assert len(http._rest) < 9 + 16_384
    assert len(http.take()) <= 17 * MAX_ANSWERS + 200_000
    assert sum(len(stream.told) for stream in streams) <= size + 100


def feed(data: bytes, step: int) -> None:
    http, streams = begun()
    try:
        for at in range(0, len(data), step):
            http.receive(data[at : at + step])
            bounded(http, streams, len(data))
    except Http2Error as error:
        http.leave(error.code)
        http.lose(str(error))
        assert http.streams == {}


@given(some.binary(max_size=2000), some.integers(1, 500))
def test_bytes_at_random(data: bytes, step: int) -> None:
    feed(data, step)


frames_at_random = some.lists(
    some.builds(
        raw,
        some.integers(0, 10),
        some.sampled_from([0, 1, 4, 5, 8, 0xC, 0x20, 0x2D, 0xFF]),
        some.sampled_from([0, 1, 3, 5, 7, 2, 9, 2**31 - 1, 2**32 - 1]),
        some.one_of(
            some.binary(max_size=12),
            some.sampled_from([b"\x88", b"\x88" + literal("a", b"b"), bytes(4), bytes(8), b"\x00\x00\x01\x00"]),
            some.just(bytes(16_384)),
            some.tuples(some.integers(0, 7), some.integers(0, 2**32 - 1)).map(
                lambda pair: pair[0].to_bytes(2, "big") + pair[1].to_bytes(4, "big")
            ),
        ),
    ),
    max_size=40,
).map(b"".join)


@given(frames_at_random, some.integers(1, 5000))
@settings(max_examples=300)
def test_frames_at_random(data: bytes, step: int) -> None:
    feed(data, step)


@given(
    some.lists(some.tuples(some.integers(0, len(TALK) - 1), some.integers(0, 255), some.integers(0, 2)), max_size=6),
    some.integers(1, 3000),
)
@settings(max_examples=300)
def test_a_good_talk_with_errors(changes: list[tuple[int, int, int]], step: int) -> None:
    data = bytearray(TALK)
    for at, byte, how in changes:
        place = min(at, len(data) - 1)
        data[place : place + (1, 0, 1)[how]] = (bytes((byte,)), bytes((byte,)), b"")[how]
    feed(bytes(data), step)


# --- any order of events, with h2 as the judge of each byte -----------------------------------------------------------


class Exchange(RuleBasedStateMachine):
    """Calls that begin, send, are answered, credited and given up in any order; h2 raises where a window or the number
    of streams is overdrawn. Nothing may be lost, doubled, or out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = made(MAX_CONCURRENT_STREAMS=3, INITIAL_WINDOW_SIZE=2000)
        self.streams: list[Caught] = []
        self.sent: dict[Caught, bytes] = {}
        self.given: dict[Caught, bytes] = {}
        self.got: dict[int, bytearray] = {}
        self.over: set[int] = set()  # streams that h2 may say nothing on any more
        self.dropped: set[Caught] = set()
        self.count = 0

    def bytes_of(self, size: int) -> bytes:
        self.count += 1
        return (b"%d," % self.count) * (size // 4 + 1)

    def carry(self) -> None:
        for event in self.pair.turn():
            if isinstance(event, RequestReceived):
                self.got[event.stream_id or 0] = bytearray()
            elif isinstance(event, DataReceived):
                self.got[event.stream_id or 0] += event.data or b""
            elif isinstance(event, StreamReset):
                self.over.add(event.stream_id or 0)

    def pick(self, data: Any, answering: bool = False) -> Caught:
        alive = [stream for stream in self.streams if stream.id in self.got and stream.id not in self.over]
        found: Caught = data.draw(some.sampled_from(alive if answering else self.streams))
        return found

    @rule(size=some.integers(0, 5000), end=some.booleans(), now=some.booleans())
    def begin(self, size: int, end: bool, now: bool) -> None:
        stream = Caught()
        body = self.bytes_of(size) if size else b""
        self.streams.append(stream)
        self.sent[stream], self.given[stream] = body, b""
        stream.last = False
        self.pair.ours.open(stream, REQUEST, body, end=end)
        stream.last = end
        if now:
            self.carry()

    @precondition(lambda self: self.streams)
    @rule(data=some.data(), size=some.integers(0, 3000), end=some.booleans())
    def send(self, data: Any, size: int, end: bool) -> None:
        stream = self.pick(data)
        if not stream.last and stream not in self.dropped:
            body = self.bytes_of(size)
            self.pair.ours.send(stream, body, end=end)
            self.sent[stream] += body

    @precondition(lambda self: self.streams)
    @rule(data=some.data())
    def cancel(self, data: Any) -> None:
        stream = self.pick(data)
        self.pair.ours.cancel(stream)
        self.dropped.add(stream)

    @precondition(lambda self: any(number not in self.over for number in self.got))
    @rule(data=some.data(), size=some.integers(0, 70_000), end=some.booleans(), begun=some.booleans())
    def answer(self, data: Any, size: int, end: bool, begun: bool) -> None:
        stream = self.pick(data, answering=True)
        theirs = self.pair.theirs
        if not self.given[stream] and not any(each[0] == "headers" for each in stream.told):
            theirs.send_headers(stream.id, OK)
        body = self.bytes_of(size)[: min(16_384, theirs.local_flow_control_window(stream.id))] if begun else b""
        if body:
            theirs.send_data(stream.id, body)
            self.given[stream] += body
        if end:
            theirs.send_headers(stream.id, DONE, end_stream=True)
            self.over.add(stream.id)
        self.carry()

    @precondition(lambda self: any(number not in self.over for number in self.got))
    @rule(data=some.data(), code=some.integers(0, 13))
    def reset(self, data: Any, code: int) -> None:
        stream = self.pick(data, answering=True)
        self.pair.theirs.reset_stream(stream.id, code)
        self.over.add(stream.id)
        self.dropped.add(stream)
        self.carry()

    @precondition(lambda self: self.streams)
    @rule(data=some.data(), size=some.integers(1, 20_000))
    def credit(self, data: Any, size: int) -> None:
        stream = self.pick(data)
        self.pair.ours.credit(stream, min(size, len(stream.body) - self.credited(stream)))

    def credited(self, stream: Caught) -> int:
        return stream.recv_window + stream.unacked + len(stream.body) - WINDOW if stream.id else 0

    @precondition(lambda self: any(number not in self.over for number in self.got))
    @rule(data=some.data(), by=some.integers(1, 9000))
    def widen(self, data: Any, by: int) -> None:
        self.pair.theirs.increment_flow_control_window(by, self.pick(data, answering=True).id)
        self.pair.theirs.increment_flow_control_window(by)

    @rule(most=some.integers(1, 5), window=some.integers(0, 5000))
    def change(self, most: int, window: int) -> None:
        self.pair.theirs.update_settings(
            {SettingCodes.MAX_CONCURRENT_STREAMS: most, SettingCodes.INITIAL_WINDOW_SIZE: window}
        )

    @rule()
    def move(self) -> None:
        self.carry()

    @invariant()
    def nothing_is_lost(self) -> None:
        for stream in self.streams:
            got = bytes(self.got.get(stream.id, b""))
            assert self.sent[stream].startswith(got)
            assert self.given[stream].startswith(stream.body)

    def teardown(self) -> None:
        """With windows and turns enough, everything ends."""
        self.carry()
        theirs = self.pair.theirs
        for stream in self.streams:
            if not stream.last and stream not in self.dropped:
                self.pair.ours.send(stream, b"", end=True)
        theirs.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1000, SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24})
        theirs.increment_flow_control_window(1 << 24)
        self.carry()
        self.carry()
        for stream in self.streams:
            if stream not in self.dropped and stream.id not in self.over:
                begun = any(each[0] == "headers" for each in stream.told)
                theirs.send_headers(stream.id, DONE if begun else [*OK, *DONE], end_stream=True)
        self.carry()
        for stream in self.streams:
            if stream not in self.dropped:
                assert bytes(self.got[stream.id]) == self.sent[stream]
                assert stream.body == self.given[stream]
        assert self.pair.ours.streams == {}
        assert theirs.open_inbound_streams == 0
        assert not self.pair.ours.send_window.has_queue
        assert of(StreamEnded, self.pair.events) or not self.sent or self.dropped


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
