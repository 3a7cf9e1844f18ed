"""Selects the branch of a choice by the properties in the body."""

from __future__ import annotations

from typing import Any

from bridge_soap.encode.writing import At, Faults, has, pointer
from bridge_soap.xsd.model import ANY, ITEMS, Content, Part, keys_of


def arrays_of(content: Content) -> frozenset[str]:
    """The properties that are arrays because their elements may repeat."""
    return frozenset({ITEMS, ANY, *(slot.key for slot in content.slots.values() if slot.many)})


class Choice:
    """Selects the branch of one choice for a body's object."""

    def __init__(self, part: Part, content: Content, *, optional: bool) -> None:
        self._parts, self._region = part.parts, content.region
        self._keys = [keys_of(branch, content.region) for branch in part.parts]
        self._all = frozenset().union(*self._keys)
        self._arrays = arrays_of(content)
        self._emptiable = optional or part.emptiable
        self._words = ", ".join(map(_words, part.parts))

    def __call__(self, value: dict[str, Any], at: At, bad: Faults) -> int:
        """The branch's number; -1 if no branch is present, or none fits, which is reported."""
        present = frozenset(key for key in self._all if has(value, (key,), self._arrays))
        if not present:
            if not self._emptiable:
                bad.append((pointer(at), f"exactly one of {self._words} is needed"))
            return -1
        fitting = [number for number, keys in enumerate(self._keys) if present <= keys]
        if not fitting:
            names = ", ".join(key for key in value if key in present)
            bad.append((pointer(at), f"only one of {self._words} may be given, not {names} together"))
            return -1
        if len(fitting) == 1:
            return fitting[0]
        # Branches that share names: the one that the properties complete; otherwise the first one reports the faults.
        return next((number for number in fitting if self._complete(self._parts[number], present)), fitting[0])

    def _complete(self, part: Part, present: frozenset[str]) -> bool:
        """Whether `present` has all properties that one occurrence of `part` requires."""
        if part is self._region or not part.is_group:
            return bool(present)
        if part.kind == "choice":
            return any(
                present <= keys_of(branch, self._region) and self._fulfilled(branch, present) for branch in part.parts
            )
        return all(self._fulfilled(child, present & keys_of(child, self._region)) for child in part.parts)

    def _fulfilled(self, part: Part, present: frozenset[str]) -> bool:
        return self._complete(part, present) if present else part.emptiable


def _words(part: Part) -> str:
    if part.kind == "sequence" and len(part.parts) > 1:
        return "(" + ", ".join(leaf.key for leaf in part.leaves()) + ")"
    return " or ".join(leaf.key for leaf in part.leaves())
