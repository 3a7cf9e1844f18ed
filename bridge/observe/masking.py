"""What of a request may stand in a log: the values of parameters that sound like secrets do not.

A name is judged by its words, so that ``pin`` is masked and ``mapping`` is not. Words end where case or the kind of
character changes: ``accessToken``, ``SAMLResponse``, ``auth[token]``. When in doubt, a value is masked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

MASK = "***"

#: Secrets wherever they stand in a name.
_ANYWHERE = re.compile(
    r"token|secret(?!ar)|passw|passphrase|passcode|passkey|credential|signature|jwt|bearer|assertion|saml|oauth|csrf|xsrf"
    r"|hmac|cookie|nonce|verifier|sess(?:ion)?[-_ .]?id|relaystate|wresult|mnemonic"
    r"|(?:api|access|private|secret|shared|account|master|signing|encryption|client|licen[cs]e)[-_ .]?key"
    r"|(?:auth|otp|sms|security|verification|activation|reset|login|recovery|confirmation)[-_ .]?code"
)
#: Secrets as words of their own.
_WORDS = frozenset(
    (
        "auth", "authn", "authz", "authorization", "authentication", "key", "sig", "pin", "puk", "tan", "otp", "totp",
        "hotp", "mfa", "sid", "sess", "session", "phpsessid", "pass", "pwd", "pw", "psk", "pat", "ticket", "sso", "ssn",
        "cvv", "cvc", "csc", "seed", "code", "proof", "userpin", "mypin", "pincode",
    )
)  # fmt: skip
#: With one of these, a code is one of a list that everybody may know.
_PUBLIC_CODES = frozenset(
    (
        "country", "county", "postal", "post", "zip", "currency", "language", "lang", "locale", "status", "error",
        "area", "region", "state", "city", "product", "item", "unit", "tax", "vat", "color", "airport", "department",
        "reason", "type", "iso", "response", "exit", "bar", "station", "district", "municipality", "nace", "office",
        "bank", "branch",
    )
)  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST_REMEMBERED = 64  # bytes of a name; clients choose them

#: What parts one parameter from the next: some services take a semicolon, and a second question mark is a mistake.
_PARTS = re.compile(r"([&;?#])")
#: A JSON Web Token says what it is, whatever its parameter is called (RFC 7515, section 3.1).
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*")
#: What parts one ``name=value`` from the next in a sentence or a URL.
_BREAKS = re.compile(r"([\s&;?#/\"'(),]+)")


def is_secret(name: str) -> bool:
    """Whether the parameter `name`, as it is sent, sounds like a secret."""
    return _remembered(name) if len(name) <= _LONGEST_REMEMBERED else _judged(name)


def _judged(name: str) -> bool:
    # Decoded twice, since a reader that decodes twice sees another name than one that decodes once.
    plain = unquote(unquote_plus(name)) if "%" in name or "+" in name else name
    if _ANYWHERE.search(plain.lower()):
        return True
    words = {word.lower() for word in _WORD.findall(plain)}
    matches = words & _WORDS
    return bool(matches) and not (matches == {"code"} and words & _PUBLIC_CODES)


_remembered = lru_cache(maxsize=4096)(_judged)


def masked(query: str, names: Collection[str] = ()) -> str:
    """`query` with the values of parameters that sound like secrets, and JSON Web Tokens, replaced by ``***``.

    :param names: further parameters whose values are masked, percent-decoded.
    """
    if names:
        query = "".join([_named(part, names) for part in _PARTS.split(query)])
    if "=" not in query and "%3" not in query:
        return _JWT.sub(MASK, query) if "eyJ" in query else query
    return "".join([_part(part) for part in _PARTS.split(query)])


def masked_path(path: str) -> str:
    """`path` with the values of such matrix parameters (``/a;jsessionid=…``) and JSON Web Tokens masked."""
    if ";" in path or "=" in path or "%3" in path:
        path = "/".join(["".join([_part(part) for part in _PARTS.split(segment)]) for segment in path.split("/")])
    return _JWT.sub(MASK, path) if "eyJ" in path else path


def masked_target(target: str, names: Collection[str] = ()) -> str:
    """A path and its query, masked.

    :param names: as in `masked`.
    """
    path, mark, query = target.partition("?")
    return masked_path(path) + mark + masked(query, names)


def masked_text(text: str) -> str:
    """A sentence with such a ``name=value`` masked wherever it stands."""
    if "=" in text:
        text = "".join([_assigned(piece) for piece in _BREAKS.split(text)])
    return _JWT.sub(MASK, text) if "eyJ" in text else text


def _named(part: str, names: Collection[str]) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={MASK}" if equals and unquote_plus(name) in names else part


def _part(part: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        # The whole of a parameter, or several, may be escaped: one more decoder and it is one.
        return MASK if "%3" in part and _hides(part) else _JWT.sub(MASK, part) if "eyJ" in part else part
    if is_secret(name) or ("%" in value and _hides(value)):
        return f"{name}={MASK}"
    return f"{name}={_JWT.sub(MASK, value)}" if "eyJ" in value else part


def _assigned(piece: str) -> str:
    name, equals, value = piece.partition("=")
    return f"{name}={MASK}" if equals and value and is_secret(name) else piece


def _hides(text: str) -> bool:
    """Whether there is a secret in `text` once it is decoded: in a URL to go back to, say."""
    plain = unquote(unquote(text))
    pieces = _BREAKS.split(plain)
    return any(piece != _assigned(piece) for piece in pieces) or bool(_JWT.search(plain))
