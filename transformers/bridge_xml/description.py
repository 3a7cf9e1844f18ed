"""Descriptions that services give out of themselves: WSDL 1.1 and 2.0, and XML Schema, with their own addresses.

Only the values of some attributes are replaced. All other bytes stay as they are, whatever the encoding.
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

#: Other encodings in which a document can be changed, as Python calls them. Each is quick, whatever the document is.
_KEPT = re.compile(r"utf-(?:16|32)-[lb]e|iso8859-\d+|cp\d+|koi8-[rtu]|shift_jis|euc_(?:jp|kr)|gb(?:2312|k|18030)|big5")

_NAME = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE = re.compile(rb"\s+([^\s=<>/\"']+)\s*=\s*(\"[^\"]*\"|'[^']*')")


class DescribedAddress(NamedTuple):
    """An address that a description holds.

    :ivar calls: it is for calls; not: of another document. :ivar offset: of its start tag, in bytes.
    """

    value: str
    calls: bool
    attribute: str
    offset: int


def asks_for_description(query: str) -> bool:
    return _ASKED.search(query) is not None


def readdress(body: bytes, charset: str, public: Callable[[list[DescribedAddress]], list[str]]) -> bytes:
    """`body` with other addresses.

    :param charset: of the content type. :param public: the new values of all addresses, in order.
    :raises bridge.api.XmlError: it is not well-formed, has a DOCTYPE, or its encoding can't be kept.
    """
    data, encoding, codec = _ascii_compatible(body, charset)
    addresses: list[DescribedAddress] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        for kind, calls in ((_ADDRESSES, True), (_DOCUMENTS, False)):
            attribute = kind.get(name, "")
            if attribute in attributes:
                addresses.append(DescribedAddress(attributes[attribute], calls, attribute, parser.CurrentByteIndex))

    parser = expat.ParserCreate(encoding, namespace_separator=" ")
    parser.StartElementHandler = start
    run_parser(parser, data)
    pieces, at = [], 0
    for address, value in zip(addresses, public(addresses), strict=True):
        if value != address.value:
            begin, end = _span(data, address)
            text = escape(value, {'"': "&quot;", "'": "&apos;"})
            pieces += [data[at:begin], text.encode("ascii", "xmlcharrefreplace")]
            at = end
    if not pieces:
        return body
    data = b"".join([*pieces, data[at:]])
    return data if codec is None else data.decode().encode(codec)


def _span(data: bytes, address: DescribedAddress) -> tuple[int, int]:
    """Where the value of an attribute stands between its quotes."""
    name = _NAME.match(data, address.offset)
    match = _ATTRIBUTE.match(data, name.end()) if name else None
    while match is not None:
        if match[1] == address.attribute.encode():
            return match.start(2) + 1, match.end(2) - 1
        match = _ATTRIBUTE.match(data, match.end())
    raise XmlError(f"its attribute {address.attribute} can't be found")


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
