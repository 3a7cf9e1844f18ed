"""`cors`: the pages of other origins whose scripts may call a route (Fetch standard, section 3.3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    field_validator,
)

from bridge.api.spec.scalars import Method, Model, Seconds
from bridge.http.origin import ANY, NULL, OriginPattern, origin_pattern
from bridge.http.token import is_token

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_ORIGINS = 1000
MAX_FIELDS = 100


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _several(value: object) -> object:
    """A single one is a list of one."""
    return (value,) if isinstance(value, str) and value != ANY else _tuple(value)


def _kind(value: object) -> str:
    return ANY if value == ANY else "list"


def _pattern(value: object) -> object:
    if value is None:  # it may be an item that was forgotten
        raise ValueError('it is empty; the origin null stands in quotes: "null"')
    return origin_pattern(value) if isinstance(value, str) else value


def _field_name(name: str) -> str:
    if name == "*":
        raise ValueError("'*' stands alone for every field; write any in place of the list")
    if not is_token(name):
        raise ValueError(f"{name[:80]!r} can't be the name of a header field")
    return name


_Pattern = Annotated[OriginPattern, BeforeValidator(_pattern), PlainSerializer(lambda one: one.text, return_type=str)]
_Any = Annotated[Literal["any"], Tag(ANY)]
_OriginList = Annotated[tuple[_Pattern, ...], Field(strict=False, max_length=MAX_ORIGINS), Tag("list")]
_Origins = Annotated[_Any | _OriginList, Discriminator(_kind), BeforeValidator(_several)]
_Name = Annotated[str, AfterValidator(_field_name)]
_FieldList = Annotated[tuple[_Name, ...], Field(strict=False, max_length=MAX_FIELDS), Tag("list")]
_Fields = Annotated[_Any | _FieldList, Discriminator(_kind), BeforeValidator(_several)]


class CorsSpec(Model):
    """Without origins, no page of another origin may call, as without CORS."""

    origins: _Origins
    methods: Annotated[tuple[Method, ...], BeforeValidator(_tuple), Field(strict=False, min_length=1)] | None = None
    headers: _Fields = ()
    exposed: _Fields = ()
    credentials: bool = False
    max_age: Annotated[Seconds, Field(le=86400.0)] = 600.0

    @field_validator("credentials")
    @classmethod
    def _of_named_origins(cls, credentials: bool, info: ValidationInfo) -> bool:
        origins = info.data.get("origins", ())
        # Any page can make a frame whose origin is null.
        common = ANY if origins == ANY else f'"{NULL}"' if NULL in [one.text for one in origins] else ""
        if credentials and common:
            raise ValueError(
                f"with origins: {common}, every page on the Internet could act with your users' cookies; "
                "name the origins"
            )
        if credentials and info.data.get("exposed") == ANY:
            raise ValueError("with credentials, browsers take exposed: any for the name of a field; name the fields")
        return credentials


def cors_of(value: object) -> object:
    """``none`` is short for a list of no origins: it takes a route out of ``BRIDGE_CORS``.

    :raises ValueError: it is another text.
    """
    if not isinstance(value, str):
        return value
    if value != "none":
        raise ValueError("it must be a mapping such as {origins: [https://app.example.org]}, or none")
    return {"origins": []}
