"""Response fields by which browsers handle replies with more care: the stage of ``security_headers``."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.http.client_address import Networks, within
from bridge.http.public_address import forwarded_scheme

#: Nothing is run or shown as another type than it has, no page may frame it, and its URL is told to nobody.
FIELDS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)
#: RFC 6797: for a year, browsers come to this host over HTTPS only. It counts only in replies over HTTPS.
TRANSPORT = ("strict-transport-security", "max-age=31536000")


class SecurityHeaders:
    """Adds `FIELDS`, and over HTTPS `TRANSPORT`, to every response of a route. What the service sets itself stays.

    :param everywhere: routes have it unless they say otherwise. :param secure: the gateway itself serves HTTPS.
    :param proxies: those whose ``X-Forwarded-Proto`` is believed.
    """

    name: ClassVar[str] = "security headers"

    def __init__(self, *, everywhere: bool, secure: bool, proxies: Networks) -> None:
        self._everywhere, self._secure, self._proxies = everywhere, secure, proxies

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        wanted = operation.spec.security_headers
        return partial(self.handle, next) if (self._everywhere if wanted is None else wanted) else None

    async def handle(self, next: Handler, exchange: Exchange) -> Reply | None:
        exchange.fields += FIELDS
        if self._secure or self._is_behind_https(exchange):
            exchange.fields.append(TRANSPORT)
        reply = await next(exchange)
        if reply is not None:
            own = {name.lower() for name, _ in reply.headers}
            ours = {name for name, _ in (*FIELDS, TRANSPORT) if name in own}
            if ours:
                exchange.fields = [field for field in exchange.fields if field[0] not in ours]
        return reply

    def _is_behind_https(self, exchange: Exchange) -> bool:
        if not self._proxies or not within(exchange.request.peer, self._proxies):
            return False
        return forwarded_scheme(exchange.request.headers) == "https"
