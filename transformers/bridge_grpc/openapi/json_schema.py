"""Messages as JSON Schema 2020-12, which OpenAPI 3.1 uses: the ProtoJSON form, with the proto's comments."""

from __future__ import annotations

from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from bridge_grpc.codec import wellknown
from bridge_grpc.codec.scalars import INT64S, INTEGERS, MESSAGES, short_names
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema

_T = FieldDescriptor
JsonSchema = dict[str, Any]
#: Paths of fields to leave out of a message.
Exclusions = frozenset[tuple[str, ...]]
_NONE: Exclusions = frozenset()

SPECIAL: dict[str, JsonSchema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Field paths in lowerCamelCase, separated by commas.",
    },
    "google.protobuf.Struct": {"type": "object", "description": "Any JSON object."},
    "google.protobuf.Value": {"description": "Any JSON value."},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    wellknown.ANY: {
        "type": "object",
        "description": "A message of any type, which `@type` names; its fields stand beside it.",
        "properties": {"@type": {"type": "string"}},
    },
}
_EXAMPLES: dict[str, Any] = {
    "google.protobuf.Timestamp": "2026-11-03T20:15:00Z",
    "google.protobuf.Duration": "1.500s",
    "google.protobuf.FieldMask": "name,address.city",
    "google.protobuf.Struct": {"key": "value"},
    "google.protobuf.Value": "value",
    "google.protobuf.ListValue": ["value"],
    wellknown.ANY: {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "value"},
}
_BEHAVIOUR = field_behavior_pb2.FieldBehavior
_EXAMPLE_DEPTH = 4
_REQUIRED_DEPTH = 16  #: of required fields, since a message may require itself
_MARKS: Any = field_behavior_pb2.field_behavior


Type = Descriptor | EnumDescriptor


class SchemaCache:
    """Schemas and examples that operations share.

    :ivar components: message or enum -> its schema, and the types that it refers to.
    :ivar examples: (message, depth) -> an example.
    """

    def __init__(self) -> None:
        self.components: dict[Type, tuple[JsonSchema, tuple[Type, ...]]] = {}
        self.examples: dict[tuple[Descriptor, int], Any] = {}


