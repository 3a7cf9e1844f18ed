"""What of the request goes on: the fields that may, and the whole body."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Awaitable
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.http.forwarding import forwarding


class Receive:
    """Takes away the fields that end at the gateway, reads the body, and sets the deadline: from here on, time counts
    against the service.

    :param max_body: bytes.
    :param body_timeout: seconds for the body to arrive.
    """

    name: ClassVar[str] = "receive"

    def __init__(self, max_body: int, body_timeout: float) -> None:
        self._max_body, self._body_timeout = max_body, body_timeout

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        forwardable = forwarding(operation.authenticator.consumes)
        max_body, body_timeout, timeout = self._max_body, self._body_timeout, operation.timeout

        def receive(exchange: Exchange, body: bytes | None = None) -> Awaitable[Reply | None]:
            call = exchange.call
            if body is None:
                call.headers = forwardable(call.headers)
                if exchange.has_body:
                    body = exchange.request.received(max_body)
                    if body is None:
                        return read(exchange)
            if body is not None:
                call.body = body
                exchange.record.bytes_in = len(body)
            allowed = exchange.timeout
            exchange.deadline = get_running_loop().time() + (timeout if allowed is None else min(timeout, allowed))
            return next(exchange)

        async def read(exchange: Exchange) -> Reply | None:
            return await receive(exchange, await exchange.request.body(max_body, body_timeout))

        return receive
