"""DPoP proofs (RFC 9449): that a caller has the key to which its token is bound."""

from __future__ import annotations

import binascii
import hmac
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NoReturn
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from bridge.errors import InvalidBody, Overloaded, Unauthorized
from bridge.payload.parsing import parse_json
from bridge.stages.auth.jwt import REALM
from bridge.stages.auth.keys import BadKey, Key, read_jwk, thumbprint

#: The field of the proof, in lower case.
FIELD = "dpop"
#: The algorithms of proofs (RFC 9449, section 4.3: asymmetric ones only).
ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
MAX_PROOF = 8 * 1024  #: characters
MAX_JTI = 256  #: characters
#: Seconds for which a proof is accepted after its ``iat``, and by which that may be in the future.
MAX_AGE, LEEWAY = 60.0, 10.0
#: Proofs that are remembered in each of two spans of time, to refuse them when they come again.
REMEMBERED = 200_000
_SPAN = MAX_AGE + LEEWAY

#: RFC 9449, section 7.1.
CHALLENGE = f'DPoP realm="{REALM}", algs="{" ".join(ALGORITHMS)}"'

_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_B64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_RSA_BITS, _RSA_EXPONENT = 8192, 1 << 32  # a larger one would take long to verify with
_PORTS = {"http": 80, "https": 443}
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})", re.ASCII)
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)
_jws = jwt.PyJWS(options={"enforce_minimum_key_length": True})


def challenge(error: str, reason: str) -> str:
    """:param reason: a sentence in ASCII without quotes."""
    return f'{CHALLENGE}, error="{error}", error_description="{reason.rstrip(".")}"'


def refuse_proof(reason: str, error: str = "invalid_dpop_proof") -> NoReturn:
    """401 with the challenge of RFC 9449, section 7.1."""
    raise Unauthorized(reason, headers=[("www-authenticate", challenge(error, reason))])


class DpopProofs:
    """Verifies proofs, each of which counts once.

    What was seen is kept in this process only: with several, each accepts a proof once within its time.

    :param remembered: of each of two spans of `MAX_AGE` and `LEEWAY`; if there are more proofs, new ones are refused.
    """

    def __init__(self, clock: Callable[[], float] = time.time, remembered: int = REMEMBERED) -> None:
        self._clock, self._remembered = clock, remembered
        self._seen: set[bytes] = set()
        self._seen_before: set[bytes] = set()
        self._span_ends = clock() + _SPAN

    def check(self, proof: str, *, method: str, url: str, token: str, key: str, spend: bool = True) -> None:
        """RFC 9449, section 4.3.

        :param method, url: of the request. :param key: the thumbprint to which `token` is bound (``cnf.jkt``).
        :param spend: whether the proof counts no more from now on.
        :raises Unauthorized: the proof is wrong, or was sent before.
        :raises Overloaded: more proofs come than can be remembered.
        """
        header, claims, jti = _opened(proof)
        algorithm = header["alg"]
        if claims.get("htm") != method:
            refuse_proof("The DPoP proof is for another method (htm).")
        htu = claims.get("htu")
        if not isinstance(htu, str) or (wanted := normal_url(url)) is None or normal_url(htu) != wanted:
            refuse_proof("The DPoP proof is for another URL (htu).")
        issued, now = claims.get("iat"), self._clock()
        if isinstance(issued, bool) or not isinstance(issued, int | float):
            refuse_proof("The DPoP proof has no time (iat).")
        if not now - MAX_AGE <= issued <= now + LEEWAY:
            refuse_proof("The DPoP proof is too old, or its time (iat) is in the future.")
        if not _same(claims.get("ath"), _digest(token)):
            refuse_proof("The DPoP proof is for another token (ath).")
        jwk = header["jwk"]
        verifier = _public_key(jwk)
        if algorithm not in verifier.algorithms:
            refuse_proof("The DPoP proof has a key of another kind than its algorithm (alg).")
        if not _same(thumbprint(jwk), key):
            refuse_proof("The DPoP proof has another key than the one that the token is bound to (cnf.jkt).")
        try:
            _jws.decode_complete(proof, key=verifier.material, algorithms=[algorithm])
        except (jwt.PyJWTError, ValueError, TypeError):
            refuse_proof("The signature of the DPoP proof is not valid.")
        self._take(sha256(f"{key}\0{jti}".encode()).digest()[:16], now, spend=spend)

    def _take(self, digest: bytes, now: float, *, spend: bool) -> None:
        """RFC 9449, section 11.1."""
        if now >= self._span_ends:
            is_next = now < self._span_ends + _SPAN
            self._seen_before, self._seen = (self._seen if is_next else set()), set()
            self._span_ends = now + _SPAN
        if digest in self._seen or digest in self._seen_before:
            refuse_proof("The DPoP proof was sent before (jti).")
        if not spend:
            return
        if len(self._seen) >= self._remembered:
            raise Overloaded(
                "More DPoP proofs come than can be remembered. Try again later.",
                headers=[("retry-after", str(max(1, round(self._span_ends - now))))],
            )
        self._seen.add(digest)


