"""Simple types as JSON Schema: their JSON form, and the facets that JSON Schema can express."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bridge_soap.components import Facets, SimpleType
from bridge_soap.datatypes import regex
from bridge_soap.datatypes.facets import DatatypeError, Rulebook, bound_value
from bridge_soap.datatypes.lexical import BUILTINS, NUMBERS
from bridge_soap.datatypes.simple_in import SimpleReaders

Schema = dict[str, Any]
_FORMATS = {"date": "date", "dateTime": "date-time", "time": "time", "duration": "duration", "anyURI": "uri-reference"}
#: JSON forms with one representation per value.
_EXACT = ("string", "boolean", "integer", "qname")


class SimpleSchemas:
    """Schemas by type."""

    def __init__(self, rulebook: Rulebook, *, native: bool) -> None:
        self._native = native
        self._rulebook = rulebook
        self._readers = SimpleReaders(rulebook, native=False, strict=False, judge=False)

    def __getitem__(self, simple: SimpleType) -> Schema:
        """A new schema, which the caller may change."""
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
            schema: Schema = {"type": "array", "items": self[self._rulebook.item(simple)]}
            low = facets.length if facets.length is not None else facets.min_length
            high = facets.length if facets.length is not None else facets.max_length
            return schema | _limits("minItems", low) | _limits("maxItems", high)
        if simple.variety == "union":
            return any_of([self[member] for member in self._rulebook.members(simple)])
        text = self._is_text(simple)
        schema = {"type": "string"} | _pattern(facets) if text else self._atomic(simple)
        if facets.enumeration is not None:
            values = [value for value in map(self._reader(simple), facets.enumeration) if value is not None]
            if BUILTINS[simple.builtin].json in _EXACT and not text:
                return {key: schema[key] for key in ("type",) if key in schema} | {"enum": values}
            # These have several representations per value, and a service may send any: 1.0 and 1.00.
            return schema | {"examples": values}
        if BUILTINS[simple.builtin].json == "string":
            low = facets.length if facets.length is not None else facets.min_length
            high = facets.length if facets.length is not None else facets.max_length
            schema |= _limits("minLength", low or None) | _limits("maxLength", high)
        if BUILTINS[simple.builtin].json in ("string", "lexical"):
            schema |= _pattern(facets)
        return schema

    def _is_text(self, simple: SimpleType) -> bool:
        """Whether it is a number that is a JSON string because of a pattern."""
        numbers = NUMBERS if self._native else ("integer", "float")
        return BUILTINS[simple.builtin].json in numbers and self._rulebook.is_text(simple)

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
        reader = self._readers[simple].value

        def value(text: str) -> Any:
            try:
                return reader(text)
            except DatatypeError:
                return None

        return value

    def values(self, simple: SimpleType, default: str | None, fixed: str | None) -> Schema:
        """``default`` and ``const``, if JSON Schema can express them."""
        keywords: Schema = {}
        for key, text in (("default", default), ("const", fixed)):
            value = self._reader(simple)(text) if text is not None else None
            exact = simple.variety == "atomic" and BUILTINS[simple.builtin].json in _EXACT
            exact = exact and not self._is_text(simple)
            if isinstance(value, str | int | float | bool | list) and (key == "default" or exact):
                keywords[key] = value
        return keywords

    def constrained(self, simple: SimpleType, default: str | None, fixed: str | None) -> Schema:
        """The schema of an element with a default or fixed value, which may be empty."""
        keywords = self.values(simple, default, fixed)
        schema = self[simple] | {key: value for key, value in keywords.items() if key == "const"}
        rest = {key: value for key, value in keywords.items() if key != "const"}
        plain = simple.variety == "atomic" and simple.builtin == "string" and schema == {"type": "string"}
        return (schema if plain else {"anyOf": [schema, {"const": ""}]}) | rest


def any_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


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
    """The pattern, if it has the same meaning in ECMA 262 (no categories, no subtraction)."""
    if len(facets.patterns) != 1:
        return {}
    for pattern in facets.patterns[0]:
        if re.search(r"\\[pPicIC]|-\[|[^\x20-\x7e]", pattern):
            return {}
    try:
        source = "|".join(regex.source(regex.read(pattern), portable=True) for pattern in facets.patterns[0])
    except regex.PatternError:
        return {}
    return {"pattern": f"^(?:{source})$"}
