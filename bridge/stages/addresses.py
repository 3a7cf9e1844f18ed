"""From where a route may be called: the stage of a route's ``ip``."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.spec.ip import IpRules
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import Forbidden
from bridge.http.address_set import AddressSet
from bridge.http.client_address import canonical
from bridge.http.memo import Memo

_REMEMBERED = 4096  # callers of an operation


class AddressRules:
    """``ip``, compiled."""

    def __init__(self, rules: IpRules) -> None:
        self._allow = None if rules.allow is None else AddressSet(rules.allow)
        self._deny = AddressSet(rules.deny)

    def admit(self, address: str) -> bool:
        """Whether the rules let a caller with this `address` in. An address that isn't known (a Unix socket's) is
        refused: nothing says that it is not a denied one."""
        try:
            ip = ipaddress.ip_address(canonical(address))
        except ValueError:
            return False
        return ip not in self._deny and (self._allow is None or ip in self._allow)


class Addresses:
    """Refuses callers by their address, which is the one behind trusted proxies (`Call.peer`)."""

    name: ClassVar[str] = "addresses"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        rules = operation.spec.ip
        return None if rules is None else partial(self.handle, AddressRules(rules), Memo(_REMEMBERED), next)

    def handle(
        self, rules: AddressRules, known: Memo[str, bool], next: Handler, exchange: Exchange
    ) -> Awaitable[Reply | None]:
        peer = exchange.call.peer
        admitted = known.get(peer)
        if admitted is None:
            admitted = known[peer] = rules.admit(peer)
        if not admitted:
            raise Forbidden("This route can't be called from your address.", cause="the route's ip does not admit it")
        return next(exchange)
