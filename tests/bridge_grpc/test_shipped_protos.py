"""Files that the gateway brings along: their messages are types like others, from protos and from descriptor sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from bridge.api import BindError
from bridge_grpc.schema import shipped
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema
from bridge_grpc.schema.shipped import shipped_file

PROTO = 'syntax = "proto3"; package a.v1; import "%s"; message M { %s m = 1; } service S { rpc Get(M) returns (M); }'
TYPES = [
    ("buf/validate/validate.proto", "buf.validate.Violations"),
    ("protoc-gen-openapiv2/options/openapiv2.proto", "grpc.gateway.protoc_gen_openapiv2.options.Schema"),
    ("protoc-gen-openapiv2/options/annotations.proto", ""),
    ("validate/validate.proto", "validate.FieldRules"),
    ("google/iam/v1/policy.proto", "google.iam.v1.Policy"),
    ("google/iam/v1/iam_policy.proto", "google.iam.v1.GetIamPolicyRequest"),
    ("google/iam/v1/options.proto", "google.iam.v1.GetPolicyOptions"),
    ("google/iam/v1/resource_policy_member.proto", "google.iam.v1.ResourcePolicyMember"),
    ("google/cloud/location/locations.proto", "google.cloud.location.Location"),
]


def write(folder: Path, text: str) -> None:
    (folder / "a.proto").write_text(text)


@pytest.mark.parametrize(("name", "type_name"), TYPES)
def test_a_proto_may_use_the_messages_of_files_that_are_shipped(tmp_path: Path, name: str, type_name: str) -> None:
    write(tmp_path, PROTO % (name, type_name or "string"))
    notes: list[str] = []
    files = compile_protos(["a.proto"], tmp_path, notes=notes, strict=True)
    assert notes == []
    assert name in [file.name for file in files.file]
    assert list(schema(files).services)[-1] == "a.v1.S"


@pytest.mark.parametrize(("name", "type_name"), TYPES)
def test_a_descriptor_set_need_not_hold_them(tmp_path: Path, name: str, type_name: str) -> None:
    write(tmp_path, PROTO % (name, type_name or "string"))
    files = compile_protos(["a.proto"], tmp_path)
    alone = FileDescriptorSet(file=[file for file in files.file if file.name == "a.proto"])
    message = schema(alone).services["a.v1.S"][0].input.fields_by_name["m"].message_type
    assert (message.full_name if message else "") == type_name


def test_every_file_beside_the_notice_is_found_and_compiles() -> None:
    folder = Path(shipped.__file__).parent / "protos"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.proto"))
    assert len(names) == 8
    assert [name for name in names if shipped_file(name) is None] == []


OPTIONS = """syntax = "proto3";
package a.v1;
import "google/api/annotations.proto";
import "buf/validate/validate.proto";
import "protoc-gen-openapiv2/options/annotations.proto";
option (grpc.gateway.protoc_gen_openapiv2.options.openapiv2_swagger) = {
  info: {title: "Tally" version: "1.0"} schemes: HTTPS
  security_definitions: {security: {key: "key" value: {type: TYPE_API_KEY in: IN_HEADER name: "x-key"}}}
};
message M {
  option (buf.validate.message).cel = {id: "a" expression: "this.id != ''"};
  string id = 1 [(buf.validate.field).string = {min_len: 3}, %s];
  repeated string tags = 2 [(buf.validate.field).repeated = {unique: true}, deprecated = true];
}
service S {
  rpc Get(M) returns (M) {
    option (google.api.http) = {get: "/v1/{id}"};
    option (grpc.gateway.protoc_gen_openapiv2.options.openapiv2_operation) = {summary: "x" tags: "y"};
  }
}
"""


def test_options_of_the_shipped_release_are_kept(tmp_path: Path) -> None:
    write(tmp_path, OPTIONS % "(buf.validate.field).required = true")
    [file] = [file for file in compile_protos(["a.proto"], tmp_path, strict=True).file if file.name == "a.proto"]
    assert b"this.id" in file.message_type[0].options.SerializeToString()


@pytest.mark.parametrize(
    "option", ["(buf.validate.field).skipped_of_old = true", "(buf.validate.field) = {gone: 1}", "(buf.validate.f) = 1"]
)
def test_options_of_another_release_cost_nothing(tmp_path: Path, option: str) -> None:
    write(tmp_path, OPTIONS % option)
    notes: list[str] = []
    files = compile_protos(["a.proto"], tmp_path, notes=notes, strict=True)
    [file] = [file for file in files.file if file.name == "a.proto"]
    assert file.message_type[0].field[1].options.deprecated
    assert b"/v1/{id}" in file.service[0].method[0].options.SerializeToString()
    assert notes == []


def test_a_file_of_the_proto_folder_goes_before_a_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "buf" / "validate"
    own.mkdir(parents=True)
    (own / "validate.proto").write_text('syntax = "proto3"; package buf.validate; message Ours { string x = 1; }')
    write(tmp_path, PROTO % ("buf/validate/validate.proto", "buf.validate.Ours"))
    files = {file.name: file for file in compile_protos(["a.proto"], tmp_path).file}
    assert [message.name for message in files["buf/validate/validate.proto"].message_type] == ["Ours"]


@pytest.mark.parametrize(
    "name", ["google/iam/v1/../x.proto", "google/iam/v1/none.proto", "validate/x.proto", "x.proto"]
)
def test_what_is_not_shipped(name: str) -> None:
    assert shipped_file(name) is None
    assert isinstance(shipped_file("google/protobuf/any.proto"), FileDescriptorProto)


@pytest.mark.parametrize(
    "name", ["gogoproto/gogo.proto", "github.com/gogo/protobuf/gogoproto/gogo.proto", "buf/validate/expression.proto"]
)
def test_options_that_a_server_or_a_descriptor_set_lacks_cost_nothing(tmp_path: Path, name: str) -> None:
    """Servers that are built with gogo/protobuf don't give ``gogo.proto`` by reflection."""
    file = FileDescriptorProto(name="a.proto", package="a", syntax="proto3", dependency=[name])
    file.message_type.add(name="M").field.add(name="id", number=1, type=9, label=1)
    file.service.add(name="S").method.add(name="Get", input_type=".a.M", output_type=".a.M")
    assert list(schema(FileDescriptorSet(file=[file])).services) == ["a.S"]
    file.message_type[0].field.add(name="x", number=2, type=11, label=1, type_name=".gogoproto.Nope")
    with pytest.raises(BindError, match="gogoproto"):
        schema(FileDescriptorSet(file=[file]))
    write(
        tmp_path, f'syntax = "proto3"; import "{name}"; message M {{ string id = 1 [(gogoproto.nullable) = false]; }}'
    )
    notes: list[str] = []
    compile_protos(["a.proto"], tmp_path, notes=notes, strict=True)
    assert notes == []
