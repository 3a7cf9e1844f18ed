"""Custom options whose definition can't be found, taken out of the text of a ``.proto``.

They are for validators, linters and generators of code; the gateway reads ``google.api`` alone. Lines and columns stay
what they are, since what is taken out is replaced by spaces.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[A-Za-z_][A-Za-z0-9_.]*|\s+|.", re.DOTALL
)
_OPENING, _CLOSING = frozenset("{[("), frozenset("}])")
_STARTS = frozenset((";", "{", "}", ""))  #: what a statement follows


class _Token(NamedTuple):
    text: str
    start: int
    end: int


def without_options(text: str, names: Collection[str], imports: Collection[str]) -> str:
    """`text` without the options and imports of these names.

    :param names: of custom options, as ``buf.validate.field``. :param imports: files, as they are imported.
    """
    tokens = [
        _Token(match[0], match.start(), match.end())
        for match in _TOKEN.finditer(text)
        if not match[0].isspace() and not match[0].startswith(("//", "/*"))
    ]
    parts, at = [], 0
    for start, end in _spans(tokens, names, imports):
        parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


def _spans(tokens: list[_Token], names: Collection[str], imports: Collection[str]) -> Iterator[tuple[int, int]]:
    """What to take out, in order."""
    at, before = 0, ""
    while at < len(tokens):
        token = tokens[at]
        if before in _STARTS and token.text in ("option", "import"):
            end = _end(tokens, at, ";")
            statement = tokens[at : end + 1]
            if token.text == "import":
                is_unknown = "".join(each.text[1:-1] for each in statement if each.text[0] in "\"'") in imports
            else:
                is_unknown = _name(statement[1:]) in names
            if is_unknown:
                yield token.start, statement[-1].end
            at, before = end + 1, ";"
            continue
        if token.text == "[":
            end = _end(tokens, at + 1, "]")
            yield from _items(tokens[at : end + 1], names)
            at, before = end + 1, "]"
            continue
        at, before = at + 1, token.text


def _end(tokens: list[_Token], at: int, closing: str) -> int:
    """The place of the next `closing` outside of brackets; the last token where there is none."""
    depth = 0
    for place in range(at, len(tokens)):
        text = tokens[place].text
        if text == closing and not depth:
            return place
        depth += (text in _OPENING) - (text in _CLOSING)
    return len(tokens) - 1


def _name(tokens: list[_Token]) -> str:
    """The name in the parentheses that `tokens` begin with; empty for an option of protobuf's own."""
    if not tokens or tokens[0].text != "(":
        return ""
    inner = tokens[1 : _end(tokens, 1, ")")]
    return "".join(token.text for token in inner).lstrip(".")


def _items(tokens: list[_Token], names: Collection[str]) -> Iterator[tuple[int, int]]:
    """What to take out of a field's options, ``[(a.b) = 1, deprecated = true]``: all of them, or each with a comma."""
    items: list[tuple[int, int]] = []
    at = 1
    while at < len(tokens) - 1:
        end = min(_end(tokens, at, ","), len(tokens) - 1)
        items.append((at, end))
        at = end + 1
    unknown = [_name(tokens[start:end]) in names for start, end in items]
    if not any(unknown):
        return
    if all(unknown):
        yield tokens[0].start, tokens[-1].end
        return
    last_known = max(at for at, each in enumerate(unknown) if not each)
    for at, (start, end) in enumerate(items):
        if at == last_known and at + 1 < len(items):
            yield tokens[end].start, tokens[-1].start  # from its comma to the bracket
        elif unknown[at] and at < last_known:
            yield tokens[start].start, tokens[end].end
