"""Which header fields the gateway forwards, in each direction: tables with clauses, and three functions.

`end_to_end` removes fields that no hop forwards, `forwardable` filters a client's request, `returnable` an upstream's
reply. Names are lower case, as everywhere in the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from urllib.parse import urlsplit

from bridge.http.client_address import is_internal
from bridge.http.field_value import UNSENDABLE
from bridge.http.memo import Memo

#: RFC 9110, section 7.6.1: they describe one connection. (The last is no standard, but is sent.)
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "proxy-connection")
)

#: RFC 9112, section 6, and RFC 9110, sections 7.2 and 10.1.1: each sender frames messages itself.
FRAMING = frozenset(("content-length", "host", "expect"))

_NEVER = HOP_BY_HOP | FRAMING

#: RFC 9110, section 11.7: only for the next proxy, which is the gateway.
_PROXY = "proxy-"

#: Fields that only a trusted proxy may set: the caller's address (RFC 7239 and its forerunners) and certificate (RFC
#: 9440) …
ORIGIN = frozenset(
    (
        "forwarded",
        "client-cert",
        "client-cert-chain",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
    )
)
_ORIGIN_FAMILY = "x-forwarded-"

#: … and overrides, by which some frameworks serve another path or method than the one that was authorised.
OVERRIDES = frozenset(
    (
        "x-original-url",
        "x-rewrite-url",
        "x-original-host",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
    )
)

_REQUEST_FAMILIES = (_PROXY, _ORIGIN_FAMILY)
_REQUEST_ENDS = _NEVER | ORIGIN | OVERRIDES

#: Fields about the upstream's software, and fields that the gateway's own server writes.
_REPLY_ENDS = _NEVER | frozenset(("server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "via", "date"))

#: Fields that Connection can't remove: a client could otherwise remove credentials or content types.
_LASTING = frozenset(("content-type", "content-encoding", "authorization", "cookie", "set-cookie", "cache-control"))


#: RFC 9449, section 4.1: it proves the right to what is in Authorization, and goes where that goes.
_PROOF = frozenset(("dpop",))

_MAX_NAMES, _LONGEST_NAME = 2048, 64  # of each rule's cache


def _nominated(headers: Sequence[tuple[str, str]]) -> frozenset[str]:
    """The fields that ``Connection`` names (RFC 9110, section 7.6.1)."""
    names = (token.strip().lower() for name, value in headers if name == "connection" for token in value.split(","))
    return frozenset(names) - _LASTING


class _Rule:
    """Which fields are forwarded, by their names; the result for each name is cached.

    :param ends: names that aren't forwarded.
    :param families: prefixes of names that aren't.
    :param hyphened: names with underscores are treated like those with hyphens.
    """

    def __init__(self, ends: frozenset[str], families: tuple[str, ...] = (_PROXY,), *, hyphened: bool = False) -> None:
        self._ends, self._families, self._hyphened = ends, families, hyphened
        self._known = Memo[str, bool](_MAX_NAMES)

    def of(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The forwarded ones of `headers`."""
        memo = self._known
        try:
            return [field for field in headers if memo[field[0]]]
        except KeyError:
            return self._judged(headers)

    def _judged(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        for name, _ in headers:
            # Not `connection`, whose effect depends on its value.
            if name != "connection" and len(name) <= _LONGEST_NAME:
                self._known[name] = self._passes(name, self._ends)
        ends = self._ends | _nominated(headers)
        return [field for field in headers if self._passes(field[0], ends)]

    def _passes(self, name: str, ends: frozenset[str]) -> bool:
        if name in ends or name.startswith(self._families):
            return False
        return not (self._hyphened and "_" in name) or self._passes(name.replace("_", "-"), ends)


_END_TO_END = _Rule(_NEVER)
_RETURNABLE = _Rule(_REPLY_ENDS)


@cache
def forwarding(consumed: frozenset[str]) -> Callable[[Sequence[tuple[str, str]]], list[tuple[str, str]]]:
    """`forwardable` for one set of consumed fields; there are as many as kinds of credentials that routes take."""
    if "authorization" in consumed:
        consumed |= _PROOF
    return _Rule(_REQUEST_ENDS | consumed, _REQUEST_FAMILIES, hyphened=True).of


def end_to_end(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """`headers` without hop-by-hop, proxy and framing fields."""
    return _END_TO_END.of(headers)


def forwardable(headers: Sequence[tuple[str, str]], consumed: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """The fields of a client's request for the upstream: without hop-by-hop and framing fields, `consumed` (the
    credentials of the route's auth), and fields by which only a proxy may state origin, path and method.

    ``x_real_ip`` counts as ``x-real-ip``, since CGI, WSGI and PHP don't distinguish them.
    """
    return forwarding(consumed)(headers)


def returnable(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of an upstream's reply for the client: without hop-by-hop and framing fields, and without those about
    the upstream's software or that the gateway writes itself (``date``, ``server``)."""
    return _RETURNABLE.of(headers)


#: Fields with a URI that services build from the Host field or from their own address.
_LOCATIONS = frozenset(("location", "content-location"))
_QUERY_OR_FRAGMENT = re.compile("[?#]")


#: Not passed on behind a body (RFC 9110, section 6.5.1): they route, control, authenticate or describe a message.
_NOT_TRAILING = frozenset(
    (
        "authorization", "www-authenticate", "cookie", "set-cookie", "content-encoding", "content-type",
        "content-range", "cache-control", "expires", "date", "age", "vary", "location", "retry-after", "range",
        "max-forwards",
        "x-trace-id", "traceparent", "tracestate", "access-control-allow-origin", "access-control-allow-credentials",
    )
)  # fmt: skip
_TRAILING = _Rule(_REQUEST_ENDS | _REPLY_ENDS | _NOT_TRAILING, _REQUEST_FAMILIES, hyphened=True)


def trailing(fields: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of `fields`, which came behind a body, that are passed on, and can be."""
    return [field for field in _TRAILING.of(fields) if not UNSENDABLE.search(field[1])]


def tells_where(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether `without_authority` applies to any field."""
    return any(name in _LOCATIONS for name, _ in headers)


def without_authority(headers: Sequence[tuple[str, str]], hosts: frozenset[str]) -> list[tuple[str, str]]:
    """`headers` with ``Location`` and ``Content-Location`` made relative if they name one of `hosts` (lower case) or
    an internal address, so that clients see neither mesh names nor addresses. Invalid URIs are left out.

    Any other address may be that of another service: a relative reference would lead to the gateway (RFC 9110, section
    10.2.2).
    """
    fields = []
    for name, value in headers:
        if name in _LOCATIONS:
            try:
                parts = urlsplit(value)
                host = parts.hostname
            except ValueError:
                continue
            if host and (host in hosts or is_internal(host)):
                # One slash: two would make the path's first segment the host.
                path = "/" + parts.path.lstrip("/\\")
                rest = _QUERY_OR_FRAGMENT.search(value)  # as they are: an empty query keeps its "?"
                fields.append((name, path + (value[rest.start() :] if rest else "")))
                continue
        fields.append((name, value))
    return fields
