"""Deadlines that share a timer: each ends its own call, and none another's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.errors import Timeout
from bridge.transport.deadline import Deadlines


async def wait_until(deadlines: Deadlines, seconds: float) -> None:
    with deadlines.until(asyncio.get_running_loop().time() + seconds):
        await asyncio.Event().wait()


async def test_they_end_in_their_order() -> None:
    deadlines, ended = Deadlines(), []

    async def call(name: str, seconds: float) -> None:
        with pytest.raises(Timeout) as late:
            await wait_until(deadlines, seconds)
        assert late.value.status == 504
        ended.append(name)

    async with asyncio.timeout(20):
        await asyncio.gather(call("third", 0.09), call("first", 0.03), call("second", 0.06))
    assert ended == ["first", "second", "third"]


async def test_they_end_in_their_order_when_all_are_overdue() -> None:
    """As after a moment in which the loop was held up."""
    deadlines, ended = Deadlines(), []
    now = asyncio.get_running_loop().time()

    async def call(place: int) -> None:
        with pytest.raises(Timeout):
            with deadlines.until(now + place * 1e-6):
                await asyncio.Event().wait()
        ended.append(place)

    async with asyncio.timeout(20):
        await asyncio.gather(*(call(place) for place in (7, 2, 5, 0, 3, 6, 1, 4)))
    assert ended == sorted(ended)


async def test_what_is_done_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    other = asyncio.create_task(wait_until(deadlines, 0.03))
    with deadlines.until(asyncio.get_running_loop().time() + 60):
        await asyncio.sleep(0)
    with pytest.raises(Timeout):
        await other
    await asyncio.sleep(0)
    assert deadlines._active == set()


async def test_many_calls_set_one_timer() -> None:
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    timers = []
    for _ in range(50):
        with deadlines.until(loop.time() + 60):
            timers.append(deadlines._timer)
    assert len(set(timers)) == 1
    with deadlines.until(loop.time() + 30):
        assert deadlines._timer not in timers
        assert timers[0] is not None
        assert timers[0].cancelled()


async def test_a_deadline_without_anybody_sets_no_other() -> None:
    deadlines = Deadlines()
    with deadlines.until(asyncio.get_running_loop().time() + 0.01):
        pass
    async with asyncio.timeout(20):
        while deadlines._timer is not None:
            await asyncio.sleep(0.005)
    with pytest.raises(Timeout):
        await wait_until(deadlines, 0.01)


async def test_cancelling_from_outside_stays_cancelling() -> None:
    deadlines = Deadlines()
    call = asyncio.create_task(wait_until(deadlines, 60))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert deadlines._active == set()


async def test_both_at_once_is_cancelling() -> None:
    deadlines = Deadlines()
    call = asyncio.create_task(wait_until(deadlines, 60))
    await asyncio.sleep(0)
    [one] = deadlines._active
    call.cancel()
    one.expire()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_an_outer_timeout_counts_for_itself() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_until(deadlines, 60)
    with pytest.raises(Timeout):
        async with asyncio.timeout(60):
            await wait_until(deadlines, 0.01)
    task: Any = asyncio.current_task()
    assert task.cancelling() == 0


async def test_an_error_is_not_taken_for_the_deadline() -> None:
    deadlines = Deadlines()
    with pytest.raises(ZeroDivisionError):
        with deadlines.until(asyncio.get_running_loop().time() + 60):
            raise ZeroDivisionError
    assert deadlines._active == set()
