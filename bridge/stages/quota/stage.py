"""How often a caller may call: the stage of a route's ``rate_limit`` and ``limits``."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.limiter import Limiter, Verdict
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import RateLimited

_REASONS = {
    "rate": "You have made more calls than this route allows. Try again in a moment.",
    "quota": "The calls of this day or month are used up. Retry-After says how long it is until there are new ones.",
    "concurrency": "As many calls are under way as this route allows at once. Try again when one of them has ended.",
}


class Quota:
    """Counts the call and adds the fields of the limits to the response."""

    name: ClassVar[str] = "quota"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        limiter = operation.limiter
        if limiter is None:
            return None
        return partial(self.handle, limiter.for_operation(operation.operation.name), operation.tenant, next)

    def handle(
        self, limiter: Limiter, tenant: str, next: Handler, exchange: Exchange, verdict: Verdict | None = None
    ) -> Awaitable[Reply | None]:
        call = exchange.call
        if verdict is None:
            verdict = limiter.take_now(call.identity, call, tenant)
            if verdict is None:
                return self._ask(limiter, tenant, next, exchange)
        exchange.fields += verdict.headers()
        if not verdict.allowed:
            policy = verdict.policy
            exchange.record.limit = policy.name
            raise RateLimited(_REASONS[policy.kind], members={"policy": policy.name})
        exchange.release = verdict.release
        return next(exchange)

    async def _ask(self, limiter: Limiter, tenant: str, next: Handler, exchange: Exchange) -> Reply | None:
        call = exchange.call
        verdict = await limiter.take(call.identity, call, tenant)
        return await self.handle(limiter, tenant, next, exchange, verdict)
