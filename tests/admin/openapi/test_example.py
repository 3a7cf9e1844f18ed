"""Bodies have an example: the contract's own, or one made from the schema, which the gateway then accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bridge.admin.openapi.example import fill

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = {
    "Node": {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Node"}},
    },
    "Endless": {
        "type": "object",
        "required": ["next"],
        "properties": {"next": {"$ref": "#/components/schemas/Endless"}},
    },
}


def example_of(schema: Any) -> Any:
    operation = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    fill(operation, COMPONENTS)
    return operation["requestBody"]["content"]["application/json"].get("example", LookupError)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string", "format": "date-time"}}},
        {"type": "array", "minItems": 3, "items": {"enum": ["x", "y"]}},
        {"type": "array", "items": {"$ref": "#/components/schemas/Endless"}},
        {"oneOf": [{"type": "null"}, {"type": "object", "required": ["k"], "properties": {"k": {"const": 7}}}]},
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "boolean"}}},
                {"required": ["b"], "properties": {"b": {"type": "number"}}},
            ]
        },
        {"type": ["null", "integer"], "minimum": 10, "multipleOf": 4},
        {"type": "integer", "exclusiveMaximum": 0},
        {"type": "number", "exclusiveMinimum": 2, "maximum": 9},
        {"type": "string", "minLength": 9, "maxLength": 12},
        {"type": "string", "pattern": "^[A-Z]{2}$"},
        {
            "type": "object",
            "properties": {"n": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "additionalProperties": False,
        },
        {"$ref": "#/components/schemas/Node"},
    ],
)
def test_an_example_fits_its_schema(schema: Any) -> None:
    whole = {"$defs": COMPONENTS, "components": {"schemas": COMPONENTS}, "allOf": [schema]}
    example = example_of(schema)
    assert example is not LookupError
    jsonschema.Draft202012Validator(whole).validate(example)


def test_a_schema_that_nothing_fits_has_no_example() -> None:
    assert example_of({"$ref": "#/components/schemas/Endless"}) is LookupError
    assert example_of({"type": "string", "pattern": "^never such a thing$"}) is LookupError
    assert example_of({"type": "array", "minItems": 10**9}) is LookupError
    wide = {"type": "object", "properties": {f"p{n}": {"$ref": "#/components/schemas/Node"} for n in range(5000)}}
    assert len(json.dumps(example_of(wide))) < 50_000


async def test_the_repository_s_own_operations_take_their_examples(start: Any, upstream: Any) -> None:
    """What the console and the API docs fill in is not refused: the call gets as far as the service."""
    files = {
        f"{folder}/{path.relative_to(ROOT / folder)}": path.read_text()
        for folder in ("wsdl", "protos")
        for path in (ROOT / folder).rglob("*.*")
    }
    routes = {path.name: path.read_text() for path in (ROOT / "routes").glob("*.yml")}
    async with start(mesh={}, files=files, routes=routes) as gateway:
        document = (await gateway.client.get("/-/openapi.json")).json()
        tried = 0
        for path, item in document["paths"].items():
            for method, entry in item.items():
                media = entry.get("requestBody", {}).get("content", {}).get("application/json")
                if media is None:
                    continue
                headers = {}
                for kind in entry["x-bridge"].get("access", ()):
                    more = {"audience": kind.get("audiences", [""])[0], "roles": tuple(kind.get("roles", ()))}
                    headers = gateway.bearer(scopes=tuple(kind.get("scopes", ())), **more)
                target = path
                for parameter in entry.get("parameters", ()):
                    if parameter["in"] == "path":
                        target = target.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "1")))
                answer = await gateway.client.request(method, target, json=media["example"], headers=headers)
                assert answer.status_code == 503, (path, media["example"], answer.text)
                tried += 1
        assert tried >= 3
