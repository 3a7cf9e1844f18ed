"""A body in two forms: the schema's (*canonical*), and the one that a route shows to clients.

A `Shape` is a tree with a node for each object that differs. Values are converted in both directions, and the places of
faults on their way to the client. Without differences there is no shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bridge.api import ABSENT, Derived, parse_pointer, pointer_of
from bridge_soap.encode.writing import At, Faults, pointer
from bridge_soap.xsd.model import NIL, TYPE


@dataclass(frozen=True, slots=True)
class HiddenConstant:
    """A constant that is a secret: its JSON value, and the texts that must not be shown."""

    value: Derived[tuple[Any, frozenset[str]]]

    def __call__(self) -> Any:
        return self.value()[0]

    @property
    def texts(self) -> set[str]:
        return {*self.value.secret.shown, *(text for _, texts in self.value.values for text in texts)}


@dataclass(slots=True)
class PropertyView:
    """How clients see a canonical property that differs.

    :ivar name: its name for clients.
    :ivar node: the shape of its value, or of each item; None if the value is the same.
    :ivar flat: its properties are in its place.
    :ivar constant: the route sets it, and clients do not see it.
    :ivar default: its value if a client omits it; ABSENT if there is none.
    :ivar always: it exists even if the client omits it: the schema requires it, or it contains a constant.
    """

    name: str
    node: Shape | None = None
    flat: bool = False
    constant: bool = False
    default: Any = ABSENT
    always: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """A value that the route adds to an object.

    :ivar steps: the objects on the path to it, each with whether it is created if missing.
    :ivar value: the value; with `maker`, an object that must exist, empty if missing.
    :ivar over: it is a constant, otherwise a default.
    """

    steps: tuple[tuple[str, bool], ...]
    key: str
    value: Any
    over: bool = False

    def __call__(self, place: dict[str, Any]) -> None:
        value = self.value() if self.value.__class__ is HiddenConstant else self.value
        for step, make in self.steps:
            inner = place.get(step, ABSENT)
            if inner is ABSENT and make:
                inner = place[step] = {}
            if inner.__class__ is not dict or inner.get(NIL) is True:
                return
            place = inner
        if self.over:
            place[self.key] = value
        elif self.key not in place:
            # A required object is empty at first, and others may add to it.
            place[self.key] = {} if value is ABSENT else value


@dataclass(slots=True)
class Shape:
    """One object in both forms.

    :ivar views: the canonical properties that differ for clients.
    :ivar names: the clients' properties: the flattened objects on the path, the canonical property, and its view.
    :ivar hidden: canonical names that clients can't use here.
    :ivar fills: the values that the route adds, in this order.
    """

    views: dict[str, PropertyView] = field(default_factory=dict[str, PropertyView])
    names: dict[str, tuple[tuple[str, ...], str, PropertyView | None]] = field(
        default_factory=dict[str, tuple[tuple[str, ...], str, "PropertyView | None"]]
    )
    hidden: frozenset[str] = frozenset()
    fills: list[Callable[[dict[str, Any]], None]] = field(default_factory=list[Callable[[dict[str, Any]], None]])

    # --- from the client ---

    def inward(self, value: Any, at: At, bad: Faults) -> Any:
        """The canonical form of a client's value. Faults are reported, or left to the schema."""
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
        """The clients' form of a canonical value."""
        if value.__class__ is list:
            return [self.outward(item) for item in value]
        if value.__class__ is not dict:
            return value
        out: dict[str, Any] = {}
        for key, item in value.items():
            view = self.views.get(key)
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
                out[key] = item  # a reply that violates its schema is kept as it is
        return out

    def places(self, faults: Faults) -> Faults:
        """Faults of the canonical form, with the clients' places and names."""
        return [self._place(at, why) for at, why in faults]

    def _place(self, at: str, why: str) -> tuple[str, str]:
        node: Shape | None = self
        parts: list[str] = []
        for part in parse_pointer(at):
            if node is None or part.isdigit():  # no XML name starts with a digit
                parts.append(part)
                continue
            view = node.views.get(part)
            node = view.node if view is not None else None
            if view is None or not view.flat:
                parts.append(part if view is None else view.name)
        if node is not None and why.startswith(_CHOICE):
            why = node.words(why)
        return pointer_of(parts), why

    def words(self, text: str) -> str:
        """A message on a choice's branches, with the clients' names."""
        for key, view in self.views.items():
            name = " or ".join(view.node.visible()) if view.flat and view.node is not None else view.name
            text = re.sub(rf"(?<![\w{{}}@#.-]){re.escape(key)}(?![\w.-])", lambda match, name=name: name, text)  # type: ignore[misc]  # bound now
        return text

    def visible(self) -> Iterator[str]:
        """The clients' names of a flattened object's properties."""
        return (name for name, (_, _, view) in self.names.items() if view is None or not view.constant)


_CHOICE = ("exactly one of ", "only one of ")
