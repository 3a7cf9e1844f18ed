"""Patterns matched without backtracking, for those on which Python's ``re`` may take exponential time.

A part of a pattern leads from a set of places in the text to another. No place is left from twice by the same part, so
the time is polynomial, and nearly always in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bridge_soap.datatypes.regex import Chars, Node, Repeat, source

#: Repeats with no more rounds than this can't run away.
_FEW = 8


def is_risky(node: Node) -> bool:
    """Whether what repeats may itself match one text in several ways: nested repeats, branches within repeats."""
    if isinstance(node, Chars):
        return False
    if isinstance(node, Repeat):
        many = node.high is None or node.high > _FEW
        return is_risky(node.node) or (many and _is_ambiguous(node.node))
    return any(is_risky(each) for branch in node.branches for each in branch)


def _is_ambiguous(node: Node) -> bool:
    if isinstance(node, Chars):
        return False
    if isinstance(node, Repeat):
        return node.low != node.high or _is_ambiguous(node.node)
    return len(node.branches) > 1 or any(_is_ambiguous(each) for branch in node.branches for each in branch)


def matcher(tree: Node) -> Callable[[str], bool]:
    """A function that says whether the whole of a text matches."""
    step = _step(tree)
    return lambda text: len(text) in step(text, {0})


#: From places in a text to those that a part of the pattern leads to.
_Step = Callable[[str, set[int]], set[int]]


def _step(node: Node) -> _Step:
    if isinstance(node, Chars):
        one = re.compile(source(node), re.DOTALL).match
        return lambda text, starts: {at + 1 for at in starts if one(text, at)}
    if isinstance(node, Repeat):
        return _run(node, node.node) if isinstance(node.node, Chars) else _rounds(node, _step(node.node))
    branches = [[_step(each) for each in branch] for branch in node.branches]

    def step(text: str, starts: set[int]) -> set[int]:
        found: set[int] = set()
        for branch in branches:
            current = starts
            for each in branch:
                current = each(text, current)
            found |= current
        return found

    return step


def _run(node: Repeat, chars: Chars) -> _Step:
    """Characters of one class: from each place to as far as they go."""
    run = re.compile(f"{source(chars)}*+", re.DOTALL).match
    low, high = node.low, node.high

    def step(text: str, starts: set[int]) -> set[int]:
        found: set[int] = set()
        end = last = -1
        for at in sorted(starts):
            if at > end:
                held = run(text, at)
                end = held.end() if held else at
            stop = end if high is None else min(end, at + high)
            found.update(range(max(at + low, last + 1), stop + 1))
            last = max(last, stop)
        return found

    return step


def _rounds(node: Repeat, inner: _Step) -> _Step:
    low, high = node.low, node.high

    def step(text: str, starts: set[int]) -> set[int]:
        ends = set(starts) if low == 0 else set[int]()
        seen, current, count = set(starts), starts, 0
        while current and (high is None or count < high):
            before, current = current, inner(text, current)
            count += 1
            if count >= low:
                ends |= current
                current = current - seen  # who was there after fewer rounds gets as far
                seen |= current
            elif current == before:  # it matches nothing at all, as often as is asked
                return ends | current
        return ends

    return step