class Schemas:
    """Creates JSON Schemas of messages; types that they refer to are collected in `components`.

    :param cache: shared by operations of the same schema and options.
    """

    def __init__(self, schema: Schema, options: Print, cache: SchemaCache | None = None) -> None:
        self._comments = schema.comments
        self._print = options
        self._cache = cache or SchemaCache()
        self.components: dict[str, JsonSchema] = {}
        self._waiting: list[Type] = []
        self._referred: dict[Type, None] = {}

    def ref(self, message: Descriptor) -> JsonSchema:
        """A reference to the message's component, or the schema itself for a well-known type."""
        name = message.full_name
        if name in SPECIAL:
            return dict(SPECIAL[name])
        if name in wellknown.WRAPPERS:
            schema = self.scalar(message.fields_by_name["value"])
            return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema
        return self._refer(message)

    def _refer(self, to: Type) -> JsonSchema:
        """A reference. Its schema is queued, not made recursively, since chains of messages can be hundreds long."""
        self._referred[to] = None
        if to.full_name not in self.components:
            self.components[to.full_name] = {}
            self._waiting.append(to)
            if len(self._waiting) == 1:
                self._fill()
        return {"$ref": f"#/components/schemas/{to.full_name}"}

    def _fill(self) -> None:
        at = 0
        while at < len(self._waiting):
            to = self._waiting[at]
            entry = self._cache.components.get(to)
            if entry is None:
                self._referred = {}
                schema = self.message(to) if isinstance(to, Descriptor) else self._enum(to)
                entry = self._cache.components[to] = (schema, tuple(self._referred))
            self.components[to.full_name], references = entry
            for reference in references:
                self._refer(reference)
            at += 1
        self._waiting.clear()

    def message(self, message: Descriptor, exclude: Exclusions = _NONE, *, body: bool = False) -> JsonSchema:
        """An object schema without the fields `exclude`; for a `body`, fields marked REQUIRED are required."""
        fields = [field for field in message.fields if (field.name,) not in exclude]
        schema: JsonSchema = {"type": "object"}
        if text := self._describe(message):
            schema["description"] = text
        if fields:
            schema["properties"] = {self.name(field): self.property(field, _inside(exclude, field)) for field in fields}
        required = [
            self.name(field)
            for field in fields
            if field.is_required or (body and _BEHAVIOUR.REQUIRED in behaviours(field))
        ]
        if required:
            schema["required"] = required
        if not message.is_extendable:
            schema["additionalProperties"] = False
        return schema

    def name(self, field: FieldDescriptor) -> str:
        return field.name if self._print.proto_names else field.json_name

    def property(self, field: FieldDescriptor, exclude: Exclusions = _NONE) -> JsonSchema:
        """A field's schema with its comment and options; for a message, without the fields `exclude`."""
        if exclude:
            assert field.message_type is not None
            schema = self.message(field.message_type, exclude)
        else:
            schema = self.field(field)
        notes = [self._comments.get(field.full_name, "")]
        marks = behaviours(field)
        if _BEHAVIOUR.REQUIRED in marks:
            notes.append("Required.")
        if _BEHAVIOUR.IMMUTABLE in marks:
            notes.append("Can't be changed once it is set.")
        if text := "\n\n".join(note for note in notes if note):
            schema["description"] = text
        if _BEHAVIOUR.OUTPUT_ONLY in marks:
            schema["readOnly"] = True
        if _BEHAVIOUR.INPUT_ONLY in marks:
            schema["writeOnly"] = True
        if field.GetOptions().deprecated:
            schema["deprecated"] = True
        return schema

    def field(self, field: FieldDescriptor) -> JsonSchema:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self.scalar(entry.fields_by_name["value"])}
        if field.is_repeated:
            return {"type": "array", "items": self.scalar(field)}
        return self.scalar(field)

    def scalar(self, field: FieldDescriptor) -> JsonSchema:
        """The schema of one value of a field."""
        kind = field.type
        if kind in MESSAGES:
            assert field.message_type is not None
            return self.ref(field.message_type)
        if kind == _T.TYPE_ENUM:
            assert field.enum_type is not None
            return self.enum(field.enum_type)
        if kind in INT64S:
            unsigned = INTEGERS[kind][0] == 0
            return {"type": "string", "format": "uint64" if unsigned else "int64",
                    "pattern": "^[0-9]+$" if unsigned else "^-?[0-9]+$"}  # fmt: skip
        if kind in INTEGERS:
            low, high = INTEGERS[kind]
            return {"type": "integer", "format": "int32", "minimum": low, "maximum": high}
        return dict(_SCALARS[kind])

    def enum(self, enum: EnumDescriptor) -> JsonSchema:
        if enum.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        return self._refer(enum)

    def _enum(self, enum: EnumDescriptor) -> JsonSchema:
        name, numbers = enum.full_name, self._print.enum_numbers
        shorts = short_names(enum) if self._print.short_enums else {}
        names = {value.name: shorts.get(value.name, value.name) for value in enum.values}
        values = sorted(enum.values_by_number) if numbers else list(names.values())
        schema: JsonSchema = {"type": "integer" if numbers else "string", "enum": values}
        lines = [self._comments.get(name, "")]
        lines += [
            f"- `{names[value.name]}`{f' ({value.number})' if numbers else ''}: {' '.join(text.split())}"
            for value in enum.values
            if (text := self._comments.get(f"{name}.{value.name}", ""))
        ]
        if text := "\n".join(line for line in lines if line):
            schema["description"] = text
        return schema

    def _describe(self, message: Descriptor) -> str:
        notes = [self._comments.get(message.full_name, "")]
        for oneof in message.oneofs:
            if len(oneof.fields) > 1:
                members = ", ".join(f"`{self.name(field)}`" for field in oneof.fields)
                notes.append(f"At most one of {members} is given.")
        return "\n\n".join(note for note in notes if note)

    # --- examples --------------------------------------------------------------------------------------------------

    def example(self, message: Descriptor, exclude: Exclusions = _NONE, depth: int = 0) -> Any:
        """A value that fits the message's schema: one member of each oneof, one item in each list."""
        name = message.full_name
        if name in _EXAMPLES:
            return _EXAMPLES[name]
        if name in wellknown.WRAPPERS:
            return self._example_value(message.fields_by_name["value"], depth)
        if exclude:
            return self._example(message, exclude, depth)
        if (message, depth) not in self._cache.examples:
            self._cache.examples[message, depth] = self._example(message, exclude, depth)
        return self._cache.examples[message, depth]

    def _example(self, message: Descriptor, exclude: Exclusions, depth: int) -> dict[str, Any]:
        example: dict[str, Any] = {}
        oneofs: set[str] = set()
        for field in message.fields:
            oneof = field.containing_oneof
            if (field.name,) in exclude or (oneof is not None and oneof.name in oneofs):
                continue
            too_deep = depth >= (_REQUIRED_DEPTH if field.is_required else _EXAMPLE_DEPTH)
            if field.message_type is not None and too_deep:
                continue
            if oneof is not None:
                oneofs.add(oneof.name)
            example[self.name(field)] = self.example_field(field, depth, _inside(exclude, field))
        return example

    def example_field(self, field: FieldDescriptor, depth: int = 0, exclude: Exclusions = _NONE) -> Any:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key = {_T.TYPE_STRING: "key", _T.TYPE_BOOL: "true"}.get(entry.fields_by_name["key"].type, "1")
            return {key: self._example_value(entry.fields_by_name["value"], depth)}
        value = self._example_value(field, depth, exclude)
        return [value] if field.is_repeated else value

    def _example_value(self, field: FieldDescriptor, depth: int, exclude: Exclusions = _NONE) -> Any:
        kind = field.type
        if field.message_type is not None:
            return self.example(field.message_type, exclude, depth + 1)
        if field.enum_type is not None:
            if field.enum_type.full_name == "google.protobuf.NullValue":
                return None
            # By convention the first value is UNSPECIFIED, a poor example.
            value = field.enum_type.values[min(1, len(field.enum_type.values) - 1)]
            names = short_names(field.enum_type) if self._print.short_enums else {}
            return value.number if self._print.enum_numbers else names.get(value.name, value.name)
        if kind in INT64S:
            return "1"
        if kind in INTEGERS:
            return 1
        return {_T.TYPE_BOOL: True, _T.TYPE_BYTES: "Ynl0ZXM=", _T.TYPE_STRING: "string"}.get(kind, 1.5)


def _inside(exclude: Exclusions, field: FieldDescriptor) -> Exclusions:
    """The paths below `field`."""
    return frozenset(path[1:] for path in exclude if path[0] == field.name and len(path) > 1)


_SCALARS: dict[int, JsonSchema] = {
    _T.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _T.TYPE_FLOAT: {"type": "number", "format": "float"},
    _T.TYPE_BOOL: {"type": "boolean"},
    _T.TYPE_STRING: {"type": "string"},
    _T.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}


def behaviours(field: FieldDescriptor) -> frozenset[int]:
    """``google.api.field_behavior`` of the field."""
    return frozenset(field.GetOptions().Extensions[_MARKS])
