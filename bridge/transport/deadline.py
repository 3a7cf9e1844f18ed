"""Deadlines of many calls with one timer.

`asyncio.timeout_at` does the same for one call. It sets and cancels a timer of the loop each time, which is expensive
for a deadline that is nearly always met.
"""

from __future__ import annotations

import asyncio
from functools import partial
from types import TracebackType
from typing import Protocol

from bridge.errors import Timeout

TICK = 0.001  #: seconds that a loop's clock may lag behind: uvloop's counts milliseconds, once a turn

_NEVER = float("inf")


class Timed(Protocol):
    """Something with a deadline, `when` in the loop's `time()`; `expire` is called then, and must not raise."""

    @property
    def when(self) -> float: ...

    def expire(self) -> None: ...


class Deadlines:
    """``with deadlines.until(when):`` cancels its body at that time; objects that were `add`ed expire, unless they are
    discarded before. For one event loop, the first one in use."""

    __slots__ = ("_active", "_next", "_timer", "until")

    def __init__(self) -> None:
        self._active: set[Timed] = set()
        self._next = _NEVER  # when the timer fires
        self._timer: asyncio.TimerHandle | None = None
        #: ``until(when)``: a context, `when` in the running loop's `time()`. Raises `bridge.errors.Timeout` on exit
        #: if the time has passed and the body was cancelled.
        self.until = partial(Until, self)

    def add(self, call: Timed) -> None:
        self._active.add(call)
        if call.when < self._next:
            self._reschedule(call.when)

    def discard(self, call: Timed) -> None:
        self._active.discard(call)

    def _reschedule(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._schedule(asyncio.get_running_loop(), when)

    def _schedule(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._next = when
        self._timer = loop.call_at(when, self._expire_due, loop)

    def _expire_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._next = None, _NEVER
        now, soonest = loop.time() + TICK, _NEVER
        late = []
        for call in self._active:
            if call.when <= now:
                late.append(call)
            elif call.when < soonest:
                soonest = call.when
        for call in sorted(late, key=lambda call: call.when):  # several at once if the loop was blocked
            self._active.discard(call)
            call.expire()
        if soonest < _NEVER:
            self._schedule(loop, soonest)


class Until:
    __slots__ = ("_all", "_cancelling", "_expired", "_task", "when")

    def __init__(self, deadlines: Deadlines, when: float) -> None:
        self._all = deadlines
        self._expired = False
        self.when = when

    def __enter__(self) -> Until:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        # `Deadlines.add`, inlined.
        self._all._active.add(self)
        if self.when < self._all._next:
            self._all._reschedule(self.when)
        return self

    def move(self, when: float) -> None:
        """Another deadline."""
        self.when = when
        if when < self._all._next and self in self._all._active:
            self._all._reschedule(when)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all._active.discard(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Timeout(cause="the deadline passed") from None

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()
