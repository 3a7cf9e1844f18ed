"""Schema components as JSON Schema 2020-12, for OpenAPI 3.1: the JSON of CONTRACT, section 6."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bridge.api import BindError
from bridge_soap.components import ComplexType, Element, SimpleType, Type, Wildcard
from bridge_soap.contract import Contract
from bridge_soap.names import local_name
from bridge_soap.openapi.inline import references
from bridge_soap.openapi.simpleschema import Schema, SimpleSchemas, any_of
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import CONTENT, ELEMENT, ITEMS, NIL, TEXT, TYPE, Content, Part, attribute_keys, keys_of
from bridge_soap.xsd.schemas import blocked
from bridge_soap.xsd.variants import Variants

_NOT_NAME = re.compile(r"[^A-Za-z0-9._-]")
_ANYTHING: Schema = {"description": "Anything: text, or an object with #text, #any, #content and @attributes."}


def schemas_of(contract: Contract, *, native: bool, encoded: bool) -> SchemaWriter:
    """The writer for all operations of a contract, so that each component is made once."""
    writer = contract.documented.get((native, encoded))
    if writer is None:
        writer = contract.documented[native, encoded] = SchemaWriter(contract, native=native, encoded=encoded)
    return writer


class SchemaWriter:
    """Writes the schemas of a contract's operations; `components` has those that they refer to."""

    def __init__(self, contract: Contract, *, native: bool, encoded: bool = False) -> None:
        self._contract, self._native, self._encoded = contract, native, encoded
        self._simple = SimpleSchemas(contract.graph.rulebook, native=native)
        self._variants = Variants(contract.schemas)
        self.components: dict[str, Schema] = {}
        self._named: dict[tuple[Type, str], str] = {}
        self._references: dict[str, frozenset[str]] = {}
        self._waiting: list[tuple[tuple[Type, str], str, Callable[[], Schema]]] = []
        self._writing = False

    def reached(self, part: Any) -> dict[str, Schema]:
        """The components that a part of the document refers to, directly or indirectly."""
        components: dict[str, Schema] = {}
        waiting = [*references(part)]
        while waiting:
            name = waiting.pop()
            if name in self.components and name not in components:
                components[name] = self.components[name]
                if name not in self._references:
                    self._references[name] = references(components[name])
                waiting += self._references[name]
        return components

    # --- elements and types ---

    def element(self, element: Element) -> Schema:
        """The schema of an element's property or item."""
        members = self._contract.schemas.members(element)
        if members or element.abstract:
            own = [] if element.abstract else [self._nillable(element, self._declared(element))]
            return any_of([*own, *(self._member(each, element) for each in members if not each.abstract)])
        return self._nillable(element, self._declared(element))

    def _declared(self, element: Element) -> Schema:
        type_ = element.type
        if isinstance(type_, SimpleType):
            schema = self._simple[type_]
        elif not type_.name and element.is_global:  # it may contain itself
            schema = self._component(type_, local_name(element.name), lambda: self.object(type_))
        else:
            schema = self._variant_types(type_)
        constrained = (element.default or element.fixed) is not None
        if isinstance(type_, ComplexType) and type_.simple is not None and constrained:
            schema = self.object(type_)
            schema["properties"][TEXT] = self._simple.constrained(type_.simple, element.default, element.fixed)
        if isinstance(type_, SimpleType) and constrained:
            schema = self._simple.constrained(type_, element.default, element.fixed)
        return {**schema, "description": element.doc} if element.doc else schema

    def _nillable(self, element: Element, schema: Schema) -> Schema:
        if not element.nillable and not self._encoded:
            return schema
        type_ = element.type
        if isinstance(type_, ComplexType) and (type_.attributes or self._is_open(type_)):
            return {"anyOf": [schema, {"type": "null"}, self._nil({}, type_)]}
        return {"anyOf": [schema, {"type": "null"}]}

    def _nil(self, label: Schema, type_: Type) -> Schema:
        """Nil with attributes, or with the name of a member."""
        properties: Schema = {**label, NIL: {"const": True}}
        if isinstance(type_, ComplexType):
            for name, key in attribute_keys(type_).items():
                properties[key] = self._simple[type_.attributes[name].type]
        schema: Schema = {"type": "object", "properties": properties, "required": [NIL, *label]}
        if isinstance(type_, ComplexType) and self._is_open(type_):
            schema["patternProperties"] = {"^@": {}}  # xsi:type, and the attributes of that type
        return schema | {"additionalProperties": False}

    def _is_open(self, type_: ComplexType) -> bool:
        """Whether undeclared attributes are allowed."""
        return bool(type_.any_attribute or (type_.name and self._contract.schemas.derived(type_.name)))

    def _member(self, element: Element, head: Element) -> Schema:
        """A substitution group's member, with ``@element``."""
        label: Schema = {ELEMENT: {"const": self._contract.schemas.member_name(element, head)}}
        type_ = element.type

        def make() -> Schema:
            if isinstance(type_, ComplexType) and type_.simple is None and type_ is not ANY_TYPE:
                return any_of([self.object(each, label) for each in self._stand_ins(type_)])
            text = type_.simple if isinstance(type_, ComplexType) and type_.simple else type_
            inner = self._simple[text] if isinstance(text, SimpleType) else dict(_ANYTHING)
            return {"type": "object", "properties": {**label, TEXT: inner}}

        def make_nillable() -> Schema:
            return {"anyOf": [make(), self._nil(label, type_)]} if element.nillable else make()

        return self._component(type_, f"{local_name(element.name)}_element", make_nillable, element.name)

    def _variant_types(self, type_: ComplexType) -> Schema:
        """A type, and those that ``xsi:type`` may select in its place."""
        types = self._stand_ins(type_)
        schemas = [self.type(each) for each in types]
        if types == [type_]:
            return schemas[0]
        mapping = {
            self._variants.short(each.name): schema["$ref"]
            for each, schema in zip(types, schemas, strict=True)
            if "$ref" in schema
        }
        return {"anyOf": schemas, "discriminator": {"propertyName": TYPE, "mapping": mapping}} if schemas else {}

    def _stand_ins(self, type_: ComplexType) -> list[ComplexType]:
        """The type and all types that ``xsi:type`` may name, without abstract ones."""
        names = self._contract.schemas.derived(type_.name) if type_.name else []
        types = [type_, *map(self._variants.known, names)]
        return [
            each
            for each in types
            if isinstance(each, ComplexType)
            and not each.abstract
            and (each is type_ or (self.usable(each) and not blocked(each, type_, frozenset())))
        ]

    def usable(self, type_: Type) -> bool:
        """Whether the type and all its parts can be described."""
        try:
            self._contract.graph.usable(type_)
        except BindError:
            return False
        return True

    def type(self, type_: Type) -> Schema:
        if isinstance(type_, SimpleType):
            return self._simple[type_]
        if type_ is ANY_TYPE:
            return dict(_ANYTHING)
        make = self._array(type_) or (lambda: self.object(type_))
        return self._component(type_, local_name(type_.name), make) if type_.name else make()

    def _array(self, type_: Type) -> Callable[[], Schema] | None:
        """The function that makes the schema of an encoded array; None for other types."""
        array = self._contract.graph.arrays[type_] if self._encoded else None
        if array is None:
            return None

        def make() -> Schema:
            schema = self.element(array.item)
            for _ in range(array.dimensions):
                schema = {"type": "array", "items": schema}
            return schema

        return make

    def _component(self, type_: Type, base_name: str, make: Callable[[], Schema], extra: str = "") -> Schema:
        key = (type_, extra)
        name = self._named.get(key)
        if name is None:
            base = _NOT_NAME.sub("_", base_name)
            name, number = base, 2
            while name in self.components:
                name, number = f"{base}_{number}", number + 1
            self._named[key] = name
            self.components[name] = {}
            self._waiting.append((key, name, make))
            if not self._writing:
                self._write()
        return {"$ref": f"#/components/schemas/{name}"}

    def _write(self) -> None:
        """Make the requested components one after another, since types may be nested deeply."""
        self._writing = True
        try:
            while self._waiting:
                key, name, make = self._waiting[-1]
                self.components[name] = make()
                self._waiting.remove((key, name, make))
        except BaseException:
            for key, name, _ in self._waiting:  # so that no other operation sees incomplete components
                del self._named[key], self.components[name]
            self._waiting.clear()
            raise
        finally:
            self._writing = False

    # --- objects ---

    def object(self, type_: ComplexType, extra: Schema | None = None, without: frozenset[str] = frozenset()) -> Schema:
        """A complex type as an object; `extra` properties are required, those in `without` are left out."""
        if type_ is ANY_TYPE:
            return dict(_ANYTHING)
        properties: Schema = dict(extra or {})
        required: list[str] = list(extra or {})
        rules: list[Schema] = []
        if type_.name and (self._contract.schemas.derived(type_.name) or isinstance(type_.base, ComplexType)):
            properties[TYPE] = {"const": self._variants.short(type_.name)}
        for name, key in attribute_keys(type_).items():
            use = type_.attributes[name]
            schema = self._simple[use.type] | self._simple.values(use.type, use.default, use.fixed)
            properties[key] = {**schema, "description": use.doc} if use.doc else schema
            if use.required and use.fixed is None:
                required.append(key)
        if type_.simple is not None:
            properties[TEXT] = self._simple[type_.simple]
        else:
            self._children(self._contract.graph.model(type_), type_, properties, required, rules)
        out: Schema = {"type": "object"}
        if type_.doc:
            out["description"] = type_.doc
        out["properties"] = {key: schema for key, schema in properties.items() if key not in without}
        needed = [key for key in dict.fromkeys(required) if key not in without]
        if needed:
            out["required"] = needed
        if rules:
            out["allOf"] = rules
        if type_.any_attribute:
            out["patternProperties"] = {"^@": {}}
        out["additionalProperties"] = False
        return out

    def _children(
        self, content: Content, type_: ComplexType, properties: Schema, required: list[str], rules: list[Schema]
    ) -> None:
        if content.root is None:
            if type_.mixed:
                properties[CONTENT] = {"type": "array", "items": {"type": "string"}}
            return
        if content.whole:
            key = CONTENT if type_.mixed else ITEMS
            properties[key] = {"type": "array", "items": self._item(content.root, mixed=type_.mixed)}
            if not type_.mixed and not content.root.emptiable:
                required.append(key)
            return
        self._part(content.root, content, properties, required, rules)

    def _part(
        self, part: Part, content: Content, properties: Schema, required: list[str] | None, rules: list[Schema]
    ) -> None:
        """Add a part's properties; `required` is None inside optional parts."""
        if part is content.region:
            properties[ITEMS] = {"type": "array", "items": self._item(part, mixed=False)}
            if required is not None and not part.emptiable:
                required.append(ITEMS)
        elif not part.is_group:
            schema = self._property(part, content, sure=required is not None)
            properties[part.key] = _either(properties.get(part.key), schema)
            filled = part.element is not None and (part.element.default or part.element.fixed) is not None
            if required is not None and part.low and not filled:
                required.append(part.key)
        elif part.kind == "choice":
            for branch in part.parts:
                self._part(branch, content, properties, None, rules)
            if required is not None:
                rules.append(_exactly_one(part, content.region))
        else:
            for child in part.parts:
                self._part(child, content, properties, required if part.low else None, rules)

    def _property(self, part: Part, content: Content, *, sure: bool) -> Schema:
        if part.element is None:
            item = _wild(part.wildcard)
        else:
            item = self.element(part.element)
            if not content.slots[part.element.name].many:
                return item
        schema: Schema = {"type": "array", "items": item}
        if part.low and sure:  # the arrays of an absent optional group are empty
            schema["minItems"] = part.low
        if part.high is not None:
            schema["maxItems"] = part.high
        return schema

    def _item(self, part: Part, *, mixed: bool) -> Schema:
        """One item of ``#items`` or ``#content``."""
        alternatives: list[Schema] = [{"type": "string"}] if mixed else []
        for leaf in {leaf.key: leaf for leaf in part.leaves()}.values():
            if leaf.element is None:
                alternatives.append(_wild(leaf.wildcard))
            else:
                properties = {leaf.key: self.element(leaf.element)}
                alternatives.append(
                    {"type": "object", "properties": properties, "required": [leaf.key], "additionalProperties": False}
                )
        return any_of(alternatives)


