"""How the gateway, as an OAuth client, says who it is to an authorization server (RFC 6749, section 2.3)."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote_plus

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  #: RFC 7523, section 2.2
ASSERTION_LIFE = 60  #: seconds

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

#: What gives a value at each request, so that a rotated one counts from the next request on.
Text = Callable[[], str]
Parameters = Sequence[tuple[str, str]]


class ClientAuthentication:
    """One client at one server.

    :param kind: ``basic`` and ``post``: the secret in a header field or in the form (RFC 6749, section 2.3.1);
        ``private_key_jwt``: a signed assertion (RFC 7523, section 2.2); ``mtls``: the id alone, since the connection
        has the client's certificate (RFC 8705, section 2).
    :param client: the ``client_id``.
    :param secret: the ``client_secret``; None: the client has none.
    :param key: PEM of the private key by which assertions are signed.
    :param audience: of assertions.
    :raises ValueError: the key can't be used; the message doesn't quote it.
    """

    def __init__(
        self,
        kind: Literal["basic", "post", "private_key_jwt", "mtls"],
        client: Text,
        *,
        secret: Text | None = None,
        key: Text | None = None,
        audience: str = "",
    ) -> None:
        self._kind, self._client, self._secret, self._audience = kind, client, secret, audience
        self._key = key if kind == "private_key_jwt" else None
        if self._key is not None:
            signing_key(self._key())

    def compose(self) -> tuple[Parameters, Mapping[str, str]]:
        """The parameters that the form has, and header fields.

        :raises ValueError: the key can't be used any more; the message doesn't quote it.
        """
        client = self._client()
        if self._key is not None:
            assertion = self._assertion(client, self._key())
            return [
                ("client_id", client),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion),
            ], {}
        if self._secret is None:
            return [("client_id", client)], {}
        if self._kind == "basic":
            # Section 2.3.1: both are form-encoded first, so that a colon in the id is none.
            pair = f"{quote_plus(client)}:{quote_plus(self._secret())}"
            return [], {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return [("client_id", client), ("client_secret", self._secret())], {}

    def _assertion(self, client: str, pem: str) -> str:
        """RFC 7523, section 3."""
        key, algorithm = signing_key(pem)
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": client,
            "sub": client,
            "aud": self._audience,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode(claims, key, algorithm=algorithm)


def signing_key(pem: str) -> tuple[Any, str]:
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
