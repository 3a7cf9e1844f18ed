"""Descriptions that services give out of themselves: WSDL 1.1 and 2.0, and XML Schema, with their own addresses.

Only the values of some attributes, and the text of one element, are replaced. All other bytes stay as they are, in any
encoding.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

from bridge.api import XmlError
from bridge_xml.decode import NATIVE, declared_charset, run_parser

#: Queries by which services are asked for descriptions, in any case: ``?wsdl``, ``?singleWsdl``, ``?xsd=xsd0``,
#: ``?wsdl=Orders.wsdl``, ``?wsdl2``.
_ASKED = re.compile(r"(?:^|&)(?:wsdl2?|singlewsdl|xsd)(?:=|&|$)", re.IGNORECASE)

_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_WSDL2 = "http://www.w3.org/ns/wsdl"
#: Where a service can be called: WSDL 1.1, sections 3.8 and 4.3, its binding of SOAP 1.2, and WSDL 2.0, section 2.15.
_ADDRESSES: Mapping[str, str] = {
    "http://schemas.xmlsoap.org/wsdl/soap/ address": "location",
    "http://schemas.xmlsoap.org/wsdl/soap12/ address": "location",
    "http://schemas.xmlsoap.org/wsdl/http/ address": "location",
    f"{_WSDL2} endpoint": "address",
}
#: Where other documents are.
_DOCUMENTS: Mapping[str, str] = {
    "http://schemas.xmlsoap.org/wsdl/ import": "location",
    f"{_WSDL2} import": "location",
    f"{_WSDL2} include": "location",
    f"{_SCHEMA} import": "schemaLocation",
    f"{_SCHEMA} include": "schemaLocation",
    f"{_SCHEMA} redefine": "schemaLocation",
    f"{_SCHEMA} override": "schemaLocation",
}

#: Where a service can be called, as text (WS-Addressing 1.0 Metadata, section 4.1): .NET writes it beside them.
_ENDPOINTS = frozenset(
    (
        "http://www.w3.org/2005/08/addressing Address",
        "http://schemas.xmlsoap.org/ws/2004/08/addressing Address",
    )
)

#: Other encodings in which a document can be changed, as Python calls them. Each is quick, whatever the document is.
_KEPT = re.compile(r"utf-(?:16|32)-[lb]e|iso8859-\d+|cp\d+|koi8-[rtu]|shift_jis|euc_(?:jp|kr)|gb(?:2312|k|18030)|big5")

_NAME = re.compile(rb"<[^\s/>]+")
_TAG = re.compile(rb"<[^\s/>]+(?:\s+[^\s=<>/\"']+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=<>/\"']+)\s*=\s*(\"[^\"]*\"|'[^']*')")


class DescribedAddress(NamedTuple):
    """An address that a description holds.

    :ivar calls: it is for calls; not: of another document. :ivar start, end: of its text, in bytes.
    """

    value: str
    calls: bool
    start: int
    end: int


def asks_for_description(query: str) -> bool:
    return _ASKED.search(query) is not None


def readdress(body: bytes, charset: str, public: Callable[[list[DescribedAddress]], list[str]]) -> bytes:
    """`body` with other addresses.

    :param charset: of the content type. :param public: the new values of all addresses, in order.
    :raises bridge.api.XmlError: it is not well-formed, has a DOCTYPE, or its encoding can't be kept.
    """
    data, encoding, codec = _ascii_compatible(body, charset)
    addresses = _addresses(data, encoding)
    pieces, at = [], 0
    for address, value in zip(addresses, public(addresses), strict=True):
        if value != address.value:
            text = escape(value, {'"': "&quot;", "'": "&apos;"})
            pieces += [data[at : address.start], text.encode("ascii", "xmlcharrefreplace")]
            at = address.end
    if not pieces:
        return body
    data = b"".join([*pieces, data[at:]])
    return data if codec is None else data.decode().encode(codec)


def _addresses(data: bytes, encoding: str) -> list[DescribedAddress]:
    """The addresses of a document in which markup is ASCII, in order.

    :raises bridge.api.XmlError: it is not well-formed, or has a DOCTYPE.
    """
    addresses: list[DescribedAddress] = []
    began = 0  # of the last element with an address as its text
    texts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal began
        for kind, calls in ((_ADDRESSES, True), (_DOCUMENTS, False)):
            attribute = kind.get(name, "")
            if attribute in attributes:
                span = _attribute_span(data, parser.CurrentByteIndex, attribute.encode())
                addresses.append(DescribedAddress(attributes[attribute], calls, *span))
        if name in _ENDPOINTS:
            began = parser.CurrentByteIndex
            texts.clear()
            parser.CharacterDataHandler = texts.append

    def end(name: str) -> None:
        if name in _ENDPOINTS:
            parser.CharacterDataHandler = None
            span = _text_span(data, began, parser.CurrentByteIndex)
            if span is not None:
                addresses.append(DescribedAddress("".join(texts).strip(), True, *span))

    parser = expat.ParserCreate(encoding, namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    run_parser(parser, data)
    return addresses


def _attribute_span(data: bytes, offset: int, name: bytes) -> tuple[int, int]:
    """Where the value of an attribute stands between its quotes, by the offset of its start tag."""
    match = _NAME.match(data, offset)
    while match is not None:
        match = _ATTRIBUTE.match(data, match.end())
        if match is not None and match[1] == name:
            return match.start(2) + 1, match.end(2) - 1
    raise XmlError("one of its tags can't be read")


def _text_span(data: bytes, offset: int, end: int) -> tuple[int, int] | None:
    """Where the text of an element stands, without white space around it, by the offsets of its tags; None: there is
    none, or it is in parts, such as CDATA."""
    match = _TAG.match(data, offset)
    raw = data[match.end() : end] if match is not None and match.end() <= end else b""
    text = raw.strip()
    if match is None or not text or b"<" in raw:
        return None
    start = match.end() + raw.index(text)
    return start, start + len(text)


def _ascii_compatible(body: bytes, charset: str) -> tuple[bytes, str, str | None]:
    """The document in an encoding in which markup is ASCII, that encoding for expat, and the codec of the result if
    that has to be encoded again.

    :raises bridge.api.XmlError: its encoding is not what it says, or would not lead back to the same bytes.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        return body, "utf-8", None
    codec = encoding_of(body, charset)
    if codec in NATIVE:
        return body, NATIVE[codec], None
    try:
        if _KEPT.fullmatch(codecs.lookup(codec).name):
            text = body.decode(codec)
            if text.encode(codec) == body:
                return text.encode(), "utf-8", codec
    except (LookupError, UnicodeError):
        pass
    raise XmlError(f"its encoding {codec} can't be kept")


def encoding_of(body: bytes, charset: str) -> str:
    """The codec of a document that is not in UTF-8: UTF-16 by its first bytes (XML 1.0, appendix F), whose byte order
    mark is then a character; else as it says itself."""
    if body.startswith((b"\xff\xfe", b"<\0")):
        return "utf-16-le"
    if body.startswith((b"\xfe\xff", b"\0<")):
        return "utf-16-be"
    return declared_charset(body, charset)
