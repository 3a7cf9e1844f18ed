"""Schemas changed for one operation: references are written out where the schema changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Schema = dict[str, Any]
_REF = "#/components/schemas/"


def resolved(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """A schema without ``$ref`` at its top; a description beside the reference replaces the component's."""
    names: set[str] = set()
    while "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        if name in names:
            break
        names.add(name)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**components[name], **beside}
    return schema


def with_objects(schema: Schema, components: Mapping[str, Schema], change: Callable[[Schema], Schema]) -> Schema:
    """A schema with `change` applied to each of its possible objects. Unchanged parts stay references."""
    target = resolved(schema, components)
    if "properties" in target:
        return change(target)
    if "anyOf" in target:
        branches = [with_objects(branch, components, change) for branch in target["anyOf"]]
        if branches != target["anyOf"]:
            # A discriminator's mapping refers to components, which are now written out.
            return {key: value for key, value in target.items() if key != "discriminator"} | {"anyOf": branches}
    return schema


def with_property(
    schema: Schema, name: str, value: Schema, components: Mapping[str, Schema], *, required: bool = False
) -> Schema:
    """A schema whose objects have one more property."""

    def change(target: Schema) -> Schema:
        more = {"required": [*target.get("required", ()), name]} if required else {}
        return {**target, **more, "properties": {**target["properties"], name: value}}

    return with_objects(schema, components, change)


def without(schema: Schema, names: frozenset[str], components: Mapping[str, Schema]) -> Schema:
    """A schema whose objects lack the properties with those names."""

    def change(target: Schema) -> Schema:
        properties = {key: value for key, value in target["properties"].items() if key not in names}
        required = [key for key in target.get("required", []) if key not in names]
        rest = {key: value for key, value in target.items() if key != "required"}
        return rest | {"properties": properties} | ({"required": required} if required else {})

    return with_objects(schema, components, change) if names else schema


def references(part: Any) -> frozenset[str]:
    """The names of the components that `part` refers to directly."""
    names: set[str] = set()
    waiting: list[Any] = [part]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str) and each.startswith(_REF):  # a reference, also in a discriminator's mapping
            names.add(each.removeprefix(_REF))
    return frozenset(names)
