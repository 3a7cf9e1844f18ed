"""What is sent to a token endpoint: the form, and how the client says who it is (RFC 6749, section 2.3)."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bridge.api.grants import granted, needed_grant
from bridge.api.spec.upstream import Upstream
from bridge.api.spec.upstream_tokens import TokenRequestSpec
from bridge.api.values import Secret, is_origin, read_origin
from bridge.egress.token_endpoint import Form, TokenRequestError
from bridge.errors import BindError, Fault, KeyPath

PATH: KeyPath = ("upstream_auth",)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  #: RFC 7523, section 2.2
ASSERTION_LIFE = 60  #: seconds

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

Text = Callable[[], str]


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
        self._url, self._kind = spec.token_url or "", spec.client_auth
        self._id = _text(spec.client_id, (*PATH, "client_id"), home)
        self._secret = _text(spec.client_secret, (*PATH, "client_secret"), home)
        self._key = _text(spec.client_key, (*PATH, "client_key"), home)
        if self._key is not None:
            try:
                _signing_key(self._key())
            except ValueError as error:
                raise BindError(Fault(str(error), (*PATH, "client_key"))) from None
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
        headers: dict[str, str] = {}
        if self._id is None:
            return form, headers
        client = self._id()
        if self._key is not None:
            form += [
                ("client_id", client),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", self._assertion(client, self._key())),
            ]
        elif self._secret is not None and self._kind == "basic":
            # Section 2.3.1: both are form-encoded first, so that a colon in the id is none.
            pair = f"{quote_plus(client)}:{quote_plus(self._secret())}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form.append(("client_id", client))
            if self._secret is not None:
                form.append(("client_secret", self._secret()))
        return form, headers

    def _assertion(self, client: str, pem: str) -> str:
        """RFC 7523, section 3."""
        try:
            key, algorithm = _signing_key(pem)
        except ValueError as error:
            raise TokenRequestError(f"the client's key can't be used: {error}") from None
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": client,
            "sub": client,
            "aud": self._url,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode(claims, key, algorithm=algorithm)


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


def _signing_key(pem: str) -> tuple[Any, str]:
    """A private key and the algorithm that it signs by.

    :raises ValueError: it is none that can be used; the message doesn't quote it.
    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it holds no private key in PEM form without a password") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key, "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key, "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key, _CURVES[key.curve.name]
    raise ValueError("it takes a key of RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519")


def key_of(spec: TokenRequestSpec) -> str:
    """Two routes with the same text ask for the same tokens at the same endpoint, as the same client."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)
