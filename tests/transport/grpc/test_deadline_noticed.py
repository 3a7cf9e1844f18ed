"""The service has the deadline, too, and may end the call before our own timer fires: that is a timeout as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bridge.api.transport import InstanceVerdict
from bridge.http2.hpack import literal
from bridge.transport.grpc.stream import GrpcStream
from tests.transport.grpc.kit import HELLO, OK, Called, done, section, stream, unary
from tests.transport.grpc.test_calls import reset

FAR = 60.0  #: seconds to a deadline that has nothing to do with the end of the call
#: Ends of a call, and from how many seconds before the deadline they count as its effect.
ENDS: dict[str, tuple[Callable[[Called], None], float]] = {
    "RST_STREAM CANCEL": (lambda called: called.pair.ours.receive(reset(1, 8)), 0.003),
    "RST_STREAM NO_ERROR": (lambda called: called.pair.ours.receive(reset(1, 0)), 0.0),
    "RST_STREAM INTERNAL_ERROR": (lambda called: called.pair.ours.receive(reset(1, 2)), 0.0),
    "RST_STREAM REFUSED_STREAM": (lambda called: called.pair.ours.receive(reset(1, 7)), 0.0),
    "CANCELLED": (lambda called: called.say(section(OK + done(1), end=True)), 0.003),
    "DEADLINE_EXCEEDED": (lambda called: called.say(section(OK + done(4), end=True)), 0.04),
    "UNAVAILABLE": (lambda called: called.say(section(OK + done(14), end=True)), 0.0),
    "HTTP status 504": (lambda called: called.say(section(literal(":status", b"504"), end=True)), 0.0),
    "a lost connection": (lambda called: called.pair.ours.lose("gone"), 0.0),
    "an end without a status": (lambda called: called.say(section(OK), section(literal("a", b"b"), end=True)), 0.0),
}


def calls(seconds: float) -> list[Called]:
    called = [unary(), stream()[0]]
    for each in called:
        each.call.when = asyncio.get_running_loop().time() + seconds
    return called


async def settled(called: Called) -> None:
    """A stream ends when its last message is read."""
    if isinstance(called.call, GrpcStream):
        assert await called.call.read() is None


@pytest.mark.parametrize("end", ENDS)
async def test_whatever_ends_a_call_at_its_deadline_is_a_timeout(end: str) -> None:
    how, early = ENDS[end]
    for seconds in (early, 0.0, -1.0):
        for called in calls(seconds):
            how(called)
            await settled(called)
            assert called.outcome()[:2] == ("Timeout", 4), (end, seconds)
            assert called.ended().verdict is InstanceVerdict.LATE


@pytest.mark.parametrize("end", ENDS)
async def test_long_before_the_deadline_it_is_what_it_says(end: str) -> None:
    how, _ = ENDS[end]
    for called in calls(FAR):
        how(called)
        await settled(called)
        assert called.outcome()[0] != "Timeout"


async def test_an_answer_that_arrives_at_the_deadline_is_an_answer() -> None:
    for called in calls(0.0):
        called.say(*HELLO)
        call: Any = called.call
        if not call.done.done():
            assert (await call.read(), await call.read()) == (b"hello", None)
        assert called.outcome()[0] == "reply"


async def test_a_status_that_arrived_in_time_is_kept_until_it_is_read() -> None:
    called, call = stream()
    call.when = asyncio.get_running_loop().time() + FAR
    called.say(*HELLO[:2], section(done(14), end=True))
    call.when -= 2 * FAR
    assert (await call.read(), await call.read()) == (b"hello", None)
    assert called.outcome()[:2] == ("reply", 14)


async def test_a_call_that_its_client_gave_up_is_no_timeout() -> None:
    called, call = stream()
    call.when = asyncio.get_running_loop().time()
    call.cancel()
    assert called.outcome()[:2] == ("UpstreamError", 1)
