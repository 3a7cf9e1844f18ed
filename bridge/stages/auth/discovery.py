"""What an issuer says of itself: OpenID Connect Discovery 1.0 and OAuth 2.0 Authorization Server Metadata (RFC 8414).

Nothing here opens a connection: an issuer's name gives the addresses of its document, and the document's bytes give
its `IssuerMetadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.errors import InvalidBody, TooLarge
from bridge.http.client_address import is_address
from bridge.payload.parsing import parse_json
from bridge.transport.reach import refusal

MAX_METADATA = 256 * 1024  #: bytes of a document
MAX_URL = 2048  #: characters of a URL in it
MAX_SCOPES, MAX_SCOPE = 1000, 256  #: scopes of a document that are kept, and characters of each
_SHOWN = 200  #: characters of a foreign value that a message repeats

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "introspection_endpoint")


class BadMetadata(ValueError):
    """A document can't be used; the message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """The document of one issuer (RFC 8414, section 2). Each URL is checked as `read_metadata` says; None is one that
    the document does not name.

    :ivar scopes_supported: in the document's order; empty where it says nothing.
    """

    issuer: str
    jwks_uri: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    introspection_endpoint: str | None = None
    scopes_supported: tuple[str, ...] = ()


def issuer_fault(issuer: str) -> str:
    """Why no document can be found for `issuer`; ``""`` if one can (OpenID Connect Discovery, section 2; RFC 8414,
    section 2: a URL without query and fragment)."""
    try:
        parts = urlsplit(issuer)
        _ = parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "it is no http or https URL"
    if "?" in issuer or "#" in issuer:
        return "its URL has a query or a fragment"
    if parts.username is not None or parts.password is not None:
        return "its URL has a user name or a password in it"
    if not issuer.isascii() or not issuer.isprintable() or " " in issuer:
        return "its URL has characters in it that must be percent-encoded"
    return ""


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where the document of `issuer` is: behind its path (OpenID Connect Discovery, section 4), or between its host and
    its path (RFC 8414, section 3.1)."""
    base = issuer.removesuffix("/")
    parts = urlsplit(base)
    root = f"{parts.scheme}://{parts.netloc}"
    return base + OPENID, root + OAUTH + parts.path


def read_metadata(body: bytes, issuer: str) -> IssuerMetadata:
    """The document of `issuer`. Members that are not used here may be anything.

    Its ``issuer`` is exactly `issuer` (OpenID Connect Discovery, section 4.3; RFC 8414, section 3.3), or one server
    could pass for another. Its URLs are https unless the issuer itself is http, and not on this machine unless the
    issuer is.

    :raises BadMetadata: it is no such document.
    """
    try:
        document = parse_json(body, exact=False)
    except InvalidBody:
        raise BadMetadata("it is not JSON") from None
    except TooLarge:
        raise BadMetadata("it holds too many values") from None
    if not isinstance(document, dict):
        raise BadMetadata("it is no JSON object")
    said = document.get("issuer")
    if said != issuer:
        shown = repr(said[:_SHOWN]) if isinstance(said, str) else "missing or no text"
        raise BadMetadata(f"its issuer is {shown}; it must be exactly the entry's, {issuer!r} (RFC 8414, section 3.3)")
    is_secure = urlsplit(issuer).scheme == "https"
    local = _is_local(urlsplit(issuer).hostname or "")
    urls = {name: _url(document, name, is_secure=is_secure, local=local) for name in ("jwks_uri", *_ENDPOINTS)}
    return IssuerMetadata(issuer, **urls, scopes_supported=_scopes(document.get("scopes_supported")))


def _url(document: Mapping[str, Any], name: str, *, is_secure: bool, local: bool) -> str | None:
    """:raises BadMetadata: it is none that may be asked."""
    url = document.get(name)
    if url is None:
        return None
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise BadMetadata(f"its {name} is no text of at most {MAX_URL} characters")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise BadMetadata(f"its {name} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
        raise BadMetadata(f"its {name} is no http or https URL")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadMetadata(f"its {name} has a user name, a password or a fragment in it")
    if is_secure and parts.scheme != "https":
        raise BadMetadata(f"its {name} is http, and the issuer is https: whoever is between could change the answer")
    host = parts.hostname
    reason = refusal(host, loopback=True) if is_address(host) else ""
    if not reason and not local and _is_local(host):
        reason = "loopback"
    if reason:
        raise BadMetadata(f"its {name} is at {host}, which is refused: {reason}")
    return url


def _is_local(host: str) -> bool:
    """Whether a host is this machine, as it is written; where a name leads is judged when it is resolved."""
    return refusal(host) == "loopback" if is_address(host) else host.rpartition(".")[2] == "localhost"


def _scopes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(one for one in value[:MAX_SCOPES] if isinstance(one, str) and 0 < len(one) <= MAX_SCOPE)
