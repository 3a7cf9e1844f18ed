"""XML without a schema type to JSON: wildcards and anyType. The reverse is `bridge_soap.encode.wild`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lxml import etree

from bridge.api import BindError
from bridge_soap.components import Wildcard
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_in import resolve_names
from bridge_soap.names import XSI, XSI_NIL, XSI_TYPE, attributes_of
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import ANY, CONTENT, NIL, TEXT, TYPE

if TYPE_CHECKING:
    from bridge_soap.decode.decoders import Decoders, Note

_XSI_START = f"{{{XSI}}}"


class UnknownReader:
    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders

    def element(self, node: etree._Element, wildcard: Wildcard | None, note: Note) -> Any:
        """An element that matches a wildcard: typed if the contract declares it, otherwise by its structure."""
        if wildcard is not None and wildcard.process == "skip":
            return self._shape(node, note, typed=False)
        try:
            declaration = self._decoders.schemas.find_element(node.tag)
            if declaration is not None:
                return self._decoders.ready(declaration)(node, note)
        except BindError as error:
            note(node, f"its declaration can't be used: {error.faults[0].reason}")
        if wildcard is not None and wildcard.process == "strict" and node.get(XSI_TYPE) is None:
            note(node, "the schema allows only elements that it declares here")
        return self.value_or_nil(node, note)

    def value_or_nil(self, node: etree._Element, note: Note) -> Any:
        """An undeclared element: nil, of the type in its ``xsi:type``, or by its structure."""
        type_name = node.get(XSI_TYPE)
        nil = node.get(XSI_NIL, "").strip() in ("true", "1")
        if type_name is not None and not nil:
            own_type = self._decoders.named_type(node, type_name, ANY_TYPE, note)
            if own_type is not None:
                value = self._decoders.ready_type(own_type)(node, note)
                short = self._decoders.variants.short(own_type.name)
                return self._decoders.labelled(short, value, own_type)
        if nil:
            attributes = self._attributes(node)
            return {NIL: True, **attributes} if attributes else None
        return self._shape(node, note, typed=True)

    def value(self, node: etree._Element, note: Note) -> Any:
        """An element of anyType without ``xsi:type``."""
        return self._shape(node, note, typed=True)

    def shape(self, node: etree._Element, note: Note) -> Any:
        """An element that is not typed at all."""
        return self._shape(node, note, typed=False)

    def begin(self, node: etree._Element, note: Note, *, typed: bool) -> dict[str, Any]:
        """The start of an element's value: its attributes and type."""
        out = self._attributes(node)
        type_name = node.get(XSI_TYPE)
        name = resolve_names(type_name, node.nsmap) if type_name is not None else ""
        if name and not (typed and self._decoders.variants.usable(name, self._decoders.graph)):
            out[TYPE] = name
            if typed:
                note(node, f"its xsi:type {type_name} is not known here; it is passed on")
        return out

    def _shape(self, node: etree._Element, note: Note, *, typed: bool) -> Any:
        out = self.begin(node, note, typed=typed)
        if not typed and node.get(XSI_NIL, "").strip() in ("true", "1"):
            return {NIL: True, **out} if out else None
        if not len(node):
            text = node.text or ""
            if not out:
                return text
            if text:
                out[TEXT] = text
            return out
        texts = [node.text, *(child.tail for child in node)]
        mixed = any(text and not text.isspace() for text in texts)
        items: list[Any] = []
        if mixed and node.text:
            items.append(node.text)
        for child in node:
            value = self.element(child, None, note) if typed else self._shape(child, note, typed=False)
            items.append({child.tag: value})
            if mixed and child.tail:
                items.append(child.tail)
        out[CONTENT if mixed else ANY] = items
        return out

    def _attributes(self, node: etree._Element) -> dict[str, Any]:
        return {f"@{name}": text for name, text in attributes_of(node) if not name.startswith(_XSI_START)}

    def attribute(self, name: str, text: str, wildcards: Sequence[Wildcard], node: etree._Element, note: Note) -> Any:
        """An attribute that matches wildcards."""
        if all(each.process == "skip" for each in wildcards):
            return text
        try:
            use = self._decoders.schemas.find_attribute(name)
        except BindError:
            use = None
        if use is None:
            if all(each.process == "strict" for each in wildcards):
                note(node, f"its attribute {name}: the schema allows only attributes that it declares here")
            return text
        reader = self._decoders.simple[use.type]
        try:
            return reader.named(text, node.nsmap) if reader.names else reader.value(text)
        except DatatypeError as error:
            note(node, f"its attribute {name}: {error}")
            return error.instead(text)
