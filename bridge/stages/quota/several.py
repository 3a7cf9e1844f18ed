"""Several limits at once, in memory: a call is counted in all of them or in none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bridge.api.call import Call, CallerLimit, Identity
from bridge.api.limiter import UNLIMITED, Limiter, Verdict, Verdicts
from bridge.api.spec.limits import Limit
from bridge.stages.quota.caller import CallerKey
from bridge.stages.quota.counters import ConcurrencyCounter, Counter, RateCounter
from bridge.stages.quota.parts import Cost, LimitPart, cost_of

OWN = "key"  #: the policy of a caller's own limit
MAX_OWN = 10_000  #: different limits of callers that are counted at one time


@dataclass(frozen=True, slots=True)
class CountedPart:
    """One limit with its counts, and what a call takes of it."""

    part: LimitPart
    counter: Counter
    whose: CallerKey
    cost: Cost = 1


class OwnRates:
    """The limits that callers have themselves (`Identity.limit`), over all routes together.

    :param share: of each that is this process's.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._counters: dict[CallerLimit, RateCounter] = {}

    def of(self, limit: CallerLimit) -> RateCounter:
        counter = self._counters.get(limit)
        if counter is None:
            if len(self._counters) >= MAX_OWN:
                del self._counters[next(iter(self._counters))]
            rate = Limit(rps=limit.rps, burst=limit.burst)
            counter = self._counters[limit] = RateCounter(rate, OWN, self._share)
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
        self._parts, self._own, self._clock = parts, own, clock

    def for_operation(self, name: str) -> Limiter:
        return SeveralLimiter([replace(one, cost=one.part.cost(name)) for one in self._parts], self._own, self._clock)

    async def take(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        return self.take_now(identity, call, route_tenant)

    def take_now(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        now, internal = self._clock(), identity.internal
        verdicts: list[Verdict] = []
        taken: list[Taken] = []
        allowed = True
        for one in self._parts:
            cost = one.cost if type(one.cost) is int else cost_of(one.cost, call)
            if not cost:
                continue
            key, counter = one.whose(identity, call, route_tenant), one.counter
            verdict = counter.take(key, cost, now, internal=internal)
            verdicts.append(verdict)
            if verdict.allowed:
                taken.append((counter, key, cost))
            else:
                allowed = False
        if identity.limit is not None:
            counter = self._own.of(identity.limit)
            verdict = counter.take(identity.key, 1, now, internal=internal)
            verdicts.append(verdict)
            if verdict.allowed:
                taken.append((counter, identity.key, 1))
            else:
                allowed = False
        if not allowed:
            for counter, key, cost in taken:
                counter.refund(key, cost, internal=internal)
        if len(verdicts) < 2 and not (verdicts and verdicts[0].policy.kind == "concurrency"):
            return verdicts[0] if verdicts else UNLIMITED
        return Verdicts(verdicts, release_of(taken) if allowed else None)


def release_of(taken: Sequence[Taken]) -> Callable[[], None] | None:
    """What to do when the call is over: it no longer counts as under way."""
    held = [one for one in taken if isinstance(one[0], ConcurrencyCounter)]
    return partial(_release, held) if held else None


def _release(held: Sequence[Taken]) -> None:
    for counter, key, cost in held:
        counter.refund(key, cost, internal=False)
