"""Origins (RFC 6454; HTML, section 7.1.1): what browsers say of the page that sends a request, and rules for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from bridge.http.client_address import host_and_port

NULL = "null"  #: the origin of sandboxed frames, ``data:`` and local files: many pages share it
ANY = "any"

_PORTS = {"http": 80, "https": 443}
_LONGEST = 300  # characters of an origin: a host has at most 253
_LONGEST_URL = 8192
_LISTED = re.compile(r"[ \t]*,[ \t]*")  # what parts the elements of a list (RFC 9110, section 5.6.1)
_URL = re.compile(r"(https?)://([^/?#\\]*)", re.ASCII | re.IGNORECASE)
_NAME = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://({_NAME}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?", re.ASCII)
_PATTERN = re.compile(
    rf"(?:([a-z][a-z0-9+.-]*)://)?(\*\.)?({_NAME}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}|\*))?", re.ASCII | re.IGNORECASE
)


class WebOrigin(NamedTuple):
    """:ivar port: a number always, also where it is the scheme's own; 0 for other schemes without a port."""

    scheme: str
    host: str
    port: int


@lru_cache(maxsize=4096)
def parse_origin(text: str) -> WebOrigin | None:
    """An origin as browsers serialise it: in lower case, without the port that the scheme has anyway; None for any
    other text, `NULL` included."""
    match = _ORIGIN.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    scheme, host, digits = match[1], match[2], match[3]
    default = _PORTS.get(scheme, 0)
    if digits is None:
        return WebOrigin(scheme, host, default)
    port = int(digits)
    is_serialised = str(port) == digits and 0 < port <= 65535 and port != default
    return WebOrigin(scheme, host, port) if is_serialised else None


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """``https://app.example.org``, ``https://*.example.org:8443``, ``http://localhost:*`` or ``null``.

    :ivar text: in its normal form. :ivar host: for a suffix, with its leading dot. :ivar port: None: any.
    """

    text: str
    scheme: str
    host: str
    port: int | None

    @property
    def is_exact(self) -> bool:
        return self.port is not None and not self.host.startswith(".")

    def fits(self, origin: WebOrigin) -> bool:
        if origin.scheme != self.scheme or self.port not in (None, origin.port):
            return False
        if self.host.startswith("."):
            return origin.host.endswith(self.host) and len(origin.host) > len(self.host)
        return origin.host == self.host


def origin_pattern(text: str) -> OriginPattern:
    """`text` of a spec; without a scheme it is https.

    :raises ValueError: it is none; says what to write.
    """
    shown = repr(text[:80])
    if text == NULL:
        return OriginPattern(NULL, "", NULL, 0)
    if text in ("*", ANY):
        raise ValueError(f"{shown} stands alone for every origin: origins: any")
    match = _PATTERN.fullmatch(text)
    if match is None:
        parts = urlsplit(text) if "://" in text and text.isascii() and "[" not in text else None
        if parts is not None and parts.netloc and (parts.path or parts.query or parts.fragment):
            raise ValueError(f"{shown} has a path, an origin has none; write {parts.scheme}://{parts.netloc}")
        if not text.isascii():
            raise ValueError(f"{shown}: write the name as browsers send it, in ASCII (xn--…)")
        raise ValueError(f"{shown} is no origin; write https://app.example.org, https://*.example.org or null")
    scheme, wild, host, digits = (match[1] or "https").lower(), match[2], match[3].lower(), match[4]
    if wild and (host.startswith("[") or host.replace(".", "").isdigit()):
        raise ValueError(f"{shown}: an address has no subdomains")
    if wild and "." not in host and host != "localhost":
        raise ValueError(f"{shown} covers a whole top-level domain; name a domain, or write origins: any")
    default = _PORTS.get(scheme, 0)
    port = None if digits == "*" else default if digits is None else int(digits)
    if port is not None and (port > 65535 or (digits is not None and port == 0)):
        raise ValueError(f"{shown}: a port is a number from 1 to 65535, or *")
    tail = ":*" if port is None else "" if port == default else f":{port}"
    return OriginPattern(f"{scheme}://{wild or ''}{host}{tail}", scheme, f".{host}" if wild else host, port)


class Origins:
    """The origins that a list of patterns allows."""

    def __init__(self, patterns: Iterable[OriginPattern]) -> None:
        patterns = tuple(patterns)
        # An exact one is its own serialisation, so the usual lookup parses nothing.
        self._exact = frozenset(one.text for one in patterns if one.is_exact)
        self._others = tuple(one for one in patterns if not one.is_exact)

    def __contains__(self, origin: str) -> bool:
        """:param origin: as a browser sends it."""
        if origin in self._exact:
            return True
        if not self._others:
            return False
        parsed = parse_origin(origin)
        return parsed is not None and any(one.fits(parsed) for one in self._others)


def origin_of_url(url: str) -> str:
    """The origin of an http or https URL, as `Referer` has it; ``""`` for any other text."""
    match = _URL.match(url) if len(url) <= _LONGEST_URL else None
    text = f"{match[1].lower()}://{match[2].lower()}" if match else ""
    return text if parse_origin(text) is not None else ""


def is_own(origin: str, fields: Mapping[str, str], *, secure: bool) -> bool:
    """Whether the page with this `origin` came from the host that the request is for.

    :param fields: of the request. :param secure: the gateway itself serves HTTPS, so that its pages have no other
        scheme.
    """
    page, host = parse_origin(origin), host_and_port(fields.get("host", ""))
    if page is None or host is None or page.scheme not in _PORTS:
        return False
    if page.scheme == "http" and (secure or "https" in _LISTED.split(fields.get("x-forwarded-proto", "").lower())):
        return False
    # A host without a port has its scheme's, and the page's scheme is the only one that is known behind a proxy.
    return (page.host, page.port) == (host[0], host[1] or _PORTS[page.scheme])
