"""From a service's addresses to the route's: where its redirects lead, where its cookies come back, and the addresses
in its descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from bridge.api import Call, HttpReply, PublicAddress, RouteSpec, fill_template, parse_template, split_template
from bridge_xml.description import DescribedAddress, asks_for_description

_NAMES = ("location", "content-location")
_COOKIE = "set-cookie"
_MAPPED = frozenset((*_NAMES, _COOKIE))
_QUERY_OR_FRAGMENT = re.compile("[?#]")
#: The ``Path`` of a cookie (RFC 6265, section 5.2.4), which stands behind its value.
_COOKIE_PATH = re.compile(r"(;[ \t]*path[ \t]*=[ \t]*)(/[^;]*)", re.IGNORECASE)

#: From a call and a path of the service to the public path; None if the path is not one of the route's.
_Map = Callable[[Call, str], str | None]


class Locations:
    """Rewrites ``Location`` and ``Content-Location`` (RFC 9110, sections 10.2.2 and 8.7) and the paths of cookies in
    one route's replies.

    A path that fits the service's template leads to the route. The two templates often end alike: with ``/old/{id}``
    behind ``/v1/permits/{id}``, all below ``/old`` is at ``/v1/permits``. Other addresses stay as they are.

    :param target: the service's path and query for a call.
    """

    def __init__(self, route: RouteSpec, target: Callable[[Call], str]) -> None:
        self._target = target
        inner = route.upstream.path or route.route
        maps = (_whole(route, inner), _tree(route, inner) if inner != route.route else None)
        self._maps = [each for each in maps if each is not None]
        self._root = split_template(route.route)[0].rpartition("/")[0] if "{" in route.route else route.route

    def rewritten(self, call: Call, inbound: HttpReply) -> HttpReply:
        """`inbound` with public paths."""
        if not any(name in _MAPPED for name, _ in inbound.headers):
            return inbound
        headers = [(name, self._mapped(call, name, value)) for name, value in inbound.headers]
        return HttpReply(inbound.status, headers, inbound.body)

    def _mapped(self, call: Call, name: str, value: str) -> str:
        if name in _NAMES:
            return self._public(call, value)
        if name == _COOKIE:
            return _COOKIE_PATH.sub(lambda match: match[1] + self._cookie_path(call, match[2].rstrip()), value)
        return value

    def _cookie_path(self, call: Call, path: str) -> str:
        """`path` of a cookie, for the route. One above the service's path covers all of the route; ``/`` does so as it
        is, and may be meant for other routes of the service."""
        if path == "/":
            return path
        public = self._public_path(call, path)
        if public is None:
            above = self._target(call).startswith(path.rstrip("/") + "/")
            public = self._root or "/" if above else path
        # A parameter may hold a semicolon, which would begin an attribute.
        return path if ";" in public else public

    def _public_path(self, call: Call, path: str) -> str | None:
        paths = (each(call, path) for each in self._maps)
        return next((each for each in paths if each is not None), None)

    def _public(self, call: Call, value: str) -> str:
        try:
            parts = urlsplit(value)
            if parts.scheme or parts.netloc or not (parts.path or parts.query):
                return value
            # A relative reference counts from the service's own path.
            parts = urlsplit(urljoin(self._target(call), value))
        except ValueError:
            return value
        path = self._public_path(call, parts.path)
        return value if path is None else _rooted(path, value)

    # --- descriptions -------------------------------------------------------------------------------------------------

    def described(self, call: Call, addresses: Sequence[DescribedAddress], public: PublicAddress) -> list[str]:
        """The addresses in a description that answers `call`, as clients reach them, in order. Those that are not of
        the route stay as they are.

        One for calls is the route's if it has the service's path, whatever host it names: services often write one of
        their own. Its host is then the service's, for all other addresses.
        """
        own_path = _compared(self._target(call).partition("?")[0])
        parts = [_parts(address.value) for address in addresses]
        hosts = {
            part.netloc.lower()
            for address, part in zip(addresses, parts, strict=True)
            if part is not None and address.calls and part.netloc and _compared(part.path) == own_path
        }

        def one(value: str, part: SplitResult | None) -> str:
            if part is None:
                return value
            if not part.netloc:
                return self._referred(call, value, public.base)
            is_own = part.netloc.lower() in hosts or public.is_inside(part.hostname or "")
            if _compared(part.path) == own_path and (is_own or asks_for_description(part.query)):
                path: str | None = call.path
            else:
                path = self._public_path(call, part.path or "/") if is_own else None
            return value if path is None else public.base + _rooted(path, value)

        return [one(address.value, part) for address, part in zip(addresses, parts, strict=True)]

    def _referred(self, call: Call, value: str, base: str) -> str:
        """A relative reference, which counts from the service's own path (RFC 3986, section 5.2)."""
        path = self._public_path(call, urlsplit(urljoin(self._target(call), value)).path)
        if path is None or urlsplit(urljoin(call.path, value)).path == path:
            return value  # not of the route, or right as it is
        return base + _rooted(path, value)