def _opened(proof: str) -> tuple[Mapping[str, Any], Mapping[str, Any], str]:
    """Header, claims and ``jti`` of a proof that has the form of one; nothing is verified."""
    parts = proof.split(".")
    if len(proof) > MAX_PROOF or len(parts) != 3 or not all(map(_B64URL.fullmatch, parts)):
        refuse_proof(f"The DPoP proof is no signed JWT of at most {MAX_PROOF} characters.")
    header, claims = (_object(part) for part in parts[:2])
    if header.get("typ") != "dpop+jwt":
        refuse_proof("The DPoP proof has another type (typ) than dpop+jwt.")
    if header.get("alg") not in ALGORITHMS:
        refuse_proof("The DPoP proof is signed with an algorithm (alg) that is not accepted.")
    if "crit" in header or "b64" in header:
        refuse_proof("The DPoP proof demands an extension that is not understood (crit).")
    jwk = header.get("jwk")
    if not isinstance(jwk, dict) or not _PRIVATE.isdisjoint(jwk):
        refuse_proof("The DPoP proof needs its public key (jwk), and no private one.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        refuse_proof(f"The DPoP proof needs an id (jti) of at most {MAX_JTI} characters.")
    return header, claims, jti


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = parse_json(urlsafe_b64decode(text + "=" * (-len(text) % 4)), exact=False)
    except (InvalidBody, binascii.Error, ValueError):
        value = None
    if not isinstance(value, dict):
        refuse_proof("The DPoP proof is malformed.")
    return value


def _public_key(jwk: Mapping[str, Any]) -> Key:
    # Before any arithmetic.
    if any(not isinstance(value, str) for name, value in jwk.items() if name in ("kty", "crv", "x", "y", "n", "e")):
        refuse_proof("The DPoP proof has a key (jwk) that can't be read.")
    try:
        key = read_jwk(jwk)
    except BadKey:
        refuse_proof("The DPoP proof has a key (jwk) that can't be used.")
    if isinstance(key.material, rsa.RSAPublicKey) and (
        key.material.key_size > _RSA_BITS or key.material.public_numbers().e >= _RSA_EXPONENT
    ):
        refuse_proof("The DPoP proof has a key (jwk) that is too large.")
    return key


def _digest(token: str) -> str:
    return urlsafe_b64encode(sha256(token.encode("ascii", "replace")).digest()).rstrip(b"=").decode()


def _same(one: object, other: str) -> bool:
    return isinstance(one, str) and hmac.compare_digest(one.encode(), other.encode())


def normal_url(url: str) -> str | None:
    """`url` without query and fragment, normalised for comparing (RFC 9449, section 4.3; RFC 3986, sections 6.2.2 and
    6.2.3); None for what is no http or https URL, or names a user."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _PORTS or not host or "@" in parts.netloc or not url.isascii() or not url.isprintable():
        return None
    host = f"[{host}]" if ":" in host else host.lower().removesuffix(".")
    authority = host if port in (None, _PORTS[scheme]) else f"{host}:{port}"
    return f"{scheme}://{authority}{_ENCODED.sub(_plain, parts.path) or '/'}"


def _plain(match: re.Match[str]) -> str:
    letter = chr(int(match[1], 16))
    return letter if _UNRESERVED.fullmatch(letter) else f"%{match[1].upper()}"
