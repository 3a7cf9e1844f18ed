"""Stored replies: the stage of a route's ``cache``."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from bridge.api.cache import ReplyCache
from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.stages.cache.memory import cache_key


class Cached:
    """Answers from the route's cache if possible. Not for streams."""

    name: ClassVar[str] = "cache"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        cache = operation.cache
        if cache is None or operation.streams:
            return None
        return partial(self.handle, cache, operation.operation.name, next)

    def handle(self, cache: ReplyCache, name: str, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        key = cache_key(name, exchange.call)
        return next(exchange) if key is None else self._look_up(cache, key, next, exchange)

    async def _look_up(self, cache: ReplyCache, key: str, next: Handler, exchange: Exchange) -> Reply:
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
