"""`auth`: the credentials that a route asks of its callers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from bridge.api.spec.scalars import Model, Names
from bridge.http.token import is_token


def _cookie_name(name: str) -> str:
    if not is_token(name) or len(name) > 128:
        raise ValueError(f"{name[:80]!r} can't be the name of a cookie")
    return name


def _parameter_name(name: str) -> str:
    if not name or len(name) > 128 or not name.isascii() or not name.replace("-", "_").replace(".", "_").isidentifier():
        raise ValueError(f"{name[:80]!r} can't be the name of a query parameter with credentials; write token, say")
    return name


class CookieSource(Model):
    """A cookie. Pages of other origins must not use it: see ``docs/edge.md``."""

    cookie: Annotated[str, AfterValidator(_cookie_name)]


class QuerySource(Model):
    """A query parameter (RFC 6750, section 2.3)."""

    query: Annotated[str, AfterValidator(_parameter_name)]


def _source_kind(value: object) -> str:
    if isinstance(value, CookieSource) or (isinstance(value, dict) and "cookie" in value):
        return "cookie"
    if isinstance(value, QuerySource) or (isinstance(value, dict) and "query" in value):
        return "query"
    return "header"


Source = Literal["header"] | CookieSource | QuerySource
_Source = Annotated[
    Annotated[Literal["header"], Tag("header")]
    | Annotated[CookieSource, Tag("cookie")]
    | Annotated[QuerySource, Tag("query")],
    Discriminator(_source_kind),
]


def _distinct(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    if len(set(sources)) < len(sources):
        raise ValueError("a place stands in it twice")
    return sources


#: Where clients may send credentials.
Sources = Annotated[
    tuple[_Source, ...],
    BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    Field(strict=False, min_length=1, max_length=8, alias="from"),
    AfterValidator(_distinct),
]


class NoAuth(Model):
    type: Literal["none"]


class JwtAuth(Model):
    """A bearer token of a trusted issuer (RFC 7519). Absent members are not checked, but the signature always is."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["JWT"]
    audience: str | Names = ()
    issuer: str = ""
    sources: Sources = ("header",)
    roles: Names = ()  #: the caller needs one of them
    scopes: Names = ()  #: the caller needs all of them


class ApiKeyAuth(Model):
    """A key that ``hms-bridge key new`` made; only its hash is kept."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["api_key"]
    header: str = "X-API-Key"
    sources: Sources = ("header",)
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

    @model_validator(mode="after")
    def _same_sources(self) -> AnyAuth:
        places: dict[str, tuple[Source, ...]] = {}
        for one in self.any:
            if isinstance(one, JwtAuth | ApiKeyAuth):
                field = one.header.lower() if isinstance(one, ApiKeyAuth) else one.type
                if places.setdefault(field, one.sources) != one.sources:
                    raise ValueError(f"all entries of type {one.type} need the same from")
        return self


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
