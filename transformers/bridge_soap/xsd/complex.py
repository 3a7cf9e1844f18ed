"""Reads complex types, elements, attributes, groups and wildcards (XML Schema 1.0, part 1, section 3)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from lxml import etree

from bridge_soap.components import (
    Attribute,
    Blocked,
    ComplexType,
    Element,
    Group,
    Particle,
    Place,
    SimpleType,
    Type,
    Wildcard,
)
from bridge_soap.names import ENCODINGS, NCNAME, WSDL, children, clark, split, tag_of, xsd
from bridge_soap.xsd.builtin import ANYTHING, ARRAYS, SCHEMA
from bridge_soap.xsd.index import Definition, Scope
from bridge_soap.xsd.simple import documentation, global_name

if TYPE_CHECKING:
    from bridge_soap.xsd.schemas import Schemas

_GROUPS: dict[str, Literal["sequence", "choice", "all"]] = {
    xsd("sequence"): "sequence",
    xsd("choice"): "choice",
    xsd("all"): "all",
}
_ARRAY_TYPES = tuple(clark(namespace, "arrayType") for namespace in ENCODINGS)
_COUNT = re.compile(r"[0-9]{1,18}")
_EMPTY = Particle(Group("sequence", ()))


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip() in ("true", "1")


class ComplexReader:
    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._groups: dict[etree._Element, Group] = {}
        self._reading: list[etree._Element] = []

    # --- types ---

    def read(self, node: etree._Element, scope: Scope, name: str = "") -> ComplexType:
        result = ComplexType(
            name,
            abstract=_is_true(node.get("abstract")),
            mixed=_is_true(node.get("mixed")),
            block=_blocked(node, scope) - {"substitution"},
            doc=documentation(node),
            place=scope.place(node),
        )
        content = children(node, xsd("simpleContent"), xsd("complexContent"))
        if not content:
            result.base = self._schemas.type(xsd("anyType"))
            result.particle = self._content(node, scope)
            self._attributes(node, scope, result)
            return result
        step = children(content[0], xsd("restriction"), xsd("extension"))
        if not step or not step[0].get("base"):
            scope.place(content[0]).fail("it needs an extension or a restriction with a base", name)
        base = self._schemas.base_type(step[0], scope, step[0].get("base", ""), name)
        result.base = base
        result.derived_by = "extension" if step[0].tag == xsd("extension") else "restriction"
        if content[0].tag == xsd("simpleContent"):
            self._simple_content(step[0], scope, base, result)
        elif step[0].tag == xsd("extension") and _holds_text(base) and self._content(step[0], scope) is None:
            # An extension without elements of its own inherits its base's content, including text (section 3.4.2).
            self._simple_content(step[0], scope, base, result)
        else:
            if content[0].get("mixed") is not None:
                result.mixed = _is_true(content[0].get("mixed"))
            self._complex_content(step[0], scope, base, result)
        return result

    def _simple_content(self, node: etree._Element, scope: Scope, base: Type, result: ComplexType) -> None:
        inherited = base if isinstance(base, SimpleType) else base.simple
        restricts = node.tag == xsd("restriction")
        if restricts:
            inline = children(node, xsd("simpleType"))
            start = self._schemas.simple.read(inline[0], scope) if inline else inherited
            if start is not None:
                result.simple = self._schemas.simple.restriction(node, scope, start)
        else:
            result.simple = inherited
        if result.simple is None:
            scope.place(node).fail("simple content needs a base with simple content", result.name)
        if isinstance(base, ComplexType):
            result.attributes.update(base.attributes)
            if not restricts:
                result.any_attribute = base.any_attribute
        self._attributes(node, scope, result)

    def _complex_content(self, node: etree._Element, scope: Scope, base: Type, result: ComplexType) -> None:
        if isinstance(base, SimpleType) or base.simple is not None:
            scope.place(node).fail("complex content cannot be derived from simple content", result.name)
        own = self._content(node, scope)
        result.attributes.update(base.attributes)
        if node.tag == xsd("restriction"):
            result.particle = own
            if base.name in ARRAYS:  # arrayType may be the only declaration of items, and each may have an id or a href
                result.particle, result.any_attribute = own or base.particle, base.any_attribute
        else:
            both = tuple(part for part in (base.particle, own) if part is not None)
            if len(both) == 2:
                result.particle = Particle(Group("sequence", both))
            else:
                result.particle = both[0] if both else None
            result.any_attribute = base.any_attribute
            # An extension inherits `mixed` from its base; many schemas do not repeat it. An extension of anyType with
            # elements declares it itself.
            result.mixed = result.mixed or (base.mixed and (own is None or base.name != xsd("anyType")))
        self._attributes(node, scope, result)

    def _content(self, node: etree._Element, scope: Scope) -> Particle | None:
        for child in node:
            particle = self._particle(child, scope)
            if particle is not None:
                return particle
        return None

    # --- particles ---

    def _particle(self, node: etree._Element, scope: Scope) -> Particle | None:
        tag = tag_of(node)
        if tag in _GROUPS:
            return self._occurs(node, scope, self._group(node, scope))
        if tag == xsd("element"):
            return self._occurs(node, scope, self._element(node, scope))
        if tag == xsd("any"):
            return self._occurs(node, scope, _wildcard(node, scope))
        if tag == xsd("group"):
            return self._occurs(node, scope, self._group_of(node, scope))
        return None

    def _occurs(self, node: etree._Element, scope: Scope, term: Element | Group | Wildcard) -> Particle:
        low, high = node.get("minOccurs", "1").strip(), node.get("maxOccurs", "1").strip()
        if not _COUNT.fullmatch(low) or not (_COUNT.fullmatch(high) or high == "unbounded"):
            scope.place(node).fail(f"it cannot occur {low} to {high} times")
        most = None if high == "unbounded" else int(high)
        if most is not None and int(low) > most:
            if node.get("maxOccurs") is not None:
                scope.place(node).fail(f"it cannot occur {low} to {high} times")
            most = int(low)
        return Particle(term, int(low), most)

    def _group(self, node: etree._Element, scope: Scope) -> Group:
        particles = [self._particle(child, scope) for child in node]
        parts = tuple(part for part in particles if part is not None)
        if any(part.term is SCHEMA for part in parts):  # a .NET DataSet: that schema declares what `any` then contains
            parts = tuple(
                replace(part, term=replace(part.term, process="lax")) if isinstance(part.term, Wildcard) else part
                for part in parts
            )
        return Group(_GROUPS[node.tag], parts)

    def _group_of(self, node: etree._Element, scope: Scope) -> Group:
        definition = self._referred("group", node, scope)
        return self._defined_group(definition)

    def _referred(self, kind: str, node: etree._Element, scope: Scope) -> Definition:
        """The group or attribute group that ``ref`` names; in a redefinition of itself, the replaced one."""
        name = self._schemas.reference(kind, node, scope, node.get("ref", ""))
        definition = self._schemas.index.find(kind, name)
        if definition is None:
            scope.place(node).fail(self._schemas.index.why_missing(kind, name))
        if definition.node in node.iterancestors():
            definition = self._schemas.index.redefined.get((kind, name))
            if definition is None:
                scope.place(node).fail(f"the {kind} contains itself", name)
        return definition

    def _defined_group(self, definition: Definition) -> Group:
        node, scope = definition.node, definition.scope
        group = self._groups.get(node)
        if group is None:
            if node in self._reading:
                scope.place(node).fail("the group contains itself", node.get("name", ""))
            self._reading.append(node)
            try:
                content = self._content(node, scope) or _EMPTY
            finally:
                self._reading.pop()
            term = content.term
            plain = isinstance(term, Group) and content.low == 1 and content.high == 1
            group = self._groups[node] = term if plain and isinstance(term, Group) else Group("sequence", (content,))
        return group

    # --- elements ---

    def global_element(self, node: etree._Element, scope: Scope) -> Element:
        return self._declared(node, scope, global_name(node, scope), is_global=True)

    def _element(self, node: etree._Element, scope: Scope) -> Element:
        if node.get("ref"):
            name = self._schemas.reference("element", node, scope, node.get("ref", ""))
            return self._schemas.element(name, scope.place(node))
        local = node.get("name", "").strip()
        if not NCNAME.fullmatch(local):
            scope.place(node).fail(f"{local!r} is not a valid element name")
        form = node.get("form")
        qualified = scope.qualified_elements if form is None else form == "qualified"
        return self._declared(node, scope, clark(scope.namespace if qualified else "", local), is_global=False)

    def _declared(self, node: etree._Element, scope: Scope, name: str, *, is_global: bool) -> Element:
        resolve = self._type_of(node, scope)

        def resolve_names() -> Type:
            type_ = resolve()
            if isinstance(type_, SimpleType):
                element.default, element.fixed = (
                    _value(node, scope, type_, text) for text in (element.default, element.fixed)
                )
            return type_

        constrained = node.get("default") is not None or node.get("fixed") is not None
        element = Element(
            name,
            resolve_names if constrained else resolve,
            nillable=_is_true(node.get("nillable")),
            default=node.get("default"),
            fixed=node.get("fixed"),
            abstract=_is_true(node.get("abstract")),
            is_global=is_global,
            block=_blocked(node, scope),
            read_doc=functools.partial(documentation, node),
            place=scope.place(node),
        )
        return element

    def _type_of(self, node: etree._Element, scope: Scope) -> Callable[[], Type]:
        inline = children(node, xsd("simpleType"), xsd("complexType"))
        if inline:
            return lambda: self._schemas.read_type(inline[0], scope)
        text, head = node.get("type"), node.get("substitutionGroup")
        place = scope.place(node)
        if text:
            return lambda: self._schemas.type(self._schemas.reference("type", node, scope, text), place)
        if head:
            return lambda: self._type_of_head(node, self._schemas.reference("element", node, scope, head), place)
        return lambda: self._schemas.type(xsd("anyType"))

    def _type_of_head(self, node: etree._Element, head: str, place: Place) -> Type:
        """The type of a member that declares none: the type of its head."""
        if node in self._reading:
            place.fail("the substitution group contains itself", node.get("name", ""))
        self._reading.append(node)
        try:
            return self._schemas.element(head, place).type
        finally:
            self._reading.pop()

    # --- attributes ---

    def global_attribute(self, node: etree._Element, scope: Scope) -> Attribute:
        return self._attribute_named(node, scope, global_name(node, scope))

    def _attributes(self, node: etree._Element, scope: Scope, owner: ComplexType) -> None:
        """Add a type's own attributes. Several wildcards are intersected; the base's wildcard is an alternative."""
        wildcards: list[Wildcard] = []
        self._collect(node, scope, owner, wildcards, set())
        if wildcards:
            owner.any_attribute = (*owner.any_attribute, functools.reduce(Wildcard.within, wildcards))

    def _collect(
        self,
        node: etree._Element,
        scope: Scope,
        owner: ComplexType,
        own: list[Wildcard],
        visited: set[etree._Element],
    ) -> None:
        for child in node:
            tag = tag_of(child)
            if tag == xsd("attribute"):
                self._attribute(child, scope, owner)
            elif tag == xsd("attributeGroup"):
                if split(scope.qname(child, child.get("ref", "")))[0] in ENCODINGS:
                    own.append(ANYTHING)  # id, href and related attributes
                    continue
                definition = self._referred("attribute group", child, scope)
                if definition.node in self._reading:
                    scope.place(child).fail("the attribute group contains itself", child.get("ref", ""))
                if definition.node in visited:
                    continue  # groups that refer to others twice would double the work at each step
                visited.add(definition.node)
                self._reading.append(definition.node)
                try:
                    self._collect(definition.node, definition.scope, owner, own, visited)
                finally:
                    self._reading.pop()
            elif tag == xsd("anyAttribute"):
                own.append(_wildcard(child, scope))

    def _attribute(self, node: etree._Element, scope: Scope, owner: ComplexType) -> None:
        if node.get("ref"):
            name = self._schemas.reference("attribute", node, scope, node.get("ref", ""))
            if name in _ARRAY_TYPES:
                owner.array_type = _array_type(node, scope) or owner.array_type
            attribute = self._schemas.attribute(name)
            use = Attribute(name, attribute.type, False, attribute.default, attribute.fixed, attribute.doc)
            use.default = _value(node, scope, use.type, node.get("default")) or use.default
            use.fixed = _value(node, scope, use.type, node.get("fixed")) or use.fixed
        else:
            local = node.get("name", "").strip()
            if not NCNAME.fullmatch(local):
                scope.place(node).fail(f"{local!r} is not a valid attribute name")
            form = node.get("form")
            qualified = scope.qualified_attributes if form is None else form == "qualified"
            name = clark(scope.namespace if qualified else "", local)
            if node.get("use") == "prohibited":
                owner.attributes.pop(name, None)
                return
            use = self._attribute_named(node, scope, name)
        if node.get("use") == "prohibited":
            owner.attributes.pop(name, None)
            return
        use.required = node.get("use") == "required"
        owner.attributes[name] = use

    def _attribute_named(self, node: etree._Element, scope: Scope, name: str) -> Attribute:
        inline, text = children(node, xsd("simpleType")), node.get("type")
        if inline:
            simple = self._schemas.simple.read(inline[0], scope)
        else:
            name_of_type = self._schemas.reference("type", node, scope, text) if text else xsd("anySimpleType")
            type_ = self._schemas.type(name_of_type, scope.place(node))
            if not isinstance(type_, SimpleType):
                scope.place(node).fail(f"the attribute's type {text} is complex", name)
            simple = type_
        default, fixed = (_value(node, scope, simple, node.get(key)) for key in ("default", "fixed"))
        return Attribute(name, simple, default=default, fixed=fixed, doc=documentation(node))


def _value(node: etree._Element, scope: Scope, simple: SimpleType, text: str | None) -> str | None:
    """A default or fixed value; a QName as a Clark name."""
    return scope.qname(node, text) if text is not None and simple.builtin in ("QName", "NOTATION") else text


def _blocked(node: etree._Element, scope: Scope) -> Blocked:
    """The value of ``block`` or ``blockDefault`` (part 1, sections 3.3.2 and 3.4.2)."""
    words = node.get("block", scope.block).split()
    return frozenset(("extension", "restriction", "substitution") if "#all" in words else words)


def _holds_text(type_: Type) -> bool:
    return isinstance(type_, ComplexType) and type_.simple is not None


def _array_type(node: etree._Element, scope: Scope) -> str:
    """The value of ``wsdl:arrayType`` at a reference to ``soapenc:arrayType``: a Clark name with brackets."""
    text = node.get(f"{{{WSDL}}}arrayType") or node.get("arrayType") or ""
    name, bracket, ranks = text.strip().partition("[")
    return scope.qname(node, name) + bracket + ranks if name else ""


def _wildcard(node: etree._Element, scope: Scope) -> Wildcard:
    """The wildcard of an ``any`` or ``anyAttribute`` element (part 1, section 3.10.2)."""
    text = node.get("namespace", "##any").strip()
    process = node.get("processContents", "strict").strip()
    how: Literal["strict", "lax", "skip"] = "lax" if process == "lax" else "skip" if process == "skip" else "strict"
    if text == "##any":
        return Wildcard(frozenset(), True, how)
    if text == "##other":
        return Wildcard(frozenset({scope.namespace, ""}), True, how)
    special = {"##targetNamespace": scope.namespace, "##local": ""}
    return Wildcard(frozenset(special.get(name, name) for name in text.split()), False, how)
