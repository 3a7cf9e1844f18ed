"""Header blocks in OpenAPI: header parameters, and fields of the response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.api import ABSENT
from bridge_soap.message.block import Block
from bridge_soap.message.fields import ReplyField
from bridge_soap.openapi.jsonschema import SchemaWriter
from bridge_soap.openapi.simpleschema import Schema

#: OpenAPI 3.1, Parameter Object: definitions of these names are ignored.
_NOT_PARAMETERS = ("accept", "content-type", "authorization")


def header_parameters(blocks: Iterable[Block], schemas: SchemaWriter) -> list[dict[str, Any]]:
    """The HTTP header fields that the route's header blocks use, each once; required if one place requires it."""
    by_name: dict[str, dict[str, Any]] = {}
    for block in blocks:
        for source in block.sources:
            origin = source.origin
            lower = origin.name.lower()
            if origin.kind != "header" or lower in _NOT_PARAMETERS:
                continue
            schema: Schema = schemas.type(source.simple) if source.simple is not None else {"type": "string"}
            if origin.default is not ABSENT and not source.many:
                schema = {**schema, "default": origin.default}
            required = source.at in block.required
            parameter = by_name.get(lower)
            if parameter is None:
                parameter = by_name[lower] = {"name": origin.name, "in": "header", "required": False}
                parameter["schema"] = {"type": "array", "items": schema} if source.many else schema
            parameter["required"] = parameter["required"] or required
    return list(by_name.values())


def header_fields(fields: Iterable[ReplyField], schemas: SchemaWriter) -> dict[str, Any]:
    """The fields of the response that come from header blocks."""
    return {field.name: {"schema": schemas.type(field.simple)} for field in fields}