_PROCESSED = {
    "strict": "one that the contract declares, or any of a namespace that it defines nothing of",
    "lax": "typed where the contract declares it",
    "skip": "never typed",
}


def _wild(wildcard: Wildcard | None) -> Schema:
    """One element of a wildcard, by its name."""
    schema: Schema = {"type": "object", "minProperties": 1, "maxProperties": 1}
    if wildcard is not None:
        schema["description"] = f"An element by its name, {{namespace}}local: {_PROCESSED[wildcard.process]}."
    return schema


def _either(old: Schema | None, new: Schema) -> Schema:
    """The schema of a property that two branches of a choice have."""
    if old is None or old == new:
        return new
    if old.get("items") == new.get("items") and "items" in old:
        return {"type": "array", "items": old["items"]}
    return {"anyOf": [old, new]}


def _exactly_one(part: Part, region: Part | None) -> Schema:
    """A choice: the properties of one branch, without those of the others; nothing if branches share properties."""
    branches = [keys_of(branch, region) for branch in part.parts]
    every = frozenset[str]().union(*branches)
    if sum(map(len, branches)) != len(every):
        return {}
    rules: list[Schema] = [{"anyOf": [{"required": [key]} for key in sorted(keys)]} for keys in branches]
    if part.emptiable:
        rules.append({"not": {"anyOf": [{"required": [key]} for key in sorted(every)]}})
    return {"oneOf": rules}
