"""Stored replies: the stage of a route's ``cache``."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from bridge.api.body import StreamedBody
from bridge.api.cache import ReplyCache
from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.stages.cache.collect import collect
from bridge.stages.cache.conditions import CONDITIONS, Conditions, tagged
from bridge.stages.cache.memory import cache_key


class Cached:
    """Answers from the route's cache if possible, and judges conditional requests. Not for streams."""

    name: ClassVar[str] = "cache"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        cache = operation.cache
        if cache is None or operation.streams:
            return None
        return partial(self.handle, cache, operation.operation.path, next)

    def handle(self, cache: ReplyCache, path: str, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        forwarded = exchange.call.forwarded
        if forwarded is not None:  # replies may hold the address that the client asked for
            path = f"{path} {forwarded.scheme}://{forwarded.host}"
        key = cache_key(path, exchange.call)
        return next(exchange) if key is None else self._look_up(cache, path, key, next, exchange)

    async def _look_up(self, cache: ReplyCache, path: str, key: str, next: Handler, exchange: Exchange) -> Reply:
        call, conditions = exchange.call, Conditions.of(exchange.call)

        async def fetch() -> Reply:
            if conditions is not None:  # a 304 can't be stored, so each of these clients would cost a call
                call.headers = [field for field in call.headers if field[0] not in CONDITIONS]
            reply = await next(exchange)
            assert reply is not None  # only streams send their replies themselves
            if isinstance(reply.body, StreamedBody):
                await collect(reply, reply.body, exchange.deadline)
            return tagged(call, reply)

        reply = None
        if call.method == "HEAD" and (of_get := cache_key(path, call, "GET")):
            reply = cache.known(of_get, call)  # with GET's fields (RFC 9111, section 4), which HEAD's may lack
        if reply is None:
            reply = cache.known(key, call)
        hit = reply is not None
        if reply is None:
            reply, hit = await cache.get_or_call(key, fetch, call, deadline=exchange.deadline)
        exchange.record.cache = "hit" if hit else "miss"
        return reply if conditions is None else conditions.judged(reply)
