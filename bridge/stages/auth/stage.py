"""Who calls: the stage of a route's ``auth``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from bridge.api.call import Identity, Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler


class Authenticate:
    """Sets `Call.identity`, and the subject and tenant of the record. Every operation has it: ``auth: {type: none}``
    identifies callers by their address."""

    name: ClassVar[str] = "authenticate"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        authenticator, tenant = operation.authenticator, operation.tenant
        identify = authenticator.known

        def authenticate(exchange: Exchange, identity: Identity | None = None) -> Awaitable[Reply | None]:
            call, record = exchange.call, exchange.record
            if identity is None:
                identity = identify(call)
                if identity is None:
                    return ask(exchange)
            call.identity = identity
            record.subject = identity.subject
            record.tenant = identity.tenant or tenant
            return next(exchange)

        async def ask(exchange: Exchange) -> Reply | None:
            return await authenticate(exchange, await authenticator(exchange.call))

        return authenticate