def _rooted(path: str, value: str) -> str:
    """`path` with query and fragment of `value` as they are: an empty query keeps its ``?``."""
    rest = _QUERY_OR_FRAGMENT.search(value)
    # One slash: browsers read what stands behind two, or behind backslashes, as a host.
    return "/" + path.lstrip("/\\") + (value[rest.start() :] if rest else "")


def _parts(value: str) -> SplitResult | None:
    """The parts of an address in a description; None: it is none of HTTP, or refers to the same document."""
    try:
        parts = urlsplit(value)
        if parts.scheme.lower() not in ("", "http", "https") or (parts.scheme and not parts.netloc):
            return None
        _ = parts.hostname
    except ValueError:
        return None
    return parts if parts.netloc or parts.path else None


def _compared(path: str) -> str:
    """A path as far as it tells services apart."""
    return unquote(path).rstrip("/")


def locations(route: RouteSpec, target: Callable[[Call], str]) -> Locations | None:
    """None if the service has the route's paths."""
    return Locations(route, target) if route.upstream.path not in ("", route.route) else None


def _tree(route: RouteSpec, upstream: str) -> _Map | None:
    """By the literal path under which the service's template goes on as the route's does."""
    inner, outer = upstream.rstrip("/").split("/"), route.route.rstrip("/").split("/")
    while len(inner) > 1 and len(outer) > 1 and inner[-1] == outer[-1]:
        inner.pop()
        outer.pop()
    prefix, pieces = "/".join(inner), split_template("/".join(outer))
    if "{" in prefix:
        return None

    def map_path(call: Call, path: str) -> str | None:
        if path != prefix and not path.startswith(f"{prefix}/"):
            return None
        return (fill_template(pieces, call.raw_params) + path[len(prefix) :]) or "/"

    return map_path


def _whole(route: RouteSpec, upstream: str) -> _Map:
    """By the service's whole template, with or without a slash at its end."""
    rest, pieces = parse_template(route.route).rest, split_template(route.route)
    own_slash = "/" if upstream.endswith("/") else ""
    inner = split_template(upstream.rstrip("/"))
    pattern = "".join(
        (f"(?P<_{at}>.*)" if text == rest else f"(?P<_{at}>[^/]+)") if at % 2 else re.escape(text)
        for at, text in enumerate(inner)
    )
    path_pattern = re.compile(f"{pattern}(?P<slash>/?)")

    def map_path(call: Call, path: str) -> str | None:
        match = path_pattern.fullmatch(path)
        if match is None:
            return None
        values = {inner[at]: match[f"_{at}"] for at in range(1, len(inner), 2)}
        public, slash = fill_template(pieces, {**call.raw_params, **values}), match["slash"]
        # The service's own spelling is the route's own: the route need not serve the other one.
        return public if slash == own_slash else public.removesuffix("/") + slash

    return map_path
