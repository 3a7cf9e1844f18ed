"""All schemas of one contract as one index of global definitions, with imports and includes followed.

Imports are followed but not required: many published WSDLs refer to a loaded namespace without importing it. If a
document cannot be loaded, the reason is kept, and only the operations that need the document fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import partial

from lxml import etree

from bridge.api import BindError, Fault
from bridge_soap.components import Place
from bridge_soap.datatypes.lexical import BUILTINS
from bridge_soap.documents import Document, Library
from bridge_soap.liberties import Liberties
from bridge_soap.locations import is_url
from bridge_soap.names import (
    ENCODINGS,
    NCNAME,
    WSDL,
    XML,
    XSD,
    clark,
    line_of,
    split,
    tag_of,
    xsd,
)
from bridge_soap.xsd.shipped import SCHEMAS, is_shipped, referred_namespaces, shipped

#: The kind of definition, by element.
KINDS = {
    xsd("element"): "element",
    xsd("complexType"): "type",
    xsd("simpleType"): "type",
    xsd("attribute"): "attribute",
    xsd("group"): "group",
    xsd("attributeGroup"): "attribute group",
}
#: Built-in namespaces, which are never fetched.
KNOWN = frozenset({XSD, XML, *ENCODINGS})


@dataclass(frozen=True, slots=True)
class Scope:
    """The context of a definition: attributes of its schema.

    :ivar chameleon: the schema has no namespace and is included by one that has; unprefixed names are in the latter's.
    :ivar block: ``blockDefault``.
    """

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

        :raises BindError: the prefix is not declared.
        """
        prefix, colon, local = text.strip().rpartition(":")
        namespace = node.nsmap.get(prefix or None)
        if namespace is None:
            if colon:
                if prefix == "xml":
                    return clark(XML, local)
                self.place(node).fail(f"the prefix of {text!r} is not declared")
            namespace = self.namespace if self.chameleon else ""
        elif namespace == WSDL and not colon:
            # Schemas without a default namespace of their own inherit the WSDL's, which defines no types.
            namespace = XSD if local in BUILTINS else self.namespace
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
        #: the definitions that redefinitions replaced, which these may refer to
        self.redefined: dict[tuple[str, str], Definition] = {}
        self.namespaces: set[str] = set()
        #: namespace -> why its document could not be loaded
        self.missing: dict[str, Fault] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self._unread: list[etree._Element] = []
        #: the namespaces that are imported, each with the first schema that does
        self._imported: dict[str, Scope] = {}
        self._ship(SCHEMAS[XML])

    def add(self, schema: etree._Element, document: Document, includer: Scope | None = None) -> None:
        """Add an ``xs:schema`` and all that it includes and imports. Idempotent, so circular imports end."""
        own = schema.get("targetNamespace", "").strip()
        chameleon = not own and includer is not None and bool(includer.namespace)
        namespace = includer.namespace if chameleon and includer is not None else own
        # A line number is no key: some files have only one line, and libxml2 counts up to 65,535.
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
        self._unread.append(schema)
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

    def complete(self, namespaces: Iterable[str]) -> None:
        """Add the well-known schemas of the `namespaces` and of those that documents refer to, unless defined already.

        To be called after all documents are read, and before the prefixes of operations are assigned.
        """
        names = set(namespaces)
        self._add_beside()
        while self._unread or names:
            while self._unread:
                names |= referred_namespaces(self._unread.pop(), SCHEMAS.keys())
            for namespace in sorted(names & SCHEMAS.keys() - self.namespaces):
                self._ship(SCHEMAS[namespace])
            names = set()

    def _add_beside(self) -> None:
        """Add the schemas of imported namespaces that no location led to, and that lie beside the documents."""
        sought: set[str] = set()
        while missing := self._imported.keys() - self.namespaces - SCHEMAS.keys() - KNOWN - sought - {""}:
            for namespace in sorted(missing):
                sought.add(namespace)
                importer = self._imported[namespace].document
                document = self._library.beside(importer, namespace, partial(_has_target, {namespace}))
                if document is not None:
                    for schema in schemas_of(document.root):
                        self.add(schema, document)

    @property
    def liberties(self) -> Liberties:
        return self._library.liberties

    def ship(self, namespaces: Iterable[str]) -> None:
        """Add shipped schemas that nothing refers to. What is defined already stays."""
        for namespace in namespaces:
            self._ship(SCHEMAS[namespace])
        self.complete(())

    def _ship(self, file: str) -> None:
        document = shipped(file)
        self.add(document.root, document)

    def find(self, kind: str, name: str) -> Definition | None:
        return self.definitions.get((kind, name))

    def why_missing(self, kind: str, name: str) -> str:
        """The error message for an unresolved reference."""
        fault = self.missing.get(split(name)[0])
        because = f" ({fault})" if fault else ""
        return f"the {kind} {name} is not defined in any schema that was loaded{because}"

    def _define(self, kind: str, node: etree._Element, scope: Scope, *, again: bool = False) -> None:
        name = node.get("name", "").strip()
        if not NCNAME.fullmatch(name):
            return  # no reference to it is possible
        key = (kind, clark(scope.namespace, name))
        first = self.definitions.get(key)
        if again and first is not None:
            self.redefined[key] = first
            self.definitions[key] = Definition(node, scope)
        else:
            # The first definition is kept: two files may contain the same schema.
            self.definitions.setdefault(key, Definition(node, scope))

    def _redefine(self, node: etree._Element, scope: Scope) -> None:
        for child in node:
            kind = KINDS.get(tag_of(child))
            if kind is not None:
                self._define(kind, child, scope, again=True)

    def _include(self, node: etree._Element, scope: Scope) -> None:
        location = node.get("schemaLocation", "").strip()
        if not location or is_shipped(scope.document):
            return
        document = self._load(location, scope, scope.namespace, {scope.namespace, ""})
        if document is not None:
            for schema in schemas_of(document.root):
                self.add(schema, document, scope)

    def _import(self, node: etree._Element, scope: Scope) -> None:
        namespace, location = node.get("namespace", "").strip(), node.get("schemaLocation", "").strip()
        if is_shipped(scope.document) or namespace in KNOWN:
            return
        self._imported.setdefault(namespace, scope)
        if not location:
            return
        if namespace in SCHEMAS and is_url(location):
            return  # it is shipped with the gateway
        targets = {namespace} if node.get("namespace") is not None else None
        document = self._load(location, scope, namespace, targets)
        if document is not None:
            for schema in schemas_of(document.root):
                self.add(schema, document)

    def _load(self, location: str, scope: Scope, namespace: str, targets: Set[str] | None) -> Document | None:
        """:param targets: the target namespaces of a document that may be read in place of one that is not there; None
        for any."""
        try:
            return self._library.open(location, scope.document, partial(_has_target, targets))
        except BindError as error:
            self.missing.setdefault(namespace, error.faults[0])
            return None


def _has_target(targets: Set[str] | None, root: etree._Element) -> bool:
    """Whether a document holds a schema with one of these target namespaces; with None, any schema."""
    names = [schema.get("targetNamespace", "").strip() for schema in schemas_of(root)]
    return bool(names) if targets is None else not targets.isdisjoint(names)


def schemas_of(root: etree._Element) -> list[etree._Element]:
    """The schemas in a document: its root, or those inside a WSDL (an import may refer to either)."""
    if root.tag == xsd("schema"):
        return [root]
    return list(root.iter(xsd("schema")))
