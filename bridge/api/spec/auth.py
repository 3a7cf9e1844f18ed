"""`auth`: the credentials that a route asks of its callers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from bridge.api.spec.scalars import Model, Names


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
