"""Where a service's redirects lead for clients, if its paths differ from the route's."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit, urlunsplit

from bridge.api import Call, HttpReply, RouteSpec, fill_template, parse_template, split_template

_NAMES = ("location", "content-location")

#: From a call and a path of the service to the public path; None if the path is not one of the route's.
_Map = Callable[[Call, str], str | None]


class Locations:
    """Rewrites ``Location`` and ``Content-Location`` (RFC 9110, sections 10.2.2 and 8.7) of one route's replies.

    A path that fits the service's template leads to the route. The two templates often end alike: with ``/old/{id}``
    behind ``/v1/permits/{id}``, all below ``/old`` is at ``/v1/permits``. Other addresses stay as they are.

    :param target: the service's path and query for a call.
    """

    def __init__(self, route: RouteSpec, target: Callable[[Call], str]) -> None:
        self._target = target
        self._maps = [each for each in (_whole(route), _tree(route)) if each is not None]

    def rewritten(self, call: Call, inbound: HttpReply) -> HttpReply:
        """`inbound` with public paths."""
        if not any(name in _NAMES for name, _ in inbound.headers):
            return inbound
        headers = [(name, self._public(call, value) if name in _NAMES else value) for name, value in inbound.headers]
        return HttpReply(inbound.status, headers, inbound.body)

    def _public(self, call: Call, value: str) -> str:
        try:
            parts = urlsplit(value)
            if parts.scheme or parts.netloc or not (parts.path or parts.query):
                return value
            # A relative reference counts from the service's own path.
            parts = urlsplit(urljoin(self._target(call), value))
        except ValueError:
            return value
        paths = (each(call, parts.path) for each in self._maps)
        path = next((each for each in paths if each is not None), None)
        if path is None:
            return value
        # One slash: browsers read what stands behind two, or behind backslashes, as a host.
        return urlunsplit(("", "", "/" + path.lstrip("/\\"), parts.query, parts.fragment))


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
