"""``none``: callers of whom only the address is known."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from bridge.api.authenticator import Security
from bridge.api.call import ADDRESS, Call, Identity
from bridge.config.settings import Networks
from bridge.http.client_address import canonical, within


@lru_cache(maxsize=16384)
def address_key(peer: str) -> str:
    """The key by which an address is counted. An IPv6 caller usually has a /64 (RFC 6177), so that is one caller."""
    peer = canonical(peer)
    if ":" not in peer:
        return f"{ADDRESS}{peer}"
    try:
        return f"{ADDRESS}{ipaddress.ip_network((int(ipaddress.IPv6Address(peer)) >> 64 << 64, 64))}"
    except ValueError:
        return f"{ADDRESS}{peer}"


class OpenAuthenticator:
    """``none``: every caller, distinguished by address."""

    consumes: frozenset[str] = frozenset()

    def __init__(self, internal: Networks) -> None:
        self._internal = internal

    def known(self, call: Call) -> Identity:
        inside = bool(self._internal) and within(call.peer, self._internal)
        return Identity(key=address_key(call.peer), internal=inside)

    async def __call__(self, call: Call) -> Identity:
        return self.known(call)

    def openapi_scheme(self, method: str = "") -> Security:
        return Security()
