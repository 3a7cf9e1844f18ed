"""The OpenAPI 3.1 part of each operation: valid, complete, with examples that validate."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from bridge.api import OperationDoc

PROTO = """
syntax = "proto3";
package d.v1;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

service Books {
  // Finds a book. Shelves are walked in order.
  rpc Get(GetRequest) returns (Book) { option (google.api.http) = { get: "/v1/{name=shelves/*/books/*}" }; option deprecated = true; }
  rpc Put(PutRequest) returns (Book) { option (google.api.http) = { put: "/v1/books/{id}" body: "book" response_body: "pages" }; }
  rpc Make(Book) returns (Book) { option (google.api.http) = { post: "/v1/shelves/{shelf}" body: "*" }; }
}
message GetRequest {
  string name = 1;
  // How many pages to read.
  int32 pages = 2; Filter filter = 3; map<string, string> labels = 4; repeated Genre genres = 5; repeated Book books = 6;
  google.protobuf.Struct extra = 7;
}
message Filter { string text = 1; Filter also = 2; uint64 since = 3; }
message PutRequest { int64 id = 1; Book book = 2; bool dry = 3; }
// Something to read.
message Book {
  string shelf = 1;
  string title = 2 [(google.api.field_behavior) = REQUIRED];
  string etag = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
  Genre genre = 4;
  repeated Page pages = 5;
  map<int32, Page> by_number = 6;
  oneof owner { string person = 7; int64 agency = 8; }
  google.protobuf.Timestamp at = 9; google.protobuf.Any any = 10; google.protobuf.Int32Value rating = 11;
  google.protobuf.Value value = 12; bytes cover = 13; Book sequel = 14; double weight = 15; google.protobuf.FieldMask mask = 16;
  google.protobuf.ListValue list = 17; google.protobuf.NullValue nothing = 18; string old = 19 [deprecated = true];
}
message Page { string text = 1; }
// What sort of book it is.
enum Genre {
  GENRE_UNSPECIFIED = 0;
  // True stories.
  HISTORY = 1;
}
"""


def document(path: str, method: str, doc: OperationDoc) -> dict[str, Any]:
    operation = {**doc.operation, "operationId": "x"}
    return {
        "openapi": "3.1.0", "info": {"title": "t", "version": "1"},
        "paths": {path or "/": {method.lower(): operation}}, "components": {"schemas": doc.schemas},
    }  # fmt: skip


async def docs(bind: Any, **options: Any) -> dict[tuple[str, str], OperationDoc]:
    return {(op.method, op.path): op.describe() for op in await bind(PROTO, route="/", **options)}


@pytest.mark.parametrize(
    "options", [{}, {"print": {"proto_names": True, "enum_numbers": True, "default_values": True}}]
)
async def test_every_part_is_valid_and_its_examples_too(bind: Any, options: dict[str, Any]) -> None:
    for (method, path), doc in (await docs(bind, **options)).items():
        whole = document(path, method, doc)
        json.dumps(whole)
        assert list(OpenAPIV31SpecValidator(whole).iter_errors()) == []
        media = [doc.operation["responses"]["200"]["content"]["application/json"]]
        if "requestBody" in doc.operation:
            media.append(doc.operation["requestBody"]["content"]["application/json"])
        for entry in media:
            resolvable = {**entry["schema"], "components": whole["components"]}
            jsonschema.Draft202012Validator(resolvable).validate(entry["example"])


async def test_the_examples_are_taken_by_the_codec(bind: Any) -> None:
    from bridge.api import Call

    for op in await bind(PROTO, route="/"):
        body = op.describe().operation.get("requestBody")
        if body:
            codec: Any = op.codec
            example = json.dumps(body["content"]["application/json"]["example"]).encode()
            params: dict[str, str] = {"id": "1", "shelf": "1"}
            codec.request(Call(op.method, "/", raw_params=params, body=example))


async def test_comments_types_and_notes(bind: Any) -> None:
    found = await docs(bind)
    get = found["GET", "/v1/shelves/{name_1}/books/{name_2}"]
    assert get.operation["summary"] == "Finds a book"
    assert get.operation["description"] == "Finds a book. Shelves are walked in order."
    assert get.operation["deprecated"] is True
    parameters = {p["name"]: p for p in get.operation["parameters"]}
    assert list(parameters) == ["name_1", "name_2", "pages", "filter.text", "filter.since", "labels", "genres", "extra"]
    assert "shelves/{name_1}/books/{name_2}" in parameters["name_1"]["description"]
    assert parameters["pages"]["description"] == "How many pages to read."
    assert parameters["filter.since"]["schema"]["format"] == "uint64"
    assert parameters["labels"]["style"] == "deepObject"
    book = get.schemas["d.v1.Book"]
    assert book["description"] == "Something to read.\n\nAt most one of `person`, `agency` is given."
    assert book["properties"]["etag"]["readOnly"] is True
    assert book["properties"]["old"]["deprecated"] is True
    assert book["properties"]["rating"]["type"] == ["integer", "null"]
    assert book["additionalProperties"] is False
    genre = get.schemas["d.v1.Genre"]
    assert genre["enum"] == ["GENRE_UNSPECIFIED", "HISTORY"]
    assert genre["description"] == "What sort of book it is.\n- `HISTORY`: True stories."


async def test_bodies(bind: Any) -> None:
    found = await docs(bind)
    put = found["PUT", "/v1/books/{id}"].operation
    assert [(p["name"], p["in"]) for p in put["parameters"]] == [("id", "path"), ("dry", "query")]
    assert put["requestBody"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/d.v1.Book"
    assert put["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    make = found["POST", "/v1/shelves/{shelf}"].operation["requestBody"]["content"]["application/json"]["schema"]
    assert "shelf" not in make["properties"]
    assert make["required"] == ["title"]
    assert "requestBody" not in found["GET", "/v1/shelves/{name_1}/books/{name_2}"].operation


STREAMS = """
syntax = "proto3";
package s.v1;
import "google/api/annotations.proto";
service S {
  // Watches it.
  rpc Watch(Get) returns (stream Book) { option (google.api.http) = { get: "/v1/books/{id}:watch" }; }
  rpc Send(stream Book) returns (Get) { option (google.api.http) = { post: "/v1/books" body: "*" }; }
  rpc Talk(stream Book) returns (stream Book);
}
message Get { string id = 1; }
message Book { string id = 1; int64 pages = 2; }
"""


async def test_streams_are_described_in_every_form(bind: Any) -> None:
    found = {}
    for op in await bind(STREAMS, route="/"):
        if op.method == "WEBSOCKET":
            continue
        doc = found[op.name] = op.describe()
        assert doc.operation["x-websocket"] is True
        whole = document(op.path, op.method, doc)
        assert list(OpenAPIV31SpecValidator(whole).iter_errors()) == []
        contents = [
            doc.operation["responses"]["200"]["content"],
            doc.operation.get("requestBody", {}).get("content", {}),
        ]
        for content in contents:
            for name, entry in content.items():
                validator = jsonschema.Draft202012Validator({**entry["schema"], "components": whole["components"]})
                if "form" in name:
                    continue
                lines = entry["example"].splitlines() if name == "application/x-ndjson" else []
                for value in map(json.loads, lines) if lines else [entry["example"]]:
                    validator.validate(value)
    watch, send, talk = found["Watch"].operation, found["Send"].operation, found["Talk"].operation
    forms = {"application/x-ndjson", "text/event-stream", "application/json"}
    assert set(watch["responses"]["200"]["content"]) == set(talk["responses"]["200"]["content"]) == forms
    assert set(send["responses"]["200"]["content"]) == {"application/json"}
    assert set(send["requestBody"]["content"]) == {"application/x-ndjson", "application/json"}
    assert watch["description"].startswith("Watches it.\n\nThe answer is a stream")


async def test_an_error_is_what_the_schema_of_a_stream_takes(bind: Any) -> None:
    [watch] = [op for op in await bind(STREAMS, route="/") if (op.method, op.name) == ("GET", "Watch")]
    doc = watch.describe()
    schema = doc.operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": {"schemas": doc.schemas}})
    validator.validate([{"id": "1", "pages": "2"}, {"error": {"type": "urn:bridge:problem:upstream-fault"}}])
    assert not validator.is_valid([{"pages": "many"}])
