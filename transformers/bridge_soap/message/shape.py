"""A body in two shapes: the one that its schema gives it (*canonical*), and the one that a route shows to clients.

A `Shape` is a tree with a node for each object that differs between the two. Values go through it in both directions,
and places of faults on their way to the client. Where a route changes nothing there is no shape, and nothing to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bridge.api import ABSENT, parse_pointer, pointer_of
from bridge_soap.encode.writing import At, Faults, pointer
from bridge_soap.xsd.model import NIL, TYPE


@dataclass(slots=True)
class Seen:
    """What a client sees of a canonical property that is not simply there under its own name.

    :ivar name: its name for clients.
    :ivar node: the shape of its value, or of each item of it; None where the value is the same in both.
    :ivar flat: its own properties stand in its place.
    :ivar constant: the route sets it, and no client sees it.
    :ivar default: what stands for it where a client gives nothing; ABSENT: there is none.
    :ivar always: it is there even where the client gives nothing of it: the schema asks for it, or a constant makes it.
    """

    name: str
    node: Shape | None = None
    flat: bool = False
    constant: bool = False
    default: Any = ABSENT
    always: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """A value that the route puts into an object.

    :ivar steps: the objects on the way to it, each with whether it is made where it isn't there.
    :ivar value: the value; with `maker`, an object that must be there, empty where it isn't.
    :ivar over: it is a constant, else a default.
    """

    steps: tuple[tuple[str, bool], ...]
    key: str
    value: Any
    over: bool = False

    def __call__(self, place: dict[str, Any]) -> None:
        for step, make in self.steps:
            inner = place.get(step, ABSENT)
            if inner is ABSENT and make:
                inner = place[step] = {}
            if inner.__class__ is not dict or inner.get(NIL) is True:
                return
            place = inner
        if self.over:
            place[self.key] = self.value
        elif self.key not in place:
            # An object that must be there is empty at first, and others may fill it.
            place[self.key] = {} if self.value is ABSENT else self.value


@dataclass(slots=True)
class Shape:
    """One object in both shapes.

    :ivar seen: canonical properties that clients see otherwise.
    :ivar names: clients' properties: the flattened objects on the way, the canonical property, what is seen of it.
    :ivar hidden: canonical names that mean nothing to a client here.
    :ivar fills: what the route fills in, in this order.
    """

    seen: dict[str, Seen] = field(default_factory=dict[str, Seen])
    names: dict[str, tuple[tuple[str, ...], str, Seen | None]] = field(
        default_factory=dict[str, tuple[tuple[str, ...], str, "Seen | None"]]
    )
    hidden: frozenset[str] = frozenset()
    fills: list[Callable[[dict[str, Any]], None]] = field(default_factory=list[Callable[[dict[str, Any]], None]])

    # --- from the client ---

    def inward(self, value: Any, at: At, bad: Faults) -> Any:
        """The canonical form of a client's value; what isn't of its shape is told, or left for the schema to judge."""
        if value.__class__ is list:
            return [self.inward(item, (at, number), bad) for number, item in enumerate(value)]
        if value.__class__ is not dict:
            return value
        out: dict[str, Any] = {}
        for key, item in value.items():
            entry = self.names.get(key)
            if entry is None:
                if key in self.hidden:
                    bad.append((pointer((at, key)), "the schema has no such property here"))
                else:
                    out[key] = item
                continue
            steps, canonical, view = entry
            if view is not None and view.constant:
                bad.append((pointer((at, key)), "it is set by the route"))
                continue
            place = out
            for step in steps:
                place = place.setdefault(step, {})
            inner = view.node if view is not None else None
            place[canonical] = item if inner is None else inner.inward(item, (at, key), bad)
        if value.get(NIL) is not True:
            for fill in self.fills:
                fill(out)
        return out

    # --- to the client ---

    def outward(self, value: Any) -> Any:
        """The client's form of a canonical value."""
        if value.__class__ is list:
            return [self.outward(item) for item in value]
        if value.__class__ is not dict:
            return value
        out: dict[str, Any] = {}
        for key, item in value.items():
            view = self.seen.get(key)
            if view is None:
                out[key] = item
            elif view.constant:
                continue
            elif not view.flat:
                out[view.name] = item if view.node is None else view.node.outward(item)
            elif item.__class__ is dict:
                inner = item if view.node is None else view.node.outward(item)
                out.update((name, each) for name, each in inner.items() if name not in (NIL, TYPE))
            elif item is not None:
                out[key] = item  # a reply that breaks its schema; nothing of it is lost
        return out

    def places(self, faults: Faults) -> Faults:
        """Faults of the canonical form as the client sees them."""
        return [self._place(at, why) for at, why in faults]

    def _place(self, at: str, why: str) -> tuple[str, str]:
        node: Shape | None = self
        parts: list[str] = []
        for part in parse_pointer(at):
            if node is None or part.isdigit():  # no XML name starts with a digit
                parts.append(part)
                continue
            view = node.seen.get(part)
            node = view.node if view is not None else None
            if view is None or not view.flat:
                parts.append(part if view is None else view.name)
        if node is not None and why.startswith(_CHOICE):
            why = node.words(why)
        return pointer_of(parts), why

    def words(self, text: str) -> str:
        """A sentence on a choice's branches with the client's names."""
        for key, view in self.seen.items():
            name = " or ".join(view.node.visible()) if view.flat and view.node is not None else view.name
            text = re.sub(rf"(?<![\w{{}}@#.-]){re.escape(key)}(?![\w.-])", lambda match, name=name: name, text)  # type: ignore[misc]  # bound now
        return text

    def visible(self) -> Iterator[str]:
        """The client's names of what a flattened object holds; `names` has them all there."""
        return (name for name, (_, _, view) in self.names.items() if view is None or not view.constant)


_CHOICE = ("exactly one of ", "only one of ")
