"""`forwarded`: the fields that tell a service of the client and of the public address."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from typing import ClassVar

from bridge.api.call import Forwarded, Headers, Reply
from bridge.api.exchange import Exchange
from bridge.api.spec.forwarded import ForwardedSpec
from bridge.api.stage import BoundOperation, Handler
from bridge.config.settings import Networks
from bridge.http.client_address import hops_of, within
from bridge.http.public_address import forwarded_host, forwarded_scheme
from bridge.http.token import is_token


class Arrival:
    """Notes how a request reached the gateway, before the fields about it are removed.

    :param proxies: whose X-Forwarded-For, -Proto and -Host count.
    """

    name: ClassVar[str] = "arrival"

    def __init__(self, proxies: Networks) -> None:
        self._proxies = proxies

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        return partial(self.handle, next) if operation.spec.forwarded.used else None

    def handle(self, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        request = exchange.request
        exchange.call.forwarded = arrival(
            request.peer, request.headers, self._proxies, host=exchange.record.host, secure=request.secure
        )
        return next(exchange)


def arrival(peer: str, headers: Headers, proxies: Networks, *, host: str, secure: bool) -> Forwarded:
    """What is known of a request, by what the connection and trusted proxies say.

    :param host: the Host field.
    """
    scheme = "https" if secure else "http"
    if within(peer, proxies):
        scheme, host = forwarded_scheme(headers) or scheme, forwarded_host(headers) or host
    return Forwarded(hops_of(peer, headers, proxies), scheme, host)


def forwarded_fields(spec: ForwardedSpec, forwarded: Forwarded) -> list[tuple[str, str]]:
    """The fields of `spec.headers`."""
    fields: list[tuple[str, str]] = []
    if spec.headers in ("x", "both"):
        if forwarded.hops:
            fields.append(("x-forwarded-for", ", ".join(forwarded.hops)))
        fields.append(("x-forwarded-proto", forwarded.scheme))
        if forwarded.host:
            fields.append(("x-forwarded-host", forwarded.host))
    if spec.headers in ("standard", "both"):
        fields.append(("forwarded", ", ".join(_elements(forwarded))))
    return fields


def _elements(forwarded: Forwarded) -> Iterable[str]:
    """RFC 7239, section 4: one element for each hop; the client's has the address that it asked for."""
    hops: Sequence[str] = forwarded.hops or ("unknown",)
    host = f";host={_word(forwarded.host)}" if forwarded.host else ""
    yield f"for={_node(hops[0])};proto={forwarded.scheme}{host}"
    yield from (f"for={_node(hop)}" for hop in hops[1:])


def _node(address: str) -> str:
    """RFC 7239, section 6: an IPv6 address has brackets, and quotes, since no token holds a colon."""
    try:
        if isinstance(ipaddress.ip_address(address), ipaddress.IPv6Address):
            return f'"[{address}]"'
    except ValueError:
        pass
    return _word(address)


def _word(text: str) -> str:
    return text if is_token(text) else f'"{text}"'
