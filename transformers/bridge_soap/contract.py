"""One WSDL, loaded and ready to compile. Routes with the same WSDL share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from bridge.api import BindError, Fault
from bridge_soap.access import Access
from bridge_soap.components import NOWHERE, ComplexType, Element, Group, Particle, SimpleType, Type
from bridge_soap.datatypes.facets import Rulebook
from bridge_soap.datatypes.simple_in import SimpleReaders
from bridge_soap.decode.decoders import Decoders
from bridge_soap.documents import BlockingFetch, Library
from bridge_soap.encode.encoders import Encoders
from bridge_soap.encode.writing import Prefixes
from bridge_soap.liberties import Liberties
from bridge_soap.names import NCNAME, SOAP12_ENCODING, clark, split
from bridge_soap.section5.decoders import EncodedDecoders
from bridge_soap.section5.encoders import EncodedEncoders
from bridge_soap.section5.rules import ENCODING_11, ENCODING_12, Encoding
from bridge_soap.wsdl.definitions import Wsdl, read_wsdl
from bridge_soap.wsdl.model import MessagePart, Side, SoapOperation
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.properties import Properties
from bridge_soap.xsd.schemas import Schemas
from bridge_soap.xsd.shipped import shipped_elements


@dataclass(frozen=True, slots=True)
class Body:
    """The content of ``soap:Body`` in one direction of an operation.

    :ivar root: its one element; None where it is empty or has several.
    :ivar parts: its elements where it has several (a document message of many parts).
    :ivar content: the type of its content, where it is not one element.
    :ivar accessors: the names of an rpc wrapper's children, one for each part.
    :ivar named: whether the contract defines the root's name; for an rpc reply it does not.
    :ivar encoding: SOAP encoding (section 5), where it is used.
    """

    root: Element | None = None
    parts: tuple[Element, ...] = ()
    content: ComplexType | None = None
    accessors: tuple[str, ...] | None = None
    named: bool = True
    encoding: Encoding | None = None

    @property
    def elements(self) -> tuple[Element, ...]:
        return (self.root,) if self.root is not None else self.parts

    @property
    def bare(self) -> bool:
        """Whether it is one simple value."""
        return self.root is not None and isinstance(self.root.type, SimpleType)


class Contract:
    """A WSDL with its schemas, encoders and decoders. The constructor blocks: it reads files or fetches URLs.

    :param access: credentials for the WSDL's origin.
    :param fetch: fetches URLs; without it, the WSDL must be a file.
    :ivar library: its documents.
    :param strict: read it by the letter only.
    :param blocks: names of header blocks that the contract need not know: the shipped schemas may define them.
    :ivar digest: the same for contracts that may be shared.
    :ivar shipped_blocks: the Clark name of each of `blocks` that only a shipped schema defines.
    :ivar liberties: where it is not read by the letter; more may be added when types are compiled.
    :ivar documented: the JSON schemas of `bridge_soap.openapi`, which all operations share.
    :raises bridge.api.BindError: it does not load.
    """

    def __init__(
        self,
        reference: str,
        folder: Path,
        access: Access | None = None,
        fetch: BlockingFetch | None = None,
        *,
        strict: bool = False,
        blocks: Iterable[str] = (),
    ) -> None:
        self.liberties = Liberties(strict=strict)
        library = Library(folder, fetch, access.headers if access is not None else None, self.liberties)
        self.wsdl: Wsdl = read_wsdl(library, reference)
        self.shipped_blocks = self._shipped_blocks(library, blocks)
        namespaces = sorted({split(tag)[0] for tag in self.shipped_blocks.values()})
        self.wsdl.index.ship(namespaces)
        self.digest = " ".join((library.digest, "strict" if strict else "tolerant", *self.shipped_blocks.values()))
        self.library = library
        self.schemas = Schemas(self.wsdl.index)
        self.graph = Graph(self.schemas, Rulebook())
        self.properties = Properties(self.graph)
        names = {operation.input.namespace for operation in self.wsdl.operations}
        self.prefixes = Prefixes(dict.fromkeys((*sorted(self.wsdl.index.namespaces), *sorted(names))))
        self.encoders = Encoders(self.graph, self.prefixes)
        self.lock: RLock = self.schemas.lock
        self._encoded: dict[Encoding, EncodedEncoders] = {}
        self._decoders: dict[tuple[bool, bool, bool], Decoders] = {}
        #: simple values from clients, in parameters and header fields: the encoders judge them
        self.inputs = SimpleReaders(self.graph.rulebook, native=False, strict=False, judge=False)
        self.documented: dict[tuple[bool, bool], Any] = {}

    def _shipped_blocks(self, library: Library, names: Iterable[str]) -> dict[str, str]:
        known = {
            each for kind, tag in self.wsdl.index.definitions if kind == "element" for each in (tag, split(tag)[1])
        }
        mentioned = {namespace for document in library.documents for namespace in document.root.nsmap.values()}
        blocks: dict[str, str] = {}
        for name in sorted(set(names) - known):
            tags = shipped_elements(name, mentioned)
            if len(tags) > 1:
                why = f"it may mean {', '.join(tags)}; write it in full"
                raise BindError(Fault(why, ("transform", "soap", "headers", name)))
            if tags:
                blocks[name] = tags[0]
        return blocks

    def encoded(self, encoding: Encoding) -> EncodedEncoders:
        """The encoders of messages in SOAP encoding."""
        encoders = self._encoded.get(encoding)
        if encoders is None:
            encoders = self._encoded[encoding] = EncodedEncoders(self.graph, self.prefixes, encoding)
        return encoders

    def decoders(self, *, native: bool, strict: bool, encoded: bool = False) -> Decoders:
        decoders = self._decoders.get((native, strict, encoded))
        if decoders is None:
            kind = EncodedDecoders if encoded else Decoders
            decoders = kind(self.graph, self.lock, native=native, strict=strict)
            self._decoders[native, strict, encoded] = decoders
        return decoders

    # --- messages ---

    def body(self, operation: SoapOperation, side: Side, *, reply: bool) -> Body:
        """The body of one direction.

        :raises bridge.api.BindError: it refers to an element or type that does not exist.
        """
        encoding = None
        if side.use == "encoded":
            newer = SOAP12_ENCODING in side.style.split() if side.style else operation.version == "1.2"
            encoding = ENCODING_12 if newer else ENCODING_11
        if operation.style == "rpc":
            accessors = tuple(self._accessor(operation, part) for part in side.parts)
            wrapper = self._wrapper(operation, side, accessors, reply=reply)
            names = tuple(each.name for each in accessors)
            return Body(wrapper, accessors=names, named=not reply, encoding=encoding)
        if len(side.parts) == 1 and side.parts[0].type:
            part = side.parts[0]
            type_ = self.schemas.type(self._referred("type", part.type, part), part.place)
            if isinstance(type_, ComplexType) and encoding is None:
                return Body(content=type_)
        elements = tuple(self._accessor(operation, part) for part in side.parts)
        if len(elements) == 1:
            return Body(elements[0], encoding=encoding)
        return Body(parts=elements, content=_together(elements) if elements else None, encoding=encoding)

    def _wrapper(self, operation: SoapOperation, side: Side, accessors: tuple[Element, ...], *, reply: bool) -> Element:
        """The element of rpc style (WSDL 1.1, section 3.5): named after the operation, with a child for each part."""
        wrapper = _together(accessors)
        wrapper.place = operation.place
        name = f"{operation.name}Response" if reply else operation.name
        # The binding must name the namespace. Where it does not, servers use the port type's.
        return Element(clark(side.namespace or split(operation.port_type)[0], name), lambda: wrapper)

    def _accessor(self, operation: SoapOperation, part: MessagePart) -> Element:
        if part.element:
            local = split(part.element)[1]  # without a prefix, no namespace may be meant
            unqualified = self.schemas.index.find("element", part.element) is None and self.schemas.find_element(local)
            return unqualified or self.schemas.element(self._referred("element", part.element, part), part.place)
        type_: Type = self.schemas.type(self._referred("type", part.type, part), part.place) if part.type else ANY_TYPE
        return Element(part.name, lambda: type_, place=part.place)

    def _referred(self, kind: str, name: str, part: MessagePart) -> str:
        return self.schemas.part_reference(kind, name, part.place) if part.bare else name

    def fault_elements(self, operation: SoapOperation) -> dict[str, Element]:
        """The elements in the details of an operation's faults, by tag. A fault that refers to an undeclared element or
        type is left out; its detail is read without a type."""
        elements: dict[str, Element] = {}
        for name, part in operation.faults.items():
            if part.element and self.schemas.index.find("element", part.element) is not None:
                elements[part.element] = self.schemas.element(part.element, NOWHERE)
            elif part.type and self.schemas.index.find("type", part.type) is not None:
                type_ = self.schemas.type(part.type, NOWHERE)
                for tag in (part.name, name):  # the part's name; some servers use the fault's
                    if NCNAME.fullmatch(tag):
                        elements.setdefault(tag, Element(tag, lambda type_=type_: type_))  # type: ignore[misc]  # bound now
        return elements


def _together(elements: tuple[Element, ...]) -> ComplexType:
    """A sequence of `elements`."""
    return ComplexType("", particle=Particle(Group("sequence", tuple(map(Particle, elements)))))
