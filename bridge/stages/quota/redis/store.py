"""Limits that are counted in Redis, for all gateways that use it (``redis://``, ``rediss://``)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Sequence

from bridge.api.call import CallerLimit
from bridge.api.limiter import Limiter, Policy
from bridge.api.spec.limits import Limit
from bridge.api.spec.route import RouteSpec
from bridge.stages.quota.parts import LimitPart, check_costs, has_own_limits, parts_of
from bridge.stages.quota.redis.address import RedisAddress
from bridge.stages.quota.redis.lease import SharedCount
from bridge.stages.quota.redis.limiter import RedisLimiter, SharedPart
from bridge.stages.quota.redis.script import TAG
from bridge.stages.quota.redis.shared import SharedCounts
from bridge.stages.quota.several import OWN, SeveralLimiter
from bridge.stages.quota.store import MemoryLimits

LEASE_SHARE = 10  #: a lease has at most this part of a burst
QUOTA_SHARE, QUOTA_LEASE = 100, 1000  #: and of a quota this part, and so many
MONTH, DAY = 30 * 86400.0, 86400.0


class RedisLimits:
    """`bridge.stages.quota.store.LimitStore`."""

    def __init__(self, address: RedisAddress) -> None:
        self._prefix = f"{address.prefix}:{TAG}"
        self.shared = SharedCounts(address, self._own)

    def bind(self, spec: RouteSpec, operations: Collection[str]) -> Limiter | None:
        check_costs(spec, operations)
        parts = parts_of(spec)
        if not parts and not has_own_limits(spec):
            return None
        clock = asyncio.get_running_loop().time
        return RedisLimiter(self.shared, [self._shared_part(part) for part in parts], _Local(parts), clock)

    async def start(self) -> None:
        await self.shared.start()

    async def aclose(self) -> None:
        await self.shared.aclose()

    def states(self) -> Iterable[tuple[str, float]]:
        shared = self.shared
        return (
            ("store_up", float(shared.client.up)),
            ("round_trips", float(shared.client.round_trips)),
            ("local", float(shared.local)),
            ("uncounted", float(shared.uncounted)),
        )

    def _shared_part(self, part: LimitPart) -> SharedPart:
        limit, id = part.limit, f"{self._prefix}:{part.id}"
        if isinstance(limit, Limit) and limit.concurrency is not None:
            arguments = (b"open", b"%d" % limit.concurrency, b"")
            count = SharedCount(f"{id}:o".encode(), Policy(part.name, "concurrency"), arguments, limit.concurrency, 0.0)
            return self._both(part, count, count)
        if isinstance(limit, Limit) and limit.quota is not None and limit.window is not None:
            most, window = min(limit.quota // QUOTA_SHARE, QUOTA_LEASE), DAY if limit.window == "day" else MONTH
            arguments = (b"quota", b"%d" % limit.quota, limit.window.encode())
            key = f"{id}:{limit.window[0]}".encode()
            count = SharedCount(key, Policy(part.name, "quota"), arguments, limit.quota, window, most)
            return self._both(part, count, count)
        outside = inside = _rate(f"{id}:r", part.name, limit.rps or 1.0, limit.burst)
        if limit.internal_rps is not None:
            burst = None if limit.burst is None else max(limit.burst, math.ceil(limit.internal_rps))
            inside = _rate(f"{id}:i", part.name, limit.internal_rps, burst)
        return self._both(part, outside, inside)

    def _both(self, part: LimitPart, outside: SharedCount, inside: SharedCount) -> SharedPart:
        return SharedPart(part, self.shared.added(outside), self.shared.added(inside), part.whose)

    def _own(self, limit: CallerLimit) -> SharedCount:
        return _rate(f"{self._prefix}:{OWN}:{limit.rps!r}:{limit.burst}", OWN, limit.rps, limit.burst)


class _Local:
    """The limiters of one route while Redis is away: one for each absence."""

    def __init__(self, parts: Sequence[LimitPart]) -> None:
        self._parts = parts
        self._memory: MemoryLimits | None = None
        self._limiter: Limiter | None = None

    def of(self, memory: MemoryLimits) -> Limiter:
        if memory is not self._memory or self._limiter is None:
            self._memory, self._limiter = memory, SeveralLimiter(memory.counted(self._parts), memory.own)
        return self._limiter


def _rate(id: str, name: str, rps: float, burst: int | None) -> SharedCount:
    policy = Policy(name, "rate")
    if burst is not None:
        arguments = (b"bucket", repr(float(rps)).encode(), b"%d" % burst)
        pause = burst / rps / 4
        return SharedCount(f"{id}b".encode(), policy, arguments, burst, burst / rps, burst // LEASE_SHARE, pause)
    count = max(1, math.floor(rps))
    window = 1.0 if rps >= 1.0 else 1.0 / rps
    arguments = (b"window", b"%d" % count, repr(window).encode())
    return SharedCount(f"{id}w".encode(), policy, arguments, count, window)
