"""The route spec: one document, one route. Typed, frozen and strict: an unknown key is an error.

`RouteSpec.model_validate` checks values; `bridge.config.specfile` parses text and adds file and line to errors.
A transformer's own options stay raw here (`Transform.options`), since only the transformer knows their model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from bridge.http.client_address import is_address
from bridge.http.template import check_template, decoded
from bridge.wording import not_one_of, suggestion

TRANSPORTS = "bridge.transports"  #: the group of their entry points
TRANSFORMERS = "bridge.transformers"  #: the group of their entry points

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
LONGEST = 100 * 365 * 86400.0  #: seconds; a bound that timers, dates and JSON can represent
SHORTEST = 0.001  #: seconds; nothing can be done in less


def seconds(value: object) -> object:
    """A duration such as ``500ms``, ``5s``, ``2m`` or ``1h`` (or a number of seconds) as seconds.

    :raises ValueError: it is none, or longer than `LONGEST`.
    """
    if isinstance(value, bool):
        raise ValueError("true and false are no durations; write 500ms, 5s, 2m or 1h")
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is no duration; write 500ms, 5s, 2m or 1h")
        value = float(match[1]) * _UNIT[match[2]]
    if isinstance(value, int | float) and value > LONGEST:
        raise ValueError("it is longer than a hundred years")
    return value


def size(value: object) -> object:
    """``64M``, ``512k`` or a number of bytes as bytes.

    :raises ValueError: it is no size.
    """
    if isinstance(value, bool):
        raise ValueError("true and false are no sizes; write a number of bytes, 512k or 64M")
    if isinstance(value, str):
        number, unit = value.strip().lower().removesuffix("b"), ""
        if number and number[-1] in _SIZE:
            number, unit = number[:-1], number[-1]
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise ValueError(f"{value!r} is no size; write a number of bytes, 512k or 64M")
        return int(number) * _SIZE[unit]
    return value


def lasting(value: float) -> float:
    """:raises ValueError: a duration is shorter than `SHORTEST`."""
    if value < SHORTEST:
        raise ValueError("it is shorter than a millisecond")
    return value


def check_name(name: str) -> str:
    """:raises ValueError: it can't be a host's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be a host's name")
    return name


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False), AfterValidator(lasting)]
Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v), Field(strict=False)
]


@cache
def _schemes() -> Sequence[str]:
    """Of all transports (`bridge.api.transport.Transport.name`), for plain TCP and for TLS."""
    names = sorted(point.name for point in entry_points(group=TRANSPORTS))
    return [scheme for name in names for scheme in (name, f"{name}s")]


class Upstream(BaseModel):
    """Where a route's calls go: ``[scheme://]name:port[/path]``.

    `name` is looked up in the mesh at run time and is never an address. `port` is a number, or a service name that
    DNS resolves by SRV. `path` may hold the route's parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: str | None = None
    name: str
    port: str
    path: str = ""

    @classmethod
    def parse(cls, text: object) -> Upstream:
        """:raises ValueError: it isn't of that form, or names an address."""
        if not isinstance(text, str):
            raise ValueError("it is written as one text: [scheme://]name:port[/path]")
        scheme, mark, rest = text.rpartition("://")
        if mark and scheme not in _schemes():
            raise ValueError(not_one_of(scheme, _schemes()))
        authority, slash, path = rest.partition("/")
        if "@" in authority or any(c in text for c in " \t\r\n#?\\"):
            raise ValueError(f"{text!r} is not of the form [scheme://]name:port[/path]")
        name, colon, port = authority.rpartition(":")
        if not colon:
            raise ValueError(f"{text!r} names no port; write name:port")
        if is_address(name.strip("[]")):
            raise ValueError(f"{name!r} is an address; write a name and let the mesh say where it is")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't be a name in the mesh")
        if re.fullmatch(r"[0-9]+", port):
            if len(port) > 5 or port[0] == "0" or int(port) > 65535:
                raise ValueError(f"{port!r} is no port")
        elif not re.fullmatch(r"[a-z][a-z0-9-]{0,14}", port):
            raise ValueError(f"{port!r} is neither a port number nor a service name")
        if slash:
            check_template("/" + path)
        return cls.model_validate({"scheme": scheme or None, "name": name, "port": port, "path": slash + path})

    def __str__(self) -> str:
        return f"{self.scheme + '://' if self.scheme else ''}{self.name}:{self.port}{self.path}"


# --- auth --------------------------------------------------------------------------------------------------------


