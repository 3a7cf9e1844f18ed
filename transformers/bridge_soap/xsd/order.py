"""Whether a sequence of elements matches a content model.

Sets of positions are simulated, so the time is linear for ambiguous models too, which XML Schema forbids but vendors
publish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bridge_soap.datatypes.simulate import Step, choice, rounds, sequence
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
        self._tags = {
            id(leaf): frozenset({leaf.element.name, *(m.name for m in schemas.members(leaf.element))})
            for leaf in part.leaves()
            if leaf.element is not None
        }

        self._match = self._step(part, nested=False)
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
        ends = self._match(run, {0}, {})
        if len(tags) in ends:
            return None
        if max(ends, default=0) > run.furthest:  # a full match, followed by more elements
            run.furthest, run.wanted = max(ends), {}
        expected = ", ".join(list(run.wanted)[:8])
        if run.furthest < len(tags):
            name = local_name(tags[run.furthest])
            return run.furthest, f"{name} can't stand here" + (f"; {expected} can" if expected else "")
        return len(tags), f"{expected} is missing at the end" if len(
            run.wanted
        ) == 1 else f"one of {expected} is missing"

    def _step(self, part: Part, *, nested: bool) -> Step:
        """All occurrences of `part`."""
        once = self._once(part, nested=nested or part.repeats)
        if part.low == part.high == 1:
            return once
        return rounds(once, 0 if part.emptiable else part.low, part.high, nested=nested)

    def _once(self, part: Part, *, nested: bool) -> Step:
        if part.kind == "choice":
            return choice([self._step(child, nested=nested) for child in part.parts])
        if part.kind == "sequence":
            return sequence([self._step(child, nested=nested) for child in part.parts])
        if part.kind == "all":
            return lambda run, starts, visits: {end for at in starts for end in self._all(run, part, at)}
        return lambda run, starts, visits: {at + 1 for at in starts if self._takes(run, part, at)}

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
        remaining = list(part.parts)
        while at < len(run.tags):
            child = next((child for child in remaining if self._takes(run, child, at)), None)
            if child is None:
                break
            remaining.remove(child)
            at += 1
        if any(child.low for child in remaining):
            for child in remaining:
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
