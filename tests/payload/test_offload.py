"""Threads for large messages: who waits for whom, what is refused, and what is dropped."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from bridge.errors import Overloaded, Timeout
from bridge.payload import offload
from bridge.payload.offload import HUGE, REPLIES, REQUESTS, Offload

MB = 1024 * 1024


class Gate:
    """Work that begins, and ends when it is let."""

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.let.wait(30)
        return threading.current_thread().name


async def begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.begun.wait, 30)


async def test_the_loop_goes_on_and_the_result_comes() -> None:
    threads, gate = Offload(), Gate()
    work = asyncio.create_task(threads.run(MB, gate))
    await begun(gate)
    assert not work.done()
    gate.let.set()
    assert (await work).startswith("messages-large")
    assert threads.waiting == 0


async def test_a_large_message_does_not_wait_behind_a_huge_one() -> None:
    threads, gate = Offload(), Gate()
    huge = asyncio.create_task(threads.run(HUGE + 1, gate))
    await begun(gate)
    assert await threads.run(HUGE, lambda: "done") == "done"
    assert not huge.done()
    gate.let.set()
    assert (await huge).startswith("messages-huge")


async def test_what_fails_fails_for_whoever_waits() -> None:
    def work() -> None:
        raise ValueError("no")

    threads = Offload()
    with pytest.raises(ValueError, match="no"):
        await threads.run(1, work)
    assert threads.waiting == 0


class Held:
    """Stands for a large value."""


async def test_a_failure_holds_nothing_of_what_it_failed_at() -> None:
    seen: list[weakref.ref[Held]] = []

    def inner() -> None:
        value = Held()
        seen.append(weakref.ref(value))
        raise KeyError("x")

    def work() -> None:
        value = Held()
        seen.append(weakref.ref(value))
        try:
            inner()
        except KeyError:
            raise ValueError("no") from None

    with pytest.raises(ValueError, match="no") as caught:
        await Offload().run(1, work)
    assert [each() for each in seen] == [None, None]
    assert caught.value.__traceback__ is not None


async def test_the_deadline_ends_the_waiting_and_what_has_not_begun() -> None:
    threads, gate, called = Offload(), Gate(), False

    def late() -> None:
        nonlocal called
        called = True

    value = Held()
    held = weakref.ref(value)
    first = asyncio.create_task(threads.run(1, gate))
    await begun(gate)
    now = asyncio.get_running_loop().time()
    with pytest.raises(Timeout) as caught:
        await threads.run(1000, lambda _=value: late(), deadline=now + 0.01)  # type: ignore[misc]  # holds it
    assert caught.value.status == 504
    del value
    gc.collect()
    assert held() is None  # it stands in the queue still, and holds nothing
    assert threads.waiting == 1
    gate.let.set()
    await first
    assert await threads.run(1, lambda: "next") == "next"
    assert not called
    assert threads.waiting == 0


async def test_more_than_may_wait_is_refused() -> None:
    threads, gate = Offload(), Gate()
    first = asyncio.create_task(threads.run(REQUESTS - 10, gate))
    await begun(gate)
    with pytest.raises(Overloaded) as caught:
        await threads.run(11, lambda: None, max_waiting=REQUESTS)
    assert (caught.value.status, caught.value.headers) == (503, (("retry-after", "1"),))
    # An answer, for which a service has worked, still has room; and what has room is taken.
    other = asyncio.create_task(threads.run(REPLIES - REQUESTS + 10, lambda: "other"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await threads.run(1, lambda: None)
    gate.let.set()
    assert (await asyncio.gather(first, other))[1] == "other"
    assert threads.waiting == 0


async def test_one_is_always_taken() -> None:
    assert await Offload().run(10 * REPLIES, lambda: "done") == "done"


async def test_a_call_that_is_given_up_waits_for_nothing() -> None:
    threads, gate = Offload(), Gate()
    work = asyncio.create_task(threads.run(1, gate))
    await begun(gate)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    gate.let.set()
    assert await threads.run(1, lambda: "next") == "next"
    assert threads.waiting == 0


async def test_no_collection_of_the_oldest_while_something_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, threads, gates = gc.get_threshold(), Offload(), [Gate(), Gate()]
    tasks = [asyncio.create_task(threads.run(size, gate)) for size, gate in zip((1, HUGE + 1), gates, strict=True)]
    for gate in gates:
        await begun(gate)
    assert gc.get_threshold()[:2] == usual[:2]
    assert gc.get_threshold()[2] > 1_000_000
    collected: list[Any] = []
    monkeypatch.setattr(offload, "UNCOLLECTED", -1.0)
    collect: Callable[[], int] = gc.collect
    monkeypatch.setattr(gc, "collect", lambda: collected.append(collect()))
    gates[0].let.set()
    await tasks[0]
    assert len(collected) == 1  # however long it goes on, garbage is looked for now and then
    assert gc.get_threshold()[2] > 1_000_000
    gates[1].let.set()
    await tasks[1]
    assert gc.get_threshold() == usual
