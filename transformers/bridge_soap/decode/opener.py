"""How an element is read while it is being parsed; see `bridge_soap.decode.incremental`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lxml import etree

from bridge.api import BadReply, BindError
from bridge_soap.components import ComplexType, Element, SimpleType, Type, Wildcard
from bridge_soap.decode.decoders import Decoders, Note, labelled
from bridge_soap.decode.incremental import OpenContent, OpenElement, OpenUnknown
from bridge_soap.decode.open_record import OpenRecord
from bridge_soap.decode.packing import MAX_JSON, TOO_LARGE
from bridge_soap.names import XSI_NIL, XSI_TYPE, local_name
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import ELEMENT, Content, Slot

if TYPE_CHECKING:
    from bridge_soap.message.shape import Shape


class Opener:
    """Chooses how an element of one contract is read incrementally: the counterpart of `Decoders`, for one reply.

    :param careful: keep white space in elements without a schema type until it is known whether it matters.
    """

    def __init__(self, decoders: Decoders, *, careful: bool = False) -> None:
        self.decoders, self._careful = decoders, careful
        self._packed = 0
        self._finders: dict[ComplexType, Callable[[etree._Element, Note], dict[str, Any] | None]] = {}
        self._by_local: dict[int, dict[str, Slot | None]] = {}

    def count(self, size: int) -> None:
        """Add to the total of JSON bytes.

        :raises bridge.api.BadReply: the total exceeds `MAX_JSON`.
        """
        self._packed += size
        if self._packed > MAX_JSON:
            raise BadReply(TOO_LARGE)

    def finder(self, type_: ComplexType) -> Callable[[etree._Element, Note], dict[str, Any] | None]:
        """The reader of single children in ordered content."""
        reader = self._finders.get(type_)
        if reader is None:
            reader = self._finders[type_] = self.decoders.fields.items(self.decoders.graph.model(type_))
        return reader

    def by_local(self, content: Content, tag: str) -> Slot | None:
        """The slot with the tag's local name, for an element in the wrong namespace."""
        table = self._by_local.get(id(content))
        if table is None:
            table = self._by_local[id(content)] = {}
            for name, slot in content.slots.items():
                local = local_name(name)
                table[local] = None if local in table else slot
        return table.get(local_name(tag))

    # --- elements ---

    def slot(
        self, slot: Slot, node: etree._Element, note: Note, shape: Shape | None, fault: str = ""
    ) -> OpenElement | None:
        """A child that its content model names; `fault` is what is wrong with its name."""
        if slot.element is not slot.head:
            return self.member(slot.element, slot.head, node, note, shape, fault)
        return self.element(slot.element, node, note, shape, fault)

    def member(
        self, element: Element, head: Element, node: etree._Element, note: Note, shape: Shape | None, fault: str = ""
    ) -> OpenElement | None:
        """A member of a substitution group."""
        reader = self.element(element, node, note, shape, fault)
        if reader is not None:
            name = self.decoders.schemas.member_name(element, head)
            reader.labelled(lambda value: labelled(ELEMENT, name, value))
        return reader

    def element(
        self, element: Element, node: etree._Element, note: Note, shape: Shape | None, fault: str = ""
    ) -> OpenElement | None:
        """An element with this declaration; respects ``xsi:type``."""
        if node.get(XSI_NIL, "").strip() in ("true", "1"):
            return None
        decoders, declared_type, notes = self.decoders, element.type, _Notes()
        if fault:
            notes(node, fault)
        type_name, type_, own_type = node.get(XSI_TYPE), declared_type, None
        if type_name is not None:
            own_type = decoders.named_type(node, type_name, declared_type, notes, element.block)
            type_ = own_type if own_type is not None else declared_type
        if own_type is None and isinstance(declared_type, ComplexType) and declared_type.abstract:
            notes(node, "its type is abstract, and it names no other")
        return self._labelled(own_type, self._typed(type_, node, note, shape, notes))

    def _labelled(self, own_type: Type | None, reader: OpenElement | None) -> OpenElement | None:
        if reader is not None and own_type is not None:
            short = self.decoders.variants.short(own_type.name)
            reader.labelled(lambda value: self.decoders.labelled(short, value, own_type))
        return reader

    def _typed(
        self, type_: Type, node: etree._Element, note: Note, shape: Shape | None, notes: _Notes
    ) -> OpenElement | None:
        if isinstance(type_, SimpleType) or type_.simple is not None:
            return None
        notes.tell(note)
        return self.content(type_, node, note, shape)

    def content(self, type_: ComplexType, node: etree._Element, note: Note, shape: Shape | None) -> OpenElement:
        """The content of an element whose type has children."""
        if type_ is ANY_TYPE:
            return self._shape(node, note, typed=True)
        self.decoders.ready_type(type_)
        if self.decoders.graph.model(type_).whole:
            return OpenContent(self, type_, node, note, shape)
        return OpenRecord(self, type_, node, note, shape)

    # --- elements that are not in a content model ---

    def unknown(self, node: etree._Element, wildcard: Wildcard | None, note: Note) -> OpenElement | None:
        """An element that matches a wildcard."""
        decoders, notes = self.decoders, _Notes()
        if wildcard is not None and wildcard.process == "skip":
            return self.shape(node, note)
        try:
            declaration = decoders.schemas.find_element(node.tag)
            if declaration is not None:
                decoders.ready(declaration)
                return self.element(declaration, node, note, None)
        except BindError as error:
            notes(node, f"its declaration can't be used: {error.faults[0].reason}")
        type_name = node.get(XSI_TYPE)
        if wildcard is not None and wildcard.process == "strict" and type_name is None:
            notes(node, "the schema allows only elements that it declares here")
        if node.get(XSI_NIL, "").strip() in ("true", "1"):
            return None
        if type_name is not None:
            own_type = decoders.named_type(node, type_name, ANY_TYPE, notes)
            if own_type is not None:
                return self._labelled(own_type, self._typed(own_type, node, note, None, notes))
        notes.tell(note)
        return self._shape(node, note, typed=True)

    def shape(self, node: etree._Element, note: Note) -> OpenElement | None:
        """An element that is not typed at all."""
        if node.get(XSI_NIL, "").strip() in ("true", "1"):
            return None
        return self._shape(node, note, typed=False)

    def _shape(self, node: etree._Element, note: Note, *, typed: bool) -> OpenElement:
        out = self.decoders.unknown.begin(node, note, typed=typed)
        return OpenUnknown(self, node, note, typed=typed, out=out, careful=self._careful)


class _Notes:
    """Collects notes until it is known who reads the element, since its usual reader would repeat them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[etree._Element, str]] = []

    def __call__(self, node: etree._Element, why: str) -> None:
        self._waiting.append((node, why))

    def tell(self, note: Note) -> None:
        for node, why in self._waiting:
            note(node, why)
        self._waiting.clear()
