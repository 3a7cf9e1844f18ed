"""An example of a request body from its schema, for transformers that give none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bridge.admin.openapi.refs import BadReference, schema_name

_OPTIONAL_DEPTH = 4
_REQUIRED_DEPTH = 16  #: of required properties, since a schema may require itself
_MOST_ITEMS = 20
_MOST_VALUES = 500  #: values of one example
_FORMATS = {
    "date": "2026-11-03",
    "date-time": "2026-11-03T20:15:00Z",
    "time": "20:15:00Z",
    "duration": "PT1H",
    "email": "name@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uri-reference": "https://example.org/",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "byte": "dGV4dA==",
    "int64": "1",
    "uint64": "1",
}
#: Tried in turn where a pattern is asked for.
_TEXTS = ("text", "1", "a", "A", "AB", "ABC", "01", "12345", "a1", "A1", "AB12", "true", "2026-11-03", "1.50", "1s", "")


class NoExampleError(ValueError):
    """The schema admits no value that is found this way."""


def fill(operation: dict[str, Any], components: Mapping[str, Any]) -> None:
    """Give the JSON bodies of an Operation Object an ``example`` where they have a schema and none."""
    for kind, media in (operation.get("requestBody") or {}).get("content", {}).items():
        is_json = kind.partition(";")[0].strip() == "application/json" or kind.endswith("+json")
        if is_json and media.get("schema") and "example" not in media and "examples" not in media:
            with suppress(NoExampleError, BadReference, RecursionError):
                media["example"] = _Maker(components).value(media["schema"], 0)


class _Maker:
    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = components
        self._left = _MOST_VALUES

    def value(self, schema: Any, depth: int) -> Any:
        """:raises NoExampleError: there is none, or it would be too deep or too large."""
        self._left -= 1
        if depth > _REQUIRED_DEPTH or self._left < 0 or schema is False:
            raise NoExampleError
        if not isinstance(schema, Mapping):
            return "anything"
        if "$ref" in schema:
            return self.value(self._target(schema["$ref"]), depth + 1)
        for key in ("example", "const", "default"):
            if key in schema:
                return schema[key]
        for key in ("examples", "enum"):
            if isinstance(schema.get(key), list) and schema[key]:
                return schema[key][0]
        for key in ("oneOf", "anyOf"):
            if schema.get(key):
                return self._combined(schema, self._first(schema[key], depth), depth)
        if schema.get("allOf"):
            return self._all_of(schema, depth)
        return self._typed(schema, depth)

    def _target(self, ref: str) -> Any:
        name, below = schema_name(ref)
        if below or name not in self._components:
            raise NoExampleError
        return self._components[name]

    def _first(self, branches: list[Any], depth: int) -> Any:
        for branch in branches:
            if isinstance(branch, Mapping) and branch.get("type") == "null" and len(branches) > 1:
                continue
            with suppress(NoExampleError):
                return self.value(branch, depth + 1)
        raise NoExampleError

    def _all_of(self, schema: Mapping[str, Any], depth: int) -> Any:
        values = [self.value(part, depth + 1) for part in schema["allOf"]]
        if all(isinstance(value, dict) for value in values):
            return self._combined(schema, {key: item for value in values for key, item in value.items()}, depth)
        return values[0]

    def _combined(self, schema: Mapping[str, Any], value: Any, depth: int) -> Any:
        """`value` with the properties that stand beside ``oneOf`` or ``allOf``."""
        if isinstance(value, dict) and schema.get("properties"):
            return {**self._object(schema, depth), **value}
        return value

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind == "string":
            return _text(schema)
        return {"boolean": True, "null": None}.get(kind or "", "anything")

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required") or ())
        properties = schema.get("properties") or {}
        value: dict[str, Any] = {}
        for name, part in properties.items():
            if isinstance(part, Mapping) and (part.get("readOnly") or part.get("deprecated")) and name not in required:
                continue
            if name in required:
                value[name] = self.value(part, depth + 1)
            elif depth < _OPTIONAL_DEPTH:
                with suppress(NoExampleError):
                    value[name] = self.value(part, depth + 1)
        return value | dict.fromkeys(sorted(required - properties.keys()), "anything")

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems") or 0)
        if least > _MOST_ITEMS:
            raise NoExampleError
        value = [self.value(item, depth + 1) for item in schema.get("prefixItems") or ()]
        most = schema.get("maxItems", _MOST_ITEMS)
        try:
            while len(value) < max(1, least) and len(value) < most:
                value.append(self.value(schema.get("items", True), depth + 1))
        except NoExampleError:
            if len(value) < least:
                raise
        return value


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    step: float = schema.get("multipleOf") or 1
    if low is None and schema.get("exclusiveMinimum") is not None:
        low = schema["exclusiveMinimum"] + step
    if high is None and schema.get("exclusiveMaximum") is not None:
        high = schema["exclusiveMaximum"] - step
    value: float = step if whole or step != 1 else 1.5
    if low is not None and value < low:
        value = -(-low // step) * step if step != 1 else low
    if high is not None and value > high:
        value = high // step * step if step != 1 else high
    return int(value) if whole else value


def _text(schema: Mapping[str, Any]) -> str:
    """:raises NoExampleError: no text is found that the pattern matches."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    texts = (_FORMATS[schema["format"]], *_TEXTS) if schema.get("format") in _FORMATS else _TEXTS
    if least > _MOST_VALUES:
        raise NoExampleError
    try:
        pattern = re.compile(schema.get("pattern", ""))
    except re.error:
        return texts[0]
    for text in texts:
        sized = (text or " ").ljust(least, (text or "x")[-1])[:most] if len(text) < least else text[:most]
        if pattern.search(sized):
            return sized
    raise NoExampleError
