"""The keys that may sign for an issuer: JSON Web Keys (RFC 7517) as verification keys, each bound to its algorithms.

Token and key must agree in three ways (RFC 8725, section 3.1): the issuer allows the algorithm, the key's type
matches it, and a key with an ``alg`` is used for no other. So a public RSA key is never an HMAC secret.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from bridge.errors import InvalidBody, TooLarge
from bridge.payload.parsing import parse_json

#: JWS algorithms (RFC 7518, section 3.1; RFC 8037) and the key type and curve that each needs. No ``none``.
ALGORITHMS: Mapping[str, tuple[str, str]] = {
    "HS256": ("oct", ""),
    "HS384": ("oct", ""),
    "HS512": ("oct", ""),
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
SYMMETRIC = frozenset(name for name, (kind, _) in ALGORITHMS.items() if kind == "oct")
ASYMMETRIC = frozenset(ALGORITHMS) - SYMMETRIC

#: RFC 7518, sections 3.2 and 3.3: an HMAC secret is at least as long as the hash, an RSA key has 2048 bits or more.
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_RSA_BITS = 2048

MAX_KEYS = 100  #: keys of one set that are used; the others are ignored
MAX_UNNAMED = 4  #: keys tried for a token that names none; each try costs a signature check

_IMPLEMENTATIONS = get_default_algorithms()


class BadKey(ValueError):
    """A key or a set of keys can't be used; the message has the reason, for humans, and never key material."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One verification key. `fingerprint` shows whether a key changed; `algorithms` are those that it may verify."""

    kid: str
    algorithms: frozenset[str]
    material: Any
    fingerprint: bytes


class KeySet:
    """The keys of one issuer at one time."""

    __slots__ = ("_by_kid", "_unnamed", "fingerprint", "keys")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.keys = tuple(keys)
        self.fingerprint = frozenset((key.kid, key.fingerprint) for key in self.keys)
        self._by_kid: dict[str, list[Key]] = {}
        for key in self.keys:
            self._by_kid.setdefault(key.kid, []).append(key)
        self._unnamed = self._by_kid.pop("", [])

    def find(self, kid: str, algorithm: str) -> Sequence[Key]:
        """Keys to try for a token with this ``kid`` (``""``: it names none); empty if there are none.

        A ``kid`` is only ever looked up here; it is never a path, a URL or part of a query.
        """
        candidates: Iterable[Key] = self._by_kid.get(kid) or self._unnamed if kid else self.keys
        return [key for key in candidates if algorithm in key.algorithms][:MAX_UNNAMED]


def secret_key(secret: bytes, algorithms: Iterable[str] = SYMMETRIC, kid: str = "") -> Key:
    """A shared secret as a key for those of `algorithms` for which it is long enough.

    :raises BadKey: it is too short for all of them, or is a PEM text, which is never a secret.
    """
    fitting = frozenset(name for name in algorithms if len(secret) >= _SECRET_BYTES.get(name, 1 << 30))
    if not fitting:
        raise BadKey(f"the secret has {len(secret)} bytes; HS256 takes 32 or more (RFC 7518, section 3.2)")
    try:
        material = _IMPLEMENTATIONS["HS256"].prepare_key(secret)
    except jwt.PyJWTError:
        raise BadKey("it holds a key in PEM or SSH form, which can't be a shared secret") from None
    return Key(kid, fitting, material, hashlib.sha256(secret).digest())


def public_key(material: Any, kid: str = "", alg: str = "") -> Key:
    """An RSA, EC or Ed25519 public key.

    :raises BadKey: another kind, a curve that no algorithm uses, or too few bits.
    """
    if isinstance(material, rsa.RSAPublicKey):
        if material.key_size < _RSA_BITS:
            raise BadKey(f"the RSA key has {material.key_size} bits; {_RSA_BITS} is the least")
        kind = ("RSA", "")
    elif isinstance(material, ec.EllipticCurvePublicKey):
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(material.curve.name, "?")
        kind = ("EC", curve)
    elif isinstance(material, ed25519.Ed25519PublicKey):
        kind = ("OKP", "Ed25519")
    else:
        raise BadKey("only RSA, EC and Ed25519 keys are taken")
    fitting = {name for name, needed in ALGORITHMS.items() if needed == kind and alg in ("", name)}
    if not fitting:
        raise BadKey(f"no algorithm fits the key ({alg or 'its curve is not P-256, P-384 or P-521'})")
    return Key(kid, frozenset(fitting), material, _fingerprint(material))


def _fingerprint(material: Any) -> bytes:
    return hashlib.sha256(material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def read_jwk(jwk: Mapping[str, Any]) -> Key:
    """One JSON Web Key. Only its public half is kept, even if it has both.

    :raises BadKey: it isn't for verifying signatures (``use``, ``key_ops``), or can't be read.
    """
    kid, alg, operations = jwk.get("kid", ""), jwk.get("alg", ""), jwk.get("key_ops")
    if not isinstance(kid, str) or not isinstance(alg, str):
        raise BadKey("its kid or alg is no text")
    if jwk.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        raise BadKey("it is not for signatures")
    kind = jwk.get("kty")
    if alg and ALGORITHMS.get(alg, ("", ""))[0] != kind:
        raise BadKey(f"its alg {alg!r} does not fit its type")
    reader = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA", "oct": "HS256"}.get(str(kind))
    if reader is None:
        raise BadKey("only RSA, EC, OKP and oct keys are taken")
    try:
        material = _IMPLEMENTATIONS[reader].from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, ArithmeticError):
        raise BadKey("its numbers make no valid key") from None
    if isinstance(material, bytes):
        return secret_key(material, [alg] if alg else SYMMETRIC, kid)
    if isinstance(material, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        material = material.public_key()
    return public_key(material, kid, alg)


def read_jwks(body: bytes) -> KeySet:
    """A JWK Set (RFC 7517, section 5): keys that can't be used are skipped, as the section requires.

    :raises BadKey: it is not a JWK Set, or has no usable key.
    """
    try:
        document = parse_json(body, exact=False)
    except InvalidBody:
        raise BadKey("it is not JSON") from None
    except TooLarge:
        raise BadKey("it holds too many values") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise BadKey('it is no JWK Set: an object with a list "keys"')
    keys, reasons = [], []
    for entry in entries[:MAX_KEYS]:
        try:
            if not isinstance(entry, dict):
                raise BadKey("it is no object")
            keys.append(read_jwk(entry))
        except BadKey as error:
            reasons.append(str(error))
    if not keys:
        raise BadKey("it holds no usable key" + (f" (the first: {reasons[0]})" if reasons else ""))
    return KeySet(keys)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The JWK thumbprint (RFC 7638, section 3.2; RFC 8037) of an EC, RSA or OKP public key. The local issuer uses it as
    ``kid``."""
    members = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
    required = {name: jwk[name] for name in members[jwk["kty"]]}
    digest = hashlib.sha256(msgspec.json.encode(required)).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
