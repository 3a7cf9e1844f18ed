"""The components that an operation depends on, and whether they are valid.

Each type's content model, facets and references are computed once and kept, and so are errors. An operation that
depends on an invalid component is rejected with the reason before code is generated; other operations are not affected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bridge.api import BindError
from bridge_soap.components import ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.facets import Rulebook
from bridge_soap.names import XSI, split, xsd
from bridge_soap.xsd.arrays import Arrays
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import Content, content_of
from bridge_soap.xsd.schemas import Schemas

_ANY_SIMPLE = xsd("anySimpleType")


@dataclass(slots=True)
class Dependencies:
    """The types and namespaces that an operation depends on. `open`: a wildcard or anyType permits any other."""

    types: dict[Type, None] = field(default_factory=dict[Type, None])
    namespaces: set[str] = field(default_factory=set[str])
    open: bool = False


@dataclass(frozen=True, slots=True)
class _Node:
    """The types that a type refers to, and the namespaces of its elements and attributes."""

    types: tuple[Type, ...]
    namespaces: frozenset[str]
    open: bool
    variants: tuple[str, ...]


class Graph:
    """The types of one contract as a graph.

    `model` returns a type's content model, `reach` all types that are reachable from roots.
    """

    def __init__(self, schemas: Schemas, rulebook: Rulebook) -> None:
        self.schemas, self.rulebook = schemas, rulebook
        self.arrays = Arrays(schemas)
        self._models: dict[ComplexType, Content] = {}
        self._nodes: dict[Type, _Node | BindError] = {}
        self._sound: set[Type] = set()

    def model(self, complex_type: ComplexType) -> Content:
        """:raises bridge.api.BindError: the content model is invalid."""
        content = self._models.get(complex_type)
        if content is None:
            with self.schemas.lock:
                content = self._models[complex_type] = content_of(self.schemas, complex_type)
        return content

    def reach(self, roots: Iterable[Element | Type]) -> Dependencies:
        """:raises bridge.api.BindError: a required component is invalid. An invalid type that only ``xsi:type`` can
        select is skipped."""
        reached = Dependencies()
        waiting: list[Type] = []
        variants: list[str] = []
        for root in roots:
            if isinstance(root, Element):
                for element in (root, *self.schemas.members(root)):
                    reached.namespaces.add(split(element.name)[0])
                    waiting.append(element.type)
            else:
                waiting.append(root)
        self._walk(waiting, reached, variants)
        visited: set[str] = set()
        while variants:
            name = variants.pop()
            if name in visited:
                continue
            visited.add(name)
            try:
                variant = self.schemas.type(name)
                part = Dependencies(dict(reached.types))
                more: list[str] = []
                self._walk([variant], part, more)
            except BindError:
                continue
            variants += more
            reached.types = part.types
            reached.namespaces |= part.namespaces | {split(name)[0]}
            reached.open = reached.open or part.open
        return reached

    def _walk(self, waiting: list[Type], reached: Dependencies, variants: list[str]) -> None:
        while waiting:
            type_ = waiting.pop()
            if type_ in reached.types:
                continue
            reached.types[type_] = None
            node = self._node(type_)
            reached.namespaces |= node.namespaces
            reached.open = reached.open or node.open
            variants += node.variants
            waiting += node.types

    def usable(self, type_: Type) -> None:
        """:raises bridge.api.BindError: the type, or one that it depends on, is invalid."""
        if type_ in self._sound:
            return
        with self.schemas.lock:
            visited: set[Type] = set()
            waiting = [type_]
            while waiting:
                each = waiting.pop()
                if each not in visited and each not in self._sound:
                    visited.add(each)
                    waiting += self._node(each).types
            self._sound |= visited

    def _node(self, type_: Type) -> _Node:
        node = self._nodes.get(type_)
        if node is None:
            try:
                node = self._simple(type_) if isinstance(type_, SimpleType) else self._complex(type_)
            except BindError as error:
                node = error
            self._nodes[type_] = node
        if isinstance(node, BindError):
            raise BindError(node.faults)
        return node

    def _simple(self, simple: SimpleType) -> _Node:
        _ = self.rulebook[simple]
        return _Node((), frozenset(), simple.name == _ANY_SIMPLE, ())

    def _complex(self, type_: ComplexType) -> _Node:
        if type_ is ANY_TYPE:
            return _Node((), frozenset(), True, ())
        types: list[Type] = [type_.simple] if type_.simple is not None else []
        namespaces: set[str] = set()
        for use in type_.attributes.values():
            types.append(use.type)
            namespaces.add(split(use.name)[0])
            if namespaces & {XSI}:
                type_.place.fail("attributes of the XMLSchema-instance namespace can't be declared")
        open_ = bool(type_.any_attribute)
        if type_.simple is None:
            content = self.model(type_)
            open_ = open_ or bool(content.wildcards)
            for slot in content.slots.values():
                types.append(slot.element.type)
                namespaces.add(split(slot.element.name)[0])
        array = self.arrays[type_]
        if array is not None:
            types.append(array.item.type)
            namespaces.add(split(array.item.name)[0])
        variants = tuple(self.schemas.derived(type_.name)) if type_.name else ()
        return _Node(tuple(dict.fromkeys(types)), frozenset(namespaces), open_, variants)
