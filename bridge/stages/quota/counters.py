"""The counts of one limit in memory: a rate, a quota, or the calls that are under way."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.api.limiter import Policy, Verdict
from bridge.stages.quota.calendar import Window, period
from bridge.stages.quota.memory import MAX_BUCKETS

STEP_BACK = 3600.0  #: seconds that a clock may be set back without that a quota is counted anew


class Counter(Protocol):
    """The counts of all callers under one limit: `bridge.stages.quota.memory.Buckets` of a rate, or one of those
    below."""

    def take(self, key: str, now: float, cost: int = 1, /) -> Verdict:
        """Count a call of `key`, if the limit allows it.

        :param now: seconds, monotonic.
        """
        ...

    def refund(self, key: str, cost: int, /) -> None:
        """Undo the `take` before, at the same moment: another limit refuses the call."""
        ...


class QuotaCounts:
    """What callers have used of the current day or month. It outlasts the routes that count in it, so that a reload
    gives nobody a new quota.

    :param clock: Unix seconds.
    :ivar start, end: of the period, in Unix seconds. :ivar used: by caller, those that were counted last at the end.
    """

    def __init__(self, window: Window, clock: Callable[[], float] = time.time, max_callers: int = MAX_BUCKETS) -> None:
        self._window: Window = window
        self._max_callers = max_callers
        self.clock = clock
        self.start = self.end = 0.0
        self.used: OrderedDict[str, int] = OrderedDict()
        self.changed = False

    def turn(self, now: float) -> None:
        """Begin a new period, if the one before is over."""
        if not self.start - STEP_BACK <= now < self.end:
            self.start, self.end = period(self._window, now)
            self.used = OrderedDict()

    def restore(self, start: float, used: Mapping[str, int]) -> None:
        """Take over what was kept, if it is of this period and nothing was counted yet."""
        self.turn(self.clock())
        if start == self.start and not self.used:
            self.used = OrderedDict(list(used.items())[-self._max_callers :])

    def add(self, key: str, count: int) -> None:
        used = self.used
        used[key] = used.get(key, 0) + count
        used.move_to_end(key)
        self.changed = True
        if len(used) > self._max_callers:
            used.popitem(last=False)


class QuotaCounter:
    """A quota whose counts are `counts`."""

    def __init__(self, quota: int, name: str, counts: QuotaCounts) -> None:
        self._quota, self._counts = quota, counts
        self._policy = Policy(name, "quota")
        self._described = 0.0

    def take(self, key: str, now: float, cost: int = 1) -> Verdict:
        counts, quota = self._counts, self._quota
        today = counts.clock()
        if today >= counts.end or today < counts.start:
            counts.turn(today)
        used, reset, window = counts.used.get(key, 0), counts.end - today, counts.end - counts.start
        if window != self._described:
            self._policy.describe(quota, window)
            self._described = window
        if used + cost > quota:
            return Verdict(False, quota, max(0, quota - used), reset, reset, window, self._policy)
        counts.add(key, cost)
        return Verdict(True, quota, quota - used - cost, reset, 0.0, window, self._policy)

    def refund(self, key: str, cost: int) -> None:
        self._counts.add(key, -cost)


class ConcurrencyCounter:
    """Calls that are under way: one is counted until it is refunded."""

    def __init__(self, limit: int, name: str, share: float = 1.0) -> None:
        self._limit = max(1, math.floor(limit * share))
        self._policy = Policy(name, "concurrency", self._limit)
        self._open: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, key: str, now: float, cost: int = 1) -> Verdict:
        count, limit = self._open.get(key, 0), self._limit
        if count >= limit:
            return Verdict(False, limit, 0, 0.0, 1.0, 0.0, self._policy)
        self._open[key] = count + 1
        return Verdict(True, limit, limit - count - 1, 0.0, 0.0, 0.0, self._policy)

    def refund(self, key: str, cost: int) -> None:
        count = self._open[key] - 1
        if count:
            self._open[key] = count
        else:
            del self._open[key]
