"""The limits of a route, counted in Redis: from leases where they are enough, else in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from bridge.api.call import Call, Identity
from bridge.api.limiter import UNLIMITED, Limiter, Verdict, Verdicts
from bridge.stages.quota.caller import CallerKey
from bridge.stages.quota.parts import Cost, LimitPart, cost_of
from bridge.stages.quota.redis.connection import RedisAway
from bridge.stages.quota.redis.lease import SharedCount
from bridge.stages.quota.redis.shared import Answer, Demand, SharedCounts
from bridge.stages.quota.store import MemoryLimits


@dataclass(frozen=True, slots=True)
class SharedPart:
    """One limit with its counts in Redis, and what a call takes of it."""

    part: LimitPart
    outside: SharedCount
    inside: SharedCount
    whose: CallerKey
    cost: Cost = 1


class LocalLimiters(Protocol):
    """The limiters of a route for the time that Redis is away."""

    def of(self, memory: MemoryLimits) -> Limiter: ...


class RedisLimiter:
    """`bridge.api.limiter.Limiter`.

    :param clock: that of the event loop on which the calls are.
    """

    def __init__(
        self,
        shared: SharedCounts,
        parts: Sequence[SharedPart],
        local: LocalLimiters,
        clock: Callable[[], float],
        operation: str = "",
    ) -> None:
        self._shared, self._parts, self._local, self._clock = shared, parts, local, clock
        self._operation = operation
        self._memory: MemoryLimits | None = None
        self._fallback: Limiter | None = None

    def for_operation(self, name: str) -> Limiter:
        parts = [replace(one, cost=one.part.cost(name)) for one in self._parts]
        return RedisLimiter(self._shared, parts, self._local, self._clock, name)

    def take_now(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict | None:
        shared = self._shared
        if not shared.client.up:
            return self._without_redis(identity, call, route_tenant)
        now = self._clock()
        demands = self._demands(identity, call, route_tenant, now)
        missing, refused = _spend(demands, now)
        if not missing and not refused:
            shared.local += 1
            verdicts = []
            for count, lease, _ in demands:
                verdicts.append(count.allowed(lease, now))
                if lease.tokens <= lease.low and not lease.asking:
                    shared.refill(count, lease)
            return _verdict(verdicts)
        _return(demands, missing, refused)
        if refused:
            shared.local += 1
            return _refusal(demands, refused, now)
        return None

    async def take(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        shared, now = self._shared, self._clock()
        demands = self._demands(identity, call, route_tenant, now)
        missing, refused = _spend(demands, now)
        if refused:
            _return(demands, missing, refused)
            return _refusal(demands, refused, now)
        if missing:
            try:
                answer = await self._ask(missing)
            except RedisAway:
                _return(demands, missing, refused)
                return self._without_redis(identity, call, route_tenant)
            except asyncio.CancelledError:
                self._undo(demands, missing)
                raise
            now = self._clock()
            refused = [one for one, (fits, *_) in zip(missing, answer, strict=True) if not fits]
            if refused:
                self._undo(demands, missing)
                return _refusal(demands, refused, now)
        verdicts = [count.allowed(lease, now) for count, lease, _ in demands]
        held = [lease for count, lease, _ in demands if count.is_open]
        return _verdict(verdicts, partial(shared.release, held) if held else None)

    def _demands(self, identity: Identity, call: Call, route_tenant: str | None, now: float) -> list[Demand]:
        internal = identity.internal
        demands: list[Demand] = []
        for one in self._parts:
            cost = one.cost if type(one.cost) is int else cost_of(one.cost, call)
            if cost:
                count = one.inside if internal else one.outside
                demands.append((count, count.lease(one.whose(identity, call, route_tenant), now), cost))
        if identity.limit is not None:
            count = self._shared.own(identity.limit)
            demands.append((count, count.lease(identity.key, now), 1))
        return demands

    def _without_redis(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        """:raises LimitsUnavailable: that is what the operator wants."""
        memory = self._shared.without_redis()
        if memory is None:
            return UNLIMITED
        if memory is not self._memory:
            self._memory, self._fallback = memory, self._local.of(memory).for_operation(self._operation)
        verdict = None if self._fallback is None else self._fallback.take_now(identity, call, route_tenant)
        return UNLIMITED if verdict is None else verdict

    def _undo(self, demands: Sequence[Demand], missing: Sequence[Demand]) -> None:
        """`_return` after a wait. The time of a lease may have ended meanwhile, so what it gets back is held again."""
        _return(demands, missing, ())
        for count, lease, _ in demands:
            self._shared.hold(count, lease)

    async def _ask(self, missing: Sequence[Demand]) -> Answer:
        """Redis's figures for each of `missing`. The tokens of a call that is cancelled meanwhile are given back.

        :raises RedisAway: there is no answer.
        """
        future: asyncio.Future[Answer | RedisAway] = asyncio.get_running_loop().create_future()

        def answered(answer: Answer | RedisAway) -> None:
            if not future.done():
                future.set_result(answer)
            elif not isinstance(answer, RedisAway) and all(figures[0] for figures in answer):
                self._shared.give_back(missing)

        self._shared.ask(missing, answered)
        try:
            answer = await future
        except asyncio.CancelledError:
            if not future.cancelled():  # the answer was here, and the task had not gone on yet
                answered(future.result())
            raise
        if isinstance(answer, RedisAway):
            raise answer
        return answer


def _spend(demands: Sequence[Demand], now: float) -> tuple[list[Demand], list[Demand]]:
    """Take from leases. What is missing, and what is known to be refused."""
    missing, refused = [], []
    for one in demands:
        _, lease, cost = one
        lease.demand += cost
        if lease.tokens >= cost and now < lease.until:
            lease.tokens -= cost
            lease.remaining -= cost
        elif now < lease.denied_until and cost >= lease.denied_cost:
            refused.append(one)
        else:
            missing.append(one)
    return missing, refused


def _return(demands: Sequence[Demand], missing: Sequence[Demand], refused: Sequence[Demand]) -> None:
    """Undo `_spend`."""
    for one in demands:
        _, lease, cost = one
        lease.demand -= cost
        if one not in missing and one not in refused:
            lease.tokens += cost
            lease.remaining += cost


def _refusal(demands: Sequence[Demand], refused: Sequence[Demand], now: float) -> Verdict:
    verdicts = []
    for one in demands:
        count, lease, _ = one
        verdicts.append(count.refused(lease, now) if one in refused else count.allowed(lease, now))
    return _verdict(verdicts)


def _verdict(verdicts: list[Verdict], release: Callable[[], None] | None = None) -> Verdict:
    if len(verdicts) == 1 and not verdicts[0].policy.is_open:
        return verdicts[0]
    return Verdicts(verdicts, release) if verdicts else UNLIMITED
