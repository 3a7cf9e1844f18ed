"""Words of messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def counted(number: int, one: str, many: str = "") -> str:
    """`number` and what is counted: ``1 route``, ``2 routes``.

    :param one: for 1: ``route``, ``route is``.
    :param many: for every other number; `one` with an ``s`` if left out.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def suggestion(word: object, known: Iterable[object]) -> str:
    """``; did you mean 'soap'?`` if one of the `known` words is like `word`, else nothing. Case does not count."""
    by_folded = {str(one).casefold(): str(one) for one in known}
    near = difflib.get_close_matches(str(word)[:100].casefold(), by_folded, 1)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


def not_one_of(word: object, known: Iterable[object]) -> str:
    """``'soup' is not one of grpc, soap, xml; did you mean 'soap'?``"""
    names = list(known)
    return f"{word!r} is not one of {', '.join(map(str, names))}{suggestion(word, names)}"
