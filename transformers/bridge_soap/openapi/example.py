"""Example values from the schema, for the documentation: JSON that the encoder accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bridge_soap.components import ComplexType, Element, SimpleType, Type
from bridge_soap.contract import Contract
from bridge_soap.datatypes import regex
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.lexical import BUILTINS
from bridge_soap.datatypes.timeline import DATES
from bridge_soap.decode.decoders import Decoders
from bridge_soap.names import clark, split
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import ANY, CONTENT, ELEMENT, ITEMS, NIL, TEXT, TYPE, Content, Part, attribute_keys
from bridge_soap.xsd.variants import Variants

_MAX_DEPTH = 8
#: The limit on required repetitions in an example.
_MAX_ITEMS = 50
_SAMPLES = {
    "boolean": "true",
    "integer": "1",
    "digits": "1",
    "decimal": "1.50",
    "float": "1.5",
    "base64": "YQ==",
    "hex": "0a",
    "qname": "name",
    "string": "text",
}
#: Values for types whose lexical space is narrower than their JSON form.
_OTHERS = {
    "anyURI": "https://example.org/",
    "language": "en",
    "negativeInteger": "-1",
    "nonPositiveInteger": "0",
}


class _NoExampleError(Exception):
    """There is no example."""


class Examples:
    def __init__(self, contract: Contract, decoders: Decoders, *, encoded: bool = False) -> None:
        self._contract, self._decoders, self._encoded = contract, decoders, encoded
        self._variants = Variants(contract.schemas)

    def element(self, element: Element) -> Any:
        """An example of an element's value; None if there is none."""
        try:
            return self._element(element, [])
        except _NoExampleError:
            return None

    def type(self, type_: ComplexType) -> Any:
        """An example of a type's value; as `element`."""
        try:
            return self._type(type_, [])
        except _NoExampleError:
            return None

    def _element(self, element: Element, path: list[Type]) -> Any:
        if element.abstract:
            for member in self._contract.schemas.members(element):
                if not member.abstract:
                    value = self._element(member, path)
                    label = {ELEMENT: self._contract.schemas.member_name(member, element)}
                    return label | (value if isinstance(value, dict) else {TEXT: value})
            raise _NoExampleError
        type_ = element.type
        constant = element.fixed if element.fixed is not None else element.default
        if isinstance(type_, SimpleType):
            return self._simple(type_, constant)
        value = self._type(type_, path)
        if type_.simple is not None and isinstance(value, dict) and TEXT in value and constant is not None:
            value[TEXT] = self._simple(type_.simple, constant)
        return value

    def _type(self, type_: ComplexType, path: list[Type]) -> Any:
        if type_ is ANY_TYPE:
            return "anything"
        if type_.abstract:
            for name in self._contract.schemas.derived(type_.name):
                derived = self._variants.known(name)
                if isinstance(derived, ComplexType) and not derived.abstract:
                    return {TYPE: self._variants.short(name), **self._type(derived, path)}
            raise _NoExampleError
        if type_ in path or len(path) > _MAX_DEPTH:
            raise _NoExampleError
        inner = [*path, type_]
        array = self._contract.graph.arrays[type_] if self._encoded else None
        if array is not None:
            try:
                value = self._element(array.item, inner)
            except _NoExampleError:
                return []
            for _ in range(array.dimensions):
                value = [value]
            return value
        out: dict[str, Any] = {}
        for name, key in attribute_keys(type_).items():
            use = type_.attributes[name]
            if use.required or not path:
                out[key] = self._simple(use.type, use.fixed if use.fixed is not None else use.default)
        if type_.simple is not None:
            return out | {TEXT: self._simple(type_.simple, None)}
        content = self._contract.graph.model(type_)
        if type_.mixed:
            items = self._items(content.root, inner) if content.root is not None and content.root.low else []
            return out | {CONTENT: ["text", *items]}
        if content.root is None:
            return out
        if content.whole:
            return out | {ITEMS: self._items(content.root, inner)}
        self._part(content.root, content, inner, out, optional=False)
        return out

    def _part(self, part: Part, content: Content, path: list[Type], out: dict[str, Any], *, optional: bool) -> None:
        optional = optional or part.low == 0
        if part is content.region:
            out[ITEMS] = self._items(part, path)
        elif part.kind == "any":
            item = self._wild(part)
            if item:
                out[ANY] = item
        elif part.element is not None:
            self._property(part, part.element, content, path, out, optional=optional)
        elif part.kind == "choice":
            self._choice(part, content, path, out, optional=optional)
        else:
            example: dict[str, Any] = {}
            try:
                for child in part.parts:
                    self._part(child, content, path, example, optional=False)
            except _NoExampleError:
                if not optional:
                    raise
                return
            out.update(example)

    def _choice(self, part: Part, content: Content, path: list[Type], out: dict[str, Any], *, optional: bool) -> None:
        for branch in part.parts:
            example: dict[str, Any] = {}
            try:
                self._part(branch, content, path, example, optional=False)
            except _NoExampleError:
                continue
            out.update(example)
            return
        if not optional:
            raise _NoExampleError

    def _property(
        self,
        part: Part,
        element: Element,
        content: Content,
        path: list[Type],
        out: dict[str, Any],
        *,
        optional: bool,
    ) -> None:
        many = content.slots[element.name].many
        try:
            value = self._element(element, path)
        except _NoExampleError:
            if not optional:
                if not element.nillable:
                    raise
                value = self._nil(element.type)
            else:
                if many and not part.low:
                    out[part.key] = []
                return
        if many and part.low > _MAX_ITEMS:
            raise _NoExampleError
        out[part.key] = [value] * max(part.low, 1) if many else value

    def _nil(self, type_: Type) -> Any:
        """Nil, with its required attributes."""
        if not isinstance(type_, ComplexType):
            return None
        if type_.abstract:
            raise _NoExampleError
        example = {
            key: self._simple(use.type, use.fixed if use.fixed is not None else use.default)
            for name, key in attribute_keys(type_).items()
            if (use := type_.attributes[name]).required
        }
        return {NIL: True} | example if example else None

    def _wild(self, part: Part) -> list[Any]:
        """The required number of elements for a wildcard, with an undeclared name that it allows."""
        wildcard = part.wildcard
        if not part.low or wildcard is None:
            return []
        if part.low > _MAX_ITEMS:
            raise _NoExampleError
        names = (clark(namespace, "anything") for namespace in ("urn:example", *sorted(wildcard.namespaces)))
        name = next((each for each in names if wildcard.allows(split(each)[0])), None)
        schemas = self._contract.schemas
        if name is None or schemas.find_element(name) is not None:
            raise _NoExampleError
        if wildcard.process == "strict" and schemas.defines(split(name)[0]):
            raise _NoExampleError
        return [{name: "anything"}] * part.low

    def _items(self, part: Part, path: list[Type]) -> list[Any]:
        """Items in a valid order, each the minimum number of times and at least once if allowed."""
        count = part.low or 1
        if count > _MAX_ITEMS:
            raise _NoExampleError
        if part.element is not None:
            return [{part.key: self._element(part.element, path)} for _ in range(count)]
        if part.kind == "any":
            return self._wild(part)
        if part.kind == "choice":
            for branch in part.parts:
                try:
                    return self._items(branch, path) * count
                except _NoExampleError:
                    continue
            raise _NoExampleError
        items: list[Any] = []
        for child in part.parts:
            try:
                items += self._items(child, path)
            except _NoExampleError:
                if child.low:
                    raise
        return items * count

    # --- simple values ---

    def _simple(self, simple: SimpleType, constant: str | None) -> Any:
        rules = self._contract.graph.rulebook[simple]
        for text in self._candidates(simple, constant):
            normal = rules.normalize(text)
            try:
                rules.check(normal)
                value = self._decoders.simple[simple].value(normal)
            except DatatypeError:
                continue
            return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
        raise _NoExampleError

    def _candidates(self, simple: SimpleType, constant: str | None) -> Iterator[str]:
        facets = simple.facets
        if constant is not None:
            yield constant
        if facets.enumeration:
            yield from facets.enumeration
        for group in facets.patterns:
            for pattern in group:
                yield regex.sample(pattern)
        yield from self._of_variety(simple)
        length = facets.length or facets.min_length or facets.max_length or 1
        if simple.variety == "atomic" and length < 5000:
            yield from ("A" * length, "0" * length, "1" * length, "0a" * length)
        for bound in (facets.min_inclusive, facets.max_inclusive):
            if bound is not None:
                yield bound
                if facets.patterns:
                    yield from (bound.zfill(width) for width in range(2, 21))
        for bound, step in ((facets.min_exclusive, 1), (facets.max_exclusive, -1)):
            if bound is not None and bound.lstrip("+-").isdecimal() and len(bound) < 40:
                yield str(int(bound) + step)

    def _of_variety(self, simple: SimpleType) -> Iterator[str]:
        if simple.variety == "union":
            for member in simple.members:
                yield from self._candidates(member, None)
        elif simple.variety == "list" and simple.item is not None:
            count = min(simple.facets.length or simple.facets.min_length or 1, _MAX_ITEMS)
            for text in self._candidates(simple.item, None):
                yield " ".join([text] * count)
        else:
            builtin = BUILTINS[simple.builtin]
            if builtin.name in DATES:
                yield DATES[builtin.name][1]
            yield _OTHERS.get(builtin.name, _SAMPLES.get(builtin.json, "text"))
            if builtin.json == "decimal":
                yield "1"
                yield "1.5"
            yield "a"
