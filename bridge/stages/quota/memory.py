"""How often a caller may call: token buckets in memory, and their header fields.

Two models, as configured in the spec:

- **with** ``burst``: the classic bucket. It holds `burst` tokens and gains `rps` a second.
- **without**: no more than `rps` calls in *any* second. Each token comes back one second after it was taken. A rate
  below one is one call in ``1/rps`` seconds; above one, a fraction is dropped, since there are no half calls.

A full bucket is the same as none, so idle callers take no memory.
"""

from __future__ import annotations

import math
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from bridge.api.call import Call, Identity
from bridge.api.limiter import DEFAULT, Limiter, Policy, Verdict
from bridge.api.spec.limits import Limit, RateLimit
from bridge.stages.quota.caller import caller_key

MAX_BUCKETS = 100_000  #: callers that one limiter distinguishes at one time
MAX_SLOTS = 64  #: points in time that one window stores
_ULP = 1e-9  #: tokens; the rounding error that a whole one may have


class Bucket(Protocol):
    """One caller's tokens."""

    def take(self, now: float, cost: int = 1) -> Verdict:
        """Take `cost` tokens (1 or more), if there are so many."""
        ...

    def refund(self, cost: int) -> None:
        """Undo the `take` before, at the same moment: the call is refused by another limit."""
        ...

    def full(self, now: float) -> bool:
        """Whether it has all tokens, so that it can be dropped."""
        ...


class Bursting:
    """The token bucket: capacity `burst`, refilled at `rps`."""

    __slots__ = ("_burst", "_policy", "_rps", "_tokens", "_updated", "_window")

    def __init__(self, rps: float, burst: int, now: float, policy: Policy = DEFAULT) -> None:
        self._policy = policy
        self._rps = rps
        self._burst = burst
        self._window = burst / rps
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float, cost: int = 1) -> Verdict:
        burst, rps, tokens = self._burst, self._rps, self._tokens
        if now > self._updated:
            tokens += (now - self._updated) * rps
            if tokens > burst:
                tokens = float(burst)
        self._updated = now
        if tokens + _ULP < cost:
            self._tokens = tokens
            wait = (cost - tokens) / rps
            return Verdict(False, burst, int(tokens + _ULP), wait, wait, self._window, self._policy)
        self._tokens = tokens = tokens - cost if tokens > cost else 0.0
        return Verdict(True, burst, int(tokens + _ULP), (burst - tokens) / rps, 0.0, self._window, self._policy)

    def refund(self, cost: int) -> None:
        self._tokens += cost

    def full(self, now: float) -> bool:
        return self._tokens + (now - self._updated) * self._rps >= self._burst


class Sliding:
    """No more than `count` in any `window` seconds.

    A ring of at most `MAX_SLOTS` moments. Up to that many calls, each has a slot of its own and the rule is exact.
    Above it, calls in one 63rd of a window share a slot, whose tokens are returned when the last of them is due: late
    by up to that much, and never early. A call that takes several tokens takes as many slots, or its part of one.
    """

    __slots__ = (
        "_cell", "_count", "_counts", "_grain", "_head", "_policy", "_size", "_slots", "_times", "_used", "_window",
    )  # fmt: skip

    def __init__(self, count: int, window: float, policy: Policy = DEFAULT) -> None:
        self._policy = policy
        self._count = count
        self._window = window
        self._slots = slots = min(count, MAX_SLOTS)
        self._times = array("d", bytes(8 * slots))
        self._counts = array("L", bytes(array("L").itemsize * slots)) if count > slots else None
        # A half-open window overlaps at most `slots` cells of this width.
        self._grain = window / (slots - 1) if count > slots else 0.0
        self._cell = -1
        self._head = self._size = self._used = 0

    def take(self, now: float, cost: int = 1) -> Verdict:
        window, count, times = self._window, self._count, self._times
        start = now - window
        head, size, slots = self._head, self._size, self._slots
        while size and times[head] <= start:
            self._used -= self._counts[head] if self._counts is not None else 1
            head = (head + 1) % slots
            size -= 1
        self._head = head
        if self._used + cost > count:
            self._size = size
            wait = max(0.0, (times[head] if cost == 1 else self._returned(cost)) + window - now)
            return Verdict(False, count, count - self._used, wait, wait, window, self._policy)
        self._used += cost
        if self._counts is None:
            for _ in range(cost):
                times[(head + size) % slots] = now
                size += 1
        else:
            size = self._share(head, size, now, cost)
        self._size = size
        return Verdict(True, count, count - self._used, window, 0.0, window, self._policy)

    def refund(self, cost: int) -> None:
        self._used -= cost
        if self._counts is None:
            self._size -= cost
        else:  # the slot stays, though it may be empty now
            self._counts[(self._head + self._size - 1) % self._slots] -= cost

    def _returned(self, cost: int) -> float:
        """When the last of the tokens was taken that must be back before `cost` fit."""
        left, slot = self._used + cost - self._count, self._head
        for _ in range(self._size - 1):
            left -= self._counts[slot] if self._counts is not None else 1
            if left <= 0:
                break
            slot = (slot + 1) % self._slots
        return self._times[slot]

    def _share(self, head: int, size: int, now: float, cost: int) -> int:
        """Count a call in the newest slot when it is of the same cell, else in a new one; the ring's new size."""
        assert self._counts is not None
        cell = int(now / self._grain)
        if size and (cell == self._cell or size == self._slots):
            newest = (head + size - 1) % self._slots
            self._counts[newest] += cost
        else:
            newest = (head + size) % self._slots
            self._counts[newest] = cost
            size += 1
        self._cell = cell
        self._times[newest] = now
        return size

    def full(self, now: float) -> bool:
        return not self._size or self._times[(self._head + self._size - 1) % self._slots] <= now - self._window


