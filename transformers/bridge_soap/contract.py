"""One WSDL, loaded and ready to compile: what routes on the same WSDL share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from bridge_soap.access import Access
from bridge_soap.components import NOWHERE, ComplexType, Element, Group, Particle, Type
from bridge_soap.datatypes.facets import Rulebook
from bridge_soap.decode.decoders import Decoders
from bridge_soap.documents import Library
from bridge_soap.encode.encoders import Encoders
from bridge_soap.encode.writing import Prefixes
from bridge_soap.wsdl.definitions import MessagePart, Side, SoapOperation, Wsdl, read_wsdl
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.properties import Properties
from bridge_soap.xsd.schemas import Schemas


@dataclass(frozen=True, slots=True)
class Body:
    """What one direction of an operation carries in ``soap:Body``.

    :ivar root: the body's one element; None where the body is empty or holds several.
    :ivar parts: the body's elements where it holds several (a document message of many parts).
    :ivar named: whether the root's name is part of the contract; an rpc reply's is not.
    """

    root: Element | None = None
    parts: tuple[Element, ...] = ()
    named: bool = True

    @property
    def elements(self) -> tuple[Element, ...]:
        return (self.root,) if self.root is not None else self.parts


class Contract:
    """A WSDL with its schemas, encoders and decoders. Reading one blocks (files, perhaps the network).

    :param access: the credentials that its own origin asks for.
    :raises bridge.BindError: it does not load; the message names file, line and cause.
    """

    def __init__(self, reference: str, folder: Path, access: Access | None = None) -> None:
        library = Library(folder, access)
        self.wsdl: Wsdl = read_wsdl(library, reference)
        self.digest = library.digest
        self.schemas = Schemas(self.wsdl.index)
        self.graph = Graph(self.schemas, Rulebook())
        self.properties = Properties(self.graph)
        names = {operation.input.namespace for operation in self.wsdl.operations}
        self.prefixes = Prefixes(dict.fromkeys((*sorted(self.wsdl.index.namespaces), *sorted(names))))
        self.encoders = Encoders(self.graph, self.prefixes)
        self._decoders: dict[tuple[bool, bool], Decoders] = {}
        self.lock: RLock = self.encoders.lock

    def decoders(self, *, native: bool, strict: bool) -> Decoders:
        known = self._decoders.get((native, strict))
        if known is None:
            known = self._decoders[native, strict] = Decoders(self.graph, self.lock, native=native, strict=strict)
        return known

    # --- messages ---

    def body(self, operation: SoapOperation, side: Side, *, reply: bool) -> Body:
        """The body of one direction.

        :raises bridge.BindError: it is of a kind that isn't served (rpc/encoded, attachments), or refers to nothing.
        """
        if side.use == "encoded":
            operation.place.fail("it is rpc/encoded (SOAP section 5), which is not served", operation.name)
        if side.attachments:
            operation.place.fail("its message has attachments, which are not served", operation.name)
        if operation.style == "rpc":
            return Body(self._rpc(operation, side, reply=reply), named=not reply)
        elements = tuple(self._document(operation, part) for part in side.parts)
        if len(elements) == 1:
            return Body(elements[0])
        return Body(parts=elements)

    def _document(self, operation: SoapOperation, part: MessagePart) -> Element:
        if part.element:
            return self.schemas.element(part.element, part.place)
        if part.type:
            part.place.fail(
                f"the part {part.name!r} of a document message names a type where an element is needed", operation.name
            )
        return part.place.fail(f"the part {part.name!r} names no element", operation.name)

    def _rpc(self, operation: SoapOperation, side: Side, *, reply: bool) -> Element:
        """The wrapper that rpc style implies (WSDL 1.1, section 3.5): named after the operation, a child a part."""
        particles = tuple(Particle(self._accessor(operation, part)) for part in side.parts)
        wrapper = ComplexType("", particle=Particle(Group("sequence", particles)), place=operation.place)
        name = f"{operation.name}Response" if reply else operation.name
        return Element(f"{{{side.namespace}}}{name}" if side.namespace else name, lambda: wrapper)

    def _accessor(self, operation: SoapOperation, part: MessagePart) -> Element:
        if part.element:
            return self.schemas.element(part.element, part.place)
        if not part.type:
            part.place.fail(f"the part {part.name!r} names no type", operation.name)
        found: Type = self.schemas.type(part.type, part.place)
        return Element(part.name, lambda: found, place=part.place)

    def fault_elements(self, operation: SoapOperation) -> dict[str, Element]:
        """The elements that an operation's faults may carry in their detail, by tag. A fault that refers to nothing
        is left out: its detail is then read without a type."""
        found: dict[str, Element] = {}
        for part in operation.faults.values():
            if part.element and self.schemas.index.find("element", part.element) is not None:
                found[part.element] = self.schemas.element(part.element, NOWHERE)
            elif part.type and self.schemas.index.find("type", part.type) is not None:
                type_ = self.schemas.type(part.type, NOWHERE)
                found[part.name] = Element(part.name, lambda type_=type_: type_)  # type: ignore[misc]  # bound now
        return found
