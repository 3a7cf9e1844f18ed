"""A JSON Web Signature in compact form (RFC 7515, section 7.1) as its header and claims. Nothing is verified here.

One token has one text: base64url without padding, white space or bits that count for nothing (RFC 4648, section 3.5),
and JSON in which no name stands twice (RFC 7515, section 4; RFC 7519, section 4). So no other reader of the same token
can read something else in it.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bridge.errors import InvalidBody, TooLarge
from bridge.payload.parsing import parse_json

MAX_TOKEN = 16 * 1024  #: bytes

_B64URL = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_MALFORMED = "The token is malformed."


class BadToken(ValueError):
    """A text is no token that can be judged; the message is a sentence for its owner, in ASCII without quotes."""


class OpenedToken(NamedTuple):
    """Header and claims, not verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def open_token(token: str) -> OpenedToken:
    """:raises BadToken: it is none, or demands what is not understood (``crit``, ``b64``)."""
    if len(token) > MAX_TOKEN:
        raise BadToken(f"The token is longer than {MAX_TOKEN} bytes.")
    parts = token.split(".")
    if len(parts) != 3:
        raise BadToken("The token is no JWT: it needs three parts with dots between.")
    header, claims, _ = _object(_bytes(parts[0])), _object(_bytes(parts[1])), _bytes(parts[2])
    # Section 4.1.11: an extension that is critical and not understood makes the token invalid. RFC 7797: `b64` changes
    # what is signed.
    if "crit" in header or "b64" in header:
        raise BadToken("The token demands an extension that is not understood (crit).")
    return OpenedToken(header, claims)


def issuer_of(token: str) -> str:
    """The ``iss`` that a text of three parts names, whatever else may be wrong with it; "" if it names none."""
    parts = token.split(".", 3)
    if len(token) > MAX_TOKEN or len(parts) != 3:
        return ""
    try:
        claims = parse_json(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), exact=False)
    except (InvalidBody, TooLarge, ValueError):
        return ""
    name = claims.get("iss") if isinstance(claims, dict) else None
    return name if isinstance(name, str) else ""


def _bytes(part: str) -> bytes:
    raw = part.encode("ascii", "replace")
    if not _B64URL.issuperset(raw):
        raise BadToken(_MALFORMED)
    try:
        decoded = urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        raise BadToken(_MALFORMED) from None
    if urlsafe_b64encode(decoded).rstrip(b"=") != raw:
        raise BadToken(_MALFORMED)
    return decoded


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        value = parse_json(text, exact=False)
        json.loads(text.decode(), object_pairs_hook=_unique)  # a text with a byte order mark is none for it
    except (InvalidBody, ValueError, RecursionError):
        raise BadToken(_MALFORMED) from None
    if not isinstance(value, dict):
        raise BadToken(_MALFORMED)
    return value


def _unique(members: Sequence[tuple[str, Any]]) -> None:
    """:raises ValueError: a name stands twice in one object."""
    if len({name for name, _ in members}) != len(members):
        raise ValueError("a name stands twice")
