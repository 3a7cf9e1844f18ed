"""The entities that XML has without a DTD (4.6)."""

from __future__ import annotations

_MARKUP = ("&amp;", "&lt;", "&gt;", "&quot;", "&apos;")
_MAX_ESCAPED = 1024 * 1024


class Unlike(Exception):
    """The text is not as the expressions have it."""


def unescaped(text: str) -> str:
    """`text` with the five entities that XML has without a DTD (4.6).

    :raises Unlike: it holds other references, or is so long that the parser, which works without the GIL, does better.
    """
    if len(text) > _MAX_ESCAPED or sum(map(text.count, _MARKUP)) != text.count("&"):
        raise Unlike
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'")
    return text.replace("&amp;", "&")
