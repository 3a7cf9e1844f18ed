"""Whose calls share a limit: ``per``."""

from __future__ import annotations

from collections.abc import Callable

from bridge.api.call import Call, Identity
from bridge.stages.auth.anonymous import address_key

API_KEY = "key:"  #: begins the `Identity.key` of an API key's callers

#: A caller, the call and the route's tenant -> the key of the count.
CallerKey = Callable[[Identity, Call, str | None], str]


def caller_key(per: str) -> CallerKey:
    """By what calls are counted.

    :param per: ``client``, ``key``, ``route``, ``tenant``, ``address`` or ``claim:NAME``.
    """
    if per.startswith("claim:"):
        return _by_claim(per.removeprefix("claim:"))
    return _KEYS[per]


def _client(identity: Identity, call: Call, route_tenant: str | None) -> str:
    return identity.key or f"ip:{call.peer}"


def _api_key(identity: Identity, call: Call, route_tenant: str | None) -> str:
    key = identity.key
    return key if key.startswith(API_KEY) else f"other:{key or call.peer}"


def _route(identity: Identity, call: Call, route_tenant: str | None) -> str:
    return ""


def _tenant(identity: Identity, call: Call, route_tenant: str | None) -> str:
    # Callers without a tenant share one count, as if they were a tenant.
    return identity.tenant or route_tenant or ""


def _address(identity: Identity, call: Call, route_tenant: str | None) -> str:
    return address_key(call.peer)


def _by_claim(name: str) -> CallerKey:
    def key(identity: Identity, call: Call, route_tenant: str | None) -> str:
        value = identity.claims.get(name)
        if isinstance(value, str | int | float):
            return f"claim:{value}"
        return identity.key or f"ip:{call.peer}"

    return key


_KEYS: dict[str, CallerKey] = {
    "client": _client,
    "key": _api_key,
    "route": _route,
    "tenant": _tenant,
    "address": _address,
}
