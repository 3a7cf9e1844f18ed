"""The schema of a body in the clients' shape: the canonical schema, changed by its `Shape`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.api import ABSENT
from bridge_soap.message.shape import PropertyView, Shape
from bridge_soap.openapi.inline import Schema, resolved
from bridge_soap.xsd.model import NIL, TYPE

_NEVER: Schema = {"not": {}}


def shaped(schema: Schema, shape: Shape, components: Mapping[str, Schema]) -> Schema:
    """`schema` in the clients' shape; changed parts are written out instead of referred to."""
    return _Shaper(components).value(schema, shape)


class _Shaper:
    def __init__(self, components: Mapping[str, Schema]) -> None:
        self._components = components

    def value(self, schema: Schema, shape: Shape) -> Schema:
        target = resolved(schema, self._components)
        if "properties" in target:
            return self._object(target, shape)
        if "items" in target:
            return {**target, "items": self.value(target["items"], shape)}
        if "anyOf" in target:
            # A discriminator's mapping refers to components, which are now written out.
            rest = {key: value for key, value in target.items() if key != "discriminator"}
            return rest | {"anyOf": [self.value(branch, shape) for branch in target["anyOf"]]}
        return schema

    def _object(self, schema: Schema, shape: Shape) -> Schema:
        properties: Schema = {}
        required: list[str] = []
        rules: list[Schema] = [self._rule(rule, schema, shape) for rule in schema.get("allOf", ())]
        required_names = schema.get("required", [])
        for key, inner in schema["properties"].items():
            view = shape.views.get(key)
            if view is None:
                properties[key] = inner
                required += [key] if key in required_names else []
            elif view.flat:
                self._flatten(inner, view, properties, required, rules)
            elif not view.constant:
                properties[view.name], needed = self._property(inner, view, required=key in required_names)
                required += [view.name] if needed else []
        out = {key: value for key, value in schema.items() if key not in ("required", "allOf")}
        out["properties"] = properties
        if required:
            out["required"] = required
        rules = [rule for rule in rules if rule]
        if rules:
            out["allOf"] = rules
        return out

    def _property(self, inner: Schema, view: PropertyView, *, required: bool) -> tuple[Schema, bool]:
        """A property's schema, and whether clients must give it."""
        if view.node is not None:
            inner = self.value(inner, view.node)
        if view.default is not ABSENT:
            return {**inner, "default": view.default}, False
        if view.always:  # the route creates it, so clients may omit it if nothing in it is required
            return inner, not self._takes_nothing(inner)
        return inner, required

    def _flatten(
        self, inner: Schema, view: PropertyView, properties: Schema, required: list[str], rules: list[Schema]
    ) -> None:
        inner = self._inner(inner, view)
        own = {key: value for key, value in inner["properties"].items() if key not in (NIL, TYPE)}
        properties.update(own)
        needed, more = inner.get("required", []), inner.get("allOf", [])
        if view.always:
            required += needed
            rules += more
        elif own and (needed or more):
            # The required properties of an optional object are required once any of its properties is given.
            then: Schema = ({"required": needed} if needed else {}) | ({"allOf": more} if more else {})
            rules.append({"if": _any_of(list(own)), "then": then})

    def _inner(self, inner: Schema, view: PropertyView) -> Schema:
        """The schema of a flattened object, in its own shape."""
        target = resolved(inner, self._components)
        if "properties" not in target:  # nillable: the first branch is the object
            target = resolved(target["anyOf"][0], self._components)
        assert view.node is not None
        return self._object(target, view.node)

    # --- rules of choices ---

    def _rule(self, rule: Any, schema: Schema, shape: Shape) -> Any:
        """A rule on required properties, with the clients' names."""
        if isinstance(rule, list):
            return [self._rule(each, schema, shape) for each in rule]
        if not isinstance(rule, dict):
            return rule
        if set(rule) == {"required"}:
            conditions = [self._given(key, schema, shape) for key in rule["required"]]
            return conditions[0] if len(conditions) == 1 else {"allOf": conditions}
        return {key: self._rule(value, schema, shape) for key, value in rule.items()}

    def _given(self, key: str, schema: Schema, shape: Shape) -> Schema:
        """The condition that a canonical property is given."""
        view = shape.views.get(key)
        if view is None or not (view.flat or view.constant):
            return {"required": [key if view is None else view.name]}
        if view.constant:
            return {}
        return _any_of([name for name in self._inner(schema["properties"][key], view)["properties"] if name != TYPE])

    def _takes_nothing(self, schema: Schema) -> bool:
        """Whether a schema accepts an empty object."""
        target = resolved(schema, self._components)
        if target.get("required") or target.get("type", "object") != "object":
            return False
        if not all(self._takes_nothing(each) for each in target.get("allOf", ())):
            return False
        if "anyOf" in target and not any(self._takes_nothing(each) for each in target["anyOf"]):
            return False
        if "oneOf" in target and sum(self._takes_nothing(each) for each in target["oneOf"]) != 1:
            return False
        return "not" not in target or not self._takes_nothing(target["not"])


def _any_of(names: list[str]) -> Schema:
    """The condition that one of the properties is given."""
    return {"anyOf": [{"required": [name]} for name in names]} if names else _NEVER
