"""The first stage: a body that is too large is refused before anything is read."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import TooLarge


class Size:
    """Whether a body follows, and that its announced length is allowed (RFC 9112, section 6.3). Not for bodies that
    stream: their messages are bounded one by one.

    :param max_body: bytes.
    """

    name: ClassVar[str] = "size"

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        if operation.streams and operation.codec.streams_up:
            return None
        max_body = self._max_body

        def size(exchange: Exchange) -> Awaitable[Reply | None]:
            fields = exchange.call.fields
            length = fields.get("content-length")
            if length:
                if not length.isdigit() or int(length) > max_body:
                    raise oversized(max_body)
                exchange.has_body = length != "0"
            else:
                exchange.has_body = bool(fields.get("transfer-encoding"))
            return next(exchange)

        return size


def oversized(max_bytes: int) -> TooLarge:
    return TooLarge(f"A request body may have at most {max_bytes} bytes.")
