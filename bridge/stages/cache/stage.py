"""Stored replies: the stage of a route's ``cache``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.stages.cache.memory import cache_key


class Cached:
    """Answers from the route's cache if possible. Not for streams."""

    name: ClassVar[str] = "cache"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        cache, name = operation.cache, operation.operation.name
        if cache is None or operation.streams:
            return None

        def cached(exchange: Exchange) -> Awaitable[Reply | None]:
            key = cache_key(name, exchange.call)
            return next(exchange) if key is None else look_up(exchange, key)

        async def look_up(exchange: Exchange, key: str) -> Reply:
            async def fetch() -> Reply:
                reply = await next(exchange)
                assert reply is not None  # only streams send their replies themselves
                return reply

            reply = cache.known(key, exchange.call)
            hit = reply is not None
            if reply is None:
                reply, hit = await cache.get_or_call(key, fetch, exchange.call, deadline=exchange.deadline)
            exchange.record.cache = "hit" if hit else "miss"
            return reply

        return cached
