"""Calls as they are made, waited for, given up, and sent again: over memory, with h2 as the service."""

from __future__ import annotations

import asyncio

import pytest
from h2.events import StreamEnded
from h2.settings import SettingCodes

from bridge.api.transport import Outcome
from bridge.errors import Timeout, Unavailable, UpstreamError
from bridge.transport.grpc.framing import encode_message
from tests.transport.grpc.kit import HELLO, OK, body, done, section, stream, unary
from tests.transport.http2.kit import WINDOW, of, raw, received

GOAWAY, RST = 7, 3
BIG = bytes(range(256)) * 1000  # 256,000


def reset(number: int, code: int) -> bytes:
    return raw(RST, 0, number, code.to_bytes(4, "big"))


async def turn() -> None:
    """Let tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("first", "code"), [(section(OK + done(), end=True), 0), (HELLO[0], 0)])
async def test_ok_without_a_message_is_no_answer_to_a_unary_call(first: object, code: int) -> None:
    called = unary()
    called.say(first, *([section(done(code), end=True)] if first is HELLO[0] else []))  # type: ignore[arg-type]
    assert called.outcome()[0] == "BadReply"


async def test_two_messages_in_answer_to_one() -> None:
    called = unary()
    called.say(*HELLO[:2], body(encode_message(b"again")))
    assert called.outcome()[0] == "BadReply"
    assert "more than one" in called.outcome()[2]
    assert called.resets() == [8]


@pytest.mark.parametrize("rest", [b"\x00", encode_message(b"hello")[:-1]])
async def test_an_end_within_a_message(rest: bytes) -> None:
    called = unary()
    called.say(*HELLO[:2], body(rest), HELLO[2])
    assert called.outcome()[0] == "BadReply"
    after, call = stream()
    after.say(*HELLO[:2], body(rest), HELLO[2])
    assert [await call.read(), await call.read()] == [b"hello", None]
    assert "within a message" in after.outcome()[2]


#: PROTOCOL-HTTP2, "Errors": what a reset counts as, before the answer has begun; and whether it may be sent again.
RESETS = {
    0: ("UpstreamError", 13, False),
    1: ("UpstreamError", 13, False),
    2: ("UpstreamError", 13, False),
    7: ("Unavailable", 14, True),
    8: ("UpstreamError", 1, False),
    11: ("Unavailable", 8, False),
    12: ("UpstreamError", 7, False),
    4711: ("UpstreamError", 13, False),
}


@pytest.mark.parametrize(("code", "expected"), RESETS.items())
@pytest.mark.parametrize("begun", [False, True])
async def test_a_reset(code: int, expected: tuple[str, int, bool], begun: bool) -> None:
    for called in (unary(), stream()[0]):
        called.say(*HELLO[: 1 if begun else 0])
        called.pair.ours.receive(reset(1, code))
        assert called.outcome()[:2] == expected[:2]
        assert (called.ended().outcome is Outcome.NOT_PROCESSED) is (expected[2] and not begun)
        assert (called.ended().outcome is Outcome.FINAL) is begun
        assert called.resets() == []


@pytest.mark.parametrize("begun", [False, True])
async def test_goodbyes_and_lost_connections(begun: bool) -> None:
    for which in ("goodbye", "lost"):
        for called in (unary(), stream()[0]):
            called.say(*HELLO[: 1 if begun else 0])
            if which == "goodbye":
                called.pair.ours.receive(raw(GOAWAY, 0, 0, bytes(8)))
            else:
                called.pair.ours.lose("gone")
            assert called.outcome()[:2] == ("Unavailable", 14)
            assert (called.ended().outcome is Outcome.NOT_PROCESSED) is (which == "goodbye" and not begun)


async def test_a_rule_that_is_broken_ends_its_call_alone() -> None:
    called = unary()
    called.pair.ours.receive(raw(8, 0, 1, bytes(4)))
    assert called.outcome()[:2] == ("BadReply", 13)
    assert called.ended().outcome is Outcome.FINAL
    assert called.resets() == [1]


@pytest.mark.parametrize("code", [0, 9])
async def test_an_early_answer_to_a_large_request(code: int) -> None:
    """The service needs not read on; what is left of the request is not sent, and the stream is free."""
    called = unary(BIG)
    assert called.call.queue is not None
    called.say(*HELLO[:2], section(done(code), end=True))
    assert called.outcome()[:2] == ("reply", code)
    assert called.resets() == [8]
    assert called.pair.ours.streams == {}
    called.pair.theirs.increment_flow_control_window(1 << 20)
    called.pair.turn()
    assert len(received(called.pair.events, 1)) <= 65_535


async def test_an_early_answer_wakes_the_writer() -> None:
    called, call = stream()
    writing = asyncio.ensure_future(call.write(BIG))
    await turn()
    assert not writing.done()
    called.say(*HELLO)
    await writing
    await call.write(b"more")
    await call.end()
    assert [await call.read(), await call.read()] == [b"hello", None]
    assert (await call.status()).code == 0
    assert called.resets() == [8]


@pytest.mark.parametrize("stage", ["waiting", "sent", "headers", "message"])
@pytest.mark.parametrize("how", ["cancel", "late", "task"])
async def test_a_call_that_is_given_up(stage: str, how: str) -> None:
    called, call = stream(**({"MAX_CONCURRENT_STREAMS": 0} if stage == "waiting" else {}))
    called.say(*HELLO[: {"headers": 1, "message": 2}.get(stage, 0)])
    reading = asyncio.ensure_future(call.read() if stage != "message" else call.status())
    await turn()
    if how == "task":
        reading.cancel()
    else:
        (call.cancel if how == "cancel" else call.expire)()
    await asyncio.wait([reading])
    with pytest.raises(Timeout if how == "late" else UpstreamError):
        await call.status()
    assert called.pair.ours.streams == {}
    assert called.resets() == ([] if stage == "waiting" else [8])
    called.pair.theirs.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    called.pair.turn()
    assert called.pair.ours.streams == {}


async def test_the_service_s_word_before_the_deadline_counts() -> None:
    called, call = stream()
    called.say(*HELLO)
    call.expire()
    assert await call.read() == b"hello"
    assert await call.read() is None
    assert (await call.status()).code == 0


async def test_what_came_before_the_break_is_read_first() -> None:
    called, call = stream()
    called.say(*HELLO[:2], body(encode_message(b"more") + encode_message(b"and more")))
    called.pair.ours.lose("gone")
    assert [await call.read() for _ in range(4)] == [b"hello", b"more", b"and more", None]
    with pytest.raises(Unavailable):
        await call.status()


async def test_a_message_larger_than_the_window_comes_whole() -> None:
    """Of a message that is not whole the bytes count as read: else it never would be."""
    for which in ("unary", "stream"):
        called, call = (unary(limit=1 << 20), None) if which == "unary" else stream(limit=1 << 20)
        reading = asyncio.ensure_future(call.read()) if call is not None else None
        called.say(section(OK))
        wire = encode_message(BIG)
        while wire:
            await turn()
            called.pair.turn()
            room = min(16_000, called.call.recv_window, len(wire))
            assert room > 0
            called.say(body(wire[:room]))
            wire = wire[room:]
        called.say(section(done(), end=True))
        assert (await reading if reading is not None else called.ended().settle().message) == BIG


async def test_a_reader_that_does_not_read_is_bounded_by_the_window() -> None:
    called, call = stream()
    called.say(section(OK))
    piece, sent = encode_message(b"x" * 900), 0
    while call.recv_window >= len(piece):
        called.say(body(piece))
        called.pair.turn()
        sent += 1
    assert sent == WINDOW // len(piece)
    for _ in range(sent):
        assert await call.read() == b"x" * 900
    called.pair.turn()
    assert call.recv_window > WINDOW // 2


async def test_a_service_that_does_not_read_keeps_the_writer_waiting() -> None:
    called, call = stream()
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            await call.write(b"x" * 9_995)
            written += 1

    writing = asyncio.ensure_future(write())
    await turn()
    called.pair.turn()
    await turn()
    assert written == 6
    assert len(call.queue or b"") < 10_000
    called.pair.theirs.increment_flow_control_window(5000, 1)
    called.pair.theirs.increment_flow_control_window(5000)
    called.pair.turn()
    await turn()
    assert written == 7
    writing.cancel()
    await asyncio.wait([writing])
    assert called.resets() == [8]


async def test_writing_while_waiting_for_a_turn() -> None:
    called, call = stream(MAX_CONCURRENT_STREAMS=0)
    writing = asyncio.ensure_future(call.write(b"hello"))
    await turn()
    assert not writing.done()
    called.pair.theirs.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    called.pair.turn()
    await writing
    await call.end()
    await call.end()
    called.pair.turn()
    assert received(called.pair.events, 1) == encode_message(b"hello")
    assert len(of(StreamEnded, called.pair.events)) == 1
