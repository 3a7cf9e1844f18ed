"""Where schemas come from, and what is said when they can't be had."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bridge.api import BindError, Context, Operation, RouteSpec
from bridge_grpc import Grpc
from bridge_grpc.schema.compile_protos import compile_protos, imports
from bridge_grpc.schema.pool import schema

GOOD = 'syntax = "proto3";\npackage p;\n// Says hello.\nmessage M {\n  string id = 1;  // why\n}\nservice S { rpc Do(M) returns (M); }\n'


async def bound(folder: Path, **options: Any) -> Sequence[Operation]:
    plugin = Grpc()
    await plugin.open(Context(folder, folder))
    spec = {"route": "/x", "upstream": "svc:1", "auth": {"type": "none"}, "transform": {"request": "grpc"}}
    return await plugin.bind(RouteSpec.model_validate(spec), Grpc.options.model_validate(options))


def faults(folder: Path, *names: str) -> list[str]:
    with pytest.raises(BindError) as caught:
        compile_protos(names or ("a.proto",), folder, key=("k",))
    return [str(fault).replace(str(folder), "DIR") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('syntax = "proto3";\nimport "missing.proto";\nmessage A { Missing m = 1; }',
         ["DIR/a.proto:2: k: it imports 'missing.proto', which is not in the proto folder (column 1)"]),
        ('syntax = "proto3";\nmessage A { strin x = 1; }', ['DIR/a.proto:2: k: "strin" is not defined (column 13)']),
        ('syntax = "proto3";\n\nmesage A {}', ['DIR/a.proto:3: k: Expected top-level statement (e.g. "message") (column 1)']),
        ('syntax = "proto3";\nmessage A { int32 x = 1; int32 y = 1; }', ['DIR/a.proto:2: k: Field number 1 has already been used in "A" by field "x"']),
        ('syntax = "proto9";', ['DIR/a.proto:1: k: Unrecognized syntax identifier "proto9"']),
        ('syntax = "proto3";\nimport "../secret.proto";', None),
        ('syntax = "proto3";\nimport "/etc/passwd";', None),
        ("\x00\xff", None),
        ('syntax = "proto3";\nmessage A {', None),
    ],
)  # fmt: skip
def test_a_broken_proto_is_told_with_its_place(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    (tmp_path / "a.proto").write_text(text)
    said = faults(tmp_path)
    if expected is None:
        assert said
        assert all(line.startswith("DIR/a.proto:") for line in said), said
    else:
        assert [line[: len(want)] for line, want in zip(said, expected, strict=True)] == expected


def test_a_fault_in_an_import_is_told_at_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text('syntax = "proto3";\nimport "sub/b.proto";\nmessage A { B b = 1; }')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.proto").write_text('syntax = "proto3";\nmesage B {}')
    assert [line.partition(": k")[0] for line in faults(tmp_path)] == ["DIR/sub/b.proto:2"]


@pytest.mark.parametrize(
    ("text", "expected"), [("nonsense", "BindError\n"), ('import "google/protobuf/any.proto";', "")]
)
def test_nothing_is_printed(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a.proto").write_text(f'syntax = "proto3";\n{text}')
    script = (
        "import sys; from pathlib import Path; from bridge_grpc.schema.compile_protos import compile_protos\n"
        "try: compile_protos(['a.proto'], Path(sys.argv[1]))\nexcept Exception as e: print(type(e).__name__)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["transformers", "."])}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, env=env
    )
    assert (done.stdout, done.stderr) == (expected, "")


@pytest.mark.parametrize("name", ["../secret.proto", "/secret.proto", "link.proto", "nothing.proto", "sub"])
def test_only_files_below_the_folder_are_read(tmp_path: Path, name: str) -> None:
    root = tmp_path / "protos"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.proto").write_text(GOOD)
    (root / "link.proto").symlink_to(tmp_path / "secret.proto")
    with pytest.raises(BindError, match=r"leads out of|there is no file"):
        compile_protos([name], root)


def test_a_link_in_an_import_leads_nowhere(tmp_path: Path) -> None:
    root = tmp_path / "protos"
    root.mkdir()
    (tmp_path / "secret.proto").write_text(GOOD)
    (root / "link.proto").symlink_to(tmp_path / "secret.proto")
    (root / "a.proto").write_text('syntax = "proto3";\nimport "link.proto";')
    assert "it imports 'link.proto'" in faults(root)[0]


def test_common_types_are_found_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text(
        'syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/type/money.proto";'
        ' import "google/rpc/status.proto"; import "google/api/annotations.proto";'
        " message A { google.type.Money m = 1; google.rpc.Status s = 2; google.protobuf.Timestamp t = 3; }"
    )
    made = schema(compile_protos(["a.proto"], tmp_path))
    money: Any = made.pool.FindMessageTypeByName("A").fields_by_name["m"].message_type
    assert money.full_name == "google.type.Money"


def test_imports_beside_the_importing_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "vendor/v1").mkdir(parents=True)
    (tmp_path / "vendor/v1/a.proto").write_text('syntax = "proto3"; import "b.proto"; message A { B b = 1; }')
    (tmp_path / "vendor/v1/b.proto").write_text('syntax = "proto3"; message B {}')
    assert {file.name for file in compile_protos(["vendor/v1/a.proto"], tmp_path).file} == {
        "vendor/v1/a.proto",
        "b.proto",
    }


def test_imports_are_read_as_protoc_does() -> None:
    text = """// import "no1.proto";
    /* import "no2.proto"; */ import "a.proto"; import public 'b.proto';
    import weak "c/" "d.proto"; option x = "import \\"no3.proto\\";";
    import /* here */ "e.proto";"""
    assert list(imports(text)) == ["a.proto", "b.proto", "c/d.proto", "e.proto"]


def test_comments_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text(GOOD)
    assert schema(compile_protos(["a.proto"], tmp_path)).comments == {"p.M": "Says hello.", "p.M.id": "why"}


def test_editions(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text(
        'edition = "2023"; package e; message M { int32 x = 1; int32 y = 2 [features.field_presence = IMPLICIT]; }'
    )
    fields = schema(compile_protos(["a.proto"], tmp_path)).pool.FindMessageTypeByName("e.M").fields_by_name
    assert (fields["x"].has_presence, fields["y"].has_presence) == (True, False)


# --- descriptor sets ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> FileDescriptorSet:
    (tmp_path / "b.proto").write_text(
        'syntax = "proto3"; package p; import "google/protobuf/empty.proto"; message B {}'
    )
    (tmp_path / "a.proto").write_text(GOOD.replace("package p;", 'package p; import "b.proto";'))
    return compile_protos(["a.proto"], tmp_path)


async def test_a_descriptor_set_in_any_order_and_without_common_types(tmp_path: Path, files: FileDescriptorSet) -> None:
    kept = [file for file in reversed(files.file) if not file.name.startswith("google/")]
    (tmp_path / "set.pb").write_bytes(FileDescriptorSet(file=kept).SerializeToString())
    assert [op.upstream_name for op in await bound(tmp_path, descriptor_set="set.pb")] == ["/p.S/Do"]


async def test_what_is_wrong_with_a_descriptor_set(tmp_path: Path, files: FileDescriptorSet) -> None:
    only = [file for file in files.file if file.name == "a.proto"]
    circle = FileDescriptorSet(file=only)
    circle.file[0].dependency[:] = ["a.proto"]
    broken = FileDescriptorSet(file=only)
    del broken.file[0].dependency[:]
    field: Any = broken.file[0].message_type[0].field[0]
    field.type_name, field.type = ".p.Nothing", 11
    for content, reason in (
        (FileDescriptorSet(file=only).SerializeToString(), "a.proto imports 'b.proto', which the descriptor set lacks"),
        (circle.SerializeToString(), "imports itself in a circle"),
        (broken.SerializeToString(), "a.proto can't be used"),
        (b"\xff\xff", "not a descriptor set"),
        (b"", "holds no file descriptors"),
    ):
        (tmp_path / "set.pb").write_bytes(content)
        with pytest.raises(BindError, match=re.escape(reason)) as caught:
            await bound(tmp_path, descriptor_set="set.pb")
        assert caught.value.faults[0].file.endswith("set.pb")
    with pytest.raises(BindError, match=r"there is no file 'no\.pb'"):
        await bound(tmp_path, descriptor_set="no.pb")


def test_identical_schemas_are_shared(files: FileDescriptorSet) -> None:
    first, second = schema(files), schema(FileDescriptorSet(file=list(reversed(files.file))))
    assert first.pool is second.pool or first.services.keys() == second.services.keys()
    assert schema(files) is first
    changed = FileDescriptorSet.FromString(files.SerializeToString())
    changed.file[-1].message_type[0].field[0].json_name = "other"
    assert schema(changed).pool is not first.pool


def test_roots_are_looked_up_in_order(tmp_path: Path) -> None:
    for name, text in {
        "own/a.proto": 'syntax = "proto3"; package a; import "b/b.proto"; message A { b.B b = 1; }',
        "first/b/b.proto": 'syntax = "proto3"; package b; import "c.proto"; message B { c.C first = 1; }',
        "second/b/b.proto": 'syntax = "proto3"; package b; message B { string second = 1; }',
        "second/c.proto": 'syntax = "proto3"; package c; message C { string id = 1; }',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for names in (["own/a.proto"], ["a.proto"]):
        paths = ["first", "second", "own"]
        made = schema(compile_protos(names, tmp_path, paths=paths))
        assert list(made.pool.FindMessageTypeByName("b.B").fields_by_name) == ["first"]
    made = schema(compile_protos(["b/b.proto"], tmp_path, paths=["second"]))
    assert list(made.pool.FindMessageTypeByName("b.B").fields_by_name) == ["second"]
    with pytest.raises(BindError, match=r"which is not in the proto folder"):
        compile_protos(["own/a.proto"], tmp_path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("../outside", "leads out"), ("/etc", "leads out"), ("link", "leads out"), ("nowhere", "there is no folder")],
)
def test_roots_lie_below_the_proto_folder(tmp_path: Path, path: str, reason: str) -> None:
    root = tmp_path / "protos"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "a.proto").write_text('syntax = "proto3"; message A {}')
    with pytest.raises(BindError, match=reason) as caught:
        compile_protos(["a.proto"], root, paths=[path])
    assert caught.value.faults[0].key == "transform.grpc.proto_paths"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of protos with services, and a link out of it."""
    root = tmp_path / "protos"
    for name in ("a/one.proto", "a/deep/two.proto", "b/three.proto", "a/notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        word = Path(name).stem
        text = f'syntax = "proto3"; package {word}; message M {{}} service S {{ rpc Do(M) returns (M); }}'
        (root / name).write_text(text)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.proto").write_text('syntax = "proto3"; package secret; message M {}')
    (root / "a/link.proto").symlink_to(tmp_path / "outside/secret.proto")
    (root / "a/linked").symlink_to(tmp_path / "outside")
    return root


@pytest.mark.parametrize(
    ("options", "services"),
    [
        ({"protos": ["a"]}, ["one.S", "two.S"]),
        ({"protos": ["a/"]}, ["one.S", "two.S"]),
        ({"protos": ["a/**"]}, ["one.S", "two.S"]),
        ({"protos": ["a/*.proto"]}, ["one.S"]),
        ({"protos": ["**/t*.proto"]}, ["three.S", "two.S"]),
        ({"protos": ["b/three.proto", "a/deep"]}, ["three.S", "two.S"]),
        ({"protos": ["deep"], "proto_paths": ["a"]}, ["two.S"]),
        ({"protos": ["**/*.proto"], "proto_paths": ["a", "b"]}, ["one.S", "three.S", "two.S"]),
    ],
)
async def test_folders_and_patterns(tree: Path, options: dict[str, Any], services: list[str]) -> None:
    names = sorted({op.upstream_name for op in await bound(tree, **options)})
    assert names == [f"/{service}/Do" for service in services]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside/*.proto", "leads out"),
        ("/etc", "leads out"),
        ("a/linked", "no .proto below it"),
        ("a/link*", "no .proto below it"),
        ("nowhere/**", "no .proto below it"),
        ("a/notes.txt", "no .proto below it"),
        ("a/**x", "is not a pattern"),
        ("a/x**/*.proto", "is not a pattern"),
        ("***/*.proto", "is not a pattern"),
        ("", "is not a pattern"),
    ],
)
async def test_patterns_that_stand_for_nothing(tree: Path, name: str, reason: str) -> None:
    with pytest.raises(BindError, match=reason) as caught:
        await bound(tree, protos=[name])
    assert caught.value.faults[0].key == "transform.grpc.protos"


