"""Schema components as JSON Schema 2020-12, for OpenAPI 3.1: the JSON of CONTRACT, section 6, described."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bridge import BindError
from bridge_soap.components import ComplexType, Element, Facets, SimpleType, Type
from bridge_soap.contract import Contract
from bridge_soap.datatypes import regex
from bridge_soap.datatypes.facets import Bad, bound_value
from bridge_soap.datatypes.lexical import BUILTINS
from bridge_soap.datatypes.simple_in import SimpleReaders
from bridge_soap.names import local_name
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import CONTENT, ELEMENT, ITEMS, NIL, TEXT, TYPE, Content, Part, attribute_keys, keys_of
from bridge_soap.xsd.variants import Variants

Schema = dict[str, Any]
_NOT_NAME = re.compile(r"[^A-Za-z0-9._-]")
_FORMATS = {"date": "date", "dateTime": "date-time", "time": "time", "duration": "duration", "anyURI": "uri-reference"}
_ANYTHING: Schema = {"description": "Anything: text, or an object with #text, #any, #content and @attributes."}


class SchemaWriter:
    """Writes the schemas of one document part; `components` holds what they refer to."""

    def __init__(self, contract: Contract, *, native: bool, encoded: bool = False) -> None:
        self._contract, self._native, self._encoded = contract, native, encoded
        self._readers = SimpleReaders(contract.graph.rulebook, native=False, strict=False)
        self._variants = Variants(contract.schemas)
        self.components: dict[str, Schema] = {}
        self._named: dict[tuple[Type, str], str] = {}

    # --- elements and types ---

    def element(self, element: Element) -> Schema:
        """What the property (or item) of an element holds."""
        members = self._contract.schemas.members(element)
        if members or element.abstract:
            own = [] if element.abstract else [self._nillable(element, self._declared(element))]
            return self._one_of([*own, *(self._member(each) for each in members if not each.abstract)])
        return self._nillable(element, self._declared(element))

    def _declared(self, element: Element) -> Schema:
        type_ = element.type
        schema = self._variant_types(type_) if isinstance(type_, ComplexType) else self.simple(type_)
        if isinstance(type_, ComplexType) and not type_.name and element.is_global:
            schema = self._component(type_, local_name(element.name), lambda: self.object(type_))
        constrained = (element.default or element.fixed) is not None
        if isinstance(type_, ComplexType) and type_.simple is not None and constrained:
            schema = self.object(type_)
            text = self.simple(type_.simple)
            self._values(text, type_.simple, element.default, element.fixed)
            schema["properties"][TEXT] = {"anyOf": [text, {"const": ""}]}  # empty stands for the default
        extra: Schema = {}
        if element.doc:
            extra["description"] = element.doc
        if isinstance(type_, SimpleType):
            self._values(extra, type_, element.default, element.fixed)
            if (element.default or element.fixed) is not None and schema.get("type") != "string":
                schema = {"anyOf": [schema, {"const": ""}]}  # empty stands for the default
                extra.pop("const", None)
        if not extra:
            return schema
        return {**schema, **extra} if "$ref" not in schema or set(extra) == {"description"} else schema

    def _nillable(self, element: Element, schema: Schema) -> Schema:
        if not element.nillable and not self._encoded:
            return schema
        type_ = element.type
        if isinstance(type_, ComplexType) and type_.attributes:
            return {"anyOf": [schema, {"type": "null"}, self._nil({}, type_)]}
        return {"anyOf": [schema, {"type": "null"}]}

    def _nil(self, label: Schema, type_: Type) -> Schema:
        """Nil with something beside it: attributes, or the name of a member."""
        properties: Schema = {**label, NIL: {"const": True}}
        if isinstance(type_, ComplexType):
            for name, key in attribute_keys(type_).items():
                properties[key] = self.simple(type_.attributes[name].type)
        return {"type": "object", "properties": properties, "required": [NIL, *label], "additionalProperties": False}

    def _member(self, element: Element) -> Schema:
        """A substitution group's member, with ``@element``."""
        label: Schema = {ELEMENT: {"const": local_name(element.name)}}
        type_ = element.type

        def make() -> Schema:
            if isinstance(type_, ComplexType) and type_.simple is None and type_ is not ANY_TYPE:
                return self.object(type_, label)
            text = type_.simple if isinstance(type_, ComplexType) and type_.simple else type_
            inner = self.simple(text) if isinstance(text, SimpleType) else dict(_ANYTHING)
            return {"type": "object", "properties": {**label, TEXT: inner}}

        def make_nillable() -> Schema:
            return {"anyOf": [make(), self._nil(label, type_)]} if element.nillable else make()

        return self._component(type_, f"{local_name(element.name)}_element", make_nillable, element.name)

    def _variant_types(self, type_: ComplexType) -> Schema:
        """A type and those that ``xsi:type`` may bring in its place."""
        names = self._contract.schemas.derived(type_.name) if type_.name else []
        found = [type_] if not type_.abstract else []
        for name in names:
            derived = self._variants.known(name)
            if isinstance(derived, ComplexType) and not derived.abstract and self.usable(derived):
                found.append(derived)
        schemas = [self.type(each) for each in found]
        if len(schemas) == 1 and not names:
            return schemas[0]
        mapping = {
            self._variants.short(each.name): schema["$ref"]
            for each, schema in zip(found, schemas, strict=True)
            if "$ref" in schema
        }
        return {"anyOf": schemas, "discriminator": {"propertyName": TYPE, "mapping": mapping}} if schemas else {}

    def usable(self, type_: Type) -> bool:
        """Whether the type, and all it needs, can be described."""
        try:
            self._contract.graph.usable(type_)
        except BindError:
            return False
        return True

    def type(self, type_: Type) -> Schema:
        if isinstance(type_, SimpleType):
            return self.simple(type_)
        if type_ is ANY_TYPE:
            return dict(_ANYTHING)
        make = self._array(type_) or (lambda: self.object(type_))
        return self._component(type_, local_name(type_.name), make) if type_.name else make()

    def _array(self, type_: Type) -> Callable[[], Schema] | None:
        """Makes the schema of an encoded array; None for what is none."""
        array = self._contract.graph.arrays[type_] if self._encoded else None
        if array is None:
            return None

        def make() -> Schema:
            schema = self.element(array.item)
            for _ in range(array.dimensions):
                schema = {"type": "array", "items": schema}
            return schema

        return make

    def _component(self, type_: Type, wanted: str, make: Callable[[], Schema], extra: str = "") -> Schema:
        key = (type_, extra)
        name = self._named.get(key)
        if name is None:
            base = _NOT_NAME.sub("_", wanted)
            name, number = base, 2
            while name in self.components:
                name, number = f"{base}_{number}", number + 1
            self._named[key] = name
            self.components[name] = {}
            self.components[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}

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
            schema = self.simple(use.type)
            self._values(schema, use.type, use.default, use.fixed)
            properties[key] = {**schema, "description": use.doc} if use.doc else schema
            if use.required and use.fixed is None:
                required.append(key)
        if type_.simple is not None:
            properties[TEXT] = self.simple(type_.simple)
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
        """Add a part's properties; `required` is None inside of what may be absent."""
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
            item: Schema = {"type": "object", "minProperties": 1, "maxProperties": 1}
        else:
            item = self.element(part.element)
            if not content.slots[part.element.name].many:
                return item
        schema: Schema = {"type": "array", "items": item}
        if part.low and sure:  # an optional group that isn't there leaves its arrays empty
            schema["minItems"] = part.low
        if part.high is not None:
            schema["maxItems"] = part.high
        return schema

    def _item(self, part: Part, *, mixed: bool) -> Schema:
        """One item of ``#items`` or ``#content``."""
        found: list[Schema] = [{"type": "string"}] if mixed else []
        for leaf in {leaf.key: leaf for leaf in part.leaves()}.values():
            if leaf.element is None:
                found.append({"type": "object", "minProperties": 1, "maxProperties": 1})
            else:
                held = {leaf.key: self.element(leaf.element)}
                found.append(
                    {"type": "object", "properties": held, "required": [leaf.key], "additionalProperties": False}
                )
        return self._one_of(found)

    def _one_of(self, schemas: list[Schema]) -> Schema:
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    # --- simple types ---

    def simple(self, simple: SimpleType) -> Schema:
        schema = self._simple(simple)
        if simple.doc:
            schema["description"] = simple.doc
        if simple.value_docs:
            lines = "\n".join(f"* `{value}`: {doc}" for value, doc in simple.value_docs.items())
            schema["description"] = f"{schema.get('description', '')}\n\n{lines}".strip()
        return schema

    def _simple(self, simple: SimpleType) -> Schema:
        facets = simple.facets
        if simple.variety == "list":
            assert simple.item is not None
            schema: Schema = {"type": "array", "items": self.simple(simple.item)}
            low = facets.length if facets.length is not None else facets.min_length
            high = facets.length if facets.length is not None else facets.max_length
            return schema | _limits("minItems", low) | _limits("maxItems", high)
        if simple.variety == "union":
            return self._one_of([self.simple(member) for member in simple.members])
        schema = self._atomic(simple)
        if facets.enumeration is not None:
            values = [value for value in map(self._reader(simple), facets.enumeration) if value is not None]
            return {key: schema[key] for key in ("type",) if key in schema} | {"enum": values}
        if BUILTINS[simple.builtin].json == "string":
            low = facets.length if facets.length is not None else facets.min_length
            high = facets.length if facets.length is not None else facets.max_length
            schema |= _limits("minLength", low or None) | _limits("maxLength", high)
        if BUILTINS[simple.builtin].json in ("string", "lexical"):
            schema |= _pattern(facets)
        return schema

    def _atomic(self, simple: SimpleType) -> Schema:
        builtin, facets = BUILTINS[simple.builtin], simple.facets
        if builtin.json == "boolean":
            return {"type": "boolean"}
        if builtin.json == "integer":
            return _bounds({"type": "integer", "minimum": builtin.low, "maximum": builtin.high}, facets)
        if builtin.json in ("digits", "decimal") and self._native:
            return _bounds({"type": "integer" if builtin.json == "digits" else "number"}, facets)
        if builtin.json == "digits":
            return {"type": "string", "pattern": "^[+-]?[0-9]+$"}
        if builtin.json == "decimal":
            return {"type": "string", "pattern": r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"}
        if builtin.json == "float":
            return {"anyOf": [{"type": "number"}, {"enum": ["INF", "-INF", "NaN"]}]}
        if builtin.json == "base64":
            return {"type": "string", "contentEncoding": "base64"}
        if builtin.json == "hex":
            return {"type": "string", "pattern": "^([0-9A-Fa-f]{2})*$"}
        if builtin.name in _FORMATS:
            return {"type": "string", "format": _FORMATS[builtin.name]}
        return {"type": "string"} if builtin.name != "anySimpleType" else {}

    def _reader(self, simple: SimpleType) -> Callable[[str], Any]:
        read = self._readers[simple].value

        def value(text: str) -> Any:
            try:
                return read(text)
            except Bad:
                return None

        return value

    def _values(self, schema: Schema, simple: SimpleType, default: str | None, fixed: str | None) -> None:
        for key, text in (("default", default), ("const", fixed)):
            value = self._reader(simple)(text) if text is not None else None
            if value is not None and isinstance(value, str | int | float | bool | list):
                schema[key] = value


def _either(old: Schema | None, new: Schema) -> Schema:
    """One property's schema where two branches of a choice have it."""
    if old is None or old == new:
        return new
    if old.get("items") == new.get("items") and "items" in old:
        return {"type": "array", "items": old["items"]}
    return {"anyOf": [old, new]}


def _limits(key: str, value: int | None) -> Schema:
    return {} if value is None else {key: value}


def _bounds(schema: Schema, facets: Facets) -> Schema:
    for key, text in (
        ("minimum", facets.min_inclusive),
        ("maximum", facets.max_inclusive),
        ("exclusiveMinimum", facets.min_exclusive),
        ("exclusiveMaximum", facets.max_exclusive),
    ):
        value = bound_value(text) if text is not None else None
        if value is not None:
            schema[key] = int(value) if value == value.to_integral_value() else float(value)
    return schema


def _pattern(facets: Facets) -> Schema:
    """The pattern where there is one and it reads the same in ECMA 262 (no categories, no subtraction)."""
    if len(facets.patterns) != 1:
        return {}
    for pattern in facets.patterns[0]:
        if re.search(r"\\[pPicIC]|-\[|[^\x20-\x7e]", pattern):
            return {}
    try:
        source = "|".join(map(regex.to_ascii, facets.patterns[0]))
    except regex.PatternError:
        return {}
    return {"pattern": f"^(?:{source})$"}


def _exactly_one(part: Part, region: Part | None) -> Schema:
    """A choice: one branch's properties and none of another's."""
    branches = []
    every: set[str] = set()
    for branch in part.parts:
        keys = keys_of(branch, region)
        every |= keys
        branches.append({"anyOf": [{"required": [key]} for key in sorted(keys)]})
    rule: Schema = {"oneOf": branches}
    if part.emptiable:
        rule["oneOf"] = [*branches, {"not": {"anyOf": [{"required": [key]} for key in sorted(every)]}}]
    return rule if all(_apart(part, region)) else {}


def _apart(part: Part, region: Part | None) -> list[bool]:
    seen: set[str] = set()
    out = []
    for branch in part.parts:
        keys = keys_of(branch, region)
        out.append(not keys & seen)
        seen |= keys
    return out
