"""Every dialect of the language through the whole chain, from every source of schemas; json_format judges."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import jsonschema
import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.reflection import ReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from bridge.api import BindError, Call, Context, GrpcReply, InvalidBody, Operation, RouteSpec
from bridge.transport.grpc.caller import Caller
from bridge_grpc import Grpc

SERVICE = "service S { rpc Do(M) returns (M); }\n"

PROTO2 = """
syntax = "proto2"; package l; import "google/protobuf/timestamp.proto"; import "part.proto";
enum Closed { ONE = 1; TWO = 2; }
enum Zero { NONE = 0; SOME = 1; }
message M {
  required string id = 1;
  optional int32 number = 2 [default = 7]; optional double ratio = 3 [default = inf]; optional bytes raw = 4 [default = "a\\001\\"b"];
  optional Closed closed = 5 [default = TWO]; repeated Closed several = 6 [packed = true]; map<string, Zero> by_name = 7;
  optional group Data = 8 { optional string inner_text = 1; repeated group Row = 2 { optional int64 cell = 1; } }
  oneof choice { group Picked = 9 { optional bool yes = 1; } string text = 10; }
  optional google.protobuf.Timestamp at = 11; optional string old = 12 [deprecated = true]; optional part.Part part = 13;
  reserved 50 to 60; reserved "gone"; extensions 100 to 199;
  extend M { optional string within = 100; }
}
extend M { repeated int64 marks = 101; optional group Extra = 102 { optional string word = 1; } optional Closed shut = 103; }
"""
PART = """
syntax = "proto2"; package part;
message Part { optional string name = 1; extensions 10 to max; }
"""
#: Nothing imports it.
MORE = """
syntax = "proto2"; package more; import "part.proto"; import "main.proto";
message Detail { optional int32 size = 1; optional Detail again = 2; }
message Holder { extend part.Part { optional Detail detail = 10; } }
extend part.Part { repeated Detail details = 11; }
extend l.M { optional part.Part beside = 150; }
"""
EDITION_2023 = """
edition = "2023"; package l; import "google/protobuf/wrappers.proto";
enum Open { OPEN_UNSPECIFIED = 0; OPEN_ONE = 1; }
enum Closed { option features.enum_type = CLOSED; CLOSED_ONE = 1; CLOSED_TWO = 2; }
message M {
  string explicit = 1; string implicit = 2 [features.field_presence = IMPLICIT]; string id = 3 [features.field_presence = LEGACY_REQUIRED];
  repeated int32 packed = 4; repeated int32 expanded = 5 [features.repeated_field_encoding = EXPANDED];
  Part delimited = 6 [features.message_encoding = DELIMITED]; repeated Part delimiteds = 7 [features.message_encoding = DELIMITED];
  Open open = 8; Closed closed = 9; repeated Closed several = 10; Open hidden = 11 [features.field_presence = IMPLICIT];
  int32 number = 12 [default = 5]; string loose = 13 [features.utf8_validation = NONE]; google.protobuf.Int64Value wrapped = 14;
  map<string, Part> parts = 15; oneof choice { int32 left = 16; Part right = 17; }
  reserved gone, lost; reserved 90 to 99; extensions 101 to 199; extensions 100 [declaration = { number: 100, full_name: ".l.note", type: "string" }];
}
message Part { string text = 1; M again = 2; }
extend M { string note = 100; repeated Part notes = 101 [features.message_encoding = DELIMITED]; }
"""
EDITION_2024 = """
edition = "2024"; package l; import option "google/protobuf/cpp_features.proto";
option features.default_symbol_visibility = EXPORT_ALL;
export enum Kind { KIND_UNSPECIFIED = 0; KIND_ONE = 1; }
message M {
  string id = 1; repeated Kind kinds = 2; Kind kind = 3 [features.field_presence = IMPLICIT];
  local message Inner { int64 big = 1; } Inner inner = 4; map<int32, Inner> inners = 5; bytes raw = 6;
}
"""
PROTO3 = """
syntax = "proto3"; package l; import public "part.proto"; import "google/protobuf/any.proto";
message M {
  optional int32 maybe = 1; int32 always = 2; optional string text = 3; string renamed = 4 [json_name = "@other"];
  string fooBar = 5; string foo_baz = 6; string _under_score = 7; string UPPER = 8; int32 field9_x = 9;
  oneof choice { string left = 10; int64 right = 11; } string old = 12 [deprecated = true]; part.Part part = 13;
  reserved 20, 30 to max; reserved "gone"; google.protobuf.Any any = 14; repeated uint64 unpacked = 15 [packed = false];
}
"""

#: Name -> (files, those that are named in the spec, documents).
LANGUAGES: dict[str, tuple[dict[str, str], Sequence[str], Sequence[dict[str, Any]]]] = {
    "proto2": (
        {"main.proto": PROTO2 + SERVICE, "part.proto": PART, "more.proto": MORE},
        ["main.proto", "more.proto"],
        [
            {"id": ""},
            {"id": "a", "number": 0, "ratio": -1.5, "raw": "AQI=", "closed": "ONE", "several": ["TWO", "ONE"]},
            {"id": "a", "byName": {"x": "SOME"}, "data": {"innerText": "t", "row": [{"cell": "5"}, {}]}, "picked": {}},
            {"id": "a", "text": "", "at": "2026-11-03T20:15:00Z", "old": "o", "part": {"name": "p"}},
            {"id": "a", "[l.M.within]": "w", "[l.marks]": ["1", "-2"], "[l.extra]": {"word": "w"}, "[l.shut]": "TWO"},
            {"id": "a", "part": {"[more.Holder.detail]": {"size": 3, "again": {}}, "[more.details]": [{}, {"size": 1}]}},
            {"id": "a", "[more.beside]": {"name": "n", "[more.Holder.detail]": {"size": 0}}},
        ],
    ),
    "proto3": (
        {"main.proto": PROTO3 + SERVICE, "part.proto": PART},
        ["main.proto"],
        [
            {},
            {"maybe": 0, "text": "", "always": 5, "@other": "r", "fooBar": "a", "fooBaz": "b", "UnderScore": "c", "UPPER": "d", "field9X": 9},
            {"left": "", "old": "o", "part": {"name": ""}, "unpacked": ["1", "18446744073709551615"]},
            {"right": "-9"},
            {"any": {"@type": "type.googleapis.com/part.Part", "name": "n"}},
        ],
    ),
    "edition 2023": (
        {"main.proto": EDITION_2023 + SERVICE},
        ["main.proto"],
        [
            {"id": "a", "explicit": "", "packed": [1, 2], "expanded": [3, -4], "delimited": {"text": ""}},
            {"id": "a", "delimiteds": [{"text": "a"}, {"again": {"id": "b", "delimited": {}}}], "implicit": "i"},
            {"id": "a", "open": "OPEN_UNSPECIFIED", "closed": "CLOSED_TWO", "several": ["CLOSED_ONE"], "hidden": "OPEN_ONE"},
            {"id": "a", "open": 77, "number": 0, "loose": "\u00e9", "wrapped": "0", "parts": {"x": {"text": "y"}}, "right": {}},
            {"id": "a", "[l.note]": "n", "[l.notes]": [{"text": "t"}, {}]},
        ],
    ),
    "edition 2024": (
        {"main.proto": EDITION_2024 + SERVICE},
        ["main.proto"],
        [{}, {"id": "", "kinds": ["KIND_ONE", 5], "kind": "KIND_ONE", "inner": {"big": "1"}, "inners": {"-1": {}}, "raw": "AA=="}],
    ),
}  # fmt: skip
WAYS = ("protos", "set", "set without imports", "shuffled set", "buf image", "reflection")


def protoc(folder: Path, names: Sequence[str], *options: str) -> FileDescriptorSet:
    """What protoc itself says, in a process of its own."""
    arguments = [f"-I{folder}", f"--descriptor_set_out={folder / 'out.pb'}", *options, *names]
    done = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return FileDescriptorSet.FromString((folder / "out.pb").read_bytes())


def pool_of(files: FileDescriptorSet) -> DescriptorPool:
    pool = DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def image(files: FileDescriptorSet) -> bytes:
    """As `buf build` writes it: each file has buf's own field 8042 beside protobuf's."""
    extra = b"\xd2\xf6\x03" + b"\x06" + b"\x08\x01\x10\x00\x18\x01"
    out = b""
    for file in files.file:
        raw = file.SerializeToString() + extra
        size, length = len(raw), b""
        while size > 0x7F:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        out += b"\x0a" + length + bytes([size]) + raw
    return out


@pytest.fixture
async def reflecting() -> AsyncIterator[Callable[[DescriptorPool], Awaitable[int]]]:
    """The port of a server that tells of a pool, by grpcio-reflection's own servicer."""
    servers: list[Any] = []

    async def serve(pool: DescriptorPool) -> int:
        servicer = ReflectionServicer(["l.S"], pool=pool)

        async def converse(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for request in requests:
                for answer in servicer.ServerReflectionInfo(iter([request]), context):
                    yield answer

        handler = grpc.stream_stream_rpc_method_handler(
            converse, ServerReflectionRequest.FromString, ServerReflectionResponse.SerializeToString
        )
        name = "grpc.reflection.v1.ServerReflection"
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        return int(port)

    yield serve
    for server in servers:
        await server.stop(None)


async def bound(folder: Path, port: int = 0, **options: Any) -> Sequence[Operation]:
    async def resolve(name: str, of: str) -> Sequence[tuple[str, int]]:
        return [("127.0.0.1", port)]

    plugin = Grpc()
    await plugin.open(Context(folder, folder, call=Caller(resolve).call))
    transform = {"request": "grpc", "grpc": options}
    route = RouteSpec.model_validate(
        {"route": "/", "upstream": "svc:1", "auth": {"type": "none"}, "transform": transform}
    )
    return await plugin.bind(route, Grpc.options.model_validate(options))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_language_from_every_source(tmp_path: Path, reflecting: Any, language: str, way: str) -> None:
    texts, named, documents = LANGUAGES[language]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    everything = protoc(tmp_path, named, "--include_imports")
    pool = pool_of(everything)
    options: dict[str, Any] = {"descriptor_set": "set.pb"}
    port = 0
    if way == "protos":
        options = {"protos": list(named)}
    elif way == "reflection":
        options, port = {"reflection": True}, await reflecting(pool)
    elif way == "set":
        (tmp_path / "set.pb").write_bytes(everything.SerializeToString())
    elif way == "set without imports":
        (tmp_path / "set.pb").write_bytes(protoc(tmp_path, list(texts)).SerializeToString())
    elif way == "buf image":
        (tmp_path / "set.pb").write_bytes(image(everything))
    else:
        files = list(everything.file)
        random.Random(7).shuffle(files)
        (tmp_path / "set.pb").write_bytes(FileDescriptorSet(file=files).SerializeToString())
    (operation,) = await bound(tmp_path, port, **options)
    assert (operation.path, operation.upstream_name) == ("/l.S/Do", "/l.S/Do")
    judge_class = GetMessageClass(pool.FindMessageTypeByName("l.M"))
    codec: Any = operation.codec
    doc = operation.describe()
    schema = {
        **doc.operation["requestBody"]["content"]["application/json"]["schema"],
        "components": {"schemas": doc.schemas},
    }
    for document in documents:
        judge: Any = json_format.ParseDict(document, judge_class(), descriptor_pool=pool)
        call = Call("POST", "/", body=orjson.dumps(document), headers=[("content-type", "application/json")])
        assert judge_class.FromString(codec.request(call).message) == judge, document
        answered = orjson.loads(codec.reply(call, GrpcReply(0, message=judge.SerializeToString())).body)
        assert answered == json_format.MessageToDict(judge, descriptor_pool=pool), document
        if "open" not in document and "kinds" not in document:  # OpenAPI shows no numbers that an open enum takes
            jsonschema.Draft202012Validator(schema).validate(document)


async def one(folder: Path, text: str, **options: Any) -> tuple[Operation, Any]:
    """The operation of a proto's service, and the class of its message, by a pool of protoc's."""
    (folder / "main.proto").write_text(text)
    pool = pool_of(protoc(folder, ["main.proto"], "--include_imports"))
    (operation,) = await bound(folder, protos=["main.proto"], **options)
    return operation, GetMessageClass(pool.FindMessageTypeByName("l.M"))


def sent(operation: Operation, document: object) -> bytes:
    codec: Any = operation.codec
    call = Call("POST", "/", body=orjson.dumps(document), headers=[("content-type", "application/json")])
    return bytes(codec.request(call).message)


def shown(operation: Operation, message: bytes) -> Any:
    codec: Any = operation.codec
    return orjson.loads(codec.reply(Call("POST", "/"), GrpcReply(0, message=message)).body)


async def test_closed_enums_keep_unknown_numbers_out(tmp_path: Path) -> None:
    """enum.md: a closed enum's unknown number is an unknown field, an open one's is the field's value."""
    head = 'edition = "2023"; package l; enum E { A = 0; } enum C { option features.enum_type = CLOSED; B = 1; }\n'
    operation, judge = await one(tmp_path, f"{head} message M {{ E e = 1; C c = 2; repeated C cs = 3; }} {SERVICE}")
    wire = b"\x08\x09\x10\x09\x1a\x02\x01\x09"
    assert shown(operation, wire) == json_format.MessageToDict(judge.FromString(wire)) == {"e": 9, "cs": ["B"]}
    with pytest.raises(InvalidBody):
        sent(operation, {"c": 9})
    assert sent(operation, {"e": 9}) == b"\x08\x09"


async def test_presence_decides_what_is_written(tmp_path: Path) -> None:
    text = 'edition = "2023"; package l; message M { int32 a = 1; int32 b = 2 [features.field_presence = IMPLICIT]; }'
    operation, judge = await one(tmp_path, text + SERVICE, print={"default_values": True})
    for wire in (b"", b"\x08\x00", b"\x10\x01"):
        judged = json_format.MessageToDict(judge.FromString(wire), always_print_fields_with_no_presence=True)
        assert shown(operation, wire) == judged
    assert (sent(operation, {"a": 0}), sent(operation, {"b": 0})) == (b"\x08\x00", b"")


async def test_required_fields(tmp_path: Path) -> None:
    text = (
        'edition = "2023"; package l; message M { int32 a = 1 [features.field_presence = LEGACY_REQUIRED]; M b = 2; }'
    )
    operation, _ = await one(tmp_path, text + SERVICE)
    with pytest.raises(InvalidBody) as caught:
        sent(operation, {"b": {"a": 1}})
    assert [pointer for pointer, _ in caught.value.errors] == ["/a"]
    document = operation.describe()
    assert document.schemas["l.M"]["required"] == ["a"]


async def test_a_message_that_requires_itself_can_be_described(tmp_path: Path) -> None:
    text = 'syntax = "proto2"; package l; message M { required M m = 1; }'
    operation, _ = await one(tmp_path, text + SERVICE)
    assert operation.describe().schemas["l.M"]["required"] == ["m"]


async def test_a_json_name_that_is_another_field_s_own(tmp_path: Path) -> None:
    fields = 'int32 a = 1 [json_name = "b"]; int32 b = 2 [json_name = "c"];'
    operation, judge = await one(tmp_path, f'syntax = "proto3"; package l; message M {{ {fields} }} {SERVICE}')
    for document in ({"b": 1}, {"c": 2}, {"b": 1, "c": 2}):
        judged = json_format.ParseDict(document, judge())
        assert sent(operation, document) == judged.SerializeToString()
        assert shown(operation, judged.SerializeToString()) == document


async def test_names_of_proto2_that_are_one_in_json(tmp_path: Path) -> None:
    """protoc only warns of them, protobuf's own pool takes no such message: each is called by its own name here."""
    fields = "optional int32 foo_bar = 1; optional int32 fooBar = 2; optional Inner inner = 3;"
    inner = "message Inner { optional string a = 1; }"
    text = f'syntax = "proto2"; package l; {inner} message M {{ message N {{ {fields} }} {fields} }} {SERVICE}'
    (tmp_path / "main.proto").write_text(text)
    (operation,) = await bound(tmp_path, protos=["main.proto"])
    for document, wire in (
        ({"foo_bar": 1}, b"\x08\x01"),
        ({"fooBar": 2}, b"\x10\x02"),
        ({"foo_bar": 1, "fooBar": 2}, b"\x08\x01\x10\x02"),
    ):
        assert sent(operation, document) == wire
        assert shown(operation, wire) == document
    assert operation.describe().schemas["l.M"]["properties"].keys() == {"foo_bar", "fooBar", "inner"}


async def test_names_that_are_one_in_json_are_refused(tmp_path: Path) -> None:
    fields = 'int32 a = 1 [json_name = "x"]; int32 b = 2 [json_name = "x"];'
    (tmp_path / "main.proto").write_text(f'syntax = "proto3"; package l; message M {{ {fields} }} {SERVICE}')
    with pytest.raises(BindError, match=r"(?i)json.?name"):
        await bound(tmp_path, protos=["main.proto"])


def chain(length: int, *, closed: bool = False) -> str:
    """Messages each of which holds the next one; the last one, where it is `closed`, the first."""
    inner = "".join(f"message M{n} {{ M{n + 1} next = 1; string text = 2; }}\n" for n in range(1, length))
    last = f"message M{length} {{ {'M next = 1;' if closed else ''} string text = 2; }}\n"
    return f'syntax = "proto3"; package l; message M {{ M1 next = 1; }}\n{inner}{last}{SERVICE}'


@pytest.mark.parametrize(("length", "closed"), [(1500, False), (200, True)])
async def test_long_chains_of_messages(tmp_path: Path, length: int, closed: bool) -> None:
    (tmp_path / "main.proto").write_text(chain(length, closed=closed))
    (operation,) = await bound(tmp_path, protos=["main.proto"])
    document = {"next": {"next": {"text": "a"}}}
    assert shown(operation, sent(operation, document)) == document
    assert len(operation.describe().schemas) == length + 1


async def test_a_ring_that_is_longer_than_python_goes_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.proto").write_text(chain(1500, closed=True))
    with pytest.raises(BindError, match="contain one another"):
        await bound(tmp_path, protos=["main.proto"])
