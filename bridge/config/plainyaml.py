"""The plain part of YAML 1.2, which nearly every spec is written in, read at a fiftieth of a whole parser's cost.

Taken: block mappings with words as keys; block lists of scalars; flow mappings and lists on one line; scalars on one
line, plain or in quotes without escapes; comments; several documents; and JSON without escapes. Whatever is not surely
of this part is not read at all, right or wrong: `read` says so, and the whole parser has the word. What is read is
what the whole parser would have made of it; ``tests/config/test_plainyaml.py`` holds the two against each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_MAX_KEY = 1000  #: characters; from 1024 on, YAML takes no key that isn't announced by ``?``

#: No tab, no carriage return, no other line break or space than the two, no joiner and no byte order mark: the letters
#: of Europe and East Asia, dashes, quotes, dots and currencies.
_CHARACTERS = re.compile("[\n -~\xa1-\u04ff\u2010-\u2027\u20a0-\u20bf\u3041-\ud7a3]*")

_KEY = "[A-Za-z_][A-Za-z0-9_.$-]*"
_LINE = re.compile(f"( *)(?:({_KEY}):(?: +([^ ].*)?)?|- +([^ ].*))")
#: A colon before a space ends a plain scalar, and so does a number sign after one.
_PLAIN = re.compile(r"([A-Za-z_/0-9](?:[^ :]|:(?! |$)| +(?![ #]|$))*) *(?: #.*)?")
_QUOTED = re.compile(r"""(?:'([^']*)'|"([^"\\]*)") *(?: #.*)?""")

_WORD = r"[A-Za-z_/0-9][A-Za-z0-9_./*@%+=~$-]*(?::[A-Za-z0-9_./*@%+=~$-]+)*"
_ITEM = rf"""({_WORD})|'([^'\n]*)'|"([^"\\\n]*)"|([{{\[])"""
_PAIR = re.compile(rf" *(?:({_KEY})|'({_KEY})'|\"({_KEY})\"): +(?:{_ITEM}) *")
_ENTRY = re.compile(rf" *(?:{_ITEM}) *")
_COMMENT = re.compile(" *(?: #.*)?")

_INTEGER = re.compile("0|[1-9][0-9]{0,17}")
_FRACTION = re.compile(r"(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_MEASURE = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:ms|[smhdkMG])")  # a duration or a size: text
#: Words that the core schema of YAML 1.2 (section 10.3.2) does not take for text.
_CONSTANTS = {
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class _Other(Exception):
    """It is not of the plain part."""


def read(text: str, most: int) -> list[dict[str, Any]] | None:
    """The mappings of `text`, one for each document that is not empty.

    :param most: keys and values that the text may have.
    :returns: None where the text isn't plain, or might have more than `most`, or has a document that is no mapping.
    """
    # A node starts a line or follows one of these; a collection may start where its first member does.
    starts = sum(map(text.count, "\n:,-{["))
    if 2 * starts + 2 > most or not _CHARACTERS.fullmatch(text):
        return None
    try:
        return [_json(text)] if text[:1] == "{" else list(_documents(text))
    except _Other:
        return None


# --- block style -------------------------------------------------------------------------------------------------


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """:raises _Other: one of them isn't plain."""
    lines: list[str] = []
    for line in text.split("\n"):
        if line == "---":
            if lines:
                yield _document(lines)
            lines = []
        elif line.lstrip(" ")[:1] not in ("", "#"):
            lines.append(line)
    if lines:
        yield _document(lines)


def _document(lines: Sequence[str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    #: The collections that are open, each with its indentation; a list may have that of its mapping.
    stack: list[tuple[int, Any]] = [(0, root)]
    #: The mapping whose last key still waits for its value, and that key.
    owner: dict[str, Any] | None = None
    last = ""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise _Other
        indent = found.end(1)
        key, text, item = found.group(2, 3, 4)
        if owner is not None and (indent > stack[-1][0] or (item and indent == stack[-1][0])):
            made: Any = [] if item else {}
            owner[last] = made
            stack.append((indent, made))
        owner = None
        while stack[-1][0] > indent or (key and type(stack[-1][1]) is list and stack[-1][0] == indent):
            stack.pop()
        at, place = stack[-1]
        if at != indent or len(stack) > 16 or (type(place) is list) is not bool(item):
            raise _Other
        if item:
            place.append(_value(item))
            continue
        if key in place or key in _CONSTANTS or len(key) > _MAX_KEY:
            raise _Other
        if text is None or text[0] == "#":
            place[key], owner, last = None, place, key
        else:
            place[key] = _value(text)
    return root


def _value(text: str) -> Any:
    """What stands after a key or a dash, up to the end of its line."""
    first = text[0]
    if first in "{[":
        value, end = _flow(text, 1, first, 1)
        if _COMMENT.fullmatch(text, end) is None:
            raise _Other
        return value
    if first in "'\"":
        found = _QUOTED.fullmatch(text)
        if found is None:
            raise _Other
        return found[found.lastindex or 1]
    found = _PLAIN.fullmatch(text)
    if found is None:
        raise _Other
    return _scalar(found[1])


def _scalar(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2."""
    if text[0] not in "0123456789":
        return _CONSTANTS.get(text, text)
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FRACTION.fullmatch(text):
        return float(text)
    if _MEASURE.fullmatch(text):
        return text
    raise _Other  # octal, hexadecimal, a date, or a name that starts with a figure: others know


# --- flow style --------------------------------------------------------------------------------------------------


def _flow(text: str, at: int, opened: str, depth: int) -> tuple[Any, int]:
    """The collection whose bracket stands before `at`, and where it ends."""
    if depth > 16:
        raise _Other
    mapping = opened == "{"
    close = "}" if mapping else "]"
    made: dict[str, Any] = {}
    items: list[Any] = []
    if text[at : at + 1] == close:
        return (made if mapping else items), at + 1
    pattern, first = (_PAIR, 4) if mapping else (_ENTRY, 1)
    while True:
        found = pattern.match(text, at)
        if found is None:
            raise _Other
        at = found.end()
        word, single, double, inner = found.group(first, first + 1, first + 2, first + 3)
        value: Any
        if word is not None:
            value = _scalar(word)
        elif inner is not None:
            # Spaces after the bracket are the pattern's already.
            value, at = _flow(text, at, inner, depth + 1)
            at += len(text) - at - len(text[at:].lstrip(" "))
        else:
            value = single if single is not None else double
        if mapping:
            key = found[1]
            if key is None:
                key = found[2] or found[3]
            elif key in _CONSTANTS:
                raise _Other
            if key in made or len(key) > _MAX_KEY:
                raise _Other
            made[key] = value
        else:
            items.append(value)
        end = text[at : at + 1]
        at += 1
        if end == close:
            return (made if mapping else items), at
        if end != ",":
            raise _Other


# --- JSON --------------------------------------------------------------------------------------------------------


def _json(text: str) -> dict[str, Any]:
    # Depth is bounded by the brackets; a key's colon must stand in its line; escapes are read differently.
    if text.count("{") + text.count("[") > 30 or "\\" in text or re.search(r'"[ \n]+:', text):
        raise _Other
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_float)
    except ValueError:
        raise _Other from None
    if not isinstance(value, dict):
        raise _Other
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs) or any(len(key) > _MAX_KEY for key in made):
        raise _Other
    return made


def _int(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise _Other
    return int(text)


def _float(text: str) -> float:
    if not _FRACTION.fullmatch(text):
        raise _Other
    return float(text)