class NoAuth(Model):
    type: Literal["none"]


class JwtAuth(Model):
    """A bearer token of a trusted issuer (RFC 7519). Absent members are not checked, but the signature always is."""

    type: Literal["JWT"]
    audience: str | Names = ()
    issuer: str = ""
    roles: Names = ()  #: the caller needs one of them
    scopes: Names = ()  #: the caller needs all of them


class ApiKeyAuth(Model):
    """A key that ``hms-bridge key new`` made; only its hash is kept."""

    type: Literal["api_key"]
    header: str = "X-API-Key"
    roles: Names = ()
    scopes: Names = ()


class OAuth2Auth(Model):
    """Token introspection (RFC 7662)."""

    type: Literal["oauth2"]
    issuer: str = ""
    audience: str | Names = ()
    roles: Names = ()
    scopes: Names = ()


class MtlsAuth(Model):
    """A client certificate."""

    type: Literal["mtls"]
    subjects: Names = ()


OneAuth = Annotated[NoAuth | JwtAuth | ApiKeyAuth | OAuth2Auth | MtlsAuth, Field(discriminator="type")]


class AnyAuth(Model):
    """The first of several for which the request has credentials."""

    any: Annotated[tuple[OneAuth, ...], Field(strict=False, min_length=1)]


def _mapping_of(value: object) -> object:
    """``none`` is short for ``{type: none}``.

    :raises ValueError: it is another text.
    """
    if not isinstance(value, str):
        return value
    if value != "none":
        raise ValueError(f"it must be a mapping; write {{type: {value}}}")
    return {"type": "none"}


def _auth_kind(value: object) -> str:
    if isinstance(value, AnyAuth) or (isinstance(value, dict) and "any" in value and "type" not in value):
        return "any"
    return "one"


Auth = Annotated[
    Annotated[AnyAuth, Tag("any")] | Annotated[OneAuth, Tag("one")],
    Discriminator(_auth_kind),
    BeforeValidator(_mapping_of),
]


# --- the other blocks --------------------------------------------------------------------------------------------


MOST = 1_000_000_000  #: calls; more than any machine can handle, and exact in every number format


def _often(rate: float) -> float:
    if rate < 1 / LONGEST:
        raise ValueError("it is less than one call in a hundred years")
    return rate


Rate = Annotated[float, Field(gt=0, le=MOST), AfterValidator(_often)]


class RateLimit(Model):
    """A token bucket. Without `burst`, no more than `rps` calls go through in any one second. A limit below one call,
    or one burst, in a hundred years (`LONGEST`) is refused: its times could not be represented."""

    rps: Rate
    burst: int | None = Field(default=None, ge=1, le=MOST)
    per: str = "client"
    internal_rps: Rate | None = None

    @field_validator("per")
    @classmethod
    def _per(cls, per: str) -> str:
        if per not in ("client", "route", "tenant") and not re.fullmatch(r"claim:.+", per):
            raise ValueError(not_one_of(per, ("client", "route", "tenant", "claim:NAME")))
        return per

    @model_validator(mode="after")
    def _fills(self) -> RateLimit:
        slowest = min(self.rps, self.internal_rps or self.rps)
        if self.burst is not None and self.burst / slowest > LONGEST:
            raise ValueError(f"a burst of {self.burst} would take longer than a hundred years to be there again")
        return self


class Cache(Model):
    ttl: Seconds


_SERVICE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"


class ConnectionSpec(Model):
    """How the gateway connects to the upstream, beyond its name. Files are below ``secrets/`` in BRIDGE_HOME, or in a
    container's folders for secrets."""

    ca: str | None = None  #: PEM of the trusted authorities; default: the system's
    certificate: str | None = None  #: PEM of the gateway's own chain, for mutual TLS
    key: str | None = None  #: PEM of its private key
    server_name: Annotated[str, AfterValidator(check_name)] | None = None  #: the name in the service's certificate
    # The following keys are supported by some transports only (`bridge.api.transport.Transport.options`).
    keepalive: Annotated[Seconds, Field(ge=10)] | None = None  #: between pings on a connection that has calls
    compression: Literal["gzip", "deflate"] | None = None  #: of requests
    health: bool | Annotated[str, Field(pattern=_SERVICE, max_length=255)] = (
        False  #: skip addresses that report that they don't serve
    )
    max_message: Annotated[Size, Field(le=2**31 - 1)] | None = None  #: bytes of one message, in either direction
    max_metadata: Annotated[Size, Field(le=2**20)] | None = None  #: bytes of a reply's metadata

    @model_validator(mode="after")
    def _pair(self) -> ConnectionSpec:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    @property
    def secure(self) -> bool:
        """Whether it has keys of TLS."""
        return any((self.ca, self.certificate, self.server_name))

    @property
    def special(self) -> Sequence[str]:
        """Its keys beyond those of TLS, which are supported by some transports only."""
        return sorted(self.model_fields_set - _TLS_KEYS)