class Buckets:
    """The buckets of all callers under one limit, the least recently used first."""

    def __init__(self, make: Callable[[float], Bucket], max_buckets: int) -> None:
        self._make = make
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float, cost: int = 1) -> Verdict:
        """One call of `key`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._sweep(now)
            bucket = self._buckets[key] = self._make(now)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now, cost)

    def refund(self, key: str, cost: int) -> None:
        """Undo the `take` before, at the same moment."""
        self._buckets[key].refund(cost)

    def _sweep(self, now: float) -> None:
        """Remove two idle buckets for each new one, so that idle ones never accumulate. If all are busy and the
        limit is reached, the one that was unused for longest is removed."""
        buckets = self._buckets
        for _ in range(2):
            oldest = next(iter(buckets), None)
            if oldest is None or not (len(buckets) >= self._max_buckets or buckets[oldest].full(now)):
                return
            del buckets[oldest]


class Rate:
    """The buckets of a rate. Callers with `Identity.internal` have buckets of their own where the spec gives them a
    rate (`RateLimit.internal_rps`), with a burst of at least a second's worth where it has bursts.

    :param share: of the rate that is this process's.
    """

    def __init__(self, limit: RateLimit | Limit, name: str, max_buckets: int, share: float = 1.0) -> None:
        rps, burst = limit.rps or 1.0, limit.burst  # a `Limit` that is a rate has one
        self.outside = self.inside = Buckets(maker(rps, burst, Policy(name, "rate"), share), max_buckets)
        if limit.internal_rps is not None:
            rps = limit.internal_rps
            burst = None if burst is None else max(burst, math.ceil(rps))
            self.inside = Buckets(maker(rps, burst, Policy(name, "rate"), share), max_buckets)


class MemoryLimiter:
    """One rate of a route, counted in this process (`bridge.api.limiter.Limiter`): every call takes one.

    :param clock: seconds, monotonic.
    :param max_buckets: buckets at one time.
    """

    def __init__(
        self,
        rate_limit: RateLimit | Limit,
        clock: Callable[[], float] = time.monotonic,
        max_buckets: int = MAX_BUCKETS,
        name: str = "default",
    ) -> None:
        self._clock = clock
        self._whose = None if rate_limit.per == "client" else caller_key(rate_limit.per)
        rate = Rate(rate_limit, name, max_buckets)
        self._outside, self._inside = rate.outside, rate.inside

    def for_operation(self, name: str) -> Limiter:
        return self

    async def take(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        return self.take_now(identity, call, route_tenant)

    def take_now(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        buckets = self._inside if identity.internal else self._outside
        if self._whose is None:
            key = identity.key or f"ip:{call.peer}"
        else:
            key = self._whose(identity, call, route_tenant)
        return buckets.take(key, self._clock())


def maker(rps: float, burst: int | None, policy: Policy, share: float = 1.0) -> Callable[[float], Bucket]:
    """Makes the buckets of a rate; `share` of it."""
    rps *= share
    if burst is not None:
        burst = max(1, math.floor(burst * share))
        policy.describe(burst, burst / rps)
        return lambda now: Bursting(rps, burst, now, policy)
    count = max(1, math.floor(rps))
    window = 1.0 if rps >= 1.0 else 1.0 / rps
    policy.describe(count, window)
    return lambda _now: Sliding(count, window, policy)
