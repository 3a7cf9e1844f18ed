"""How long the client waits: header fields that shorten a route's timeout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.route_spec import seconds
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import ClientError


class Deadline:
    """Reads `Exchange.timeout` from the fields of the client protocols; the lowest counts.

    :param timeouts: header field (lower case) -> its reader (`bridge.api.Front.timeouts`).
    """

    name: ClassVar[str] = "deadline"

    def __init__(self, timeouts: Mapping[str, Callable[[str], float]]) -> None:
        self._timeouts = {"x-request-timeout": request_timeout, **timeouts}
        self._names = self._timeouts.keys()

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        timeouts, names = self._timeouts, self._names

        def deadline(exchange: Exchange) -> Awaitable[Reply | None]:
            fields = exchange.call.fields
            if not names.isdisjoint(fields):
                allowed = [read(value) for name, read in timeouts.items() if (value := fields.get(name))]
                exchange.timeout = min(allowed) if allowed else None
            return next(exchange)

        return deadline


def request_timeout(text: str) -> float:
    """Seconds of ``X-Request-Timeout``: ``2s``, ``500ms`` or a number of seconds.

    :raises bridge.api.ClientError: it is none of these.
    """
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else seconds(text)
        return float(str(value))
    except ValueError:
        raise ClientError("X-Request-Timeout is written 2s, 500ms or as a number of seconds.") from None