_TLS_KEYS = frozenset(("ca", "certificate", "key", "server_name"))


class RetrySpec(Model):
    """When a call is sent to the upstream again: gRFC A6, for every protocol. A call that may have been processed is
    sent again only if it is idempotent (RFC 9110, section 9.2.2)."""

    attempts: Annotated[int, Field(ge=2, le=5)] = 3  #: including the first
    backoff: Seconds = 0.1  #: the wait before the second one; each later wait is `multiplier` times the one before it
    max_backoff: Seconds = 2.0
    multiplier: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 2.0
    on: Annotated[tuple[int | str, ...], Field(strict=False, min_length=1)] | None = None  #: statuses; the transport's

    @model_validator(mode="after")
    def _growing(self) -> RetrySpec:
        if self.max_backoff < self.backoff:
            raise ValueError("max_backoff is shorter than backoff")
        return self


class Stream(Model):
    """Limits of streaming calls, to which the route's `timeout` does not apply."""

    timeout: Seconds | None = None  #: of the whole call; a client may ask for less
    idle: Seconds = 300.0  #: without a message in either direction, or with a client that doesn't read
    heartbeat: Seconds = 15.0  #: of silence, after which the client gets a sign that the call is alive


@cache
def _transformers() -> frozenset[str]:
    """The names of all installed transformers."""
    return frozenset(point.name for point in entry_points(group=TRANSFORMERS))


class Transform(BaseModel):
    """``request`` names the transformer; its options are under its own name, and stay raw in `options`."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    request: Annotated[str, Field(min_length=1)]
    response: Literal["json", "xml", "passthrough"] = "json"

    @model_validator(mode="after")
    def _options_of_one(self) -> Transform:
        for key in self.model_extra or {}:
            if key == self.request or (key in _transformers() and self.request not in _transformers()):
                continue  # if the name of the transformer is wrong, that is what is to be told
            near = suggestion(key, ("request", "response", self.request))
            raise ValueError(f"unknown key {key!r}: the options of {self.request} stand under {self.request!r}{near}")
        return self

    @property
    def options(self) -> Any:
        """The value under the transformer's name; ``{}`` without one."""
        return (self.model_extra or {}).get(self.request, {})


def _public_host(host: str) -> str:
    """As requests name it: in lower case, without a trailing dot.

    :raises ValueError: no request can name it.
    """
    name = host.lower().removesuffix(".")
    if not name or len(name) > 253:
        raise ValueError(f"{host[:80]!r} can't be a host's name")
    return name


TENANT = r"^[A-Za-z0-9._-]{1,64}$"


class RouteSpec(Model):
    """One route, as section 3 of ``docs/spec.md`` describes it."""

    route: Annotated[str, AfterValidator(check_template)]
    methods: Annotated[tuple[Method, ...], Field(strict=False)] | None = None
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$"), AfterValidator(_public_host)] | None = None
    tenant: Annotated[str, Field(pattern=TENANT)] | None = None
    upstream: Annotated[Upstream, BeforeValidator(lambda v: v if isinstance(v, Upstream) else Upstream.parse(v))]
    auth: Auth
    rate_limit: RateLimit | None = None
    cache: Cache | None = None
    timeout: Seconds = 30.0
    stream: Stream = Stream()
    connection: ConnectionSpec = ConnectionSpec()
    retry: RetrySpec | None = None
    transform: Transform

    @field_validator("route")
    @classmethod
    def _not_ours(cls, route: str) -> str:
        plain = decoded(route)
        if plain == "/-" or plain.startswith("/-/") or plain == "/register":
            raise ValueError(f"{route!r} belongs to the gateway; no route may take it")
        return route

    @field_validator("methods")
    @classmethod
    def _some_methods(cls, methods: tuple[Method, ...] | None) -> tuple[Method, ...] | None:
        if methods is not None and not methods:
            raise ValueError("an empty list publishes nothing; leave methods out for the transformer's own")
        if methods is not None and len(set(methods)) < len(methods):
            raise ValueError("a method stands in it twice")
        return methods
