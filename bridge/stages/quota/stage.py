"""How often a caller may call: the stage of a route's ``rate_limit``."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.limiter import Limiter, Verdict
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import RateLimited


class Quota:
    """Counts the call and adds the fields of the limit to the response."""

    name: ClassVar[str] = "quota"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        limiter = operation.limiter
        return None if limiter is None else partial(self.handle, limiter, operation.tenant, next)

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
            raise RateLimited("You have made more calls than this route allows. Try again in a moment.")
        return next(exchange)

    async def _ask(self, limiter: Limiter, tenant: str, next: Handler, exchange: Exchange) -> Reply | None:
        call = exchange.call
        verdict = await limiter.take(call.identity, call, tenant)
        return await self.handle(limiter, tenant, next, exchange, verdict)
