"""All schemas of one contract as one index of global definitions, with imports and includes followed.

Import declarations are followed for what they bring, but not demanded: many published WSDLs refer to a namespace that
is loaded and that they forgot to import. What can't be loaded is remembered with its reason, and fails only the
operations that need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from lxml import etree

from bridge import BindError, Fault, parse_xml
from bridge_soap.components import Place
from bridge_soap.documents import Document, Library
from bridge_soap.names import APACHE_SOAP, ENCODINGS, NCNAME, XML, XSD, clark, line_of, local_name, split, tag_of, xsd

#: Where a definition may be looked up, by the element that makes it.
KINDS = {
    xsd("element"): "element",
    xsd("complexType"): "type",
    xsd("simpleType"): "type",
    xsd("attribute"): "attribute",
    xsd("group"): "group",
    xsd("attributeGroup"): "attribute group",
}
#: Namespaces that are built in and never fetched.
KNOWN = frozenset({XSD, XML, *ENCODINGS})


@dataclass(frozen=True, slots=True)
class Scope:
    """What a definition needs to know of the schema it stands in. `chameleon`: included by a schema of another
    namespace and itself without one, so names without a prefix belong to the includer. `block` is ``blockDefault``."""

    document: Document
    namespace: str
    qualified_elements: bool
    qualified_attributes: bool
    chameleon: bool
    block: str = ""

    def place(self, node: etree._Element) -> Place:
        return Place(self.document.name, line_of(node))

    def qname(self, node: etree._Element, text: str) -> str:
        """`text`, a QName in an attribute of `node`, as a Clark name.

        :raises BindError: the prefix isn't declared.
        """
        prefix, colon, local = text.strip().rpartition(":")
        namespace = node.nsmap.get(prefix or None)
        if namespace is None:
            if colon:
                if prefix == "xml":
                    return clark(XML, local)
                self.place(node).fail(f"the prefix of {text!r} isn't declared")
            namespace = self.namespace if self.chameleon else ""
        return clark(namespace, local)


@dataclass(frozen=True, slots=True)
class Definition:
    node: etree._Element
    scope: Scope


class Index:
    """Global definitions by kind and Clark name."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.definitions: dict[tuple[str, str], Definition] = {}
        #: what a redefinition replaced, for its own reference to itself
        self.redefined: dict[tuple[str, str], Definition] = {}
        self.namespaces: set[str] = set()
        #: namespace -> why a document for it could not be had
        self.missing: dict[str, Fault] = {}
        self.broken: list[Fault] = []
        self._seen: set[tuple[str, str, str]] = set()
        self._shipped: set[str] = set()
        self._add_shipped("xml.xsd")

    def _add_shipped(self, name: str) -> None:
        self._shipped.add(name)
        schema = parse_xml(resources.files("bridge_soap.xsd").joinpath(name).read_bytes())
        self.add(schema, Document(schema, name, name))

    def add(self, schema: etree._Element, document: Document, includer: Scope | None = None) -> None:
        """Take in one ``xs:schema`` and everything it names. Idempotent, so circles end."""
        own = schema.get("targetNamespace", "").strip()
        chameleon = not own and includer is not None and bool(includer.namespace)
        namespace = includer.namespace if chameleon and includer is not None else own
        # Lines don't tell schemas apart: some files have one line only, and libxml2 counts no further than 65,535.
        key = (document.id, schema.getroottree().getpath(schema), namespace)
        if key in self._seen:
            return
        self._seen.add(key)
        scope = Scope(
            document,
            namespace,
            schema.get("elementFormDefault") == "qualified",
            schema.get("attributeFormDefault") == "qualified",
            chameleon,
            schema.get("blockDefault", ""),
        )
        self.namespaces.add(namespace)
        for node in schema:
            tag = tag_of(node)
            kind = KINDS.get(tag)
            if kind is not None:
                self._define(kind, node, scope)
            elif tag == xsd("include"):
                self._include(node, scope)
            elif tag == xsd("redefine"):
                self._include(node, scope)
                self._redefine(node, scope)
            elif tag == xsd("import"):
                self._import(node, scope)

    def find(self, kind: str, name: str) -> Definition | None:
        found = self.definitions.get((kind, name))
        if found is None and split(name)[0] == APACHE_SOAP and "xml-soap.xsd" not in self._shipped:
            self._add_shipped("xml-soap.xsd")
            return self.definitions.get((kind, name))
        return found

    def why_missing(self, kind: str, name: str) -> str:
        """The sentence for a reference that leads nowhere."""
        fault = self.missing.get(split(name)[0])
        because = f" ({fault})" if fault else ""
        return f"the {kind} {name} is not defined in any schema that was loaded{because}"

    def _define(self, kind: str, node: etree._Element, scope: Scope, *, again: bool = False) -> None:
        name = node.get("name", "").strip()
        if not NCNAME.fullmatch(name):
            self.broken.append(
                Fault(
                    f"{name!r} can't be a name", key=local_name(node.tag), file=scope.document.name, line=line_of(node)
                )
            )
            return
        key = (kind, clark(scope.namespace, name))
        known = self.definitions.get(key)
        if again and known is not None:
            self.redefined[key] = known
            self.definitions[key] = Definition(node, scope)
        else:
            # The first wins: a schema that two files bring twice is the same schema.
            self.definitions.setdefault(key, Definition(node, scope))

    def _redefine(self, node: etree._Element, scope: Scope) -> None:
        for child in node:
            kind = KINDS.get(tag_of(child))
            if kind is not None:
                self._define(kind, child, scope, again=True)

    def _include(self, node: etree._Element, scope: Scope) -> None:
        location = node.get("schemaLocation", "").strip()
        if not location:
            return
        document = self._load(location, scope, scope.namespace)
        if document is not None:
            for schema in schemas_of(document.root):
                self.add(schema, document, scope)

    def _import(self, node: etree._Element, scope: Scope) -> None:
        namespace, location = node.get("namespace", "").strip(), node.get("schemaLocation", "").strip()
        if not location or namespace in KNOWN:
            return
        document = self._load(location, scope, namespace)
        if document is not None:
            for schema in schemas_of(document.root):
                self.add(schema, document)

    def _load(self, location: str, scope: Scope, namespace: str) -> Document | None:
        try:
            return self._library.open(location, scope.document)
        except BindError as error:
            self.missing.setdefault(namespace, error.faults[0])
            return None


def schemas_of(root: etree._Element) -> list[etree._Element]:
    """The schemas in a document: itself, or those inside a WSDL (an import may name either)."""
    if root.tag == xsd("schema"):
        return [root]
    return list(root.iter(xsd("schema")))
