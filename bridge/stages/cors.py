"""Pages of other origins: the stage of a route's ``cors`` (Fetch standard, section 3.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.origins import OriginPolicy
from bridge.api.spec.cors import METHODS, CorsSpec
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import Forbidden
from bridge.http.methods import SAFE
from bridge.http.origin import ANY, Origins, is_own
from bridge.http.token import is_token

#: Request fields that each preflight may ask for, beside those of the route's credentials and of its ``headers``.
USUAL = ("content-type", "x-request-timeout")
MAX_REQUESTED = 256  #: names in Access-Control-Request-Headers that are answered with ``headers: any``

_OURS = "access-control-"
_VARY = ("vary", "Origin")
_VARY_PREFLIGHT = ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")

Fields = list[tuple[str, str]]


def is_preflight(method: str, fields: Mapping[str, str]) -> bool:
    """Whether it is a CORS-preflight request (Fetch, section 3.3.2)."""
    return method == "OPTIONS" and "access-control-request-method" in fields and "origin" in fields


class CorsPolicy:
    """`CorsSpec` of one route, compiled.

    :param published: the route's methods. :param credentials: the request fields that carry the route's credentials.
    """

    def __init__(self, spec: CorsSpec, published: Iterable[str] = METHODS, credentials: Iterable[str] = ()) -> None:
        origins = spec.origins
        self._all = origins == ANY
        self._credentials = spec.credentials
        self._origins = Origins(() if isinstance(origins, str) else origins)
        methods = frozenset(spec.methods or published)
        self._limited = spec.methods is not None
        self._methods = methods | {"HEAD"} if "GET" in methods else methods
        self._any_header = spec.headers == ANY
        named = () if isinstance(spec.headers, str) else spec.headers
        self._headers = ", ".join(sorted({*USUAL, *credentials, *(name.lower() for name in named)}))
        self._preflight: Fields = [
            ("access-control-allow-methods", ", ".join(name for name in METHODS if name in self._methods)),
            ("access-control-max-age", str(int(spec.max_age))),
        ]
        self._response: Fields = [("access-control-allow-credentials", "true")] if spec.credentials else []
        self._preflight += self._response
        if spec.exposed:
            exposed = "*" if isinstance(spec.exposed, str) else ", ".join(spec.exposed)
            self._response.append(("access-control-expose-headers", exposed))

    def allows(self, origin: str) -> bool:
        return self._all or origin in self._origins

    def trusts(self, origin: str) -> bool:
        return self._credentials and origin in self._origins

    def fields(self, origin: str | None, method: str) -> Fields:
        """Of the response to a request that is no preflight.

        :param origin: None: the request has none. A response whose fields depend on the origin says so in any case, or
            a cache would give the one to the other.
        """
        if self._all:
            granted: Fields = [("access-control-allow-origin", "*")]
        elif origin is None or origin not in self._origins:
            return [_VARY]
        else:
            granted = [_VARY, ("access-control-allow-origin", origin)]
        if self._limited and method not in self._methods:
            return granted[:-1]
        return granted + self._response

    def preflight(self, origin: str, requested: str) -> Fields:
        """Of the response to a preflight. It doesn't depend on the method that is asked for.

        :param requested: ``Access-Control-Request-Headers``.
        """
        if not self.allows(origin):
            return [_VARY_PREFLIGHT]
        headers = self._headers
        if self._any_header:
            names = [name for part in requested.split(",", MAX_REQUESTED)[:MAX_REQUESTED] if (name := part.strip())]
            headers = ", ".join(name for name in names if is_token(name))
        allowed = "*" if self._all else origin
        fields = [_VARY_PREFLIGHT, ("access-control-allow-origin", allowed), *self._preflight]
        return [*fields, ("access-control-allow-headers", headers)] if headers else fields


class Cors:
    """Answers preflights, adds the fields of CORS to every other response, errors too, and refuses what a page of
    another origin sends without a preflight though a preflight would have been refused.

    :param secure: the gateway itself serves HTTPS.
    """

    name: ClassVar[str] = "cors"

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        return None if operation.cors is None else partial(self.handle, operation.cors, next)

    def handle(self, policy: OriginPolicy, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        call = exchange.call
        method, fields = call.method, call.fields
        origin = fields.get("origin")
        if origin is not None and is_preflight(method, fields):
            requested = ", ".join(call.values("access-control-request-headers"))
            return _answered(Reply(204, policy.preflight(origin, requested)))
        exchange.fields += policy.fields(origin, method)
        if origin is not None and method not in SAFE and not policy.allows(origin):
            self._check_own(origin, fields)
        return _without_others(next, exchange)

    def _check_own(self, origin: str, fields: Mapping[str, str]) -> None:
        """:raises Forbidden: the page is neither of an allowed origin nor the gateway's own.

        Forms and text need no preflight, and a WebSocket has none. Browsers say themselves which requests stay within
        an origin, which counts behind a proxy that changes Host.
        """
        if fields.get("sec-fetch-site") != "same-origin" and not is_own(origin, fields, secure=self._secure):
            raise Forbidden("This call is not allowed.", cause="the route's cors does not allow the origin")


async def _answered(reply: Reply) -> Reply:
    return reply


async def _without_others(next: Handler, exchange: Exchange) -> Reply | None:
    """The reply without the service's own fields of CORS: with two of a kind, browsers refuse it."""
    reply = await next(exchange)
    if reply is not None:
        reply.headers = _without_ours(reply.headers)
    return reply


def _without_ours(fields: Sequence[tuple[str, str]]) -> Fields:
    return [field for field in fields if not field[0].lower().startswith(_OURS)]
