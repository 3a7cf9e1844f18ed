"""The entities that XML predefines (1.0, section 4.6)."""

from __future__ import annotations

_MARKUP = ("&amp;", "&lt;", "&gt;", "&quot;", "&apos;")
_MAX_ESCAPED = 1024 * 1024


class EscapeError(Exception):
    """The text contains references that need a parser."""


def unescaped(text: str) -> str:
    """`text` with the five predefined entities replaced.

    :raises EscapeError: it contains other references, or is so long that the parser, which releases the GIL, is faster.
    """
    if len(text) > _MAX_ESCAPED or sum(map(text.count, _MARKUP)) != text.count("&"):
        raise EscapeError
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'")
    return text.replace("&amp;", "&")
