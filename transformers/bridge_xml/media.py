"""Content types, as far as forwarding needs them (RFC 9110, section 8.3; RFC 6839 and 7303 for the suffixes)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9][A-Za-z0-9._:-]*)"?', re.IGNORECASE)


class Media(NamedTuple):
    """The kind of a content type, and its charset (``""`` if it has none)."""

    kind: Literal["json", "xml", "none", "other"]
    charset: str


@lru_cache(maxsize=512)
def media(content_type: str) -> Media:
    """The kind of `content_type`; ``""`` is kind ``none``.

    XHTML and SVG are ``other``, although their syntax is XML.
    """
    name = content_type.partition(";")[0].strip().lower()
    match = _CHARSET.search(content_type)
    charset = match[1].lower() if match else ""
    if not name:
        return Media("none", charset)
    kind, _, sub = name.partition("/")
    if kind in ("application", "text") and (sub == "json" or sub.endswith("+json")):
        return Media("json", charset)
    if kind in ("application", "text") and (sub == "xml" or (sub.endswith("+xml") and sub != "xhtml+xml")):
        return Media("xml", charset)
    return Media("other", charset)