async def test_a_config_map_of_protos_is_read_once(tmp_path: Path) -> None:
    """Kubernetes mounts each file as a link into ``..data``, which is a link to a folder of this moment."""
    root = tmp_path / "protos"
    (root / "..2026_1").mkdir(parents=True)
    text = 'syntax = "proto3"; package one; message M {} service S { rpc Do(M) returns (M); }'
    (root / "..2026_1/one.proto").write_text(text)
    (root / "..data").symlink_to("..2026_1")
    (root / "one.proto").symlink_to("..data/one.proto")
    for protos in (["."], ["**"], ["*.proto"], ["one.proto"]):
        assert [op.upstream_name for op in await bound(root, protos=protos)] == ["/one.S/Do"]


async def test_patterns_that_stand_for_too_much(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge_grpc.schema.compile_protos.MAX_PROTOS", 2)
    assert len(await bound(tree, protos=["a"])) == 2
    for protos in (["."], ["a", "b"]):
        with pytest.raises(BindError, match="matches more than 2 files"):
            await bound(tree, protos=protos)


async def test_a_file_that_another_one_hides_is_told(tmp_path: Path) -> None:
    for name, text in {
        "a.proto": GOOD.replace("package p;", 'package p; import "b.proto"; import "same.proto";'),
        "first/b.proto": 'syntax = "proto3"; package b; message First {}',
        "second/b.proto": 'syntax = "proto3"; package b; message Second {}',
        "first/same.proto": 'syntax = "proto3"; package s; message Same {}',
        "second/same.proto": 'syntax = "proto3"; package s; message Same {}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    plugin = Grpc()
    await plugin.open(Context(tmp_path, tmp_path))
    options = {"protos": ["a.proto"], "proto_paths": ["first", "second"]}
    spec = {"route": "/x", "upstream": "svc:1", "auth": {"type": "none"}, "transform": {"request": "grpc"}}
    route = RouteSpec.model_validate(spec)
    await plugin.bind(route, Grpc.options.model_validate(options))
    assert plugin.notes(route) == ("second/b.proto, since first/b.proto comes before it and says something else",)
