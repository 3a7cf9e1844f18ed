"""The route spec: one document, one route. Typed, frozen and strict: an unknown key is an error.

`RouteSpec.model_validate` checks values; `bridge.config.specfile` parses text and adds file and line to errors.
A transformer's own options stay raw here (`Transform.options`), since only the transformer knows their model.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from bridge.api.spec.auth import AnyAuth, Auth
from bridge.api.spec.compress import Compress
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.cookies import CookieMode
from bridge.api.spec.cors import CorsSpec, cors_of
from bridge.api.spec.edits import HeadersSpec, QuerySpec
from bridge.api.spec.forwarded import ForwardedSpec, Forwarding
from bridge.api.spec.ip import IpRules
from bridge.api.spec.lifecycle import Deprecated, Description, Sunset, SunsetSpec, Tags, check_order
from bridge.api.spec.limits import Cache, Limits, RateLimit, Stream
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.scalars import Method, Model, Seconds, Size
from bridge.api.spec.transform import Transform
from bridge.api.spec.upstream import Upstream
from bridge.api.spec.upstream_auth import UpstreamAuth
from bridge.http.template import check_template, decoded

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _public_host(host: str) -> str:
    """As requests name it: in lower case, without a trailing dot.

    :raises ValueError: no request can name it.
    """
    name = host.lower().removesuffix(".")
    if not name or len(name) > 253:
        raise ValueError(f"{host[:80]!r} can't be a host's name")
    return name


TENANT = r"^[A-Za-z0-9._-]{1,64}$"
_HEADERS, _QUERY = HeadersSpec(), QuerySpec()


class RouteSpec(Model):
    """One route, as section 3 of ``docs/spec.md`` describes it."""

    route: Annotated[str, AfterValidator(check_template)]
    methods: Annotated[tuple[Method, ...], Field(strict=False)] | None = None
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$"), AfterValidator(_public_host)] | None = None
    tenant: Annotated[str, Field(pattern=TENANT)] | None = None
    description: Description | None = None  #: for those who call it, in Markdown
    tags: Tags | None = None  #: groups of the API's documentation, the first one first
    deprecated: Deprecated = None
    sunset: Sunset = None
    upstream: Annotated[Upstream, BeforeValidator(lambda v: v if isinstance(v, Upstream) else Upstream.parse(v))]
    cors: Annotated[CorsSpec | None, BeforeValidator(cors_of)] = None
    ip: IpRules | None = None
    auth: Auth
    upstream_auth: UpstreamAuth | None = None
    # By factories, since pydantic copies a default that holds mappings for each route.
    headers: HeadersSpec = Field(default_factory=lambda: _HEADERS)
    query: QuerySpec = Field(default_factory=lambda: _QUERY)
    forwarded: Forwarding = ForwardedSpec()
    cookies: CookieMode | None = None  #: None: they pass between client and service
    rate_limit: RateLimit | None = None
    limits: Limits | None = None
    cache: Cache | None = None
    compress: bool | Compress | None = None  #: None: as the setting says
    timeout: Seconds = 30.0
    max_body: Size | None = None
    security_headers: bool | None = None  #: None: as the setting says
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

    @field_validator("auth")
    @classmethod
    def _published_methods(cls, auth: Auth, info: ValidationInfo) -> Auth:
        methods: tuple[Method, ...] | None = info.data.get("methods")
        if methods is not None:
            kinds = auth.any if isinstance(auth, AnyAuth) else (auth,)
            for other in sorted({name for kind in kinds for name in getattr(kind, "methods", ())} - {*methods}):
                raise ValueError(f"its methods name {other}, which the route does not publish")
        return auth

    @field_validator("sunset")
    @classmethod
    def _after_deprecation(cls, sunset: SunsetSpec | None, info: ValidationInfo) -> SunsetSpec | None:
        check_order(info.data.get("deprecated"), sunset)
        return sunset
