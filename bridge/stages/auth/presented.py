"""Credentials in cookies and queries: the stage of ``auth.from``."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar
from urllib.parse import unquote_plus

from bridge.api.call import ANONYMOUS, Call, Reply
from bridge.api.exchange import Exchange
from bridge.api.origins import OriginPolicy
from bridge.api.spec import auth as spec
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import ClientError, Forbidden, RequestError, Unauthorized
from bridge.http.methods import SAFE
from bridge.http.origin import is_own, origin_of_url
from bridge.http.query import without

#: Of responses whose URL holds credentials: their pages tell it to nobody (RFC 9700, section 4.2.4).
NO_REFERRER = ("referrer-policy", "no-referrer")


@dataclass(frozen=True, slots=True)
class CredentialPlaces:
    """Where one kind of credentials may stand.

    :ivar field: the header field from which authenticators read them, in lower case. :ivar prefix: before them there.
    :ivar header: whether clients may send that field. :ivar cookies, queries: names.
    """

    field: str
    prefix: str
    header: bool
    cookies: frozenset[str]
    queries: frozenset[str]


_HEADER = ("header",)  # where credentials stand if a route says nothing


def credential_places(auth: spec.Auth) -> tuple[CredentialPlaces, ...]:
    """The places of a route's credentials; none if all of them are header fields."""
    kinds = auth.any if isinstance(auth, spec.AnyAuth) else (auth,)
    movable = [kind for kind in kinds if isinstance(kind, spec.Movable)]
    if {kind.sources for kind in movable} <= {_HEADER}:
        return ()
    found: dict[str, CredentialPlaces] = {}
    for kind in movable:
        field, prefix = (kind.header.lower(), "") if kind.type == "api_key" else ("authorization", "Bearer ")
        found[field] = CredentialPlaces(
            field,
            prefix,
            "header" in kind.sources,
            frozenset(one.cookie for one in kind.sources if isinstance(one, spec.CookieSource)),
            frozenset(one.query for one in kind.sources if isinstance(one, spec.QuerySource)),
        )
    return tuple(found.values())


def credential_parameters(auth: spec.Auth) -> frozenset[str]:
    """The query parameters in which a route's credentials may stand."""
    return frozenset[str]().union(*(place.queries for place in credential_places(auth)))


class Presented:
    """Moves credentials from where the route lets clients send them to the header field from which authenticators
    read them, so that neither the cookie nor the parameter goes upstream. Only some pages may use a cookie.

    :param secure: the gateway itself serves HTTPS.
    """

    name: ClassVar[str] = "presented"

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        places = credential_places(operation.spec.auth)
        return partial(self.handle, places, operation.cors, next) if places else None

    def handle(
        self, places: Sequence[CredentialPlaces], policy: OriginPolicy | None, next: Handler, exchange: Exchange
    ) -> Awaitable[Reply | None]:
        call = exchange.call
        cookies, queries = _cookies(call), _parameters(call.query)
        used: set[str] = set()
        for place in places:
            by_cookie = [value for name, value in cookies if name in place.cookies and value]
            by_query = [value for name, value in queries if name in place.queries and value]
            by_header = call.values(place.field) if place.header else ()
            if len(by_cookie) + len(by_query) + len(by_header) > 1:
                raise ClientError("Send the credentials once, in one way only.")  # RFC 6750, section 2
            if not place.header:
                call.headers = [field for field in call.headers if field[0] != place.field]
            for way, values in (("cookie", by_cookie), ("query", by_query)):
                if values:
                    call.headers = [*call.headers, (place.field, place.prefix + values[0])]
                    used.add(way)
            remove_credentials(call, place)
        # All other methods, and WebSockets, do something in the name of whose cookie it is.
        if "cookie" in used and call.method not in SAFE:
            self._check_page(policy, call.fields)
        if not used:
            return next(exchange)
        # Caches between keep replies to requests with Authorization for nobody else (RFC 9111, section 3.5), but know
        # nothing of these credentials (RFC 6750, section 2.3).
        exchange.fields.append(("cache-control", "private"))
        if "query" not in used:
            return _discreet(next, exchange)
        if NO_REFERRER not in exchange.fields:
            exchange.fields.append(NO_REFERRER)
        return _without_referrer(next, exchange)

    def _check_page(self, policy: OriginPolicy | None, fields: Mapping[str, str]) -> None:
        """:raises Forbidden: nothing shows that the request comes from a page of the gateway's own, or of an allowed
            origin.

        Browsers send a cookie whichever page makes the request.
        """
        origin, site = fields.get("origin"), fields.get("sec-fetch-site")
        if origin is None and site is None:
            origin = origin_of_url(fields.get("referer", ""))
        if site == "same-origin":
            return
        if origin and ((policy is not None and policy.trusts(origin)) or is_own(origin, fields, secure=self._secure)):
            return
        raise Forbidden("This call is not allowed.", cause="a cookie's token came from a page that may not use it")


def _cookies(call: Call) -> list[tuple[str, str]]:
    """RFC 6265, section 5.4: pairs in order, values without their quotes."""
    pairs = [pair.strip().partition("=") for value in call.values("cookie") for pair in value.split(";")]
    return [(name, value.strip('"')) for name, _, value in pairs]


def _parameters(query: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in query.split("&")] if query else []
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def remove_credentials(call: Call, place: CredentialPlaces) -> None:
    """Take the cookies and parameters of `place` out of what goes upstream."""
    cookies, queries = place.cookies, place.queries
    if cookies and "cookie" in call.fields:
        fields = []
        for name, value in call.headers:
            if name == "cookie":
                pairs = [pair.strip() for pair in value.split(";")]
                kept = "; ".join([pair for pair in pairs if pair.partition("=")[0] not in cookies])
                if kept:
                    fields.append((name, kept))
            else:
                fields.append((name, value))
        call.headers = fields
    if queries and call.query:
        call.query = without(call.query, queries)
        call.target = f"{call.path}?{call.query}" if call.query else call.path


async def _discreet(next: Handler, exchange: Exchange) -> Reply | None:
    """What is wrong with credentials that another page may have sent along is for the log, and not for that page."""
    try:
        return await next(exchange)
    except (Unauthorized, Forbidden) as error:
        if exchange.call.identity is not ANONYMOUS:
            raise  # the caller was known: it is the service's refusal, or a stage's behind auth
        raise _plain(error) from None


async def _without_referrer(next: Handler, exchange: Exchange) -> Reply | None:
    """As `_discreet`. Of the service's own Referrer-Policy and ours, browsers would take the last."""
    reply = await _discreet(next, exchange)
    if reply is not None:
        reply.headers = [field for field in reply.headers if field[0].lower() != NO_REFERRER[0]]
    return reply


def _plain(error: RequestError) -> RequestError:
    cause = error.cause or error.detail
    if isinstance(error, Forbidden):
        return Forbidden("This call is not allowed.", cause=cause)
    challenges = [(name, value.partition(", error=")[0]) for name, value in error.headers]
    return Unauthorized("The credentials are not valid for this call.", headers=challenges, cause=cause)
