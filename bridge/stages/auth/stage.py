"""Who calls: the stage of a route's ``auth``."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from bridge.api.call import Identity, Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler


class Authenticate:
    """Sets `Call.identity`, and the subject and tenant of the record. Every operation has it: ``auth: {type: none}``
    identifies callers by their address."""

    name: ClassVar[str] = "authenticate"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        return partial(self.handle, operation, next)

    def handle(
        self, operation: BoundOperation, next: Handler, exchange: Exchange, identity: Identity | None = None
    ) -> Awaitable[Reply | None]:
        call, record = exchange.call, exchange.record
        if identity is None:
            identity = operation.authenticator.known(call)
            if identity is None:
                return self._ask(operation, next, exchange)
        call.identity = identity
        record.subject = identity.subject
        record.tenant = identity.tenant or operation.tenant
        return next(exchange)

    async def _ask(self, operation: BoundOperation, next: Handler, exchange: Exchange) -> Reply | None:
        return await self.handle(operation, next, exchange, await operation.authenticator(exchange.call))
