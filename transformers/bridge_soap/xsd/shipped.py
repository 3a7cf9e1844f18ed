"""Well-known schemas, by namespace, for contracts that refer to them without including them.

They need not be fetched."""

from __future__ import annotations

from collections.abc import Set
from functools import cache
from importlib import resources

from lxml import etree

from bridge_soap.documents import Document
from bridge_soap.names import children, clark, local_name, split, xsd
from bridge_soap.parsing import parse_contract

#: The prefix of the ids of shipped documents. Their references are never fetched.
MARK = "shipped:"

#: File by target namespace. The files keep their copyright notices.
SCHEMAS = {
    "http://www.w3.org/XML/1998/namespace": "xml.xsd",
    "http://xml.apache.org/xml-soap": "xml-soap.xsd",
    "http://www.w3.org/2000/09/xmldsig#": "xmldsig.xsd",
    "http://www.w3.org/2001/04/xmlenc#": "xmlenc.xsd",
    "http://www.w3.org/2005/08/addressing": "ws-addr-2005.xsd",
    "http://schemas.xmlsoap.org/ws/2004/08/addressing": "ws-addr-2004.xsd",
    "http://www.w3.org/2005/05/xmlmime": "xmlmime.xsd",
    "http://www.w3.org/2004/08/xop/include": "xop-include.xsd",
    "http://ws-i.org/profiles/basic/1.1/xsd": "swaref.xsd",
    "http://www.w3.org/1999/xlink": "xlink.xsd",
    "http://schemas.xmlsoap.org/soap/envelope/": "soap-envelope-1.1.xsd",
    "http://www.w3.org/2003/05/soap-envelope": "soap-envelope-1.2.xsd",
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd": "wss-secext-1.0.xsd",
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd": "wss-utility-1.0.xsd",
    "http://docs.oasis-open.org/wsn/b-2": "b-2.xsd",
    "http://docs.oasis-open.org/wsn/br-2": "br-2.xsd",
    "http://docs.oasis-open.org/wsn/t-1": "t-1.xsd",
    "http://docs.oasis-open.org/wsrf/bf-2": "bf-2.xsd",
    "http://docs.oasis-open.org/wsrf/r-2": "r-2.xsd",
    "http://docs.oasis-open.org/wsrf/rp-2": "rp-2.xsd",
}
#: The same for WSDLs.
WSDLS = {
    "http://docs.oasis-open.org/wsn/bw-2": "bw-2.wsdl",
    "http://docs.oasis-open.org/wsn/brw-2": "brw-2.wsdl",
    "http://docs.oasis-open.org/wsrf/rw-2": "rw-2.wsdl",
    "http://docs.oasis-open.org/wsrf/rpw-2": "rpw-2.wsdl",
}


#: The versions of WS-Addressing, of which the first is meant where nothing else says which.
_ADDRESSING = ("http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing")


def is_shipped(document: Document) -> bool:
    return document.id.startswith(MARK)


@cache
def _content(name: str) -> bytes:
    return resources.files("bridge_soap.xsd").joinpath("shipped", name).read_bytes()


def shipped(name: str) -> Document:
    """One of the files, parsed again on each call: contracts are read in threads and must not share trees."""
    root: etree._Element = parse_contract(_content(name))
    return Document(root, MARK + name, name)


@cache
def _elements() -> dict[str, tuple[str, ...]]:
    """The Clark names of all global elements by local name."""
    names: dict[str, list[str]] = {}
    for namespace, file in SCHEMAS.items():
        for node in children(shipped(file).root, xsd("element")):
            local = node.get("name", "")
            names.setdefault(local, []).append(clark(namespace, local))
    return {local: tuple(tags) for local, tags in names.items()}


def shipped_elements(name: str, mentioned: Set[str]) -> tuple[str, ...]:
    """The Clark names of the shipped elements that a local or Clark name means.

    :param mentioned: the namespaces that a contract declares. The names of WS-Addressing mean the version among them,
        else version 1.0.
    """
    tags = tuple(tag for tag in _elements().get(local_name(name), ()) if name in (tag, local_name(tag)))
    if len(tags) > 1 and all(split(tag)[0] in _ADDRESSING for tag in tags):
        known = [tag for tag in tags if any(each.startswith(split(tag)[0]) for each in mentioned)]
        return tuple((known or sorted(tags, key=lambda tag: _ADDRESSING.index(split(tag)[0])))[:1])
    return tags


_REFERENCES = ("ref", "type", "base", "itemType", "memberTypes", "substitutionGroup")


def referred_namespaces(schema: etree._Element, among: Set[str]) -> set[str]:
    """The namespaces in `among` that a schema refers to."""
    prefixes = {prefix: namespace for prefix, namespace in schema.nsmap.items() if namespace in among}
    result: set[str] = set()
    if not prefixes:
        return result  # inner declarations are possible, but do not occur for these namespaces
    for node in schema.iter():
        for attribute in _REFERENCES:
            for name in node.get(attribute, "").split():
                namespace = prefixes.get(name.rpartition(":")[0] or None)
                if namespace is not None:
                    result.add(namespace)
    return result
