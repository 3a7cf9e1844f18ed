"""Tokens (RFC 9110, section 5.6.2): methods, names of fields, and most other words of HTTP."""

from __future__ import annotations

import re

_OTHERS = "!#$%&'*+.^_`|~0-9"

#: The pattern of a token, for use within others; encoded, it matches bytes.
TOKEN = rf"[{_OTHERS}A-Za-z-]+"
#: A token without capitals: the name of a field in HTTP/2 (RFC 9113, section 8.2.1).
LOWER_TOKEN = rf"[{_OTHERS}a-z-]+"

_TOKEN = re.compile(TOKEN)


def is_token(text: str) -> bool:
    """Whether `text` is a token: at least one character, and none but the section's ``tchar``."""
    return _TOKEN.fullmatch(text) is not None
