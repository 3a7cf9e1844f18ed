"""`upstream_auth`: the credentials that the gateway sends to a route's service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bridge.api.spec.edits import RequestFields, SecretValue, SpecValue
from bridge.api.spec.scalars import Model
from bridge.api.spec.upstream_tokens import (
    ClientCredentialsUpstreamAuth,
    SignedJwtUpstreamAuth,
    TokenExchangeUpstreamAuth,
)
from bridge.http.token import is_token


class BasicUpstreamAuth(Model):
    """HTTP Basic (RFC 7617), in UTF-8."""

    type: Literal["basic"]
    username: SpecValue
    password: SecretValue


class BearerUpstreamAuth(Model):
    """A bearer token (RFC 6750) that is kept as a secret."""

    type: Literal["bearer"]
    token: SecretValue


class ApiKeyUpstreamAuth(Model):
    """A key in a header field or in the query."""

    type: Literal["api_key"]
    header: str | None = None
    query: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    value: SecretValue

    @model_validator(mode="after")
    def _one_place(self) -> ApiKeyUpstreamAuth:
        if (self.header is None) == (self.query is None):
            raise ValueError("name one place of the key: header or query")
        if self.header is not None:
            if not is_token(self.header):
                raise ValueError(f"header: {self.header[:80]!r} can't be the name of a header")
            if RequestFields.refusal(self.header.lower()):
                raise ValueError(f"header: {self.header!r} belongs to the connection or to the gateway itself")
        return self


UpstreamAuth = Annotated[
    BasicUpstreamAuth
    | BearerUpstreamAuth
    | ApiKeyUpstreamAuth
    | ClientCredentialsUpstreamAuth
    | TokenExchangeUpstreamAuth
    | SignedJwtUpstreamAuth,
    Field(discriminator="type"),
]
