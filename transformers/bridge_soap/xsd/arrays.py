"""SOAP-encoded arrays: which types are arrays, and their items (SOAP 1.1, section 5.4.2; WSDL 1.1, section 2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge_soap.components import ComplexType, Element, Group, Particle, Type
from bridge_soap.xsd.builtin import ANY_TYPE, ARRAYS, ENCODING_TYPES

if TYPE_CHECKING:
    from bridge_soap.xsd.schemas import Schemas

#: The name of an item if no schema declares one; it has no meaning (section 5.4.2).
ITEM = "item"
_RANK = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Array:
    """The items of a type derived from the encoding's ``Array``.

    :ivar item: the declaration of every item.
    :ivar dimensions: the number of dimensions; an array of arrays has one, and its items are arrays.
    """

    item: Element
    dimensions: int = 1


def split_array_type(text: str) -> tuple[str, str, str]:
    """Type name, inner ranks and the last brackets' content: ``t:a[][2,3]`` gives ``("t:a", "[]", "2,3")``."""
    name, bracket, rest = text.strip().partition("[")
    ranks = _RANK.findall(bracket + rest)
    if not ranks:
        return name, "", ""
    return name, "".join(ranks[:-1]), ranks[-1][1:-1]


class Arrays:
    """`Array` by type, created on first use."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._known: dict[ComplexType, Array | None] = {}

    def __getitem__(self, type_: Type) -> Array | None:
        """None if the type is not an array.

        :raises bridge.api.BindError: the type of the items is invalid.
        """
        if not isinstance(type_, ComplexType) or type_.base is None or type_.base is ANY_TYPE:
            return _ANYTHING if isinstance(type_, ComplexType) and type_.name in ARRAYS else None
        if type_ not in self._known:
            self._known[type_] = self._array(type_)
        return self._known[type_]

    def _array(self, type_: ComplexType) -> Array | None:
        line: list[ComplexType] = []
        step: Type | None = type_
        while isinstance(step, ComplexType) and step.name not in ARRAYS:
            line.append(step)
            step = step.base
        if step is None or not isinstance(step, ComplexType):
            return None
        declared = next((element for each in line for element in _elements(each.particle)), None)
        typed = next((each for each in line if each.array_type), None)
        if typed is not None:
            return self.of(typed.array_type, declared.name if declared is not None else ITEM)
        return Array(declared) if declared is not None else _ANYTHING

    def of(self, array_type: str, name: str = ITEM) -> Array:
        """The array that an ``arrayType`` describes; its type is a Clark name.

        :raises bridge.api.BindError: the type is unknown.
        """
        type_name, inner, size = split_array_type(array_type)
        dimensions = size.count(",") + 1
        if not inner:
            type_ = self._schemas.type(type_name)
            return Array(Element(name, lambda: type_, nillable=True), dimensions)
        base = ENCODING_TYPES[ARRAYS[0]]
        nested = ComplexType("", base=base, array_type=f"{type_name}{inner}")
        return Array(Element(name, lambda: nested, nillable=True), dimensions)


def _elements(particle: Particle | None) -> Iterator[Element]:
    if particle is None:
        return
    if isinstance(particle.term, Element):
        yield particle.term
    elif isinstance(particle.term, Group):
        for each in particle.term.particles:
            yield from _elements(each)


#: An array with items of any type.
_ANYTHING = Array(Element(ITEM, lambda: ANY_TYPE, nillable=True))
