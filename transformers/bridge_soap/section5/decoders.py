"""Encoded XML to JSON: the literal decoders, plus nil for all elements and arrays, without an order of children."""

from __future__ import annotations

from typing import Any, ClassVar

from lxml import etree

from bridge_soap.components import Blocked, ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.simple_in import resolve_names
from bridge_soap.decode.decoders import Decoders, Note, Reader
from bridge_soap.names import ENCODINGS, XSI_NIL, XSI_TYPE, split
from bridge_soap.section5.layout import array_attributes, is_array, laid_out, places_of
from bridge_soap.xsd.arrays import Array
from bridge_soap.xsd.builtin import ANY_TYPE, ARRAYS
from bridge_soap.xsd.model import ITEMS, TYPE

_BINARY = ("base64Binary", "hexBinary")


class EncodedDecoders(Decoders):
    """The decoders of one contract's encoded operations."""

    literal: ClassVar[bool] = False

    def _element(self, element: Element) -> Reader:
        declared_type = element.type
        read = self.type(declared_type) if isinstance(declared_type, ComplexType) else self.leaf(element, declared_type)
        abstract = isinstance(declared_type, ComplexType) and declared_type.abstract

        def read_element(node: etree._Element, note: Note) -> Any:
            if not node.items():
                if abstract:
                    note(node, "its type is abstract, and it names no other")
                return read(node, note)
            if node.get(XSI_NIL, "").strip() in ("true", "1"):
                return None
            reader, label, own_type = read, "", None
            type_name = node.get(XSI_TYPE)
            if type_name is not None:
                own_type = self.named_type(node, type_name, declared_type, note)
                if own_type is not None:
                    label, reader = self._label(own_type), self.ready_type(own_type)
            elif declared_type is ANY_TYPE and is_array(node):
                label, reader = "Array", self.ready_type(self.schemas.type(ARRAYS[0]))
            elif abstract:
                note(node, "its type is abstract, and it names no other")
            value = reader(node, note)
            return self.labelled(label, value, own_type) if label else value

        return read_element

    def labelled(self, label: str, value: Any, own_type: Type | None) -> dict[str, Any]:
        """As for literal XML; an array's items go into ``#items``."""
        if isinstance(value, list) and (own_type is None or self.graph.arrays[own_type] is not None):
            return {TYPE: label, ITEMS: value}
        return super().labelled(label, value, own_type)

    def _label(self, own_type: Type) -> str:
        return "Array" if own_type.name in ARRAYS else self.variants.short(own_type.name)

    def named_type(
        self, node: etree._Element, type_name: str, declared_type: Type, note: Note, block: Blocked = frozenset()
    ) -> Type | None:
        """As for literal XML; an array may also name the type Array, and a simple type its counterpart in the
        encoding's namespace."""
        namespace, local = split(resolve_names(type_name, node.nsmap))
        if self.graph.arrays[declared_type] is not None and (local == "Array" or local.startswith("ArrayOf")):
            return None
        if namespace in ENCODINGS and local == "Struct":
            return None
        if isinstance(declared_type, SimpleType) and declared_type.builtin != "anySimpleType":
            # Servers in untyped languages guess the type of each value: 5 is an int and 5.5 a double where both are
            # decimals. The declared type is used, unless the text has another meaning.
            own_type = self.variants.known(resolve_names(type_name, node.nsmap))
            binary = (
                isinstance(own_type, SimpleType)
                and own_type.builtin in _BINARY
                and declared_type.builtin not in _BINARY
            )
            return own_type if binary else None
        return super().named_type(node, type_name, declared_type, note, block)

    def type(self, type_: Type) -> Reader:
        array = self.graph.arrays[type_] if isinstance(type_, ComplexType) else None
        if array is None or type_ in self._types:
            return super().type(type_)
        reader = self._types[type_] = self._members(array)
        return reader

    # --- arrays ---

    def _members(self, array: Array) -> Reader:
        reader: Reader | None = None
        own = array.item.type

        def read(node: etree._Element, note: Note) -> list[Any]:
            nonlocal reader
            if reader is None:  # created now, since an array may contain itself
                reader = self.ready(array.item)
            item_type, shape = array_attributes(node)
            if (node.text and not node.text.isspace()) or any(c.tail and not c.tail.isspace() for c in node):
                note(node, "it holds text where items belong; that is left out")
            if item_type and resolve_names(item_type, node.nsmap) not in (own.name, ANY_TYPE.name):
                for child in node:
                    if child.get(XSI_TYPE) is None:
                        child.set(XSI_TYPE, item_type)
            if len(shape) < array.dimensions:
                shape = [] if array.dimensions == 1 else [len(node)] + [1] * (array.dimensions - 1)
            places = places_of(node, shape)
            if places is not None and len(set(places)) < len(places):
                note(node, "several of its items have one place; the last of them is taken")
            return laid_out([reader(child, note) for child in node], places, shape)

        return read
