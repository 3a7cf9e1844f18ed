"""What is sent to a token endpoint: the form, and how the client says who it is (RFC 6749, section 2.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.api.grants import granted, needed_grant
from bridge.api.spec.upstream import Upstream
from bridge.api.spec.upstream_tokens import TokenRequestSpec
from bridge.api.values import Secret, is_origin, read_origin
from bridge.egress.token_endpoint import Form, TokenRequestError
from bridge.errors import BindError, Fault, KeyPath
from bridge.transport.client_auth import ClientAuthentication, Text

PATH: KeyPath = ("upstream_auth",)


@contextmanager
def sent_to(spec: TokenRequestSpec) -> Iterator[None]:
    """What is read inside is sent to the token endpoint of `spec`.

    :raises bridge.api.BindError: by what is read: it may not be sent there.
    """
    if spec.token_upstream is not None:
        upstream = Upstream.parse(spec.token_upstream)
        endpoint: str | tuple[Upstream, str] = (upstream, upstream.scheme or "http")
    else:
        assert spec.token_url is not None
        endpoint = spec.token_url
    with granted(replace(needed_grant(PATH), token_endpoint=endpoint)):
        yield


class TokenRequest:
    """The parts of a token request that are the same for all calls of a route. Secrets are read for each request, so
    that a rotated file counts from the next one on.

    :param home: the folder that ``$file`` is relative to.
    :raises bridge.api.BindError: a value can't be used or may not be sent to the endpoint.
    """

    def __init__(self, spec: TokenRequestSpec, home: Path) -> None:
        self._client = _client(spec, home)
        self._parameters: list[tuple[str, Text]] = []
        for name, value in spec.parameters.items():
            text = _text(value, (*PATH, "parameters", name), home)
            assert text is not None
            self._parameters.append((name, text))
        self._fixed: Form = [
            *([("scope", " ".join(spec.scopes))] if spec.scopes else []),
            *(("audience", audience) for audience in spec.audience),
            *(("resource", resource) for resource in spec.resource),
        ]

    def compose(self, own: Form) -> tuple[Form, Mapping[str, str]]:
        """Form and header fields of a request.

        :param own: the parameters of its grant.
        :raises TokenRequestError: the client's key can't be used any more.
        """
        form = [*own, *self._fixed, *((name, text()) for name, text in self._parameters)]
        if self._client is None:
            return form, {}
        try:
            parameters, headers = self._client.compose()
        except ValueError as error:
            raise TokenRequestError(f"the client's key can't be used: {error}") from None
        return [*form, *parameters], headers


def _client(spec: TokenRequestSpec, home: Path) -> ClientAuthentication | None:
    """:raises bridge.api.BindError: a value can't be used or may not be sent to the endpoint."""
    client = _text(spec.client_id, (*PATH, "client_id"), home)
    secret = _text(spec.client_secret, (*PATH, "client_secret"), home)
    key = _text(spec.client_key, (*PATH, "client_key"), home)
    if client is None:
        return None
    try:
        return ClientAuthentication(spec.client_auth, client, secret=secret, key=key, audience=spec.token_url or "")
    except ValueError as error:
        raise BindError(Fault(str(error), (*PATH, "client_key"))) from None


def _text(value: Any, path: KeyPath, home: Path) -> Text | None:
    """What gives the value at each request; None: there is no value.

    :raises bridge.api.BindError: it can't be used.
    """
    if value is None:
        return None
    if not is_origin(value):
        if not isinstance(value, str):
            raise BindError(Fault("it must be a text, {$env: …} or {$file: …}", path))
        return lambda: value
    origin = read_origin(value, path)
    if not origin.secret:
        reason = f"a token request has no values of a call; {origin.words} can't stand here"
        raise BindError(Fault(reason, origin.path))
    secret = Secret(origin, home)
    if not secret.text():
        raise BindError(Fault(f"{origin.words} is empty", path))
    return secret.text


def secret_text(value: Any, path: KeyPath, home: Path) -> Text:
    """As `_text`, for a value that there is."""
    text = _text(value, path, home)
    assert text is not None
    return text


def key_of(spec: TokenRequestSpec) -> str:
    """Two routes with the same text ask for the same tokens at the same endpoint, as the same client."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)
