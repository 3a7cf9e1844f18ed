"""The properties of a type's JSON object, and the resolution of paths through a body's JSON.

A path is a list of property names separated by slashes: ``order/line/@code``. A path through an array refers to the
property in each of its items. A slash inside the braces of ``{namespace}local`` belongs to the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from bridge.api import BindError
from bridge_soap.components import ComplexType, Element, SimpleType, Type
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.model import ANY, CONTENT, ITEMS, TEXT, Content, Part, attribute_keys
from bridge_soap.xsd.variants import Variants

Kind = Literal["element", "attribute", "text", "items", "any"]
_STEP = re.compile(r"(?:\{[^{}]*\}|[^/{}])+")


def steps_of(path: str) -> tuple[str, ...]:
    """The names in a path; empty if the path is malformed."""
    steps = tuple(_STEP.findall(path))
    return steps if steps and "/".join(steps) == path else ()


@dataclass(frozen=True, slots=True)
class Property:
    """One property.

    :ivar element: its declaration; one is created for attributes and texts, so all have a type. None for ``#items``,
        ``#content`` and ``#any``.
    :ivar many: it is an array.
    :ivar required: the schema requires it in its object, and has no default for it.
    :ivar settled: it is in no choice and no optional group, so its presence does not depend on other properties.
    :ivar inner: the possible items of ``#items`` or ``#content``, each an object with one property.
    """

    key: str
    kind: Kind
    element: Element | None = None
    many: bool = False
    required: bool = False
    settled: bool = True
    inner: dict[str, Property] = field(default_factory=dict[str, "Property"])

    @property
    def simple(self) -> SimpleType | None:
        """The simple type of a single value, if the property may have one."""
        type_ = self.element.type if self.element is not None else None
        return type_.simple if isinstance(type_, ComplexType) else type_


class Properties:
    """The properties of a contract's types, created on first use.

    :param encoded: for bodies in the SOAP encoding, where an array is a type: its property is an array of its items.
    """

    def __init__(self, graph: Graph, *, encoded: bool = False) -> None:
        self._graph, self._encoded = graph, encoded
        self._variants = Variants(graph.schemas)
        self._known: dict[ComplexType, dict[str, Property]] = {}

    def of(self, type_: Type) -> dict[str, Property]:
        """The properties by name: of the type itself, not of types that ``xsi:type`` may select.

        :raises bridge.api.BindError: the type is invalid.
        """
        if not isinstance(type_, ComplexType) or type_ is ANY_TYPE:
            return {}
        result = self._known.get(type_)
        if result is None:
            result = self._known[type_] = {each.key: self._items(each) for each in self._find(type_)}
        return result

    def below(self, parent: Property) -> dict[str, Property]:
        """The properties of a value of `parent`, or of an item of it: those of its type, then those of derived types
        and of members of its substitution group."""
        if parent.element is None:
            return parent.inner
        result = dict(self.of(parent.element.type))
        for other in self.others(parent.element):
            for key, each in self.of(other).items():
                result.setdefault(key, replace(each, required=False, settled=False))
        return result

    def others(self, element: Element) -> list[Type]:
        """The types other than the declared one that a value of `element` may have."""
        schemas = self._graph.schemas
        members = schemas.members(element)
        names = [name for each in (element, *members) if each.type.name for name in schemas.derived(each.type.name)]
        types = [each.type for each in members]
        types += [type_ for type_ in map(self._variants.known, names) if type_ is not None]
        return [type_ for type_ in dict.fromkeys(types) if type_ is not element.type and self._usable(type_)]

    def _usable(self, type_: Type) -> bool:
        try:
            self._graph.usable(type_)
        except BindError:
            return False
        return True

    def _items(self, place: Property) -> Property:
        while self._encoded and place.element is not None:
            array = self._graph.arrays[place.element.type]
            if array is None:
                break
            place = replace(place, element=array.item, many=True)
        return place

    def _find(self, type_: ComplexType) -> Iterator[Property]:
        for name, key in attribute_keys(type_).items():
            use = type_.attributes[name]
            element = _declared(key, use.type, use.default, use.fixed)
            yield Property(key, "attribute", element, required=use.required and use.fixed is None)
        if type_.simple is not None:
            yield Property(TEXT, "text", _declared(TEXT, type_.simple, None, None), required=True)
            return
        content = self._graph.model(type_)
        if content.root is None:
            return
        if content.whole:
            yield _row(CONTENT if type_.mixed else ITEMS, content.root, content)
            return
        visited: set[str] = set()
        for each in _walk(content.root, content, settled=True):
            if each.key not in visited:  # two branches of a choice may have the same name
                visited.add(each.key)
                yield each


def _walk(part: Part, content: Content, *, settled: bool) -> Iterator[Property]:
    if part is content.region:
        yield _row(ITEMS, part, content)
    elif part.is_group:
        settled = settled and part.kind != "choice" and part.low > 0
        for child in part.parts:
            yield from _walk(child, content, settled=settled)
    else:
        yield _leaf(part, content, settled=settled)


def _leaf(part: Part, content: Content, *, settled: bool) -> Property:
    element = part.element
    if element is None:
        return Property(ANY, "any", None, many=True, settled=settled)
    filled = element.default is not None or element.fixed is not None
    many = content.slots[element.name].many
    return Property(part.key, "element", element, many, settled and part.low > 0 and not filled, settled)


def _row(key: str, part: Part, content: Content) -> Property:
    inner = {leaf.key: replace(_leaf(leaf, content, settled=False), many=False) for leaf in part.leaves()}
    return Property(key, "items", None, many=True, settled=False, inner=inner)


def _declared(key: str, simple: SimpleType, default: str | None, fixed: str | None) -> Element:
    return Element(key, lambda: simple, default=default, fixed=fixed)
