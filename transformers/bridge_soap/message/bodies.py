"""Writers and readers of bodies, made from the encoders and decoders."""

from __future__ import annotations

from typing import Any

from lxml import etree

from bridge.api import BadReply
from bridge_soap.components import Element, SimpleType
from bridge_soap.contract import Body, Contract
from bridge_soap.decode.decoders import Decoders, Note, Reader
from bridge_soap.decode.order_check import is_text
from bridge_soap.encode.writing import Writer
from bridge_soap.names import local_name, tag_of
from bridge_soap.xsd.builtin import ANY_TYPE


def body_writer(contract: Contract, body: Body) -> Writer:
    """:raises bridge.api.BindError: a required part of the body is invalid."""
    encoded = contract.encoded(body.encoding) if body.encoding is not None else None
    if body.root is not None:
        return encoded.wrapper(body.root) if encoded is not None else contract.encoders.element(body.root)
    return (encoded or contract.encoders).content(body.content) if body.content is not None else _write_nothing


def _write_nothing(value: Any, put: Any, at: Any, bad: list[tuple[str, str]]) -> None:
    if value != {}:
        bad.append(("", "this operation takes nothing: an empty object is wanted"))


def body_reader(decoders: Decoders, body: Body) -> Reader:
    """The reader of ``soap:Body``.

    :raises bridge.api.BindError: a required part of the body is invalid.
    """
    if body.root is not None:
        return _root_reader(decoders, body, body.root)
    if body.content is not None:
        return decoders.ready_type(body.content)
    return _read_nothing


UNDECLARED = "the contract declares nothing here; it is left out"


def _read_nothing(node: etree._Element, note: Note) -> dict[str, Any]:
    for child in node:
        note(child, UNDECLARED)
    return {}


def root_readers(decoders: Decoders, root: Element) -> dict[str, Reader]:
    """The readers of a body's element and of the members of its substitution group, by tag."""
    readers = {root.name: decoders.ready(root)}
    for member in decoders.schemas.members(root):
        decoders.ready(member)
        readers[member.name] = decoders.member(member, root)
    return readers


def _root_reader(decoders: Decoders, body: Body, root: Element) -> Reader:
    """Reads the body's only element, by name if the contract defines the name."""
    readers = root_readers(decoders, root)
    expected = readers[root.name]

    def encoded(wrapper: etree._Element, note: Note) -> Any:
        _align(wrapper, body)
        value = expected(wrapper, note)
        return {} if value is None else value  # some servers send nil for a reply without parts

    def content(child: etree._Element, note: Note) -> Any:
        if child.tag in readers and child.tag != root.name:
            return readers[child.tag](child, note)
        if body.named and child.tag != root.name:
            note(child, NOT_ITS_NAMESPACE)
        if body.encoding is not None:
            return encoded(child, note)
        if body.accessors is not None and child.tag == root.name:
            _drop_result(child)
        return expected(child, note)

    def read(body_node: etree._Element, note: Note) -> Any:
        text = body_node.text
        if text and not text.isspace():
            note(body_node, TEXT_BESIDE)
        if not len(body_node):
            note(body_node, EMPTY)
            return empty_value(decoders, root)
        element = next((child for child in body_node if child.tag in readers), None)
        if element is None and not body.named:
            element = body_node[0]
        if element is None:
            alike = (child for child in body_node if local_name(tag_of(child)) == local_name(root.name))
            element = next(alike, None)
        if element is None:
            raise unexpected([local_name(tag_of(child)) for child in body_node], root)
        if len(body_node) == 1 and not element.tail:
            return content(element, note)
        value = None
        for child in body_node:
            if child is element:
                value = content(child, note)
            else:
                note(child, LEFT_OUT)
            if is_text(child.tail):
                note(body_node, TEXT_BESIDE)
        return value

    return read


TEXT_BESIDE = "it holds text where only elements belong; that is left out"
LEFT_OUT = "it stands beside the body's element, and is left out"
EMPTY = "it is empty, although the contract declares an element for it"


def empty_value(decoders: Decoders, root: Element) -> Any:
    """The value of a body without its element: an object without properties, except for its arrays, which are ``[]``;
    null for a simple value."""
    type_ = root.type
    if isinstance(type_, SimpleType) or type_ is ANY_TYPE or type_.simple is not None:
        return None
    return decoders.ready_type(type_)(etree.Element(root.name), lambda node, why: None)


NOT_ITS_NAMESPACE = "its namespace is not the schema's"
_MAX_TOLD = 20


def unexpected(names: list[str], root: Element) -> BadReply:
    """The error for a body with other elements; `names` are theirs."""
    elements = ", ".join(names[:_MAX_TOLD]) or "nothing"
    more = " and more" if len(names) > _MAX_TOLD else ""
    return BadReply(f"The service's answer holds {elements}{more} where {local_name(root.name)} was expected.")


#: Names the accessor of the return value (SOAP 1.2 part 2, section 4.2.1); the WSDL has the same information.
RESULT = "{http://www.w3.org/2003/05/soap-rpc}result"


def _drop_result(wrapper: etree._Element) -> None:
    for child in wrapper.findall(RESULT):
        wrapper.remove(child)


def _align(wrapper: etree._Element, body: Body) -> None:
    """Rename the accessors of an encoded reply to the names of its parts, in their order: the return value comes first
    and may have any name (SOAP 1.1, section 7.1)."""
    if body.encoding is None or body.accessors is None:
        return
    _drop_result(wrapper)
    names = list(body.accessors)
    strange = []
    for child in wrapper:
        match = next((name for name in names if local_name(name) == local_name(tag_of(child))), None)
        if match is not None:
            names.remove(match)
        else:
            strange.append(child)
    for child, name in zip(strange, names, strict=False):
        child.tag = name
