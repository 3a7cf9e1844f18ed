"""Whether a sequence of elements fits a content model.

Positions are simulated as sets, so that no model, however ambiguous a vendor made it, takes more than polynomial
time; a deterministic one (as XML Schema demands) keeps each set at one position and so is linear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bridge_soap.names import local_name, split
from bridge_soap.xsd.model import Part
from bridge_soap.xsd.schemas import Schemas


@dataclass(slots=True)
class Run:
    """One check: the tags, how far a match got, and what could have come there."""

    tags: Sequence[str]
    furthest: int = 0
    wanted: dict[str, None] = field(default_factory=dict[str, None])

    def expect(self, at: int, name: str) -> None:
        if at > self.furthest:
            self.furthest, self.wanted = at, {}
        if at == self.furthest:
            self.wanted[name] = None


class Order:
    """The matcher of one content model or of a part of it."""

    def __init__(self, schemas: Schemas, part: Part) -> None:
        self._root = part
        self._tags = {
            id(leaf): frozenset({leaf.element.name, *(m.name for m in schemas.members(leaf.element))})
            for leaf in part.leaves()
            if leaf.element is not None
        }

        #: tags that stand at one place of the model only, where as many may stand in a row as like to
        self.runs = self._runs(part)

    def _runs(self, root: Part) -> frozenset[str]:
        leaves = list(root.leaves())
        if any(leaf.wildcard is not None for leaf in leaves):
            return frozenset()
        free = {id(leaf) for leaf in _not_in_a_round(root) if leaf.high is None and leaf.low <= 1}
        places = Counter(tag for leaf in leaves for tag in self._tags[id(leaf)])
        return frozenset(tag for leaf in leaves if id(leaf) in free for tag in self._tags[id(leaf)] if places[tag] == 1)

    def check(self, tags: Sequence[str]) -> tuple[int, str] | None:
        """None where `tags` fit; otherwise the index of the first that doesn't (or their number, where something is
        missing at the end) and a sentence."""
        run = Run(tags)
        ends = self._many(run, self._root, {0})
        if len(tags) in ends:
            return None
        if max(ends, default=0) > run.furthest:  # a full match, and more after it
            run.furthest, run.wanted = max(ends), {}
        wanted = ", ".join(list(run.wanted)[:8])
        if run.furthest < len(tags):
            name = local_name(tags[run.furthest])
            return run.furthest, f"{name} can't stand here" + (f"; {wanted} can" if wanted else "")
        return len(tags), f"{wanted} is missing at the end" if len(run.wanted) == 1 else f"one of {wanted} is missing"

    def _many(self, run: Run, part: Part, starts: set[int]) -> set[int]:
        """Where `part`, its occurrences counted, may end when it begins at any of `starts`."""
        free = part.emptiable  # rounds that hold nothing may fill up any count
        low = 0 if free else part.low
        ends = set(starts) if low == 0 else set()
        seen: set[int] = set(starts)
        current, count = starts, 0
        while current and (part.high is None or count < part.high):
            before, current = current, self._one(run, part, current)
            count += 1
            if current == before:  # it matches nothing at all, and may do so as often as is asked
                return ends | current
            if count >= low:
                ends |= current
                # Where counts don't matter, it needs to go on only from where it has not been.
                current = current - seen if part.high is None or free else current
                seen |= current
        return ends

    def _one(self, run: Run, part: Part, starts: set[int]) -> set[int]:
        if not part.is_group:
            return {at + 1 for at in starts if self._takes(run, part, at)}
        if part.kind == "choice":
            return set().union(*(self._many(run, child, starts) for child in part.parts))
        if part.kind == "sequence":
            for child in part.parts:
                starts = self._many(run, child, starts)
            return starts
        return {end for at in starts for end in self._all(run, part, at)}

    def _takes(self, run: Run, part: Part, at: int) -> bool:
        if at < len(run.tags):
            tag = run.tags[at]
            if part.wildcard is not None:
                if part.wildcard.allows(split(tag)[0]):
                    return True
            elif tag in self._tags[id(part)]:
                return True
        run.expect(at, part.key)
        return False

    def _all(self, run: Run, part: Part, at: int) -> set[int]:
        left = list(part.parts)
        while at < len(run.tags):
            child = next((child for child in left if self._takes(run, child, at)), None)
            if child is None:
                break
            left.remove(child)
            at += 1
        if any(child.low for child in left):
            for child in left:
                if child.low:
                    run.expect(at, child.key)
            return set()
        return {at}


def _not_in_a_round(part: Part) -> Iterator[Part]:
    """The elements of `part` that no group around them repeats."""
    if not part.is_group:
        yield part
    elif not part.repeats:
        for child in part.parts:
            yield from _not_in_a_round(child)
