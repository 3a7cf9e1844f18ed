"""`auth`: the credentials that a route asks of its callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from bridge.api.spec.scalars import Method, Model, Names
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


def _one_place(value: object) -> object:
    keys = {"cookie", "query"} & value.keys() if isinstance(value, dict) else ()
    if value != "header" and len(keys) != 1 and not isinstance(value, CookieSource | QuerySource):
        shown = f"{value[:80]!r} is no place of credentials" if isinstance(value, str) else "it must be one place"
        raise ValueError(f"{shown}; write header, {{cookie: NAME}} or {{query: NAME}}")
    return value


# Pydantic's locations hold tags and keys. A tag with the name of a key would be taken for one in the path of a fault.


def _source_tag(value: object) -> str:
    if isinstance(value, CookieSource) or (isinstance(value, dict) and "cookie" in value):
        return "in a cookie"
    if isinstance(value, QuerySource) or (isinstance(value, dict) and "query" in value):
        return "in the query"
    return "in the header"


Source = Literal["header"] | CookieSource | QuerySource
_Source = Annotated[
    Annotated[Literal["header"], Tag("in the header")]
    | Annotated[CookieSource, Tag("in a cookie")]
    | Annotated[QuerySource, Tag("in the query")],
    Discriminator(_source_tag),
    BeforeValidator(_one_place),
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


class MethodNeeds(Model):
    """What calls with one method need beside what the route asks of all calls."""

    roles: Names = ()  #: the caller needs one of them
    scopes: Names = ()  #: the caller needs all of them

    @model_validator(mode="after")
    def _something(self) -> MethodNeeds:
        if not self.roles and not self.scopes:
            raise ValueError("it asks for nothing; give it roles or scopes, or leave the method out")
        return self


#: By a factory, since pydantic copies a default that is a mapping for each route.
ByMethod = Annotated[Mapping[Method, MethodNeeds], Field(max_length=7)]
_NO_METHODS: Mapping[Method, MethodNeeds] = {}


class Conditional(Model):
    """A kind of credentials whose ``methods`` add conditions for calls with one method; HEAD is judged as GET. Equal
    blocks share an authenticator, so they have a hash."""

    def __hash__(self) -> int:
        members = self.__dict__
        return hash((members["type"], members["roles"], members["scopes"], members.get("audience")))


#: Tokens must be bound to a key of the caller (RFC 8705, RFC 9449). None: those that are bound are checked.
Proof = Literal["certificate", "dpop", "any"] | None


def _check_proof(proof: Proof, sources: tuple[Source, ...]) -> None:
    if proof == "dpop" and sources != ("header",):
        raise ValueError("with proof: dpop, a token stands in the Authorization header only; leave from out")


class JwtAuth(Conditional):
    """A bearer token of a trusted issuer (RFC 7519). Absent members are not checked, but the signature always is."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["JWT"]
    audience: str | Names = ()
    issuer: str = ""
    sources: Sources = ("header",)
    roles: Names = ()  #: the caller needs one of them
    scopes: Names = ()  #: the caller needs all of them
    methods: ByMethod = Field(default_factory=lambda: _NO_METHODS)
    proof: Proof = None

    @model_validator(mode="after")
    def _provable(self) -> JwtAuth:
        _check_proof(self.proof, self.sources)
        return self


class ApiKeyAuth(Conditional):
    """A key that ``hms-bridge key new`` made; only its hash is kept."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["api_key"]
    header: str = "X-API-Key"
    sources: Sources = ("header",)
    roles: Names = ()
    scopes: Names = ()
    methods: ByMethod = Field(default_factory=lambda: _NO_METHODS)


class OAuth2Auth(Conditional):
    """A bearer token about which its issuer is asked (RFC 7662)."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["oauth2"]
    issuer: str = ""  #: absent: the only one in issuers.yml that can be asked
    audience: str | Names = ()
    sources: Sources = ("header",)
    roles: Names = ()
    scopes: Names = ()
    methods: ByMethod = Field(default_factory=lambda: _NO_METHODS)
    proof: Proof = None

    @model_validator(mode="after")
    def _provable(self) -> OAuth2Auth:
        _check_proof(self.proof, self.sources)
        return self


class MtlsAuth(Conditional):
    """A client certificate for which an authority of ``client-cas.yml`` vouches."""

    type: Literal["mtls"]
    ca: str = ""  #: the authority's name; absent: any of them
    subjects: Annotated[Names, Field(max_length=100)] = ()  #: distinguished names, of which it has one
    sans: Annotated[Names, Field(max_length=100)] = ()  #: alternative names, of which it has one
    roles: Names = ()
    scopes: Names = ()
    methods: ByMethod = Field(default_factory=lambda: _NO_METHODS)


#: The kinds whose credentials may stand elsewhere than in a header field (``from``).
Movable = JwtAuth | ApiKeyAuth | OAuth2Auth

OneAuth = Annotated[NoAuth | JwtAuth | ApiKeyAuth | OAuth2Auth | MtlsAuth, Field(discriminator="type")]


class AnyAuth(Model):
    """The first of several for which the request has credentials."""

    any: Annotated[tuple[OneAuth, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _separate_sources(self) -> AnyAuth:
        """Each field has one kind of credentials, from the same places, which no other field has."""
        fields: dict[str, tuple[str, tuple[Source, ...]]] = {}
        taken: dict[Source, str] = {}
        for one in self.any:
            if not isinstance(one, Movable):
                continue
            field = one.header.lower() if isinstance(one, ApiKeyAuth) else "authorization"
            kind, sources = fields.setdefault(field, (one.type, one.sources))
            if (kind == "api_key") != (one.type == "api_key") and any(
                source != "header" for source in (*sources, *one.sources)
            ):
                raise ValueError("with from, a token and a key can't share the Authorization header")
            if sources != one.sources:
                kinds = one.type if kind == one.type else f"{kind} and {one.type}"
                raise ValueError(f"all entries of type {kinds} need the same from")
            for source in one.sources:
                if not isinstance(source, str) and taken.setdefault(source, field) != field:
                    place = (
                        f"cookie {source.cookie}" if isinstance(source, CookieSource) else f"parameter {source.query}"
                    )
                    raise ValueError(f"the {place} can't hold two kinds of credentials; give each a name of its own")
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


def _auth_tag(value: object) -> str:
    if isinstance(value, AnyAuth) or (isinstance(value, dict) and "any" in value and "type" not in value):
        return "of several"
    return "of one"


Auth = Annotated[
    Annotated[AnyAuth, Tag("of several")] | Annotated[OneAuth, Tag("of one")],
    Discriminator(_auth_tag),
    BeforeValidator(_mapping_of),
]
