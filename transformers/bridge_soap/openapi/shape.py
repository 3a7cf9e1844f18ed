"""The schema of a body in the shape that clients see: the canonical schema, changed where its `Shape` says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.api import ABSENT
from bridge_soap.message.shape import Seen, Shape
from bridge_soap.openapi.inline import Schema, resolved
from bridge_soap.xsd.model import NIL, TYPE

_NEVER: Schema = {"not": {}}


def shaped(schema: Schema, shape: Shape, components: Mapping[str, Schema]) -> Schema:
    """`schema` as clients see it; what changes is written out in place of its reference."""
    return _Shaper(components).value(schema, shape)


class _Shaper:
    def __init__(self, components: Mapping[str, Schema]) -> None:
        self._components = components

    def value(self, schema: Schema, shape: Shape) -> Schema:
        found = resolved(schema, self._components)
        if "properties" in found:
            return self._object(found, shape)
        if "items" in found:
            return {**found, "items": self.value(found["items"], shape)}
        if "anyOf" in found:
            # A discriminator's mapping names the components, which are written out now.
            rest = {key: value for key, value in found.items() if key != "discriminator"}
            return rest | {"anyOf": [self.value(branch, shape) for branch in found["anyOf"]]}
        return schema

    def _object(self, schema: Schema, shape: Shape) -> Schema:
        properties: Schema = {}
        required: list[str] = []
        rules: list[Schema] = [self._rule(rule, schema, shape) for rule in schema.get("allOf", ())]
        asked = schema.get("required", [])
        for key, held in schema["properties"].items():
            seen = shape.seen.get(key)
            if seen is None:
                properties[key] = held
                required += [key] if key in asked else []
            elif seen.flat:
                self._flatten(held, seen, properties, required, rules)
            elif not seen.constant:
                properties[seen.name], needed = self._property(held, seen, asked=key in asked)
                required += [seen.name] if needed else []
        out = {key: value for key, value in schema.items() if key not in ("required", "allOf")}
        out["properties"] = properties
        if required:
            out["required"] = required
        rules = [rule for rule in rules if rule]
        if rules:
            out["allOf"] = rules
        return out

    def _property(self, held: Schema, seen: Seen, *, asked: bool) -> tuple[Schema, bool]:
        """A property's schema, and whether a client must give it."""
        if seen.node is not None:
            held = self.value(held, seen.node)
        if seen.default is not ABSENT:
            return {**held, "default": seen.default}, False
        if seen.always:  # made by the route, which is enough where the client need give nothing of it
            return held, not self._takes_nothing(held)
        return held, asked

    def _flatten(self, held: Schema, seen: Seen, properties: Schema, required: list[str], rules: list[Schema]) -> None:
        inner = self._inner(held, seen)
        own = {key: value for key, value in inner["properties"].items() if key not in (NIL, TYPE)}
        properties.update(own)
        needed, more = inner.get("required", []), inner.get("allOf", [])
        if seen.always:
            required += needed
            rules += more
        elif own and (needed or more):
            # Of an object that may be absent, all that it needs is needed as soon as any of it is given.
            then: Schema = ({"required": needed} if needed else {}) | ({"allOf": more} if more else {})
            rules.append({"if": _any_of(list(own)), "then": then})

    def _inner(self, held: Schema, seen: Seen) -> Schema:
        """The schema of a flattened object, in its own shape."""
        found = resolved(held, self._components)
        if "properties" not in found:  # nillable: the first branch is the object
            found = resolved(found["anyOf"][0], self._components)
        assert seen.node is not None
        return self._object(found, seen.node)

    # --- rules of choices ---

    def _rule(self, rule: Any, schema: Schema, shape: Shape) -> Any:
        """A rule on which properties must be given, in the client's names."""
        if isinstance(rule, list):
            return [self._rule(each, schema, shape) for each in rule]
        if not isinstance(rule, dict):
            return rule
        if set(rule) == {"required"}:
            found = [self._given(key, schema, shape) for key in rule["required"]]
            return found[0] if len(found) == 1 else {"allOf": found}
        return {key: self._rule(value, schema, shape) for key, value in rule.items()}

    def _given(self, key: str, schema: Schema, shape: Shape) -> Schema:
        """What says that a canonical property is given."""
        seen = shape.seen.get(key)
        if seen is None or not (seen.flat or seen.constant):
            return {"required": [key if seen is None else seen.name]}
        if seen.constant:
            return {}
        return _any_of([name for name in self._inner(schema["properties"][key], seen)["properties"] if name != TYPE])

    def _takes_nothing(self, schema: Schema) -> bool:
        """Whether a schema takes an empty object."""
        found = resolved(schema, self._components)
        if found.get("required") or found.get("type", "object") != "object":
            return False
        if not all(self._takes_nothing(each) for each in found.get("allOf", ())):
            return False
        if "anyOf" in found and not any(self._takes_nothing(each) for each in found["anyOf"]):
            return False
        if "oneOf" in found and sum(self._takes_nothing(each) for each in found["oneOf"]) != 1:
            return False
        return "not" not in found or not self._takes_nothing(found["not"])


def _any_of(names: list[str]) -> Schema:
    """That one of the properties is given."""
    return {"anyOf": [{"required": [name]} for name in names]} if names else _NEVER
