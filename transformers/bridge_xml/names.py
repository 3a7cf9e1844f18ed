"""Names in XML documents (XML 1.0, 2.3; Namespaces 1.0, 4)."""

from __future__ import annotations

import re
from functools import lru_cache

_START = (
    "A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c-\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NCNAME = f"[{_START}][{_START}\\-.0-9\xb7\u0300-\u036f\u203f-\u2040]*"
_QNAME = re.compile(f"(?:({_NCNAME}):)?{_NCNAME}")


@lru_cache(maxsize=4096)
def prefix_of(name: str) -> str | None:
    """The prefix of `name`, ``""`` if it has none, None if it is not a name (QName, Namespaces 1.0, 4). Cached, since a
    body repeats few names."""
    match = _QNAME.fullmatch(name)
    return None if match is None else match[1] or ""
