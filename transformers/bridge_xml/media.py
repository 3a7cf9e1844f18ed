"""Content types, as far as forwarding needs them (RFC 9110, section 8.3; RFC 6839 and 7303 for the suffixes)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9][A-Za-z0-9._:-]*)"?', re.IGNORECASE)


class Media(NamedTuple):
    """What a content type says: how to read the body, and in which charset (``""``: it doesn't say)."""

    kind: Literal["json", "xml", "none", "other"]
    charset: str


@lru_cache(maxsize=512)
def media(content_type: str) -> Media:
    """`content_type` judged; ``""`` is kind ``none``.

    XHTML is a page and SVG a picture: both are ``other``, though XML by their syntax.
    """
    name = content_type.partition(";")[0].strip().lower()
    found = _CHARSET.search(content_type)
    charset = found[1].lower() if found else ""
    if not name:
        return Media("none", charset)
    kind, _, sub = name.partition("/")
    if kind in ("application", "text") and (sub == "json" or sub.endswith("+json")):
        return Media("json", charset)
    if kind in ("application", "text") and (sub == "xml" or (sub.endswith("+xml") and sub != "xhtml+xml")):
        return Media("xml", charset)
    return Media("other", charset)
