"""How often a caller may call: the stage of a route's ``rate_limit``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.limiter import Verdict
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import RateLimited


class Quota:
    """Counts the call and adds the fields of the limit to the response."""

    name: ClassVar[str] = "quota"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        limiter, tenant = operation.limiter, operation.tenant
        if limiter is None:
            return None
        take_now = limiter.take_now

        def quota(exchange: Exchange, verdict: Verdict | None = None) -> Awaitable[Reply | None]:
            call = exchange.call
            if verdict is None:
                verdict = take_now(call.identity, call, tenant)
                if verdict is None:
                    return ask(exchange)
            exchange.fields += verdict.headers()
            if not verdict.allowed:
                raise RateLimited("You have made more calls than this route allows. Try again in a moment.")
            return next(exchange)

        async def ask(exchange: Exchange) -> Reply | None:
            call = exchange.call
            return await quota(exchange, await limiter.take(call.identity, call, tenant))

        return quota
