"""Definitions to components: `Schemas` answers for a contract's types, elements and attributes by name.

A definition is read when it is first asked for. References are resolved by XML Schema 1.0, part 1, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from bridge_soap.components import (
    NOWHERE,
    Attribute,
    ComplexType,
    Element,
    Facets,
    Group,
    Particle,
    Place,
    SimpleType,
    Type,
    Wildcard,
)
from bridge_soap.datatypes.lexical import BUILTIN_LISTS, BUILTINS
from bridge_soap.names import SOAP11_ENCODING, XSD, children, clark, split, xsd
from bridge_soap.xsd.complex import ComplexReader
from bridge_soap.xsd.index import Definition, Index, Scope
from bridge_soap.xsd.simple import SimpleReader

ANYTHING = Wildcard(frozenset(), excluded=True, process="lax")
#: The root of all types (part 1, section 3.4.7).
ANY_TYPE = ComplexType(
    xsd("anyType"),
    mixed=True,
    particle=Particle(Group("sequence", (Particle(ANYTHING, 0, None),))),
    any_attribute=(ANYTHING,),
)


def _builtin_types() -> dict[str, Type]:
    found: dict[str, Type] = {ANY_TYPE.name: ANY_TYPE}
    for entry in BUILTINS.values():
        base = found.get(xsd(entry.base))
        found[xsd(entry.name)] = SimpleType(
            xsd(entry.name), "atomic", base if isinstance(base, SimpleType) else None, entry.name
        )
    for name, item in BUILTIN_LISTS.items():
        item_type = found[xsd(item)]
        assert isinstance(item_type, SimpleType)
        found[xsd(name)] = SimpleType(xsd(name), "list", item=item_type, facets=Facets(min_length=1))
    return found


BUILTIN_TYPES = _builtin_types()
STRING = BUILTIN_TYPES[xsd("string")]


class Schemas:
    """Components by Clark name. Each is made once; each method raises `bridge.BindError` where a definition is
    missing or broken, with the place of the reference or of what is wrong."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._types: dict[str, Type] = {}
        self._elements: dict[str, Element] = {}
        self._attributes: dict[str, Attribute] = {}
        self._reading: set[str] = set()
        self._members: dict[str, list[str]] | None = None
        self._children: dict[str, list[str]] | None = None
        self._simple = SimpleReader(self)
        self._complex = ComplexReader(self)

    # --- by name ---

    def type(self, name: str, place: Place = NOWHERE) -> Type:
        known = BUILTIN_TYPES.get(name) or self._types.get(name)
        if known is not None:
            return known
        namespace, local = split(name)
        if namespace == SOAP11_ENCODING and local in BUILTINS:
            return BUILTIN_TYPES[xsd(local)]
        definition = self.index.find("type", name)
        if definition is None:
            if namespace == XSD:
                place.fail(f"XML Schema has no type {local}")
            if namespace == SOAP11_ENCODING:
                place.fail(f"the SOAP-encoded type {local} only has a meaning in rpc/encoded messages")
            place.fail(self.index.why_missing("type", name))
        self._types[name] = made = self._guarded(name, definition)
        return made

    def _guarded(self, name: str, definition: Definition) -> Type:
        """Read a type definition, refusing one that derives from itself."""
        if name in self._reading:
            definition.scope.place(definition.node).fail("the type is defined by itself", name)
        self._reading.add(name)
        try:
            return self.read_type(definition.node, definition.scope, name)
        finally:
            self._reading.discard(name)

    def base_type(self, node: etree._Element, scope: Scope, text: str, own_name: str) -> Type:
        """The type a derivation starts from. In a redefinition, a type's own name means what it replaces."""
        name = scope.qname(node, text)
        if name == own_name:
            old = self.index.redefined.get(("type", name))
            if old is not None:
                return self.read_type(old.node, old.scope, "")
        return self.type(name, scope.place(node))

    def read_type(self, node: etree._Element, scope: Scope, name: str = "") -> Type:
        if node.tag == xsd("simpleType"):
            return self._simple.read(node, scope, name)
        return self._complex.read(node, scope, name)

    def simple_type(self, node: etree._Element, scope: Scope, name: str = "") -> SimpleType:
        return self._simple.read(node, scope, name)

    def simple(self) -> SimpleReader:
        return self._simple

    def element(self, name: str, place: Place = NOWHERE) -> Element:
        known = self._elements.get(name)
        if known is None:
            definition = self.index.find("element", name)
            if definition is None:
                place.fail(self.index.why_missing("element", name))
            known = self._elements[name] = self._complex.global_element(definition.node, definition.scope)
        return known

    def attribute(self, name: str, place: Place = NOWHERE) -> Attribute:
        known = self._attributes.get(name)
        if known is None:
            definition = self.index.find("attribute", name)
            if definition is None:
                place.fail(self.index.why_missing("attribute", name))
            known = self._attributes[name] = self._complex.global_attribute(definition.node, definition.scope)
        return known

    def find_element(self, name: str) -> Element | None:
        """The global element of that name, where there is one."""
        return self.element(name) if self.index.find("element", name) is not None else None

    def find_attribute(self, name: str) -> Attribute | None:
        return self.attribute(name) if self.index.find("attribute", name) is not None else None

    # --- families ---

    def members(self, element: Element) -> tuple[Element, ...]:
        """What may stand in the element's place (substitution group, chains included), itself excepted."""
        if not element.is_global:
            return ()
        if self._members is None:
            self._members = {}
            for (kind, name), found in self.index.definitions.items():
                head = found.node.get("substitutionGroup") if kind == "element" else None
                if head:
                    self._members.setdefault(found.scope.qname(found.node, head), []).append(name)
        names = list(_closure(self._members, element.name))
        return tuple(self.element(name) for name in names)

    def derived(self, name: str) -> list[str]:
        """Names of the global types that derive from the one of that name, at any distance."""
        if self._children is None:
            self._children = {}
            for (kind, own), found in self.index.definitions.items():
                base = _base_of(found) if kind == "type" else ""
                if base:
                    self._children.setdefault(base, []).append(own)
        return list(_closure(self._children, name))

    def type_names(self) -> Iterator[str]:
        """Names of all global types."""
        return (name for kind, name in self.index.definitions if kind == "type")


def _closure(children_of: dict[str, list[str]], start: str) -> Iterator[str]:
    seen, waiting = {start}, [start]
    while waiting:
        for name in children_of.get(waiting.pop(0), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
                yield name


def _base_of(found: Definition) -> str:
    """The base that a type definition names, without reading the definition; ``""`` where it names none."""
    steps = ("restriction", "extension")
    node = found.node
    if node.tag == xsd("complexType"):
        inner = children(node, xsd("simpleContent"), xsd("complexContent"))
        if not inner:
            return ""
        node = inner[0]
    for step in children(node, *map(xsd, steps)):
        text = step.get("base", "")
        prefix, _, local = text.strip().rpartition(":")
        namespace = step.nsmap.get(prefix or None)
        if namespace is None:
            namespace = found.scope.namespace if found.scope.chameleon else ""
        return clark(namespace, local)
    return ""
