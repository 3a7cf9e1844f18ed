"""``cookies: session``: the cookies of a route's service, kept for each caller (RFC 6265, section 5).

A route has one service, so all cookies are host-only and ``Domain`` is not looked at: no cookie goes anywhere else.
All of it is used on the event loop only, and nothing waits within, so that calls of one caller can't get in each
other's way.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from math import inf
from typing import Any, NamedTuple

from bridge.api.call import Call
from bridge.api.spec.auth import AnyAuth, NoAuth
from bridge.api.spec.route import RouteSpec
from bridge.api.spec.upstream_auth import ApiKeyUpstreamAuth
from bridge.errors import BindError, Fault, Forbidden
from bridge.http.field_value import UNSENDABLE

# Section 6.1: at least 4096 bytes of a cookie, and 50 cookies.
MAX_COOKIE = 4096  #: characters of a name and value together, and of a path
MAX_COOKIES = 50  #: of one caller
MAX_CALLERS = 10_000  #: of one route
MAX_BYTES = 16 * 1024**2  #: of one route
IDLE = 3600.0  #: seconds after a caller's last call in which its cookies are kept
_OVERHEAD = 256  #: bytes of a cookie in addition to its texts

_WSP = " \t"
# Section 5.1.1. A token's digits may be followed by anything that is no digit.
_DELIMITERS = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\D.*)?", re.ASCII | re.DOTALL)
_DAY = re.compile(r"(\d{1,2})(?:\D.*)?", re.ASCII | re.DOTALL)
_YEAR = re.compile(r"(\d{2,4})(?:\D.*)?", re.ASCII | re.DOTALL)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MAX_AGE = re.compile(r"-?[0-9]+")


class ReceivedCookie(NamedTuple):
    """What a ``Set-Cookie`` says (section 5.2).

    :ivar expires: in Unix seconds; infinite: with the session. :ivar path: ``""``: the default one.
    """

    name: str
    value: str
    expires: float
    path: str
    secure: bool


class InvalidCookie(ValueError):
    """A cookie can't be kept; the message says why, and quotes nothing of it."""


def read_cookie(text: str, now: float) -> ReceivedCookie:
    """The value of a ``Set-Cookie`` field (section 5.2).

    :param now: in Unix seconds.
    :raises InvalidCookie: it has no name, control characters, or is too long.
    """
    if UNSENDABLE.search(text):
        raise InvalidCookie("it holds control characters")
    pair, *attributes = text.split(";")
    name, equals, value = pair.partition("=")
    name, value = name.strip(_WSP), value.strip(_WSP)
    if not equals or not name:
        raise InvalidCookie("it has no name")
    expires, max_age, path, secure = inf, None, "", False
    for attribute in attributes:  # of several with one name, the last one counts (section 5.3)
        key, _, content = attribute.partition("=")
        key, content = key.strip(_WSP).lower(), content.strip(_WSP)
        if key == "expires":
            if (moment := read_date(content)) is not None:
                expires = moment
        elif key == "max-age":
            if _MAX_AGE.fullmatch(content):
                max_age = content
        elif key == "path":
            path = content if content.startswith("/") else ""
        elif key == "secure":
            secure = True
    if len(name) + len(value) > MAX_COOKIE or len(path) > MAX_COOKIE:
        raise InvalidCookie(f"it is longer than {MAX_COOKIE} bytes")
    if max_age is not None:
        digits = max_age.lstrip("0")[:12]  # which are 30,000 years
        expires = now + int(digits) if digits and not max_age.startswith("-") else -inf
    return ReceivedCookie(name, value, expires, path, secure)


