"""Each operation's part of the OpenAPI 3.1 document, from its descriptors; created on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.api.field_behavior_pb2 import FieldBehavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge.api import URLENCODED, OperationDoc
from bridge_grpc.codec import wellknown
from bridge_grpc.codec.scalars import MESSAGES
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.mapping.forms import HTTP_BODY, MULTIPART
from bridge_grpc.mapping.parameters import Parameters
from bridge_grpc.mapping.success import Success
from bridge_grpc.openapi.json_schema import SchemaCache, Schemas, behaviours
from bridge_grpc.options import Print
from bridge_grpc.reply_body import BODILESS, SUCCESS
from bridge_grpc.schema.pool import Method, Schema

_QUERY_DEPTH = 4
_LOCATION: dict[str, Any] = {
    "description": "Where it is, if the answer says so.",
    "schema": {"type": "string", "format": "uri-reference"},
}
_ANYTHING: dict[str, Any] = {"*/*": {"schema": {}}}


class Describer:
    """Describes the operations of one schema."""

    def __init__(self, schema: Schema, options: Print) -> None:
        self._schema = schema
        self._print = options
        self._cache = SchemaCache()

    def operation(
        self, method: Method, binding: Binding, response_body: str, success: Success = SUCCESS
    ) -> Callable[[], OperationDoc]:
        """A function that creates the part of one operation, which answers with `success`."""

        def describe() -> OperationDoc:
            schemas = Schemas(self._schema, self._print, self._cache)
            operation = _Part(schemas, method, binding, response_body, success).operation()
            return OperationDoc(operation, schemas.components)

        return describe


class _Part:
    def __init__(
        self, schemas: Schemas, method: Method, binding: Binding, response_body: str, success: Success
    ) -> None:
        self._schemas = schemas
        self._method = method
        self._binding = binding
        self._response_body = response_body
        self._status, self._location = success

    def operation(self) -> dict[str, Any]:
        method, comment = self._method, self._method.comment
        operation: dict[str, Any] = {"summary": comment.split(". ")[0].split("\n")[0].rstrip(".") or method.name}
        if comment:
            operation["description"] = comment
        if method.deprecated:
            operation["deprecated"] = True
        parameters = [*self._path(), *self._query()]
        if parameters:
            operation["parameters"] = parameters
        if self._binding.body:
            operation["requestBody"] = self._request_body()
        answer = "The service's answers." if method.server_streaming else "The service's answer."
        success: dict[str, Any] = {"description": answer, "content": self._answer()}
        if self._status in BODILESS:
            success = {"description": "The call succeeded; there is no body."}
        if self._location is not None:
            success["headers"] = {"Location": _LOCATION}
        operation["responses"] = {str(self._status): success}
        return operation

    def _path(self) -> Iterator[dict[str, Any]]:
        for capture, target in self._binding.captures:
            wild = [piece[0] for piece in capture.pieces if isinstance(piece, tuple)]
            for name in wild:
                schema = {"type": "string"} if capture.several else self._schemas.scalar(target.field)
                parameter: dict[str, Any] = {"name": name, "in": "path", "required": True, "schema": schema}
                text = self._schemas.property(target.field).get("description", "")
                if capture.several and len(capture.pieces) > 1:
                    shape = "/".join(f"{{{p[0]}}}" if isinstance(p, tuple) else p for p in capture.pieces)
                    text = f"{text}\n\nPart of `{'.'.join(capture.field_path)}`, which is `{shape}`.".strip()
                if text:
                    parameter["description"] = text
                yield parameter

    def _query(self) -> Iterator[dict[str, Any]]:
        if self._binding.query is not None:
            yield from self._leaves(self._binding.message, (), (), self._binding.query)

    def _leaves(
        self, message: Descriptor, names: tuple[str, ...], inside: tuple[str, ...], query: Parameters
    ) -> Iterator[dict[str, Any]]:
        """Query parameters of a message's leaves; a message within itself is not followed again.

        :param query: of the rule's message. Of a repeated one, the first item is described.
        """
        for field in message.fields:
            name = ".".join((*names, self._schemas.name(field)))
            if not names and field.name == self._binding.body:
                continue
            nested = field.message_type if field.type in MESSAGES and not field.is_repeated else None
            if nested is not None and nested.full_name not in wellknown.SPECIAL:
                if nested.full_name not in inside and len(inside) < _QUERY_DEPTH:
                    within = (*names, self._schemas.name(field))
                    yield from self._leaves(nested, within, (*inside, nested.full_name), query)
                continue
            if not isinstance(query.target(name), str):
                yield self._parameter(name, field)
            elif field.message_type is not None and field.message_type.GetOptions().map_entry:
                yield from self._map_parameter(name, field)
            elif query.items_of(name) and not inside:
                yield from self._items(name, field)

    def _items(self, name: str, field: FieldDescriptor) -> Iterator[dict[str, Any]]:
        """The parameters of the first item of a repeated message."""
        assert field.message_type is not None
        for inner in field.message_type.fields:
            if inner.type not in MESSAGES:
                parameter = self._parameter(f"{name}[0].{self._schemas.name(inner)}", inner)
                parameter.pop("required", None)
                text = f"Further items are `{name}[1]`, and so on."
                yield {**parameter, "description": f"{parameter.get('description', '')}\n\n{text}".strip()}

    def _parameter(self, name: str, field: FieldDescriptor) -> dict[str, Any]:
        schema = self._schemas.field(field)
        json_text = field.message_type is not None and field.message_type.full_name in wellknown.VALUES
        parameter: dict[str, Any] = {"name": name, "in": "query", "schema": {"type": "string"} if json_text else schema}
        if FieldBehavior.REQUIRED in behaviours(field):
            parameter["required"] = True
        text = self._schemas.property(field).get("description", "")
        if json_text:
            text = f"{text}\n\nWritten as JSON.".strip()
        if text:
            parameter["description"] = text
        return parameter

    def _map_parameter(self, name: str, field: FieldDescriptor) -> Iterator[dict[str, Any]]:
        assert self._binding.query is not None
        if not isinstance(self._binding.query.target(f"{name}[key]"), str):
            # style deepObject is OpenAPI's name for name[key]=value.
            yield {**self._parameter(name, field), "style": "deepObject", "explode": True}

    def _request_body(self) -> dict[str, Any]:
        binding, schemas = self._binding, self._schemas
        if binding.raw:
            return {"description": "Sent on as it is, with its content type.", "content": dict(_ANYTHING)}
        if binding.body_field is not None:
            inside = frozenset(path[1:] for path in binding.sources.paths if path[0] == binding.body and len(path) > 1)
            schema = schemas.property(binding.body_field, inside)
            example = schemas.example_field(binding.body_field, exclude=inside)
            return {"required": True, "content": self._sent(schema, example)}
        path_fields = (
            frozenset(target.path for _, target in binding.captures if len(target.path) == 1) | binding.sources.paths
        )
        message = binding.message
        special = message.full_name in wellknown.SPECIAL
        schema = (
            schemas.message(message, path_fields, body=True) if path_fields and not special else schemas.ref(message)
        )
        content = self._sent(schema, schemas.example(message, path_fields))
        return {"required": bool(message.fields) and not self._method.client_streaming, "content": content}

    def _sent(self, schema: dict[str, Any], example: Any) -> dict[str, Any]:
        """JSON, and forms where they are read; an example is of JSON alone."""
        forms = (URLENCODED, MULTIPART) if self._binding.form is not None else ()
        return _json(schema, example) | {kind: {"schema": schema} for kind in forms}

    def _answer(self) -> dict[str, Any]:
        message, schemas = self._method.output, self._schemas
        if not self._response_body:
            if message.full_name == HTTP_BODY:
                return dict(_ANYTHING)
            return _json(schemas.ref(message), schemas.example(message))
        field = message.fields_by_name[self._response_body]
        if field.message_type is not None and field.message_type.full_name == HTTP_BODY:
            return dict(_ANYTHING)
        return _json(schemas.property(field), schemas.example_field(field))


def _json(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": example}}
