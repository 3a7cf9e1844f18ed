"""Files that need not lie in the proto folder: those that are installed with the gateway, whose messages are types like
others from protos and from descriptor sets, and those that only define options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from bridge.api import BindError
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema
from bridge_grpc.schema.shipped import shipped_file

PROTO = 'syntax = "proto3"; package a.v1; import "%s"; message M { %s m = 1; } service S { rpc Get(M) returns (M); }'
TYPES = [
    ("google/iam/v1/policy.proto", "google.iam.v1.Policy"),
    ("google/iam/v1/iam_policy.proto", "google.iam.v1.GetIamPolicyRequest"),
    ("google/iam/v1/options.proto", "google.iam.v1.GetPolicyOptions"),
    ("google/iam/v1/resource_policy_member.proto", "google.iam.v1.ResourcePolicyMember"),
    ("google/cloud/location/locations.proto", "google.cloud.location.Location"),
]
OF_OPTIONS = [
    ("buf/validate/validate.proto", "buf.validate.Violations"),
    ("protoc-gen-openapiv2/options/openapiv2.proto", "grpc.gateway.protoc_gen_openapiv2.options.Schema"),
    ("protoc-gen-swagger/options/openapiv2.proto", "grpc.gateway.protoc_gen_swagger.options.Schema"),
    ("validate/validate.proto", "validate.FieldRules"),
    ("github.com/gogo/protobuf/gogoproto/gogo.proto", "gogoproto.Nope"),
]


def write(folder: Path, text: str) -> None:
    (folder / "a.proto").write_text(text)


def type_of_m(files: FileDescriptorSet) -> str:
    message = schema(files).services["a.v1.S"][0].input.fields_by_name["m"].message_type
    return message.full_name if message else ""


@pytest.mark.parametrize(("name", "type_name"), TYPES)
def test_a_proto_may_use_the_messages_of_files_that_are_shipped(tmp_path: Path, name: str, type_name: str) -> None:
    write(tmp_path, PROTO % (name, type_name))
    notes: list[str] = []
    files = compile_protos(["a.proto"], tmp_path, notes=notes, strict=True)
    assert notes == []
    assert name in [file.name for file in files.file]
    assert list(schema(files).services)[-1] == "a.v1.S"


@pytest.mark.parametrize(("name", "type_name"), TYPES)
def test_a_descriptor_set_need_not_hold_them(tmp_path: Path, name: str, type_name: str) -> None:
    write(tmp_path, PROTO % (name, type_name))
    files = compile_protos(["a.proto"], tmp_path)
    alone = FileDescriptorSet(file=[file for file in files.file if file.name == "a.proto"])
    assert type_of_m(alone) == type_name


@pytest.mark.parametrize(("name", "type_name"), OF_OPTIONS)
def test_a_message_of_a_file_of_options_needs_the_file(tmp_path: Path, name: str, type_name: str) -> None:
    write(tmp_path, "\n" + PROTO % (name, type_name))
    with pytest.raises(BindError) as caught:
        compile_protos(["a.proto"], tmp_path)
    [fault] = caught.value.faults
    assert fault.line == 2
    assert fault.reason.startswith(
        f"it needs {type_name} of {name!r}, which is not in the proto folder: put it there ("
    )
    own = tmp_path / name
    own.parent.mkdir(parents=True)
    package, _, message = type_name.rpartition(".")
    own.write_text(f'syntax = "proto3"; package {package}; message {message} {{ string x = 1; }}')
    files = compile_protos(["a.proto"], tmp_path)
    assert type_of_m(files) == type_name
    alone = FileDescriptorSet(file=[file for file in files.file if file.name == "a.proto"])
    reason = f"a.proto needs {type_name} of {name!r}, which the descriptor set or the server lacks"
    with pytest.raises(BindError, match=re.escape(reason)):
        schema(alone)


def test_faults_beside_options_that_are_left_out_are_told_alone(tmp_path: Path) -> None:
    write(tmp_path, OPTIONS % "(buf.validate.field).required = true" + "message N { Strng x = 1; }\n")
    with pytest.raises(BindError) as caught:
        compile_protos(["a.proto"], tmp_path)
    assert [fault.reason for fault in caught.value.faults] == ['"Strng" is not defined (column 13)']
    write(tmp_path, (OPTIONS % "(buf.validate.field).required = true").replace("{get:", "{gett:"))
    with pytest.raises(BindError) as caught:
        compile_protos(["a.proto"], tmp_path)
    assert [(fault.line, '"gett"' in fault.reason) for fault in caught.value.faults] == [(17, True)]
    write(tmp_path, OPTIONS % "(buf.validate.field).required = true" + 'import "company/options.proto";\n')
    with pytest.raises(BindError) as caught:
        compile_protos(["a.proto"], tmp_path, strict=True)
    [fault] = caught.value.faults
    assert fault.reason.startswith("it imports 'company/options.proto', which is not in the proto folder")


MODULE = """
import sys
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from bridge_grpc.schema.pool import schema
name, type_name = sys.argv[1:]
file = FileDescriptorProto(name="a.proto", package="a", syntax="proto3", dependency=[name])
file.message_type.add(name="M").field.add(name="m", number=1, type=11, label=1, type_name="." + type_name)
file.service.add(name="S").method.add(name="Get", input_type=".a.M", output_type=".a.M")
print(schema(FileDescriptorSet(file=[file])).services["a.S"][0].input.fields_by_name["m"].message_type.full_name)
"""


@pytest.mark.parametrize(("name", "type_name"), OF_OPTIONS[:4])
def test_files_of_options_that_another_package_has_are_types_in_descriptor_sets(
    tmp_path: Path, name: str, type_name: str
) -> None:
    package, _, message = type_name.rpartition(".")
    source = tmp_path / "protos" / name
    source.parent.mkdir(parents=True)
    source.write_text(f'syntax = "proto3"; package {package}; message {message} {{ string x = 1; }}')
    arguments = [f"-I{tmp_path / 'protos'}", f"--python_out={tmp_path}", name]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", MODULE, name, type_name]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == type_name


def test_a_package_that_can_not_be_imported_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that an old protoc made raise TypeError with a newer protobuf."""
    (tmp_path / "validate").mkdir()
    module = tmp_path / "validate" / "validate_pb2.py"
    module.write_text(
        "from pathlib import Path\nPath(__file__).with_suffix('.read').touch()\nraise TypeError('Descriptors')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shipped_file("validate/validate.proto") == FileDescriptorProto(name="validate/validate.proto")
    assert module.with_suffix(".read").exists()
    del sys.modules["validate"]


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


def test_options_whose_files_are_in_the_proto_folder_are_kept(tmp_path: Path) -> None:
    own = tmp_path / "buf" / "validate"
    own.mkdir(parents=True)
    (own / "validate.proto").write_text(
        """syntax = "proto3"; package buf.validate;
            import "google/protobuf/descriptor.proto"; message Rule { string id = 1; string expression = 2; }
            message MessageRules { Rule cel = 1; }
            extend google.protobuf.MessageOptions { MessageRules message = 1159; }
            message StringRules { uint64 min_len = 1; } message RepeatedRules { bool unique = 1; }
            message FieldRules { bool required = 1; StringRules string = 2; RepeatedRules repeated = 3; }
            extend google.protobuf.FieldOptions { FieldRules field = 1159; }"""
    )
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
    "name",
    [
        "gogoproto/gogo.proto", "github.com/gogo/protobuf/gogoproto/gogo.proto", "buf/validate/expression.proto",
        "buf/validate/validate.proto", "validate/validate.proto", "protoc-gen-openapiv2/options/annotations.proto",
        "protoc-gen-swagger/options/annotations.proto",
    ],
)  # fmt: skip
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
