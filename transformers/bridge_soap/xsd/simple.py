"""Reads simple type definitions into components (XML Schema 1.0, part 1, section 3.14; facets: part 2, section 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree

from bridge_soap.components import SimpleType
from bridge_soap.names import children, clark, tag_of, xsd
from bridge_soap.xsd.index import Scope

if TYPE_CHECKING:
    from bridge_soap.xsd.schemas import Schemas

_COUNTS = {
    xsd("length"): "length",
    xsd("minLength"): "min_length",
    xsd("maxLength"): "max_length",
    xsd("totalDigits"): "total_digits",
    xsd("fractionDigits"): "fraction_digits",
}
_BOUNDS = {
    xsd("minInclusive"): "min_inclusive",
    xsd("maxInclusive"): "max_inclusive",
    xsd("minExclusive"): "min_exclusive",
    xsd("maxExclusive"): "max_exclusive",
}


def documentation(node: etree._Element) -> str:
    """The text of a component's ``xs:documentation``, with white space collapsed."""
    texts = []
    for note in children(node, xsd("annotation")):
        for part in children(note, xsd("documentation")):
            texts.append(" ".join("".join(map(str, part.itertext())).split()))
    return "\n".join(text for text in texts if text)


class SimpleTypeReader:
    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def read(self, node: etree._Element, scope: Scope, name: str = "") -> SimpleType:
        place = scope.place(node)
        for child in node:
            tag = tag_of(child)
            if tag == xsd("restriction"):
                simple = self.restriction(child, scope, self._base(child, scope, name), name)
            elif tag == xsd("list"):
                simple = SimpleType(name, "list", item=self._item(child, scope))
            elif tag == xsd("union"):
                simple = SimpleType(name, "union", members=self._union(child, scope))
            else:
                continue
            simple.doc, simple.place = documentation(node), place
            return simple
        return place.fail("a simple type needs a restriction, a list or a union", name)

    def named(self, node: etree._Element, scope: Scope, text: str, own_name: str = "") -> SimpleType:
        """The simple type that an attribute of `node` names."""
        type_ = self._schemas.base_type(node, scope, text, own_name)
        if not isinstance(type_, SimpleType):
            scope.place(node).fail(f"{text} is a complex type where a simple one is needed")
        return type_

    def _base(self, node: etree._Element, scope: Scope, own_name: str) -> SimpleType:
        text = node.get("base")
        if text:
            return self.named(node, scope, text, own_name)
        inline = children(node, xsd("simpleType"))
        if not inline:
            scope.place(node).fail("a restriction needs a base")
        return self.read(inline[0], scope)

    def _item(self, node: etree._Element, scope: Scope) -> SimpleType:
        text = node.get("itemType")
        if text:
            return self.named(node, scope, text)
        inline = children(node, xsd("simpleType"))
        if not inline:
            scope.place(node).fail("a list needs an item type")
        return self.read(inline[0], scope)

    def _union(self, node: etree._Element, scope: Scope) -> tuple[SimpleType, ...]:
        members = [self.named(node, scope, text) for text in node.get("memberTypes", "").split()]
        members += [self.read(inline, scope) for inline in children(node, xsd("simpleType"))]
        if not members:
            scope.place(node).fail("a union needs member types")
        return tuple(members)

    def restriction(self, node: etree._Element, scope: Scope, base: SimpleType, name: str = "") -> SimpleType:
        """`base` restricted by the facets in `node`."""
        own: dict[str, Any] = {}
        patterns: list[str] = []
        values: list[str] = []
        docs: dict[str, str] = {}
        for child in node:
            tag, value = tag_of(child), child.get("value")
            if value is None:
                continue
            if tag in _COUNTS:
                try:
                    own[_COUNTS[tag]] = int(value)
                except ValueError:
                    scope.place(child).fail(f"{value!r} is not a count")
            elif tag in _BOUNDS:
                own[_BOUNDS[tag]] = value.strip()
            elif tag == xsd("pattern"):
                patterns.append(value)
            elif tag == xsd("enumeration"):
                if base.builtin in ("QName", "NOTATION"):
                    value = scope.qname(child, value)
                values.append(value)
                doc = documentation(child)
                if doc:
                    docs[value] = doc
            elif tag == xsd("whiteSpace"):
                own["white_space"] = value.strip()
        if patterns:
            own["patterns"] = tuple(patterns)
        if values:
            own["enumeration"] = tuple(values)
        return SimpleType(
            name,
            base.variety,
            base,
            base.builtin,
            base.facets.narrowed(**own),
            base.item,
            base.members,
            place=scope.place(node),
            value_docs=docs,
        )


def global_name(node: etree._Element, scope: Scope) -> str:
    return clark(scope.namespace, node.get("name", "").strip())
