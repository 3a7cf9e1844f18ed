"""Parses contract files. More is allowed than in messages, because vendors publish it: a DOCTYPE with its own entities
(as in W3C's schema for signatures), white space before the declaration, drafts of XML Schema, UTF-16."""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import NoReturn

from lxml import etree

from bridge.api import XmlError, is_html, parse_xml, repair_xml, xml_parser
from bridge_soap.names import DRAFTS, XSD

_SPACE = b" \t\r\n"
_DECLARATION = re.compile(r"\A\s*<\?xml\s[^>]*\?>")
_DOCTYPE = b"<!DOCTYPE"
#: What files begin with that are saved in place of a contract, and what they are.
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive; unpack it, and name the WSDL in it",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"%PDF": "a PDF document",
    b"Rar!": "a RAR archive; unpack it, and name the WSDL in it",
    b"7z\xbc\xaf": "a 7z archive; unpack it, and name the WSDL in it",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"{": "JSON",
}
_HTML = "an HTML page; services show one where the URL has no ?wsdl at its end, or asks for a login"


class _Nothing(etree.Resolver):
    """Refuses all documents that a document refers to."""

    def resolve(self, system_url: str, public_id: str, *_context: object) -> NoReturn:
        raise XmlError("its DOCTYPE refers to another document, which is refused")


def parse_contract(body: bytes) -> etree._Element:
    """The root element of a WSDL or schema.

    :raises bridge.api.XmlError: it is not well-formed, too deep, or has a DOCTYPE that expands or refers to other
        documents.
    """
    body = _plain(body)
    for draft in DRAFTS:
        body = body.replace(f'"{draft}"'.encode(), f'"{XSD}"'.encode())
    if _DOCTYPE not in body:
        return parse_xml(body, xml_parser())
    # The document's own entities are resolved; libxml2 limits their expansion. No other document is read: `load_dtd` is
    # off, which has an effect only if ids are collected (unlike in `bridge.api.xml_parser`).
    parser = etree.XMLParser(
        resolve_entities="internal",  # type: ignore[arg-type]  # the stubs are older than this value
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    parser.resolvers.add(_Nothing())
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise XmlError(f"it is not well-formed XML: {' '.join(error.msg.split())}") from None
    except ValueError as error:
        raise XmlError(str(error)) from None


def _plain(body: bytes) -> bytes:
    """A document without white space before it; one with the byte order mark of UTF-16 in UTF-8."""
    if body.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        try:
            return _DECLARATION.sub("", body.decode("utf-16")).lstrip().encode()
        except UnicodeError:
            return body
    return body.removeprefix(BOM_UTF8).lstrip(_SPACE) if body[3:4].isspace() else body.lstrip(_SPACE)


def parse_repaired(body: bytes) -> tuple[etree._Element, list[str]] | None:
    """The root of a contract that is not well-formed for a reason that loses little, and a sentence for each repair;
    None if it can't be repaired."""
    if _DOCTYPE in body[:_PROLOG] or is_html(body):
        return None
    repaired = repair_xml(body)
    if repaired is None:
        return None
    text, notes = repaired
    try:
        return parse_contract(text), notes
    except XmlError:
        return None


_PROLOG = 100_000


def what_it_is(body: bytes) -> str:
    """What a file is that is saved in place of a contract; ``""`` if that is not known."""
    if not body.strip(b" \t\r\n\0"):
        return "empty"
    if is_html(body):
        return _HTML
    start = body.removeprefix(BOM_UTF8).lstrip(_SPACE)
    for mark, kind in _OTHERS.items():
        if start.startswith(mark):
            return kind
    return "" if b"<" in body[:_PROLOG] else "no XML"
