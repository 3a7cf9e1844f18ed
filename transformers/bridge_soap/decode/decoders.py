"""XML to JSON, compiled: `Decoders` turns each type into a function made once, which walks lxml's elements.

A reply that breaks its schema is read as far as that is safe, and each liberty is told through ``note``; a route with
``strict`` refuses it instead (its ``note`` raises). Dispatch is by tag through one dictionary per content model.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, ClassVar

from lxml import etree

from bridge_soap.components import Blocked, ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_in import SimpleReaders, resolve_names
from bridge_soap.decode.cursor import Cursor
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

#: Tells of a liberty taken: ``(element, sentence)``. In strict routes it raises.
Note = Callable[[etree._Element, str], None]
#: Reads one element: ``(element, note) -> JSON value``.
Reader = Callable[[etree._Element, Note], Any]
#: Adds an element's attributes to an object.
AttributesReader = Callable[[etree._Element, dict[str, Any], Note], None]


class Decoders:
    """The decoders of one contract, for one choice of ``numbers`` and ``strict``.

    :cvar literal: order and namespaces of children are part of the contract; they aren't in SOAP's own encoding.
    """

    literal: ClassVar[bool] = True

    def __init__(self, graph: Graph, lock: RLock, *, native: bool, strict: bool) -> None:
        self.graph, self.schemas, self.strict = graph, graph.schemas, strict
        self.simple = SimpleReaders(graph.rulebook, native=native, strict=strict)
        self.variants = Variants(graph.schemas)
        self.unknown = UnknownReader(self)
        self._fields = FieldMaker(self)
        self._elements: dict[Element, Reader] = {}
        self._types: dict[Type, Reader] = {}
        self._ready: dict[Type, Reader] = {}
        self._attributes: dict[ComplexType, AttributesReader] = {}
        #: held while compiling: a reply may bring a type that nothing asked for, while another route is being bound
        self.lock = lock

    # --- what others ask for ---

    def ready(self, element: Element) -> Reader:
        """The reader of exactly this element, compiled to the last of its parts.

        :raises bridge.api.BindError: something that its values must have is broken.
        """
        with self.lock:
            self.graph.usable(element.type)
            reader = self.element(element)
            self._fields.finish()
            return reader

    @property
    def cursor(self) -> Cursor:
        return self._fields.cursor

    @property
    def fields(self) -> FieldMaker:
        """The readers of content models."""
        return self._fields

    def ready_type(self, type_: Type) -> Reader:
        """The reader of a type's values; as `ready`."""
        known = self._ready.get(type_)
        if known is None:
            with self.lock:
                self.graph.usable(type_)
                known = self._ready[type_] = self.type(type_)
                self._fields.finish()
        return known

    # --- elements ---

    def element(self, element: Element) -> Reader:
        """The reader of exactly this element, with nil and ``xsi:type``."""
        known = self._elements.get(element)
        if known is None:
            known = self._elements[element] = self._element(element)
        return known

    def member(self, element: Element, head: Element) -> Reader:
        """The reader of a substitution group's member: its value says what it is."""
        read = self.element(element)
        name = self.schemas.member_name(element, head)

        def read_member(node: etree._Element, note: Note) -> Any:
            return labelled(ELEMENT, name, read(node, note))

        return read_member

    def _element(self, element: Element) -> Reader:
        declared = element.type
        read = self._declared(element, declared)
        attributes = self.attributes(declared) if isinstance(declared, ComplexType) else None
        nillable = element.nillable
        abstract = isinstance(declared, ComplexType) and declared.abstract

        def read_element(node: etree._Element, note: Note) -> Any:
            if not node.keys():
                if abstract:
                    note(node, "its type is abstract, and it names no other")
                return read(node, note)
            chosen, label, found = read, "", None
            named = node.get(XSI_TYPE)
            if named is not None:
                found = self.named_type(node, named, declared, note, element.block)
                if found is not None:
                    label, chosen = self.variants.short(found.name), self.ready_type(found)
            if node.get(XSI_NIL, "").strip() in ("true", "1"):
                if not nillable:
                    note(node, "it is nil, which its schema does not allow")
                if len(node) or (node.text or "").strip():
                    note(node, "it is nil and holds something; that is left out")
                own = self.attributes(found) if isinstance(found, ComplexType) else attributes
                return self._nil(node, own, label, note)
            elif abstract and not label:
                note(node, "its type is abstract, and it names no other")
            value = chosen(node, note)
            return self.labelled(label, value, found) if label else value

        return read_element

    def labelled(self, label: str, value: Any, found: Type | None) -> dict[str, Any]:
        """A value that says of what type it is, another than the declared one."""
        made: dict[str, Any] = labelled(TYPE, label, value)
        return made

    def _declared(self, element: Element, type_: Type) -> Reader:
        """The reader of an element's declared type; empty stands for a default or fixed value and stays empty."""
        if isinstance(type_, SimpleType):
            return self.leaf(element, type_)
        if type_.simple is not None and (element.default is not None or element.fixed is not None):
            return self._text(type_, type_.simple, empty_stays=True, fixed=element.fixed)
        return self.type(type_)

    def named_type(
        self, node: etree._Element, named: str, declared: Type, note: Note, block: Blocked = frozenset()
    ) -> Type | None:
        """The type that ``xsi:type`` names, where it is another than the declared one and may stand here. One that
        the schema blocks is read all the same, and told."""
        name = resolve_names(named, node.nsmap)
        if name == declared.name:
            return None
        found = self.variants.usable(name, self.graph)
        if found is declared:
            return None
        if found is None or not derives(found, declared):
            if declared is not ANY_TYPE and not (isinstance(declared, SimpleType) and isinstance(found, SimpleType)):
                note(node, f"its xsi:type {named} is not known here; it is read as declared")
            return None
        if blocked(found, declared, block):
            note(node, f"the schema blocks the xsi:type {named} here")
        return found

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
        """An element of a simple type, all eventualities; `bridge_soap.decode.fields` has the quick way."""
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
                found = named(text, node.nsmap) if names else value(text)
            except DatatypeError as error:
                note(node, str(error))
                return text
            if differs is not None and differs(text):
                note(node, "it is another value than the fixed one")
            return found

        return read

    def _other_than(self, fixed: str | None, simple: SimpleType) -> Callable[[str], bool] | None:
        """Whether a text has another value than the only one allowed (structures, section 3.3.4); names, whose
        prefixes are each document's own, are not judged."""
        if fixed is None or self.simple[simple].names:
            return None
        rules = self.graph.rulebook[simple]
        try:
            rules.check(rules.normalize(fixed))
        except DatatypeError:
            return None
        wanted = rules.same(rules.normalize(fixed))

        def differs(text: str) -> bool:
            normal = rules.normalize(text)
            try:
                rules.check(normal)
            except DatatypeError:
                return False  # which is told elsewhere
            return bool(rules.same(normal) != wanted)

        return differs

    # --- types ---

    def type(self, type_: Type) -> Reader:
        known = self._types.get(type_)
        if known is None:
            if isinstance(type_, SimpleType):
                known = self.leaf(None, type_)
            elif type_ is ANY_TYPE:
                known = self.unknown.value
            elif type_.simple is not None:
                known = self._text(type_, type_.simple)
            else:
                known = self._children(type_)
            self._types[type_] = known
        return known

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
                out[TEXT] = text
            if differs is not None and differs(text):
                note(node, "it is another value than the fixed one")
            return out

        return read

    def _children(self, type_: ComplexType) -> Reader:
        content = self.graph.model(type_)
        attributes = self.attributes(type_)
        if content.whole:
            return self._whole(content, type_, attributes)
        return self._fields.keyed(type_, content, attributes)

    def _whole(self, content: Content, type_: ComplexType, attributes: AttributesReader) -> Reader:
        """``#content`` or ``#items``: every child in document order."""
        mixed, key = type_.mixed, CONTENT if type_.mixed else ITEMS
        find = self._fields.items(content)
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
        """In strict routes: the check of an element's children against the content model."""
        if not self.strict or not self.literal:
            return None
        return OrderCheck(Order(self.schemas, content.root) if content.root is not None else None, mixed=mixed)

    # --- attributes ---

    def attributes(self, type_: ComplexType) -> AttributesReader:
        known = self._attributes.get(type_)
        if known is None:
            known = self._attributes[type_] = self._make_attributes(type_)
        return known

    def _make_attributes(self, type_: ComplexType) -> AttributesReader:
        keys = attribute_keys(type_)
        table = {
            name: (keys[name], self.simple[use.type], self._other_than(use.fixed, use.type))
            for name, use in type_.attributes.items()
        }
        required = [name for name, use in type_.attributes.items() if use.required]
        wildcards, taken = type_.any_attribute, frozenset(keys.values())

        def read(node: etree._Element, out: dict[str, Any], note: Note) -> None:
            for name, text in attributes_of(node):
                found = table.get(name)
                if found is not None:
                    key, reader, differs = found
                elif name.startswith(_XSI_START):
                    continue
                elif allowed := [each for each in wildcards if each.allows(split(name)[0])]:
                    key = f"@{name}" if f"@{name}" not in taken else f"@{{}}{name}"
                    skip = all(each.process == "skip" for each in allowed)
                    out[key] = text if skip else self.unknown.attribute(name, text, node, note)
                    continue
                else:
                    note(node, f"its attribute {name} is not in the schema; it is left out")
                    continue
                try:
                    out[key] = reader.named(text, node.nsmap) if reader.names else reader.value(text)
                except DatatypeError as error:
                    note(node, f"its attribute {name}: {error}")
                    out[key] = text
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
    """`value` as an object that says what it is."""
    if isinstance(value, dict):
        return {key: name, **value}
    return {key: name, NIL: True} if value is None else {key: name, TEXT: value}
