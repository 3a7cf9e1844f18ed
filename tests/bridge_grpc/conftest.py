"""Schemas to test with, compiled in process, and routes bound to them."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from bridge.api import Context, Operation, RouteSpec
from bridge.fronts.publish import Fronts
from bridge_grpc import Grpc
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Schema, schema

EVERYTHING = """
syntax = "proto3";
package test;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; GREEN = 2; BELOW = -1; }
enum Alias { option allow_alias = true; ZERO = 0; ONE = 1; UNO = 1; }

message Leaf { string name = 1; int32 number = 2; }

message Everything {
  double a_double = 1; float a_float = 2; int32 an_int32 = 3; int64 an_int64 = 4; uint32 a_uint32 = 5;
  uint64 a_uint64 = 6; sint32 a_sint32 = 7; sint64 a_sint64 = 8; fixed32 a_fixed32 = 9; fixed64 a_fixed64 = 10;
  sfixed32 an_sfixed32 = 11; sfixed64 an_sfixed64 = 12; bool a_bool = 13; string a_string = 14; bytes some_bytes = 15;
  Colour colour = 16; Alias alias = 17; Leaf leaf = 18; Everything again = 19;

  repeated double doubles = 31; repeated float floats = 32; repeated int32 int32s = 33; repeated int64 int64s = 34;
  repeated uint64 uint64s = 35; repeated bool bools = 36; repeated string strings = 37; repeated bytes bytes_list = 38;
  repeated Colour colours = 39; repeated Leaf leaves = 40;

  map<string, string> by_string = 50; map<int32, Leaf> by_int32 = 51; map<bool, int64> by_bool = 52;
  map<uint64, Colour> by_uint64 = 53; map<string, google.protobuf.Value> values_by_name = 54;
  map<int64, double> by_int64 = 55; map<string, bytes> bytes_by_name = 56;

  oneof choice { string text = 60; int64 count = 61; Leaf branch = 62; google.protobuf.NullValue nothing = 63; bool yes = 64; }
  optional int32 maybe_number = 70; optional string maybe_text = 71; optional Colour maybe_colour = 72;

  google.protobuf.Timestamp at = 80; google.protobuf.Duration lasting = 81; google.protobuf.FieldMask mask = 82;
  google.protobuf.Struct struct = 83; google.protobuf.Value value = 84; google.protobuf.ListValue list = 85;
  google.protobuf.Any any = 86; google.protobuf.Empty empty = 87; google.protobuf.NullValue null_value = 88;
  google.protobuf.DoubleValue double_value = 90; google.protobuf.FloatValue float_value = 91;
  google.protobuf.Int64Value int64_value = 92; google.protobuf.UInt64Value uint64_value = 93;
  google.protobuf.Int32Value int32_value = 94; google.protobuf.UInt32Value uint32_value = 95;
  google.protobuf.BoolValue bool_value = 96; google.protobuf.StringValue string_value = 97;
  google.protobuf.BytesValue bytes_value = 98;
  repeated google.protobuf.Timestamp times = 100; repeated google.protobuf.Value values = 101;
  repeated google.protobuf.Int64Value wrapped = 102; repeated google.protobuf.NullValue nulls = 103;
  map<string, google.protobuf.Timestamp> times_by_name = 104; repeated google.protobuf.Any anys = 105;
  repeated google.protobuf.Struct structs = 106;

  string renamed = 110 [json_name = "other"]; string from = 111; string class = 112; int32 HasField = 113;
}
"""

OLD = """
syntax = "proto2";
package old;
enum Closed { A = 1; B = 2; }
message Old {
  required string id = 1;
  optional int32 number = 2 [default = 7];
  optional Closed closed = 3;
  repeated Closed several = 4;
  optional group Data = 5 { optional string inner_text = 6; optional Old old = 7; }
  repeated group Row = 8 { optional int64 cell = 9; }
  optional bytes raw = 10 [default = "abc"];
  extensions 100 to 199;
}
message Tail { optional string text = 1; }
extend Old { optional string note = 100; repeated int64 marks = 101; optional Tail tail = 102; repeated Tail tails = 103; optional Closed shut = 104; }
"""

ANNOTATED = 'import "google/api/annotations.proto";\n'


@pytest.fixture(scope="session")
def make_schema(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Schema]:
    """Compiles the text of one file."""

    def make(text: str) -> Schema:
        folder = tmp_path_factory.mktemp("protos")
        (folder / "test.proto").write_text(text)
        return schema(compile_protos(["test.proto"], folder))

    return make


@pytest.fixture(scope="session")
def everything(make_schema: Callable[[str], Schema]) -> Schema:
    return make_schema(EVERYTHING)


@pytest.fixture(scope="session")
def old(make_schema: Callable[[str], Schema]) -> Schema:
    return make_schema(OLD)


def request_type(operation: Operation) -> Descriptor:
    """The message that `operation` sends."""
    service: Any = operation.service
    descriptor: Descriptor = service.binding.message
    return descriptor


Bind = Callable[..., Awaitable[Sequence[Operation]]]


@pytest.fixture
def grpc_plugin(tmp_path: Path) -> Grpc:
    return Grpc()


@pytest.fixture
def bind(tmp_path: Path, grpc_plugin: Grpc) -> Bind:
    """Binds a route to the text of one proto file, with all fronts; keyword arguments are the transformer's options."""

    async def make(
        text: str, *, route: str = "/api", methods: list[str] | None = None, **options: Any
    ) -> Sequence[Operation]:
        (tmp_path / "test.proto").write_text(text)
        await grpc_plugin.open(Context(tmp_path, tmp_path))
        spec: dict[str, Any] = {
            "route": route,
            "upstream": "svc:1",
            "auth": {"type": "none"},
            "transform": {"request": "grpc", "grpc": {"protos": ["test.proto"], **options}},
        }
        if methods:
            spec["methods"] = methods
        made = RouteSpec.model_validate(spec)
        operations = await grpc_plugin.bind(made, Grpc.options.model_validate(made.transform.options))
        return Fronts().publish(made, operations)

    return make
