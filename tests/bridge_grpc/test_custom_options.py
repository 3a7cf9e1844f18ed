"""Imports that can't be found: those of custom options alone cost nothing, all others are refused as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.api import BindError
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.custom_options import without_options

PROTO = """syntax = "proto3";
package a.v1;
import "google/api/annotations.proto";
import "%s";
option (company.file) = "x;}";  // option (company.file) = 1;
message M {
  option (company.message) = { a: 1 b { c: "]" } };
  string id = 1 [(company.field).string.min_len = 3, deprecated = true, (company.other) = {a: [1, 2]}];
  repeated int32 many = 2 [packed = false,
    (company.field).repeated = { min_items: 1 }, (.company.third) = "a,b"];
  oneof kind { option (company.oneof) = true; string option = 3 [(company.field) = 1, json_name = "o"]; }
  enum E { A = 0 [(company.value) = "x"]; B = 1; }
}
service S {
  option (company.service) = { };
  rpc Get(M) returns (M) {
    option (google.api.http) = { get: "/v1/{id}" };
    option (company.method) = {
      summary: "a; b"
    };
  }
}
"""


def write(folder: Path, text: str) -> None:
    (folder / "a.proto").write_text(text)


@pytest.mark.parametrize(
    ("name", "noted"),
    [
        ("company/options.proto", True),
        ("buf/validate/validate.proto", False),
        ("protoc-gen-openapiv2/options/annotations.proto", False),
    ],
)
def test_a_proto_whose_custom_options_can_not_be_found_still_binds(tmp_path: Path, name: str, noted: bool) -> None:
    write(tmp_path, PROTO % name)
    notes: list[str] = []
    files = compile_protos(["a.proto"], tmp_path, notes=notes)
    [file] = [file for file in files.file if file.name == "a.proto"]
    [message] = file.message_type
    fields = {field.name: field for field in message.field}
    assert fields["id"].options.deprecated
    assert not fields["many"].options.packed
    assert fields["option"].json_name == "o"
    [method] = file.service[0].method
    assert b"/v1/{id}" in method.options.SerializeToString()
    assert notes == (
        [f"the options of {name!r}, which is not in the proto folder; a.proto imports it"] if noted else []
    )
    if noted:
        with pytest.raises(BindError, match=f"it imports '{name}', which is not in the proto folder"):
            compile_protos(["a.proto"], tmp_path, strict=True)
    else:
        compile_protos(["a.proto"], tmp_path, strict=True)


def test_lines_stay_what_they_are(tmp_path: Path) -> None:
    write(tmp_path, PROTO % "company/options.proto" + "message N { Nope nope = 1; }\n")
    with pytest.raises(BindError) as caught:
        compile_protos(["a.proto"], tmp_path)
    assert [fault.line for fault in caught.value.faults] == [4]  # the import, which may define the type
    assert "it imports 'company/options.proto'" in caught.value.faults[0].reason


def test_an_import_whose_types_are_used_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 'syntax = "proto3"; import "b.proto"; message M { b.N n = 1 [(c.d) = 1]; }')
    with pytest.raises(BindError, match=r"it imports 'b\.proto', which is not in the proto folder"):
        compile_protos(["a.proto"], tmp_path)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("string a = 1 [(x.y) = 1];", "string a = 1            ;"),
        ("string a = 1 [(x.y) = 1, (x.z) = 2];", "string a = 1 [           (x.z) = 2];"),
        ("string a = 1 [(x.z) = 2, (x.y) = 1];", "string a = 1 [(x.z) = 2           ];"),
        ("string a = 1 [(x.y)=1, (x.z)=2, (x.y)=3, (x.y)=4];", f"string a = 1 [         (x.z)=2{' ' * 18}];"),
        ('option (x.y).z = "\\";"; option a = 1;', "                        option a = 1;"),
        ("option ( x . y ) = {a: {b: 1};};", " " * 32),
        ('import "q" ".proto"; import "r.proto";', '                     import "r.proto";'),
        ("// option (x.y) = 1;\n/* [(x.y) = 1] */", "// option (x.y) = 1;\n/* [(x.y) = 1] */"),
        ("option (x.y) = {", " " * 16),
        ("string a = 1 [(x.y) = 1", "string a = 1           "),
        ("[", "["),
        ("option", "option"),
    ],
)
def test_what_is_taken_out(text: str, left: str) -> None:
    assert without_options(text, {"x.y"}, {"q.proto"}) == left


@pytest.mark.parametrize(
    "name",
    [
        "google/longrunning/operations.proto", "google/type/money.proto", "google/rpc/status.proto",
        "google/api/httpbody.proto", "google/protobuf/empty.proto",
    ],
)  # fmt: skip
def test_well_known_imports_need_not_lie_in_the_folder(tmp_path: Path, name: str) -> None:
    write(
        tmp_path, f'syntax = "proto3"; package a; import "{name}"; message M {{}} service S {{ rpc A(M) returns (M); }}'
    )
    assert name in [file.name for file in compile_protos(["a.proto"], tmp_path).file]


def test_operations_of_google_are_types_like_others(tmp_path: Path) -> None:
    text = 'syntax = "proto3"; package a; import "google/longrunning/operations.proto"; message M {}'
    write(tmp_path, f"{text} service S {{ rpc A(M) returns (google.longrunning.Operation); }}")
    assert compile_protos(["a.proto"], tmp_path).file[-1].service[0].method[0].output_type.endswith(".Operation")
