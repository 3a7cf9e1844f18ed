"""Several limits at once, in memory: a call is counted in all of them or in none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bridge.api.call import Call, CallerLimit, Identity
from bridge.api.limiter import UNLIMITED, Limiter, Policy, Verdict, Verdicts
from bridge.stages.quota.caller import CallerKey
from bridge.stages.quota.counters import ConcurrencyCounter, Counter
from bridge.stages.quota.memory import MAX_BUCKETS, Buckets, maker
from bridge.stages.quota.parts import Cost, LimitPart, cost_of

OWN = "key"  #: the policy of a caller's own limit
MAX_OWN = 10_000  #: different limits of callers that are counted at one time


@dataclass(frozen=True, slots=True)
class CountedPart:
    """One limit with its counts, and what a call takes of it.

    :ivar inside: of internal callers; `outside` again where they have none of their own.
    """

    part: LimitPart
    outside: Counter
    inside: Counter
    whose: CallerKey
    cost: Cost = 1


class OwnRates:
    """The limits that callers have themselves (`Identity.limit`), over all routes together.

    :param share: of each that is this process's.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._counters: dict[CallerLimit, Buckets] = {}

    def of(self, limit: CallerLimit) -> Buckets:
        counter = self._counters.get(limit)
        if counter is None:
            if len(self._counters) >= MAX_OWN:
                del self._counters[next(iter(self._counters))]
            make = maker(limit.rps, limit.burst, Policy(OWN, "rate"), self._share)
            counter = self._counters[limit] = Buckets(make, MAX_BUCKETS)
        return counter


#: A count that was taken: the counter, the caller and the cost.
Taken = tuple[Counter, str, int]


class SeveralLimiter:
    """The limits of a route and of its caller (`bridge.api.limiter.Limiter`).

    :param clock: seconds, monotonic.
    """

    def __init__(
        self, parts: Sequence[CountedPart], own: OwnRates, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Those that cost nothing are not counted.
        self._parts, self._own, self._clock = [one for one in parts if one.cost != 0], own, clock
        self._holds = any(isinstance(one.outside, ConcurrencyCounter) for one in parts)

    def for_operation(self, name: str) -> Limiter:
        return SeveralLimiter([replace(one, cost=one.part.cost(name)) for one in self._parts], self._own, self._clock)

    async def take(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        return self.take_now(identity, call, route_tenant)

    def take_now(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        now, internal = self._clock(), identity.internal
        verdicts: list[Verdict] = []
        taken: list[Taken] = []
        for one in self._parts:
            cost = one.cost if isinstance(one.cost, int) else cost_of(one.cost, call)
            if not cost:
                continue
            key, counter = one.whose(identity, call, route_tenant), one.inside if internal else one.outside
            verdicts.append(verdict := counter.take(key, now, cost))
            if verdict.allowed:
                taken.append((counter, key, cost))
        if identity.limit is not None:
            own = self._own.of(identity.limit)
            verdicts.append(verdict := own.take(identity.key, now))
            if verdict.allowed:
                taken.append((own, identity.key, 1))
        if len(taken) < len(verdicts):
            for counter, key, cost in taken:
                counter.refund(key, cost)
            return verdicts[0] if len(verdicts) == 1 and not self._holds else Verdicts(verdicts)
        if self._holds:
            return Verdicts(verdicts, release_of(taken)) if verdicts else UNLIMITED
        return Verdicts(verdicts) if len(verdicts) > 1 else verdicts[0] if verdicts else UNLIMITED


def release_of(taken: Sequence[Taken]) -> Callable[[], None] | None:
    """What to do when the call is over: it no longer counts as under way."""
    held = [one for one in taken if isinstance(one[0], ConcurrencyCounter)]
    return partial(_release, held) if held else None


def _release(held: Sequence[Taken]) -> None:
    for counter, key, cost in held:
        counter.refund(key, cost)
