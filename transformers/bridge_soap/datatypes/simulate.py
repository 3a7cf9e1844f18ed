"""Patterns matched in time proportional to the text, for those on which Python's ``re`` may not be.

``re`` backtracks: where one text can be read in many ways, it may try all of them. `ways` bounds their number. Patterns
with few ways stay with ``re``; the others are simulated: each part of a pattern leads from a set of positions in the
text to another, and no part is entered twice at the same position.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import reduce
from typing import Any

from bridge_soap.datatypes.regex import Branches, Chars, Node, PatternError, Range, Repeat, source, union

#: `re` may try this many ways to read a text.
MAX_WAYS = 256
#: Texts up to this length are left to ``re`` where it is fast enough for them, though not for longer ones.
SHORT = 250
#: How many copies of a part the simulation may have to tell apart.
_MAX_COPIES = 10_000


def matcher(tree: Branches) -> Callable[[str], object]:
    """A function whose result is true if the whole of a text matches.

    :raises PatternError: the pattern counts ambiguous parts up to numbers that are too large.
    """
    backtrack = re.compile(source(tree), re.DOTALL).fullmatch
    if ways(tree, math.inf) <= MAX_WAYS:
        return backtrack
    simulate = simulation(tree)
    if ways(tree, SHORT) > MAX_WAYS:
        return simulate
    return lambda text: backtrack(text) if len(text) <= SHORT else simulate(text)


def ways(node: Node, length: float, follow: tuple[Range, ...] = ()) -> float:
    """An upper bound for the number of ways in which ``re`` may read one text; one above `MAX_WAYS` is not exact.

    A choice that the next character decides (as in deterministic expressions, XML 1.0 appendix E) is none.

    :param length: how often a repeat without a limit may repeat.
    :param follow: the characters that may come after what the node matches.
    """
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Branches):
        return _ways_of_branches(node, length, follow)
    first = _first(node.node)
    high = length if node.high is None else node.high
    is_decided = _are_disjoint(first, follow) and not _is_nullable(node.node)
    choices = 1 if node.low == node.high or is_decided else high - node.low + 1
    inner = min(ways(node.node, length, union(first, follow)), MAX_WAYS + 1)
    return choices if inner == 1 else choices * inner ** min(high, 9)  # 2 ** 9 is above MAX_WAYS


def _ways_of_branches(node: Branches, length: float, follow: tuple[Range, ...]) -> float:
    words = Counter(map(_word, node.branches))
    if None not in words:
        return max(sum(words[word[:end]] for end in range(len(word) + 1)) for word in words if word is not None)
    counts, firsts = [], []
    for branch in node.branches:
        count, after = 1.0, follow
        for part in reversed(branch):
            count = min(count * ways(part, length, after), MAX_WAYS + 1)
            after = union(_first(part), after) if _is_nullable(part) else _first(part)
        counts.append(count)
        firsts.append(after)
    return max(counts) if _are_disjoint(*firsts) else sum(counts)


def _word(branch: tuple[Node, ...]) -> str | None:
    """The only text that a branch matches; None where there are several."""
    if all(isinstance(part, Chars) and _size(part.ranges) == 1 for part in branch):
        return "".join(chr(part.ranges[0][0]) for part in branch if isinstance(part, Chars))
    return None


def _is_nullable(node: Node) -> bool:
    if isinstance(node, Repeat):
        return node.low == 0 or _is_nullable(node.node)
    return isinstance(node, Branches) and any(all(map(_is_nullable, branch)) for branch in node.branches)


def _first(node: Node) -> tuple[Range, ...]:
    """The characters with which what a node matches may begin."""
    if isinstance(node, Chars):
        return node.ranges
    if isinstance(node, Repeat):
        return _first(node.node)
    firsts: list[tuple[Range, ...]] = []
    for branch in node.branches:
        for part in branch:
            firsts.append(_first(part))
            if not _is_nullable(part):
                break
    return union(*firsts)


def _size(ranges: tuple[Range, ...]) -> int:
    return sum(high - low + 1 for low, high in ranges)


def _are_disjoint(*sets: tuple[Range, ...]) -> bool:
    return _size(union(*sets)) == sum(map(_size, sets))


#: The state of a simulation: the positions at which each part was entered, and the same for the parts within it.
Visits = dict[Any, Any]
#: From positions in a subject (such as a text) to those that a part leads to and has not led to before.
Step = Callable[[Any, set[int], Visits], set[int]]


def simulation(tree: Branches) -> Callable[[str], bool]:
    """A function that says whether the whole of a text matches, in time proportional to its length.

    :raises PatternError: the pattern counts ambiguous parts up to numbers that are too large.
    """
    if _copies(tree, nested=False) > _MAX_COPIES:
        raise PatternError(f"the pattern can't be used: it counts what is in counted groups beyond {_MAX_COPIES:,}")
    step = _step(tree, nested=False)
    return lambda text: len(text) in step(text, {0}, {})


def _copies(node: Node, *, nested: bool) -> int:
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Branches):
        return max((_copies(part, nested=nested) for branch in node.branches for part in branch), default=1)
    count = node.high if nested and node.high is not None else _low(node) + 1
    return count * _copies(node.node, nested=True)


def _low(node: Repeat) -> int:
    """The minimum number of rounds; 0 if a round may match nothing."""
    return 0 if _is_nullable(node.node) else node.low


def _step(node: Node, *, nested: bool) -> Step:
    if isinstance(node, Chars):
        match = re.compile(source(node), re.DOTALL).match
        return lambda text, starts, visits: {at + 1 for at in starts if match(text, at)}
    if isinstance(node, Branches):
        return choice([sequence([_step(part, nested=nested) for part in branch]) for branch in node.branches])
    if isinstance(node.node, Chars) and node.high is None:
        run = _run(node.node)
        return run if node.low == 0 else sequence([_step(Repeat(node.node, node.low, node.low), nested=nested), run])
    return rounds(_step(node.node, nested=True), _low(node), node.high, nested=nested)


def _run(chars: Chars) -> Step:
    """Any number of characters of one class: from each position to as far as they go."""
    match = re.compile(f"{source(chars)}*+", re.DOTALL).match

    def step(text: str, starts: set[int], visits: Visits) -> set[int]:
        ends: set[int] = set()
        for at in sorted(starts):
            run = match(text, at)
            if at not in ends and run:
                ends.update(range(at, run.end() + 1))
        return _unvisited(visits, (step, "ends"), ends)

    return step


def choice(steps: list[Step]) -> Step:
    """One of the parts."""
    return lambda subject, starts, visits: set().union(*(step(subject, starts, visits) for step in steps))


def sequence(steps: list[Step]) -> Step:
    """All of the parts in this order."""

    def step(subject: Any, starts: set[int], visits: Visits) -> set[int]:
        return reduce(lambda current, each: each(subject, _unvisited(visits, each, current), visits), steps, starts)

    return step


def rounds(inner: Step, low: int, high: int | None, *, nested: bool) -> Step:
    """`low` to `high` times the same part (None: unbounded).

    :param low: 0 if the part may match nothing.
    :param nested: whether this is part of what repeats. Then it may be entered with other counts later, and each count
        has its own state; otherwise a position that was reached in fewer rounds need not be visited again.
    """
    is_counted = nested and high is not None

    def step(subject: Any, starts: set[int], visits: Visits) -> set[int]:
        current, ends, count = starts, set[int](), 0
        while current:
            copy = inner, count if is_counted else min(count, low)
            current = _unvisited(visits, copy, current)
            if is_counted:
                current -= ends
            if count >= low:
                ends |= current
            if count == high:
                break
            current = inner(subject, current, visits.setdefault((copy, "within"), {}))
            count += 1
        return ends

    return step


def _unvisited(visits: Visits, place: object, positions: set[int]) -> set[int]:
    """The positions at which the place is entered for the first time."""
    visited = visits.setdefault(place, set())
    fresh: set[int] = positions - visited
    visited |= fresh
    return fresh
