"""Large messages of a service: their JSON is that of any message, and is made piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.api import BadReply
from bridge_grpc.codec import large
from bridge_grpc.options import Print
from bridge_grpc.reply_body import ReplyBody
from bridge_grpc.schema.pool import Schema
from tests.bridge_grpc.test_codec_properties import messages, ours
from tests.bridge_grpc.test_encode_json import BODIES, encoders

LISTS = """
syntax = "proto3";
package test;
message Item { string name = 1; Item inner = 2; repeated Item items = 3; }
message Lists {
  repeated Item items = 1; repeated int64 numbers = 2; repeated fixed32 fixed = 3; repeated double doubles = 4;
  repeated string names = 5; Item item = 6; map<string, Item> by_name = 7; string last = 8;
  oneof one { Item this = 9; Item that = 10; }
}
"""
SOME = json.dumps(
    {
        "items": [{"name": str(n), "items": [{"name": "x"}] * (n % 5)} for n in range(300)],
        "numbers": [str(n**5) for n in range(300)],
        "fixed": list(range(300)),
        "doubles": [n / 7 for n in range(300)],
        "names": [chr(0x100 + n) for n in range(300)],
        "item": {"name": "é" * 500, "inner": {"items": [{"inner": {"name": "y"}}] * 100}},
        "byName": {str(n): {"name": "z"} for n in range(100)},
        "last": "end",
        "that": {"items": [{}] * 50},
    }
)


@pytest.fixture(scope="module")
def lists(make_schema: Callable[[str], Schema]) -> Descriptor:
    found: Descriptor = make_schema(LISTS).pool.FindMessageTypeByName("test.Lists")
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LARGE": 40, "PIECE": 60, "ENTRIES": 5}.items():
        monkeypatch.setattr(large, name, value)


def both(schema: Any, descriptor: Descriptor, wire: bytes, options: Print | None = None) -> tuple[Any, Any]:
    made = encoders(schema, options or Print())
    in_pieces = made.large_text(descriptor)
    assert in_pieces is not None
    return in_pieces(wire), made.text(descriptor)(wire)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("options", [Print(), Print(proto_names=True), Print(default_values=True)])
@pytest.mark.parametrize("body", BODIES)
def test_pieces_come_to_what_the_whole_does(everything: Schema, body: str, options: Print) -> None:
    descriptor = everything.pool.FindMessageTypeByName("test.Everything")
    message = ours(everything, body.encode())
    in_pieces, whole = both(everything, descriptor, message.SerializeToString(), options)
    assert orjson.loads(in_pieces) == orjson.loads(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), sizes=st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9)))
def test_any_message_comes_to_the_same(everything: Schema, data: st.DataObject, sizes: tuple[int, int, int]) -> None:
    descriptor = everything.pool.FindMessageTypeByName("test.Everything")
    message = data.draw(messages(everything, descriptor))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("LARGE", "PIECE", "ENTRIES"), sizes, strict=True):
            patch.setattr(large, name, value)
        in_pieces, whole = both(everything, descriptor, message.SerializeToString())
    assert in_pieces == whole or orjson.loads(in_pieces) == orjson.loads(whole)


@pytest.mark.usefixtures("small")
def test_parts_that_come_one_by_one_are_put_together(make_schema: Callable[[str], Schema], lists: Descriptor) -> None:
    message = json_format.Parse(SOME, GetMessageClass(lists)())
    whole = message.SerializeToString()
    again = (
        whole
        + json_format.Parse('{"item": {"name": "later"}, "this": {"name": "1"}}', type(message)()).SerializeToString()
    )
    for wire in (whole, whole + whole, again):
        in_pieces, as_any = both(None, lists, wire)
        assert orjson.loads(in_pieces) == orjson.loads(as_any)
        assert list(orjson.loads(in_pieces)) == list(orjson.loads(as_any))


@pytest.mark.usefixtures("small")
def test_what_is_no_message_is_refused_as_it_is(lists: Descriptor) -> None:
    wire = json_format.Parse(SOME, GetMessageClass(lists)()).SerializeToString()
    answer = ReplyBody(lists, "", encoders(None))  # type: ignore[arg-type]  # it finds nothing
    for broken in (
        wire[:-1],
        wire + b"\x0a",
        wire + b"\x0a\xff",
        wire + b"\x0f",
        wire + b"\x00\x00",
        wire + b"\xff" * 12,
    ):
        with pytest.raises(DecodeError):
            both(None, lists, broken)[0]
    with pytest.raises(BadReply):
        answer.text(b"\x0a\xff" * large.LARGE)


def test_what_is_unknown_is_passed_over(lists: Descriptor) -> None:
    unknown = b"\xf8\x07\x01" * 200_000  # field 127
    assert both(None, lists, unknown) == (b"{}", b"{}")


def test_more_entries_than_are_written_are_refused(lists: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "MAX_ENTRIES", 10_000)
    monkeypatch.setattr(large, "MAX_KEYS", 1000)
    text = encoders(None).large_text(lists)  # type: ignore[arg-type]  # it finds nothing
    assert text is not None
    assert text(b"\x0a\x00" * 10_000) == b'{"items":[%s]}' % b",".join([b"{}"] * 10_000)
    with pytest.raises(BadReply, match="more than 10000 items"):
        text(b"\x0a\x00" * 10_001)
    with pytest.raises(BadReply, match="more than 10000 items"):
        text(b"\x12\x91\x4e" + b"\x01" * 10_001)
    with pytest.raises(BadReply, match="maps of more than 1000"):
        text(b"\x3a\x00" * 1001)


@pytest.mark.usefixtures("small")
def test_depth_is_bounded(lists: Descriptor) -> None:
    wire = b"\x0a\x64" + b"x" * 100
    for _ in range(300):
        wire = b"\x12" + large._varint(len(wire)) + wire
    with pytest.raises(DecodeError):
        both(None, lists, b"\x32" + large._varint(len(wire)) + wire)
