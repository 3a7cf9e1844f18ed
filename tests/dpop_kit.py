"""What clients of DPoP (RFC 9449) do, in tests: keys, tokens that are bound to them, and proofs."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class DpopClient:
    """A client's key."""

    algorithm: str = "ES256"
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def jwk(self) -> dict[str, Any]:
        made: dict[str, Any] = get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)
        made.pop("key_ops", None)
        return made

    @property
    def private_jwk(self) -> dict[str, Any]:
        made: dict[str, Any] = get_default_algorithms()[self.algorithm].to_jwk(self.key, as_dict=True)
        return made

    @property
    def thumbprint(self) -> str:
        """RFC 7638, in words of its own: sorted members, no spaces."""
        names = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}[self.jwk["kty"]]
        text = json.dumps({name: self.jwk[name] for name in names}, sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(text.encode()).digest())

    def proof(self, url: str, token: str, *, header: Any = (), key: Any = None, **claims: Any) -> str:
        """A good proof; a claim or member of the header given as None is left out."""
        ath = b64(hashlib.sha256(token.encode()).digest())
        made = {"jti": str(uuid.uuid4()), "htm": "GET", "htu": url, "iat": int(time.time()), "ath": ath} | claims
        head = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk} | dict(header)
        head = {name: value for name, value in head.items() if value is not None}
        made = {name: value for name, value in made.items() if value is not None}
        signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(made).encode())}"
        algorithm = get_default_algorithms()[self.algorithm]
        return f"{signed}.{b64(algorithm.sign(signed.encode(), key or self.key))}"


def clients() -> list[DpopClient]:
    """One of each kind of key and algorithm."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    return [
        DpopClient("ES256"),
        DpopClient("ES384", ec.generate_private_key(ec.SECP384R1())),
        DpopClient("ES512", ec.generate_private_key(ec.SECP521R1())),
        DpopClient("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        DpopClient("RS256", rsa_key),
        DpopClient("PS256", rsa_key),
    ]


def decoded(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