def read_date(text: str) -> float | None:
    """A cookie's date in Unix seconds (section 5.1.1); None: it is none."""
    clock = day = month = year = None
    for token in _DELIMITERS.split(text):
        if clock is None and (match := _TIME.fullmatch(token)):
            clock = tuple(map(int, match.groups()))
        elif day is None and (match := _DAY.fullmatch(token)):
            day = int(match[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (match := _YEAR.fullmatch(token)):
            year = int(match[1])
    if clock is None or day is None or month is None or year is None:
        return None
    if year < 100:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = clock
    if year < 1601 or hour > 23 or minute > 59 or second > 59:
        return None
    try:
        date(year, month, day)
    except ValueError:  # such as 30 February
        return None
    return float(timegm((year, month, day, hour, minute, second)))


def default_path(path: str) -> str:
    """The path of a cookie without one, by the path of the request (section 5.1.4)."""
    return path[: path.rfind("/")] or "/" if path.startswith("/") else "/"


def path_matches(path: str, cookie_path: str) -> bool:
    """Whether a request to `path` gets a cookie of `cookie_path` (section 5.1.4)."""
    if not path.startswith(cookie_path):
        return False
    return len(path) == len(cookie_path) or cookie_path.endswith("/") or path[len(cookie_path)] == "/"


class _StoredCookie:
    """One cookie of one caller."""

    __slots__ = ("created", "expires", "name", "path", "size", "used", "value")

    def __init__(self, cookie: ReceivedCookie, path: str, created: int) -> None:
        self.name, self.value, self.path, self.expires = cookie.name, cookie.value, path, cookie.expires
        self.created = self.used = created
        self.size = len(self.name) + len(self.value) + len(path) + _OVERHEAD


class CookieJar:
    """The cookies of one caller.

    :ivar used: when it last had a call, in Unix seconds. :ivar size: bytes, roughly.
    """

    __slots__ = ("_cookies", "_count", "size", "used")

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str], _StoredCookie] = {}
        self._count = 0  # of all events, for their order
        self.used = 0.0
        self.size = 0

    def header(self, path: str, now: float) -> str:
        """The ``Cookie`` field for a request to `path` (section 5.4); ``""``: there are none."""
        self._expire(now)
        self._count += 1
        sent = [cookie for cookie in self._cookies.values() if path_matches(path, cookie.path)]
        for cookie in sent:
            cookie.used = self._count
        sent.sort(key=lambda cookie: (-len(cookie.path), cookie.created))
        return "; ".join([f"{cookie.name}={cookie.value}" for cookie in sent])

    def store(self, cookie: ReceivedCookie, path: str, now: float) -> None:
        """Keep a cookie, in place of the one with its name and path (section 5.3).

        :param path: of the request that it answers.
        """
        own_path = cookie.path or default_path(path)
        key = (cookie.name, own_path)
        old = self._drop(key)
        if cookie.expires <= now:
            return
        self._count += 1
        stored = self._cookies[key] = _StoredCookie(cookie, own_path, self._count)
        self.size += stored.size
        if old is not None:
            stored.created = old.created
        if len(self._cookies) > MAX_COOKIES:
            self._expire(now)
        while len(self._cookies) > MAX_COOKIES:
            self._drop(min(self._cookies, key=lambda key: self._cookies[key].used))

    def _expire(self, now: float) -> None:
        for key in [key for key, cookie in self._cookies.items() if cookie.expires <= now]:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> _StoredCookie | None:
        cookie = self._cookies.pop(key, None)
        if cookie is not None:
            self.size -= cookie.size
        return cookie


