"""Where limits are counted: the setting ``BRIDGE_LIMITS``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from bridge.api.limiter import Limiter
from bridge.api.spec.limits import Limit, RateLimit
from bridge.api.spec.route import RouteSpec
from bridge.stages.quota.counters import ConcurrencyCounter, Counter, QuotaCounter
from bridge.stages.quota.memory import MAX_BUCKETS, MemoryLimiter, Rate
from bridge.stages.quota.parts import LimitPart, check_costs, has_own_limits, parts_of
from bridge.stages.quota.quota_file import QuotaFile
from bridge.stages.quota.several import CountedPart, OwnRates, SeveralLimiter


class LimitStore(Protocol):
    """Makes the limiters of routes, and holds what they count."""

    def bind(self, spec: RouteSpec, operations: Collection[str]) -> Limiter | None:
        """The limiter of a route; None: nothing is limited.

        :param operations: their names.
        :raises bridge.errors.BindError: a limit names an operation that the route has not.
        """
        ...

    async def start(self) -> None:
        """Begin what runs beside the calls: nothing is counted before. Returns within seconds, whatever is away."""
        ...

    async def aclose(self) -> None: ...

    def states(self) -> Iterable[tuple[str, float]]:
        """For metrics: figures of the store by their names. Called in any thread."""
        ...


class MemoryLimits:
    """Limits that are counted in this process (``memory://``).

    :param file: where quotas are kept between two starts; None: they are not.
    :param share: of each limit that is this process's.
    """

    def __init__(self, file: Path | None = None, share: float = 1.0) -> None:
        self._quotas = QuotaFile(file)
        self._share = share
        self.own = OwnRates(share)
        self._writer: asyncio.Task[None] | None = None

    def bind(self, spec: RouteSpec, operations: Collection[str]) -> Limiter | None:
        own = has_own_limits(spec)
        if not spec.limits and not own:
            return MemoryLimiter(spec.rate_limit) if spec.rate_limit is not None else None
        check_costs(spec, operations)
        parts = parts_of(spec)
        limit = parts[0].limit if len(parts) == 1 and not own else None
        if isinstance(limit, Limit) and limit.kind == "rate" and not limit.cost:
            return MemoryLimiter(limit, name=parts[0].name)
        return SeveralLimiter(self.counted(parts), self.own) if parts or own else None

    def counted(self, parts: Sequence[LimitPart]) -> Sequence[CountedPart]:
        """`parts` with their counts here."""
        return [CountedPart(part, *self._counters(part), part.whose) for part in parts]

    def _counters(self, part: LimitPart) -> tuple[Counter, Counter]:
        """Of outside and of internal callers."""
        limit, name, share = part.limit, part.name, self._share
        if isinstance(limit, Limit):
            if limit.concurrency is not None:
                open_calls = ConcurrencyCounter(limit.concurrency, name, share)
                return open_calls, open_calls
            if limit.quota is not None and limit.window is not None:
                quota = max(1, int(limit.quota * share))
                counter = QuotaCounter(quota, name, self._quotas.counts(part.id, limit.window))
                return counter, counter
        rate = Rate(limit, name, MAX_BUCKETS, share)
        return rate.outside, rate.inside

    async def start(self) -> None:
        self._writer = asyncio.create_task(self._quotas.run())

    async def aclose(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
            await self._quotas.write()

    def states(self) -> Iterable[tuple[str, float]]:
        return ()


def same_limits(spec: RouteSpec, old: RouteSpec) -> bool:
    """Whether calls that were counted for `old` are counted for `spec` as well."""

    def counted(one: RouteSpec) -> tuple[RateLimit | None, Sequence[Limit] | None, bool, object]:
        return one.rate_limit, one.limits, has_own_limits(one), (one.tenant, one.host, one.route, one.methods)

    return counted(spec) == counted(old)
