"""Credentials that the spec's values make, without I/O: ``upstream_auth`` of the types basic, bearer and api_key."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bridge.api.call import Call
from bridge.api.spec.upstream_auth import ApiKeyUpstreamAuth, BasicUpstreamAuth, BearerUpstreamAuth
from bridge.api.values import Value, header_text
from bridge.egress.fields import Field, Wire
from bridge.egress.query import parameter_text
from bridge.errors import BindError, Fault

STATIC = (BasicUpstreamAuth, BearerUpstreamAuth, ApiKeyUpstreamAuth)
_PATH = ("upstream_auth",)
#: RFC 6750, section 2.1, has fewer characters; some services' tokens have others.
_TOKEN = re.compile(r"[!-~]+")


class Sent(NamedTuple):
    """What one call sends: fields, and query parameters."""

    fields: Sequence[Field] = ()
    parameters: Sequence[tuple[str, str]] = ()


class StaticCredentials(Protocol):
    """:ivar fields, parameters: the names under which they are sent.
    :ivar values: what they are made of."""

    @property
    def fields(self) -> Sequence[str]: ...
    @property
    def parameters(self) -> Sequence[str]: ...
    @property
    def values(self) -> Sequence[Value[Any]]: ...

    def __call__(self, call: Call) -> Sent:
        """:raises bridge.api.ClientError: the call lacks a value, or it can't be sent."""
        ...


class Basic:
    """RFC 7617, section 2: ``user-id:password`` in UTF-8, in base64."""

    fields = ("authorization",)
    parameters = ()

    def __init__(self, spec: BasicUpstreamAuth, home: Path) -> None:
        self._username = Value[str](spec.username, (*_PATH, "username"), home, _username)
        self._password = Value[str](spec.password, (*_PATH, "password"), home, parameter_text)
        self.values = (self._username, self._password)

    def __call__(self, call: Call) -> Sent:
        pair = f"{self._username.one(call) or ''}:{self._password.one(call) or ''}"
        return Sent([("authorization", f"Basic {b64encode(pair.encode()).decode()}")])


class Bearer:
    """RFC 6750, section 2.1."""

    fields = ("authorization",)
    parameters = ()

    def __init__(self, spec: BearerUpstreamAuth, home: Path) -> None:
        self._token = Value[str](spec.token, (*_PATH, "token"), home, _token)
        self.values = (self._token,)

    def __call__(self, call: Call) -> Sent:
        token = self._token.one(call)
        return Sent([("authorization", f"Bearer {token}")]) if token is not None else Sent()


class ApiKey:
    """A field or a parameter. What the client sends under its name is dropped."""

    def __init__(self, spec: ApiKeyUpstreamAuth, home: Path, wire: Wire) -> None:
        path = (*_PATH, "value")
        if spec.header is not None:
            name = wire.name(spec.header, (*_PATH, "header"))
            self.fields: Sequence[str] = (name,)
            self.parameters: Sequence[str] = ()
            self._value = Value[Any](spec.value, path, home, wire.convert(name))
        else:
            self.fields, self.parameters = (), (str(spec.query),)
            self._value = Value[Any](spec.value, path, home, parameter_text)
        self.values = (self._value,)

    def __call__(self, call: Call) -> Sent:
        value = self._value.one(call)
        if value is None:
            return Sent()
        return Sent([(self.fields[0], value)]) if self.fields else Sent(parameters=[(self.parameters[0], value)])


def _username(text: str) -> str:
    if ":" in text:
        raise ValueError("a user name of HTTP Basic has no colon")
    return parameter_text(text)


def _token(text: str) -> str:
    text = header_text(text)
    if not _TOKEN.fullmatch(text):
        raise ValueError("a bearer token is printable ASCII without spaces")
    return text


def static_credentials(spec: Any, home: Path, wire: Wire, *, has_query: bool) -> StaticCredentials | None:
    """None: the spec's type needs I/O.

    :raises bridge.api.BindError: it can't be sent over this protocol, or a secret can't be read.
    """
    match spec:
        case BasicUpstreamAuth():
            return Basic(spec, home)
        case BearerUpstreamAuth():
            return Bearer(spec, home)
        case ApiKeyUpstreamAuth():
            if spec.query is not None and not has_query:
                raise BindError(Fault("a gRPC call has no query; use header", (*_PATH, "query")))
            return ApiKey(spec, home, wire)
        case _:
            return None
