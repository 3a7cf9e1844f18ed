"""Reads definitions into components: `Schemas` has a contract's types, elements and attributes by name.

A definition is read on first use. References are resolved as in XML Schema 1.0, part 1, section 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from threading import RLock

from lxml import etree

from bridge.api import BindError
from bridge_soap.components import NOWHERE, Attribute, Blocked, ComplexType, Element, Place, SimpleType, Type
from bridge_soap.names import ENCODINGS, XML, XSD, children, clark, local_name, split, xsd
from bridge_soap.xsd.builtin import ANY_TYPE, BUILTIN_TYPES, SCHEMA, builtin_type, encoding_attribute
from bridge_soap.xsd.complex import ComplexReader
from bridge_soap.xsd.index import Definition, Index, Scope
from bridge_soap.xsd.simple import SimpleTypeReader


class Schemas:
    """Components by Clark name, each created once.

    Each method raises `bridge.api.BindError` if a definition is missing or invalid, with its place."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._types: dict[str, Type] = {}
        self._elements: dict[str, Element] = {}
        self._attributes: dict[str, Attribute] = {}
        self._reading: set[str] = set()
        self._members: dict[str, list[str]] | None = None
        self._children: dict[str, list[str]] | None = None
        self._defined: frozenset[str] | None = None
        #: held while components are created or compiled: a thread may bind a route while a request uses a type for the
        #: first time
        self.lock = RLock()
        self.simple = SimpleTypeReader(self)
        self._complex = ComplexReader(self)

    # --- by name ---

    def reference(self, kind: str, node: etree._Element, scope: Scope, text: str) -> str:
        """The Clark name of the definition that `text`, a QName in an attribute of `node`, refers to.

        A name without a prefix that means nothing in the default namespace is looked up in the target namespace, then
        among the built-in types: vendors forget prefixes.
        """
        name = scope.qname(node, text)
        namespace, local = split(name)
        is_known = namespace in ("", XSD) or namespace in self.index.namespaces
        if ":" in text or not is_known or self._is_defined(kind, name):
            return name
        for candidate in (clark(scope.namespace, local), xsd(local)):
            if candidate != name and self._is_defined(kind, candidate):
                note = f"the {kind} {text.strip()!r} has no prefix; {candidate} is read"
                return candidate if self.index.liberties.allow(scope.place(node).note(note)) else name
        return name

    def part_reference(self, kind: str, name: str, place: Place) -> str:
        """The Clark name of the element or type that a message part without a prefix refers to: `name`, or else the
        only definition with that local name, or a built-in type."""
        if self._is_defined(kind, name):
            return name
        local = split(name)[1]
        candidates = [
            each for each_kind, each in self.index.definitions if each_kind == kind and split(each)[1] == local
        ]
        if not candidates and self._is_defined(kind, xsd(local)):
            candidates = [xsd(local)]
        if len(candidates) == 1:
            note = f"the {kind} {local!r} has no prefix; {candidates[0]} is read"
            return candidates[0] if self.index.liberties.allow(place.note(note)) else name
        return name

    def _is_defined(self, kind: str, name: str) -> bool:
        if self.index.find(kind, name) is not None:
            return True
        if kind == "type":
            return builtin_type(name) is not None
        return name == SCHEMA.name if kind == "element" else split(name)[0] in (*ENCODINGS, XML)

    def type(self, name: str, place: Place = NOWHERE) -> Type:
        type_ = self._types.get(name) or builtin_type(name)
        if type_ is None:
            with self.lock:
                type_ = self._types.get(name)  # another thread may have read it
                if type_ is None:
                    type_ = self._types[name] = self._type(name, place)
        return type_

    def _type(self, name: str, place: Place) -> Type:
        definition = self.index.find("type", name)
        if definition is None:
            namespace, local = split(name)
            if namespace == XSD:
                place.fail(f"XML Schema has no type {local}")
            place.fail(self.index.why_missing("type", name))
        if name in self._reading:
            definition.scope.place(definition.node).fail("the type is defined by itself", name)
        self._reading.add(name)
        try:
            return self.read_type(definition.node, definition.scope, name)
        finally:
            self._reading.discard(name)

    def base_type(self, node: etree._Element, scope: Scope, text: str, own_name: str) -> Type:
        """The base type of a derivation. In a redefinition, a type's own name refers to the replaced type."""
        name = self.reference("type", node, scope, text)
        if name == own_name:
            old = self.index.redefined.get(("type", name))
            if old is not None:
                return self.read_type(old.node, old.scope, "")
        return self.type(name, scope.place(node))

    def read_type(self, node: etree._Element, scope: Scope, name: str = "") -> Type:
        if node.tag == xsd("simpleType"):
            return self.simple.read(node, scope, name)
        return self._complex.read(node, scope, name)

    def element(self, name: str, place: Place = NOWHERE) -> Element:
        element = self._elements.get(name) or (SCHEMA if name == SCHEMA.name else None)
        if element is None:
            with self.lock:
                element = self._elements.get(name)
                if element is None:
                    definition = self.index.find("element", name)
                    if definition is None:
                        place.fail(self.index.why_missing("element", name))
                    element = self._elements[name] = self._complex.global_element(definition.node, definition.scope)
        return element

    def attribute(self, name: str) -> Attribute:
        attribute = self._attributes.get(name) or encoding_attribute(name)
        if attribute is None:
            with self.lock:
                attribute = self._attributes.get(name)
                if attribute is None:
                    attribute = self._attributes[name] = self._attribute(name)
        return attribute

    def _attribute(self, name: str) -> Attribute:
        definition = self.index.find("attribute", name)
        if definition is not None:
            return self._complex.global_attribute(definition.node, definition.scope)
        # Vendors refer to attributes of schemas that they do not ship. Any text is valid for them.
        return Attribute(name, BUILTIN_TYPES[xsd("anySimpleType")])  # type: ignore[arg-type]  # it is a simple type

    def find_element(self, name: str) -> Element | None:
        """The global element of that name, if there is one."""
        return self.element(name) if self.index.find("element", name) is not None else None

    def find_attribute(self, name: str) -> Attribute | None:
        return self.attribute(name) if self.index.find("attribute", name) is not None else None

    def defines(self, namespace: str) -> bool:
        """Whether the contract defines anything of a namespace (``""`` is none)."""
        if self._defined is None:
            self._defined = frozenset(split(name)[0] for _, name in self.index.definitions)
        return namespace in self._defined

    # --- families ---

    def members(self, element: Element) -> tuple[Element, ...]:
        """The elements that may substitute for `element`, directly or indirectly, without itself."""
        if not element.is_global:
            return ()
        if self._members is None:
            table: dict[str, list[str]] = {}
            for (kind, name), definition in self.index.definitions.items():
                text = definition.node.get("substitutionGroup", "") if kind == "element" else ""
                head = self._named("element", definition, definition.node, text)
                if head:
                    table.setdefault(head, []).append(name)
            self._members = table
        members = tuple(map(self.element, _closure(self._members, element.name)))
        if element.block:
            members = tuple(member for member in members if self._may_stand_for(member, element))
        return members

    def member_name(self, member: Element, head: Element) -> str:
        """The JSON name of a member of a substitution group: its local name if unique, else its Clark name."""
        names = [local_name(each.name) for each in (head, *self.members(head))]
        return local_name(member.name) if names.count(local_name(member.name)) == 1 else member.name

    def _may_stand_for(self, member: Element, head: Element) -> bool:
        """Whether no derivation step from the head's type to the member's is blocked (part 1, section 3.3.6)."""
        try:
            return "substitution" not in head.block and not blocked(member.type, head.type, head.block)
        except BindError:
            return True  # the error is reported on use

    def derived(self, name: str) -> list[str]:
        """Names of the global types that derive from the named type, directly or indirectly."""
        if self._children is None:
            table: dict[str, list[str]] = {}
            for (kind, own), definition in self.index.definitions.items():
                node, text = _base_of(definition) if kind == "type" else (definition.node, "")
                base = self._named("type", definition, node, text)
                if base:
                    table.setdefault(base, []).append(own)
            self._children = table
        return list(_closure(self._children, name))

    def _named(self, kind: str, definition: Definition, node: etree._Element, text: str) -> str:
        """What a `definition` refers to by the QName `text`; ``""`` if there is none, or its prefix is not declared:
        that is reported where the definition is used."""
        try:
            return self.reference(kind, node, definition.scope, text) if text.strip() else ""
        except BindError:
            return ""

    def type_names(self) -> Iterator[str]:
        """Names of all global types."""
        return (name for kind, name in self.index.definitions if kind == "type")


