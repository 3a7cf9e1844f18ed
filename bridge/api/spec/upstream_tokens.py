"""The kinds of `upstream_auth` whose credentials are tokens: fetched from an endpoint, or signed by the gateway."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bridge.api.spec.edits import SecretValue, SpecValue
from bridge.api.spec.scalars import Model, Names, Seconds
from bridge.api.spec.upstream import Upstream

#: Parameters that the gateway itself sets in a token request, so that ``parameters`` can't.
SET_BY_GATEWAY = frozenset(
    (
        "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "audience",
        "resource", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type",
    )
)  # fmt: skip
#: Claims that the gateway itself sets in a token that it signs.
SIGNED_BY_GATEWAY = frozenset(("iss", "aud", "iat", "nbf", "exp", "jti"))

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

#: RFC 8693, section 3, by the names that a spec may use.
_TOKEN_TYPES = {name: f"urn:ietf:params:oauth:token-type:{name}" for name in ("access_token", "id_token", "jwt")}


def _mesh_name(text: str) -> str:
    """:raises ValueError: it is not of the form ``[http|https]://name:port/path`` with a plain path."""
    upstream = Upstream.parse(text)
    if upstream.scheme not in (None, "http", "https"):
        raise ValueError("a token endpoint is asked over http or https")
    if "{" in upstream.path + upstream.query:
        raise ValueError("the path of a token endpoint has no parameters")
    return text


def _texts(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _not_empty(texts: tuple[str, ...]) -> tuple[str, ...]:
    if "" in texts:
        raise ValueError("an empty text names nothing")
    return texts


def _scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """:raises ValueError: one of them is no scope-token (RFC 6749, section 3.3)."""
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            raise ValueError(f"{scope[:80]!r} is no scope: it has printable ASCII characters, no spaces, '\"' and '\\'")
    return scopes


def _free(parameters: dict[str, SpecValue]) -> dict[str, SpecValue]:
    for name in parameters:
        if name in SET_BY_GATEWAY:
            raise ValueError(f"{name} is set by the gateway; it has a key of its own, or none")
    return parameters


def _token_type(name: str) -> str:
    name = _TOKEN_TYPES.get(name, name)
    if ":" not in name or not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError(f"{name!r} is no type of tokens; write {', '.join(_TOKEN_TYPES)} or a URI")
    return name


TokenType = Annotated[str, AfterValidator(_token_type)]
TextOrTexts = Annotated[Names, AfterValidator(_not_empty), BeforeValidator(_texts)]


class TokenRequestSpec(Model):
    """What all requests to a token endpoint have (RFC 6749, section 3.2)."""

    token_url: str | None = None
    token_upstream: Annotated[str, AfterValidator(_mesh_name)] | None = None  #: [http|https]://name:port/path, by mesh
    client_id: SpecValue | None = None
    client_secret: SecretValue | None = None  #: of ``$env`` or ``$file``
    client_key: SecretValue | None = None  #: likewise: PEM of the private key of ``private_key_jwt``
    client_auth: Literal["basic", "post", "private_key_jwt"] = "basic"
    scopes: Annotated[Names, AfterValidator(_scopes)] = ()
    audience: TextOrTexts = ()
    resource: TextOrTexts = ()  #: RFC 8707
    parameters: Annotated[dict[str, SpecValue], AfterValidator(_free)] = Field(default_factory=dict[str, SpecValue])

    @model_validator(mode="after")
    def _whole(self) -> TokenRequestSpec:
        if (self.token_url is None) == (self.token_upstream is None):
            raise ValueError("it needs either token_url or token_upstream")
        signed = self.client_auth == "private_key_jwt"
        if signed and self.token_url is None:
            raise ValueError("private_key_jwt needs token_url, which is the audience of what is signed")
        if self.client_secret is not None and signed:
            raise ValueError("private_key_jwt takes client_key and no client_secret")
        if self.client_key is not None and not signed:
            raise ValueError("client_key is for client_auth: private_key_jwt")
        if self.client_id == "":
            raise ValueError("client_id is empty")
        if self.client_id is None and (self.client_secret or self.client_key):
            raise ValueError("client_id is missing")
        if signed and self.client_key is None:
            raise ValueError("client_key is missing")
        return self


class ClientCredentialsUpstreamAuth(TokenRequestSpec):
    """A token of the gateway's own for the service (RFC 6749, section 4.4)."""

    type: Literal["client_credentials"]

    @model_validator(mode="after")
    def _client(self) -> ClientCredentialsUpstreamAuth:
        if self.client_id is None:
            raise ValueError("client_id is missing")
        if self.client_secret is None and self.client_key is None:
            raise ValueError("client_secret is missing")
        return self


class TokenExchangeUpstreamAuth(TokenRequestSpec):
    """A token for the service in exchange for the caller's (RFC 8693)."""

    type: Literal["token_exchange"]
    subject_token_type: TokenType = _TOKEN_TYPES["access_token"]
    requested_token_type: TokenType | None = None
    actor_token: SecretValue | None = None  #: of ``$env`` or ``$file``
    actor_token_type: TokenType = _TOKEN_TYPES["access_token"]


class SignedJwtUpstreamAuth(Model):
    """A short-lived token that the gateway signs (RFC 7519); its keys are at ``/-/jwks.json``."""

    type: Literal["signed_jwt"]
    audience: TextOrTexts = ()  #: absent: the name of the upstream
    ttl: Annotated[Seconds, Field(ge=5, le=3600)] = 60.0
    claims: dict[str, Any] = Field(default_factory=dict[str, Any])

    @model_validator(mode="after")
    def _own_claims(self) -> SignedJwtUpstreamAuth:
        for name in self.claims:
            if name in SIGNED_BY_GATEWAY:
                raise ValueError(f"claims: {name} is set by the gateway")
        return self
