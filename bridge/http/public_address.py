"""The address at which clients see the gateway behind a trusted proxy, by its ``X-Forwarded-…`` fields.

Each field counts if it has one valid value. Of a list, which proxies make that append, the last one counts: it is that
of the proxy that is trusted, and what stands before it may be the client's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.http.client_address import valid_authority

Headers = Sequence[tuple[str, str]]

_LONGEST = 1024  #: characters of a prefix
# RFC 3986, section 3.3: segments, none of which is empty.
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?", re.ASCII)
#: Some proxies tell of a WebSocket's scheme.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def public_prefix(headers: Headers) -> str:
    """What the proxy has removed from the path's beginning, such as ``/gateway``; ``""`` if nothing or invalid.

    :param headers: of a request by a trusted proxy; names in lower case.
    """
    text = _last(headers, "x-forwarded-prefix")
    if not text or len(text) > _LONGEST or not _PREFIX.fullmatch(text) or _DOTS.search(text):
        return ""
    return text.rstrip("/")


def public_base(headers: Headers, scheme: str, host: str) -> str:
    """The URL that public paths are below, without a final slash; ``""`` if the proxy says nothing of it.

    :param headers: of a request by a trusted proxy; names in lower case.
    :param scheme: of the request as it came. :param host: its Host field, which is valid.
    """
    proto = _last(headers, "x-forwarded-proto").lower()
    is_told = proto in ("http", "https")
    authority, prefix = forwarded_host(headers), public_prefix(headers)
    if not (is_told or authority or prefix):
        return ""
    return f"{proto if is_told else scheme}://{authority or host}{prefix}"


def forwarded_scheme(headers: Headers) -> str:
    """``http`` or ``https``, by ``X-Forwarded-Proto``; ``""`` if it says nothing or something else."""
    return _SCHEMES.get(_last(headers, "x-forwarded-proto").lower(), "")


def forwarded_host(headers: Headers) -> str:
    """The authority in ``X-Forwarded-Host``; ``""`` if there is none or an invalid one."""
    authority = _last(headers, "x-forwarded-host")
    return authority if valid_authority(authority) else ""


def _last(headers: Headers, name: str) -> str:
    """The last element of all fields of this name; ``""`` if there is none."""
    return next((value.rpartition(",")[2].strip() for field, value in reversed(headers) if field == name), "")
