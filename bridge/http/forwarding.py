"""Which header fields end at the gateway, in each direction. Tables first, with the clause behind each.

Names are lower case, as everywhere in the gateway. Three questions, three functions: `end_to_end` (what no hop may
pass on), `forwardable` (what of a client's request may go up), `returnable` (what of an upstream's reply may go down).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from urllib.parse import urlsplit, urlunsplit

from bridge.http.memo import Memo

#: RFC 9110, section 7.6.1: they describe one connection. (The last is no standard, but is sent.)
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "proxy-connection")
)

#: RFC 9112, section 6, and RFC 9110, sections 7.2 and 10.1.1: whoever sends a message frames it anew.
FRAMING = frozenset(("content-length", "host", "expect"))

_NEVER = HOP_BY_HOP | FRAMING

#: RFC 9110, section 11.7: for the next proxy alone, which is the gateway.
_PROXY = "proxy-"

#: What only the trust boundary may say: who is calling (RFC 7239 and its forerunners) …
ORIGIN = frozenset(
    ("forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip")
)
_ORIGIN_FAMILY = "x-forwarded-"

#: … and what is asked for: these make some frameworks serve another path or method than the one that was authorised.
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

#: What an upstream says of itself, and what the gateway's own server writes.
_REPLY_ENDS = _NEVER | frozenset(("server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "via", "date"))

#: Fields that Connection may not take out, whatever it names: a client could otherwise unsay what others rely on.
_LASTING = frozenset(("content-type", "content-encoding", "authorization", "cookie", "set-cookie", "cache-control"))


_MAX_NAMES, _LONGEST_NAME = 2048, 64  # that are remembered for each rule


def _nominated(headers: Sequence[tuple[str, str]]) -> frozenset[str]:
    """The fields that ``Connection`` names (RFC 9110, section 7.6.1)."""
    named = (token.strip().lower() for name, value in headers if name == "connection" for token in value.split(","))
    return frozenset(named) - _LASTING


class _Rule:
    """Which fields pass, by their names: judged once for each, since the same ones come again and again.

    :param ends: names that don't pass.
    :param families: beginnings of names that don't.
    :param hyphened: nor do names that would be one of these with hyphens for underscores.
    """

    def __init__(self, ends: frozenset[str], families: tuple[str, ...] = (_PROXY,), *, hyphened: bool = False) -> None:
        self._ends, self._families, self._hyphened = ends, families, hyphened
        self._known = Memo[str, bool](_MAX_NAMES)

    def of(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """What of `headers` passes."""
        known = self._known
        try:
            return [field for field in headers if known[field[0]]]
        except KeyError:
            return self._judged(headers)

    def _judged(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        for name, _ in headers:
            # Never `connection`: each message that has it has names of its own that end.
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
    return _Rule(_REQUEST_ENDS | consumed, _REQUEST_FAMILIES, hyphened=True).of


def end_to_end(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """`headers` without those of one connection, its proxies and its framing."""
    return _END_TO_END.of(headers)


def forwardable(headers: Sequence[tuple[str, str]], consumed: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """What of a client's request may go up: less hop-by-hop and framing fields, less `consumed` (the credentials that
    the route's auth used up), less what only the gateway may say about origin, path and method.

    ``x_real_ip`` counts as ``x-real-ip``: CGI, WSGI and PHP can't tell them apart.
    """
    return forwarding(consumed)(headers)


def returnable(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """What of an upstream's reply may go down: less hop-by-hop and framing fields, and less what tells of the
    upstream's software or is the gateway's own to say (``date``, ``server``)."""
    return _RETURNABLE.of(headers)


#: Fields whose value is a URI that services build from the Host they were called by, or from their own address.
_LOCATIONS = frozenset(("location", "content-location"))


def tells_where(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether `without_authority` has anything to look at."""
    return any(name in _LOCATIONS for name, _ in headers)


def without_authority(headers: Sequence[tuple[str, str]], hosts: frozenset[str]) -> list[tuple[str, str]]:
    """`headers` with ``Location`` and ``Content-Location`` made relative where they name one of `hosts` (lower case): a
    client must learn neither the mesh name nor an address. What can't be read as a URI is left out."""
    kept = []
    for name, value in headers:
        if name in _LOCATIONS:
            try:
                parts = urlsplit(value)
                inner = parts.hostname in hosts
            except ValueError:
                continue
            if inner:
                # One slash: two would make the path's first segment the host.
                path = "/" + parts.path.lstrip("/\\")
                kept.append((name, urlunsplit(("", "", path, parts.query, parts.fragment))))
                continue
        kept.append((name, value))
    return kept
