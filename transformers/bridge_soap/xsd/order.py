"""Whether a sequence of elements matches a content model.

Sets of positions are simulated, so an ambiguous model takes polynomial time. For a deterministic model, as XML Schema
requires, each set has one position, and the time is linear.
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
    """The state of one check: the tags, the furthest position reached, and the names expected there."""

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

        #: tags with a single place in the model, at which they may repeat without limit
        self.runs = self._runs(part)

    def _runs(self, root: Part) -> frozenset[str]:
        leaves = list(root.leaves())
        if any(leaf.wildcard is not None for leaf in leaves):
            return frozenset()
        free = {id(leaf) for leaf in _not_in_a_round(root) if leaf.high is None and leaf.low <= 1}
        places = Counter(tag for leaf in leaves for tag in self._tags[id(leaf)])
        return frozenset(tag for leaf in leaves if id(leaf) in free for tag in self._tags[id(leaf)] if places[tag] == 1)

    def check(self, tags: Sequence[str]) -> tuple[int, str] | None:
        """None if `tags` match; otherwise the index of the first that does not, or their number if elements are missing
        at the end, and a message."""
        run = Run(tags)
        ends = self._many(run, self._root, {0})
        if len(tags) in ends:
            return None
        if max(ends, default=0) > run.furthest:  # a full match, followed by more elements
            run.furthest, run.wanted = max(ends), {}
        wanted = ", ".join(list(run.wanted)[:8])
        if run.furthest < len(tags):
            name = local_name(tags[run.furthest])
            return run.furthest, f"{name} can't stand here" + (f"; {wanted} can" if wanted else "")
        return len(tags), f"{wanted} is missing at the end" if len(run.wanted) == 1 else f"one of {wanted} is missing"

    def _many(self, run: Run, part: Part, starts: set[int]) -> set[int]:
        """The positions where all occurrences of `part` may end if they begin at one of `starts`."""
        free = part.emptiable  # empty occurrences may satisfy any count
        low = 0 if free else part.low
        ends = set(starts) if low == 0 else set()
        seen: set[int] = set(starts)
        current, count = starts, 0
        while current and (part.high is None or count < part.high):
            before, current = current, self._one(run, part, current)
            count += 1
            if current == before:  # the occurrence was empty, and may repeat any number of times
                return ends | current
            if count >= low:
                ends |= current
                # If counts do not matter, only positions that were not reached before are continued.
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
    """The elements of `part` that are in no repeated group."""
    if not part.is_group:
        yield part
    elif not part.repeats:
        for child in part.parts:
            yield from _not_in_a_round(child)
