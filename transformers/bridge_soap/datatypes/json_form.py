"""Numbers that JSON numbers can't stand for: a pattern may want zeros or a sign in front (``[0-9]{5}``).

Such a type is a JSON string. A type is one if there is a text that is valid for it and whose JSON number, written as
XML again, is not. Such texts are looked for among samples of the patterns, and numbers in the type's range with zeros
or a plus in front; so a type whose every value can be a JSON number is never taken for one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from bridge_soap.components import Facets
from bridge_soap.datatypes.regex import Chars, Node, PatternError, Repeat, read

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[Ee][+-]?[0-9]+)?")
#: The samples of one pattern, and the characters of one class among them.
_MAX_SAMPLES = 150
_MAX_CHARS = 4
_MAX_REPEATS = 24
_MAX_LENGTH = 64
_WIDTHS = range(1, 21)
_WHOLE, _BROKEN = ("",), ("", ".0", ".00")


def json_number_text(text: str) -> str:
    """A number without what JSON forbids (``+``, leading zeros, ``.5``); its digits are kept."""
    if _NUMBER.fullmatch(text) is not None:
        return text
    sign = "-" if text[0] == "-" else ""
    mantissa, mark, exponent = text.lstrip("+-").upper().partition("E")
    whole, _, part = mantissa.partition(".")
    return sign + (whole.lstrip("0") or "0") + (f".{part}" if part else "") + mark + exponent


def needs_text(facets: Facets, passes: Callable[[str], bool], *, integral: bool) -> bool:
    """Whether a numeric type with patterns has a value that a JSON number can't stand for.

    :param passes: whether a text is valid for the type.
    """
    if not facets.patterns:
        return False

    def loses(text: str) -> bool:
        return passes(text) and text not in ("INF", "-INF", "NaN") and not passes(_sent(text, integral=integral))

    return any(map(loses, _texts(facets, _WHOLE if integral else _BROKEN)))


def list_needs_text(facets: Facets, passes: Callable[[str], bool], *, integral: bool) -> bool:
    """As `needs_text`, for a list of numbers that has patterns of its own."""

    def loses(text: str) -> bool:
        if not text.strip() or not passes(text):
            return False
        try:
            return not passes(" ".join(_sent(part, integral=integral) for part in text.split()))
        except ValueError:
            return False

    return any(map(loses, itertools.chain.from_iterable(map(_samples_of, _patterns(facets)))))


def _sent(text: str, *, integral: bool) -> str:
    """A valid text as it is written again from its JSON number."""
    return str(int(text)) if integral else json_number_text(text)


def _patterns(facets: Facets) -> Iterator[str]:
    return itertools.chain.from_iterable(facets.patterns)


def _texts(facets: Facets, tails: tuple[str, ...]) -> Iterator[str]:
    for pattern in _patterns(facets):
        yield from _samples_of(pattern)
    bounds = (facets.min_inclusive, facets.max_inclusive, facets.min_exclusive, facets.max_exclusive)
    near = [int(bound) + step for bound in bounds if bound and bound.lstrip("+-").isdecimal() for step in (-1, 0, 1)]
    for number in dict.fromkeys((0, 1, 42, 100, *near)):
        sign, digits = ("-" if number < 0 else ""), str(abs(number))
        for tail in tails:
            yield f"+{digits}{tail}"
            yield from (f"{sign}{digits.zfill(width)}{tail}" for width in _WIDTHS)


def _samples_of(pattern: str) -> Iterator[str]:
    try:
        tree = read(pattern)
    except PatternError:  # reported where the type's facets are read
        return iter(())
    return itertools.islice(_samples(tree), _MAX_SAMPLES)


def _samples(node: Node) -> Iterator[str]:
    """Texts that a part of a pattern matches: the first and last characters of classes, least and most repeats."""
    if isinstance(node, Chars):
        yield from _characters(node)
    elif isinstance(node, Repeat):
        high = node.low + 1 if node.high is None else node.high
        column = _column(node.node)
        for count in dict.fromkeys(min(each, _MAX_REPEATS) for each in (node.low, node.low + 1, high) if each <= high):
            if count >= node.low:
                yield from _joined([column] * count)
    else:
        # One of each branch first, so that a limit leaves none of them out.
        branches = (_joined([_column(part) for part in branch[:_MAX_LENGTH]]) for branch in node.branches)
        for row in itertools.zip_longest(*branches):
            yield from (text for text in row if text is not None)


def _column(part: Node) -> list[str]:
    return list(itertools.islice(_samples(part), _MAX_CHARS + 1))


def _characters(node: Chars) -> Iterator[str]:
    edges = [code for pair in node.ranges for code in (pair[0], min(pair[0] + 1, pair[1]), pair[1])]
    return iter([chr(code) for code in dict.fromkeys(edges)][: _MAX_CHARS + 1])


def _joined(columns: Sequence[list[str]]) -> Iterator[str]:
    """Texts of a sequence: the first samples of all parts, then all of their n-th ones, then each part's others beside
    the first of the rest. There are none if they are longer than numbers are."""
    if not all(columns) or sum(len(column[0]) for column in columns) > _MAX_LENGTH:
        return
    firsts = [column[0] for column in columns]
    yield "".join(firsts)
    for turn in range(1, max(map(len, columns), default=0)):
        yield "".join(column[min(turn, len(column) - 1)] for column in columns)
        yield "".join(column[turn % len(column)] for column in columns)
    for place, column in enumerate(columns):
        for other in column[1:]:
            yield "".join([*firsts[:place], other, *firsts[place + 1 :]])
