"""XML to JSON: `Decoders` makes one function per type, which reads lxml's elements.

A reply that violates its schema is read as far as that is safe, and each deviation is reported to ``note``. On a route
with ``strict``, ``note`` raises and so refuses the reply. Elements are looked up by tag, in one dictionary per content
model.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, ClassVar

from lxml import etree

from bridge_soap.components import Blocked, ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_in import SimpleReaders, resolve_names
from bridge_soap.decode.fields import FieldMaker
from bridge_soap.decode.order_check import OrderCheck
from bridge_soap.decode.unknown import UnknownReader
from bridge_soap.names import XSI, XSI_NIL, XSI_TYPE, attributes_of, split
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.model import CONTENT, ELEMENT, ITEMS, NIL, TEXT, TYPE, Content, attribute_keys
from bridge_soap.xsd.order import Order
from bridge_soap.xsd.schemas import blocked, derives
from bridge_soap.xsd.variants import Variants

#: Reports a deviation from the schema: ``(element, sentence)``. On strict routes it raises.
Note = Callable[[etree._Element, str], None]
#: Reads one element: ``(element, note) -> JSON value``.
Reader = Callable[[etree._Element, Note], Any]
#: Adds an element's attributes to an object.
AttributesReader = Callable[[etree._Element, dict[str, Any], Note], None]


class Decoders:
    """The decoders of one contract, for one choice of ``numbers`` and ``strict``.

    :cvar literal: order and namespaces of children are part of the contract; in the SOAP encoding they are not.
    """

    literal: ClassVar[bool] = True

    def __init__(self, graph: Graph, lock: RLock, *, native: bool, strict: bool) -> None:
        self.graph, self.schemas, self.strict = graph, graph.schemas, strict
        self.simple = SimpleReaders(graph.rulebook, native=native, strict=strict)
        self.variants = Variants(graph.schemas)
        self.unknown = UnknownReader(self)
        self.fields = FieldMaker(self)
        self._elements: dict[Element, Reader] = {}
        self._types: dict[Type, Reader] = {}
        self._ready: dict[Type, Reader] = {}
        self._attributes: dict[ComplexType, AttributesReader] = {}
        #: held while compiling: a reply may need a new type while another route is being bound
        self.lock = lock

    # --- entry points ---

    def ready(self, element: Element) -> Reader:
        """The reader of this element declaration, with all its parts compiled.

        :raises bridge.api.BindError: a required part is invalid.
        """
        with self.lock:
            self.graph.usable(element.type)
            reader = self.element(element)
            self.fields.cursor.finish()
            return reader

    def ready_type(self, type_: Type) -> Reader:
        """As `ready`, for a type's values."""
        reader = self._ready.get(type_)
        if reader is None:
            with self.lock:
                self.graph.usable(type_)
                reader = self._ready[type_] = self.type(type_)
                self.fields.cursor.finish()
        return reader

    # --- elements ---

    def element(self, element: Element) -> Reader:
        """The reader of this element declaration, with nil and ``xsi:type``."""
        reader = self._elements.get(element)
        if reader is None:
            reader = self._elements[element] = self._element(element)
        return reader

    def member(self, element: Element, head: Element) -> Reader:
        """The reader of a substitution group's member, whose value contains its name."""
        read = self.element(element)
        name = self.schemas.member_name(element, head)

        def read_member(node: etree._Element, note: Note) -> Any:
            return labelled(ELEMENT, name, read(node, note))

        return read_member

    def _element(self, element: Element) -> Reader:
        declared_type = element.type
        read = self._declared(element, declared_type)
        attributes = self.attributes(declared_type) if isinstance(declared_type, ComplexType) else None
        nillable = element.nillable
        abstract = isinstance(declared_type, ComplexType) and declared_type.abstract

        def read_element(node: etree._Element, note: Note) -> Any:
            if not node.keys():
                if abstract:
                    note(node, "its type is abstract, and it names no other")
                return read(node, note)
            reader, label, own_type = read, "", None
            type_name = node.get(XSI_TYPE)
            if type_name is not None:
                own_type = self.named_type(node, type_name, declared_type, note, element.block)
                if own_type is not None:
                    label, reader = self.variants.short(own_type.name), self.ready_type(own_type)
            if node.get(XSI_NIL, "").strip() in ("true", "1"):
                if not nillable:
                    note(node, "it is nil, which its schema does not allow")
                if len(node) or (node.text or "").strip():
                    note(node, "it is nil and holds something; that is left out")
                own = self.attributes(own_type) if isinstance(own_type, ComplexType) else attributes
                return self._nil(node, own, label, note)
            elif abstract and not label:
                note(node, "its type is abstract, and it names no other")
            value = reader(node, note)
            return self.labelled(label, value, own_type) if label else value

        return read_element

    def labelled(self, label: str, value: Any, own_type: Type | None) -> dict[str, Any]:
        """A value with the name of its type, which is not the declared one."""
        made: dict[str, Any] = labelled(TYPE, label, value)
        return made

    def _declared(self, element: Element, type_: Type) -> Reader:
        """The reader of an element's declared type. An empty element with a default or fixed value stays empty."""
        if isinstance(type_, SimpleType):
            return self.leaf(element, type_)
        if type_.simple is not None and (element.default is not None or element.fixed is not None):
            return self._text(type_, type_.simple, empty_stays=True, fixed=element.fixed)
        return self.type(type_)

    def named_type(
        self, node: etree._Element, type_name: str, declared_type: Type, note: Note, block: Blocked = frozenset()
    ) -> Type | None:
        """The type in ``xsi:type``, if it is not the declared one and is allowed here; else None. A type that the
        schema blocks is accepted and reported."""
        name = resolve_names(type_name, node.nsmap)
        if name == declared_type.name:
            return None
        own_type = self.variants.usable(name, self.graph)
        if own_type is declared_type:
            return None
        if own_type is None or not derives(own_type, declared_type):
            if declared_type is not ANY_TYPE and not (
                isinstance(declared_type, SimpleType) and isinstance(own_type, SimpleType)
            ):
                note(node, f"its xsi:type {type_name} is not known here; it is read as declared")
            return None
        if blocked(own_type, declared_type, block):
            note(node, f"the schema blocks the xsi:type {type_name} here")
        return own_type

    def _nil(self, node: etree._Element, attributes: AttributesReader | None, label: str, note: Note) -> Any:
        out: dict[str, Any] = {}
        if attributes is not None:
            attributes(node, out, note)
        else:
            self.stray_attributes(node, note)
        if not out and not label:
            return None
        return ({TYPE: label} if label else {}) | {NIL: True} | out

    def leaf(self, element: Element | None, simple: SimpleType) -> Reader:
        """The reader of an element with a simple type; `bridge_soap.decode.fields` has the fast path."""
        reader = self.simple[simple]
        value, named, names = reader.value, reader.named, reader.names
        empty_stays = element is not None and (element.default is not None or element.fixed is not None)
        differs = self._other_than(element.fixed if element is not None else None, simple)

        def read(node: etree._Element, note: Note) -> Any:
            if node.keys():
                self.stray_attributes(node, note)
            if len(node):
                note(node, "it holds child elements where only text belongs; they are left out")
            text = node.text or ""
            if empty_stays and not text:
                return ""
            try:
                result = named(text, node.nsmap) if names else value(text)
            except DatatypeError as error:
                note(node, str(error))
                return error.instead(text)
            if differs is not None and differs(text):
                note(node, "it is another value than the fixed one")
            return result

        return read

    def _other_than(self, fixed: str | None, simple: SimpleType) -> Callable[[str], bool] | None:
        """Whether a text differs from the fixed value (structures, section 3.3.4). QNames are not compared, since each
        document has its own prefixes."""
        if fixed is None or self.simple[simple].names:
            return None
        rules = self.graph.rulebook[simple]
        try:
            rules.check(rules.normalize(fixed))
        except DatatypeError:
            return None
        fixed_value = rules.same(rules.normalize(fixed))

        def differs(text: str) -> bool:
            normal = rules.normalize(text)
            try:
                rules.check(normal)
            except DatatypeError:
                return False  # reported elsewhere
            return bool(rules.same(normal) != fixed_value)

        return differs

    # --- types ---

    def type(self, type_: Type) -> Reader:
        reader = self._types.get(type_)
        if reader is None:
            if isinstance(type_, SimpleType):
                reader = self.leaf(None, type_)
            elif type_ is ANY_TYPE:
                reader = self.unknown.value
            elif type_.simple is not None:
                reader = self._text(type_, type_.simple)
            else:
                reader = self._children(type_)
            self._types[type_] = reader
        return reader

    def _text(
        self, type_: ComplexType, simple: SimpleType, *, empty_stays: bool = False, fixed: str | None = None
    ) -> Reader:
        reader, attributes = self.simple[simple], self.attributes(type_)
        differs = self._other_than(fixed, simple)

        def read(node: etree._Element, note: Note) -> Any:
            out: dict[str, Any] = {}
            attributes(node, out, note)
            if len(node):
                note(node, "it holds child elements where only text belongs; they are left out")
            text = node.text or ""
            if empty_stays and not text:
                out[TEXT] = ""
                return out
            try:
                out[TEXT] = reader.named(text, node.nsmap) if reader.names else reader.value(text)
            except DatatypeError as error:
                note(node, str(error))
                out[TEXT] = error.instead(text)
            if differs is not None and differs(text):
                note(node, "it is another value than the fixed one")
            return out

        return read

    def _children(self, type_: ComplexType) -> Reader:
        content = self.graph.model(type_)
        attributes = self.attributes(type_)
        if content.whole:
            return self._whole(content, type_, attributes)
        return self.fields.keyed(type_, content, attributes)

    def _whole(self, content: Content, type_: ComplexType, attributes: AttributesReader) -> Reader:
        """``#content`` or ``#items``: all children in document order."""
        mixed, key = type_.mixed, CONTENT if type_.mixed else ITEMS
        find = self.fields.items(content)
        order = self.order(content, mixed=mixed)
        must = any(use.required for use in type_.attributes.values())

        def read(node: etree._Element, note: Note) -> Any:
            out: dict[str, Any] = {}
            if node.keys() or must:
                attributes(node, out, note)
            items: list[Any] = []
            if mixed and node.text:
                items.append(node.text)
            for child in node:
                item = find(child, note)
                if item is not None:
                    items.append(item)
                if mixed and child.tail:
                    items.append(child.tail)
            out[key] = items
            if order is not None:
                order(node, note)
            return out

        return read

    def order(self, content: Content, *, mixed: bool = False) -> OrderCheck | None:
        """The check of an element's children against the content model; None unless the route is strict."""
        if not self.strict or not self.literal:
            return None
        return OrderCheck(Order(self.schemas, content.root) if content.root is not None else None, mixed=mixed)

    # --- attributes ---

    def attributes(self, type_: ComplexType) -> AttributesReader:
        reader = self._attributes.get(type_)
        if reader is None:
            reader = self._attributes[type_] = self._make_attributes(type_)
        return reader

    def _make_attributes(self, type_: ComplexType) -> AttributesReader:
        keys = attribute_keys(type_)
        table = {
            name: (keys[name], self.simple[use.type], self._other_than(use.fixed, use.type))
            for name, use in type_.attributes.items()
        }
        required = [name for name, use in type_.attributes.items() if use.required]
        wildcards, property_names = type_.any_attribute, frozenset(keys.values())

        def read(node: etree._Element, out: dict[str, Any], note: Note) -> None:
            for name, text in attributes_of(node):
                entry = table.get(name)
                if entry is not None:
                    key, reader, differs = entry
                elif name.startswith(_XSI_START):
                    continue
                elif matches := [each for each in wildcards if each.allows(split(name)[0])]:
                    key = f"@{name}" if f"@{name}" not in property_names else f"@{{}}{name}"
                    out[key] = self.unknown.attribute(name, text, matches, node, note)
                    continue
                else:
                    note(node, f"its attribute {name} is not in the schema; it is left out")
                    continue
                try:
                    out[key] = reader.named(text, node.nsmap) if reader.names else reader.value(text)
                except DatatypeError as error:
                    note(node, f"its attribute {name}: {error}")
                    out[key] = error.instead(text)
                if differs is not None and differs(text):
                    note(node, f"its attribute {name} is another value than the fixed one")
            for name in required:
                if keys[name] not in out:
                    note(node, f"its attribute {name} is missing")

        return read

    def stray_attributes(self, node: etree._Element, note: Note) -> None:
        for name, _ in attributes_of(node):
            if not name.startswith(_XSI_START):
                note(node, f"its attribute {name} is not in the schema; it is left out")


_XSI_START = f"{{{XSI}}}"


def labelled(key: str, name: str, value: Any) -> Any:
    """`value` as an object with its name under `key`."""
    if isinstance(value, dict):
        return {key: name, **value}
    return {key: name, NIL: True} if value is None else {key: name, TEXT: value}
