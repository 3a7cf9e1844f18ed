"""Namespaces and names. Qualified names are in Clark notation: ``{namespace}local``, as in lxml's tags."""

from __future__ import annotations

import re

from lxml import etree

XSD = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XML = "http://www.w3.org/XML/1998/namespace"
XMLNS = "http://www.w3.org/2000/xmlns/"
WSDL = "http://schemas.xmlsoap.org/wsdl/"
WSDL_SOAP11 = "http://schemas.xmlsoap.org/wsdl/soap/"
WSDL_SOAP12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP11_ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
SOAP12_ENCODING = "http://www.w3.org/2003/05/soap-encoding"
ENCODINGS = (SOAP11_ENCODING, SOAP12_ENCODING)
#: Drafts of XML Schema, which WSDLs from 2000 use.
DRAFTS = ("http://www.w3.org/1999/XMLSchema", "http://www.w3.org/2000/10/XMLSchema")

XSI_TYPE = f"{{{XSI}}}type"
XSI_NIL = f"{{{XSI}}}nil"

#: NCName of Namespaces in XML 1.0, by the ranges of XML 1.0 fifth edition.
_START = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c-\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_MORE = "\\-.0-9\u00b7\u0300-\u036f\u203f-\u2040"
NCNAME = re.compile(f"[{_START}][{_START}{_MORE}]*")
NAME = re.compile(f"[:{_START}][:{_START}{_MORE}]*")
NMTOKEN = re.compile(f"[:{_START}{_MORE}]+")
#: The same sets for ``\i`` and ``\c`` of XML Schema's patterns.
NAME_START_CLASS, NAME_CLASS = f":{_START}", f":{_START}{_MORE}"


#: A namespace name in a body: no white space, and only characters that RFC 3987 allows.
NAMESPACE = re.compile(r"[^\x00-\x20\x7f-\xa0<>\"{}|\\^`\ud800-\udfff\ufffe\uffff]*")


def clark(namespace: str, local: str) -> str:
    """``{namespace}local``; only the local name if there is no namespace."""
    return f"{{{namespace}}}{local}" if namespace else local


def split(name: str) -> tuple[str, str]:
    """Namespace and local name of a Clark name; ``{}local`` has no namespace."""
    if name[:1] == "{":
        namespace, _, local = name[1:].partition("}")
        return namespace, local
    return "", name


def local_name(name: str) -> str:
    return name.rpartition("}")[2]


def xsd(local: str) -> str:
    return f"{{{XSD}}}{local}"


def children(node: etree._Element, *tags: str) -> list[etree._Element]:
    """The child elements with one of `tags`, in document order."""
    return [child for child in node if child.tag in tags]


def line_of(node: etree._Element) -> int:
    """The line on which an element starts; 0 if unknown."""
    line: int | None = getattr(node, "sourceline", None)
    return line or 0


def attributes_of(node: etree._Element) -> list[tuple[str, str]]:
    """The element's attributes by Clark name. (The type stubs allow bytes, which lxml returns in Python 2 only.)"""
    return node.items()  # type: ignore[return-value]  # see above


def tag_of(node: etree._Element) -> str:
    """The element's Clark name; ``""`` for comments and the like, which the parser drops."""
    return node.tag if isinstance(node.tag, str) else ""
