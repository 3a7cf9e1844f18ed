"""Parses contract files. More is allowed than in messages, because vendors publish it: a DOCTYPE with its own entities
(as in W3C's schema for signatures), white space before the declaration, drafts of XML Schema."""

from __future__ import annotations

from typing import NoReturn

from lxml import etree

from bridge.api import XmlError, parse_xml, xml_parser
from bridge_soap.names import DRAFTS, XSD

_SPACE = b" \t\r\n"


class _Nothing(etree.Resolver):
    """Refuses all documents that a document refers to."""

    def resolve(self, system_url: str, public_id: str, *_context: object) -> NoReturn:
        raise XmlError("its DOCTYPE refers to another document, which is refused")


def parse_contract(body: bytes) -> etree._Element:
    """The root element of a WSDL or schema.

    :raises bridge.api.XmlError: it is not well-formed, too deep, or has a DOCTYPE that expands or refers to other
        documents.
    """
    body = body.lstrip(_SPACE)
    for draft in DRAFTS:
        body = body.replace(f'"{draft}"'.encode(), f'"{XSD}"'.encode())
    if b"<!DOCTYPE" not in body:
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