class CallerCookies:
    """The cookies of one route's callers (`bridge.api.egress.Cookies`). Those who have not called for longest lose
    theirs beyond `MAX_CALLERS` and `MAX_BYTES`.

    :param secure: calls go to the service over TLS.
    :param clock: Unix seconds.
    """

    def __init__(self, *, secure: bool, clock: Callable[[], float] = time.time) -> None:
        self._secure, self._clock = secure, clock
        self._jars: OrderedDict[tuple[str, str], CookieJar] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._jars)

    @property
    def size(self) -> int:
        """Bytes in use, roughly."""
        return self._bytes

    def header(self, call: Call, path: str) -> str:
        key, now = _key(call), self._clock()
        jar = self._known(key, now)
        if jar is None:
            return ""
        before = jar.size
        text = jar.header(path, now)
        self._settle(key, jar, before)
        return text

    def take(self, call: Call, path: str, values: Sequence[str]) -> None:
        key, now = _key(call), self._clock()
        jar = self._known(key, now) or CookieJar()
        before = jar.size
        reasons: list[str] = []
        for value in values:
            try:
                cookie = read_cookie(value, now)
                if cookie.secure and not self._secure:
                    raise InvalidCookie("it is Secure, and upstream does not say https://")
                jar.store(cookie, path, now)
            except InvalidCookie as error:
                reasons.append(f"a cookie of the service is not kept: {error}")
        call.warnings += dict.fromkeys(reasons)
        jar.used = now
        self._settle(key, jar, before)
        while len(self._jars) > MAX_CALLERS or self._bytes > MAX_BYTES:
            self._drop(next(iter(self._jars)))

    def _known(self, key: tuple[str, str], now: float) -> CookieJar | None:
        """The caller's jar, which was used now. Jars that nobody has used for `IDLE` seconds go: two with each call, so
        that they never accumulate."""
        for _ in range(2):
            oldest = next(iter(self._jars), None)
            if oldest is None or self._jars[oldest].used > now - IDLE:
                break
            self._drop(oldest)
        jar = self._jars.get(key)
        if jar is not None and jar.used <= now - IDLE:
            self._drop(key)
            return None
        if jar is not None:
            jar.used = now
            self._jars.move_to_end(key)
        return jar

    def _settle(self, key: tuple[str, str], jar: CookieJar, before: int) -> None:
        """Count what a jar takes now; an empty one goes.

        :param before: what it was counted as.
        """
        self._bytes += jar.size - before
        if jar.size:
            self._jars[key] = jar
        else:
            self._jars.pop(key, None)

    def _drop(self, key: tuple[str, str]) -> None:
        self._bytes -= self._jars.pop(key).size


def _key(call: Call) -> tuple[str, str]:
    """Who calls: tenants, issuers and keys are told apart by the authenticator.

    :raises Forbidden: nothing but an address is known.
    """
    identity = call.identity
    if not identity.is_named:
        raise Forbidden("Your token names no caller (sub), and this route keeps a session for each caller.")
    return identity.tenant, identity.key


def caller_cookies(spec: RouteSpec, wire: str) -> CallerCookies | None:
    """The cookies of a route's callers, none so far; None: the route keeps none.

    :param wire: ``http`` or ``grpc``, the transformer's.
    :raises bridge.api.BindError: the route can't keep them; all faults.
    """
    if spec.cookies is None:
        return None
    if faults := [*_faults(spec, wire)]:
        raise BindError(faults)
    return CallerCookies(secure=spec.upstream.scheme == "https")


def _faults(spec: RouteSpec, wire: str) -> Iterator[Fault]:
    if wire != "http":
        yield Fault("a gRPC call has no cookies; leave it out", ("cookies",))
    kinds: Iterable[Any] = spec.auth.any if isinstance(spec.auth, AnyAuth) else (spec.auth,)
    if any(isinstance(kind, NoAuth) for kind in kinds):
        reason = (
            "with auth none all callers would share one session; give the route an auth by which they are told apart "
            "(JWT, api_key), or leave cookies out"
        )
        yield Fault(reason, ("cookies",))
    for name in spec.headers.request.names:
        if name.lower() == "cookie":
            yield Fault(f"cookies: session sends {name!r} already", ("headers", "request"))
    auth = spec.upstream_auth
    if isinstance(auth, ApiKeyUpstreamAuth) and (auth.header or "").lower() == "cookie":
        yield Fault("cookies: session sends this header already", ("upstream_auth", "header"))