def derives(type_: Type, declared: Type) -> bool:
    """Whether `found` is `declared` or derives from it; a union's members count as derived (part 1, sections 3.4.6
    and 3.14.6)."""
    if declared is ANY_TYPE or any(step is declared for step in _line(type_)):
        return True
    if declared.name == _ANY_SIMPLE:
        return isinstance(type_, SimpleType)
    if isinstance(declared, SimpleType) and declared.variety == "union":
        return any(derives(type_, member) for member in declared.members)
    return False


def blocked(type_: Type, declared: Type, block: Blocked) -> bool:
    """Whether `block` (the element's) or the declared type forbids a way from it to `found`, which derives from it."""
    if isinstance(declared, ComplexType):
        block |= declared.block
    ways = itertools.takewhile(lambda step: step is not declared, _line(type_)) if block else ()
    return any((step.derived_by if isinstance(step, ComplexType) else "restriction") in block for step in ways)


def _line(type_: Type) -> Iterator[Type]:
    """The type and all its bases."""
    step: Type | None = type_
    while step is not None:
        yield step
        step = step.base


_ANY_SIMPLE = xsd("anySimpleType")


def _closure(children_of: dict[str, list[str]], start: str) -> Iterator[str]:
    closure, waiting = {start}, [start]
    while waiting:
        for name in children_of.get(waiting.pop(0), ()):
            if name not in closure:
                closure.add(name)
                waiting.append(name)
                yield name


def _base_of(definition: Definition) -> tuple[etree._Element, str]:
    """The base that a type definition names, without reading the definition, and the node that does; ``""`` if there is
    none."""
    steps = ("restriction", "extension")
    node = definition.node
    if node.tag == xsd("complexType"):
        inner = children(node, xsd("simpleContent"), xsd("complexContent"))
        if not inner:
            return node, ""
        node = inner[0]
    for step in children(node, *map(xsd, steps)):
        return step, step.get("base", "")
    return node, ""
