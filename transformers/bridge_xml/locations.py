"""Where a service's redirects lead, and where its cookies come back, if its paths differ from the route's."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from bridge.api import Call, HttpReply, RouteSpec, fill_template, parse_template, split_template

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
        self._maps = [each for each in (_whole(route), _tree(route)) if each is not None]
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
        if path is None:
            return value
        rest = _QUERY_OR_FRAGMENT.search(value)  # as they are: an empty query keeps its "?"
        # One slash: browsers read what stands behind two, or behind backslashes, as a host.
        return "/" + path.lstrip("/\\") + (value[rest.start() :] if rest else "")


def locations(route: RouteSpec, target: Callable[[Call], str]) -> Locations | None:
    """None if the service has the route's paths."""
    return Locations(route, target) if route.upstream.path not in ("", route.route) else None


def _tree(route: RouteSpec) -> _Map | None:
    """By the literal path under which the service's template goes on as the route's does."""
    inner, outer = route.upstream.path.rstrip("/").split("/"), route.route.rstrip("/").split("/")
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


def _whole(route: RouteSpec) -> _Map:
    """By the service's whole template, with or without a slash at its end."""
    rest, pieces = parse_template(route.route).rest, split_template(route.route)
    own_slash = "/" if route.upstream.path.endswith("/") else ""
    inner = split_template(route.upstream.path.rstrip("/"))
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
