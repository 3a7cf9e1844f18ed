"""Lists of messages, which are read and written in place, and the calls for a whole body: random ones beside json_format.

The schema has an item of every sort that the generated code treats in its own way.
"""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.api import InvalidBody, parse_json
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema
from tests.bridge_grpc.test_codec_properties import JSON, ODD, find_in, messages

QUICKLY = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType]  # an enum class is a collection of its members
OPTIONS = [
    Print(**dict(zip(("proto_names", "enum_numbers", "default_values"), on, strict=True)))
    for on in itertools.product((False, True), repeat=3)
]
NAMES = ("lists.Lists", "lists.Every", "lists.Tree", "lists.Many", "lists.Words", "lists.Deep", "lists.Flat")

LISTS = """
syntax = "proto3";
package lists;
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Colour { NONE = 0; RED = 1; GREEN = 2; BELOW = -1; }
message Every { double a_double = 1; float a_float = 2; int32 i = 3; int64 big = 4; uint32 u = 5; uint64 ubig = 6;
  sint64 sbig = 7; bool yes = 8; string text = 9; bytes raw = 10; Colour colour = 11; repeated string texts = 12;
  repeated int64 bigs = 13; repeated double doubles = 14; map<string, int64> totals = 15; map<int32, Trusted> by_number = 16; }
message Trusted { string text = 1; int32 i = 2; Colour colour = 3; }
message Chosen { oneof what { string text = 1; int64 big = 2; Trusted trusted = 3; bool yes = 4; } oneof other_one { int32 a = 5; double b = 6; }
  optional int32 maybe = 7; optional double maybe_double = 8; google.protobuf.Timestamp at = 9; google.protobuf.Value value = 10; }
message Mixed { int64 a = 1 [json_name = "b"]; int64 b = 2 [json_name = "z"]; }
message Renamed { int64 some_number = 1; string some_text = 2; repeated bool some_flags = 3; Trusted inner_one = 4; }
message Many { int64 a = 1; int64 b = 2; int64 c = 3; int64 d = 4; int64 e = 5; int64 f = 6; int64 g = 7; int64 h = 8; int64 i = 9;
  int64 j = 10; int64 k = 11; int64 l = 12; int64 n = 13; double p = 14; bool q = 15; bytes r = 16; string s = 17; }
message Words { int64 class = 1; int64 o = 2; int64 m = 3; double v = 4; bool None = 5; string wire = 6; bytes HasField = 7;
  int64 parse = 9; int64 v1 = 10; bool __class__ = 11; }
message Nothing {}
message Tree { string name = 1; int64 size = 2; repeated Tree trees = 3; repeated Every items = 4; }
message Inner { repeated Renamed renamed = 1; repeated Chosen chosen = 2; int64 big = 3; }
message Deep { repeated Inner inners = 1; Inner one = 2; map<string, Inner> by_name = 3; }
message Lists { string title = 1; repeated Every every = 2; repeated Trusted trusted = 3; repeated Chosen chosen = 4;
  repeated Mixed mixed = 5; repeated Renamed renamed = 6; repeated Many many = 7; repeated Words words = 8; repeated Nothing nothing = 9;
  repeated Tree trees = 10; repeated google.protobuf.Timestamp times = 11; repeated google.protobuf.Int64Value wrapped = 12;
  repeated google.protobuf.Value values = 13; repeated Deep deep = 14; }
// Its JSON is as deep as the schema, so it is read without a look at the depth.
message Flat { string title = 1; repeated Every every = 2; repeated Trusted trusted = 3; repeated Mixed mixed = 5;
  repeated Renamed renamed = 6; repeated Many many = 7; repeated Words words = 8; repeated Nothing nothing = 9;
  repeated google.protobuf.Timestamp times = 11; repeated google.protobuf.Int64Value wrapped = 12; }
"""


@pytest.fixture(scope="module")
def lists(make_schema: Callable[[str], Schema]) -> Schema:
    return make_schema(LISTS)


@pytest.fixture(scope="module")
def wires(lists: Schema) -> dict[str, Any]:
    decoders = Decoders(find_in(lists))
    return {name: decoders.wire(lists.pool.FindMessageTypeByName(name)) for name in NAMES}


@pytest.fixture(scope="module")
def texts(lists: Schema) -> dict[tuple[str, int], Any]:
    made = [Encoders(find_in(lists), options) for options in OPTIONS]
    return {
        (name, at): encoders.text(lists.pool.FindMessageTypeByName(name))
        for name in NAMES
        for at, encoders in enumerate(made)
    }


def canonical(message: Any) -> bytes:
    made: bytes = message.SerializeToString(deterministic=True)
    return made


@QUICKLY
@given(st.data())
def test_a_message_is_written_as_json_format_writes_it_and_read_again(
    lists: Schema, wires: dict[str, Any], texts: dict[tuple[str, int], Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(NAMES))
    message = data.draw(messages(lists, lists.pool.FindMessageTypeByName(name)))
    for at, options in enumerate(OPTIONS):
        written = texts[name, at](message.SerializeToString())
        expected = json_format.MessageToJson(
            message,
            preserving_proto_field_name=options.proto_names,
            use_integers_for_enums=options.enum_numbers,
            always_print_fields_with_no_presence=options.default_values,
            indent=None,
            descriptor_pool=lists.pool,
        )
        assert orjson.loads(written) == json.loads(expected)
        if options.proto_names and b'"mixed"' in written:
            continue  # the own name of one of its fields is the JSON name of the other
        for body in (written, json.dumps(orjson.loads(written), indent=1).encode(), expected.encode()):
            assert canonical(type(message).FromString(wires[name](body))) == canonical(message)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with one place in it changed: something else there, a name more, or one less."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        made = dict(value)
        how = draw(st.integers(0, 9))
        if how == 0:
            made[draw(st.sampled_from(["text", "big", "some_number", "someNumber", "a", "b", "z", "nowhere", ""]))] = (
                draw(ODD)
            )
        elif how == 1:
            made[key.upper()] = made.pop(key)
        else:
            made[key] = draw(changed(value[key]))
        return made
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(changed(value[at])), *value[at + 1 :]]
    return draw(st.one_of(ODD, JSON))


@settings(QUICKLY, max_examples=300)
@given(st.data())
def test_what_the_call_for_a_whole_body_takes_is_what_the_judge_takes(
    lists: Schema, wires: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(NAMES))
    message = data.draw(messages(lists, lists.pool.FindMessageTypeByName(name)))
    body = json.dumps(data.draw(changed(json_format.MessageToDict(message, descriptor_pool=lists.pool)))).encode()
    reader = Decoders(find_in(lists)).reader(message.DESCRIPTOR)
    faults: list[tuple[str, str]] = []
    judged = reader.judge(parse_json(body), "", faults)
    try:
        made = wires[name](body)
    except (*DOUBT, InvalidBody):
        return  # the gateway asks the judge then
    assert not faults
    assert canonical(reader.cls.FromString(made)) == canonical(reader.build(judged))


@pytest.mark.parametrize(
    "body",
    [
        b'{"every": [{"big": "1", "big": "1"}]}',
        b'{"title": "a:b", "title": "a:b"}',
        b'{ "every" : [ { "text" : ":", "text" : "" } ] }',
        b'{"every": [{"totals": {"\\u0061": "1", "a": "2"}}]}',
        b'{"renamed": [{"someText": "x", "someText": "y"}]}',
    ],
)
@pytest.mark.parametrize("name", ["lists.Lists", "lists.Flat"])
def test_a_name_that_stands_twice_is_refused(wires: dict[str, Any], name: str, body: bytes) -> None:
    with pytest.raises(InvalidBody) as refused:
        wires[name](body)
    assert "given twice" in refused.value.errors[0][1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"every": [{"big": "\xd9\xa1"}]}',  # a digit, but not one of JSON's
        b'{"every": [{"big": " 1"}]}',
        b'{"every": [{"big": "1_0"}]}',
        b'{"every": [{"big": "9223372036854775808"}]}',
        b'{"every": [{"ubig": "18446744073709551616"}]}',
        b'{"every": [{"ubig": "%s"}]}' % (b"9" * 5000),
        b'{"every": [{"big": true}]}',
        b'{"every": [{"yes": 1}]}',
        b'{"every": [{"aDouble": true}]}',
        b'{"every": [{"text": 1}]}',
        b'{"every": [{"text": "\\ud800"}]}',
        b'{"every": [{"big": "1"}, null]}',
        b'{"every": [{"big": "1"}, "big"]}',
        b'{"every": {"big": "1"}}',
        b'{"renamed": ["someNumber"]}',
        b'{"renamed": [["someNumber"]]}',
        b'{"renamed": [{"someNumber": "1", "some_number": "1"}]}',
        b'{"trusted": [{"txet": "x"}]}',
        b'{"nothing": [{"x": null}]}',
        b'{"nothing": [null]}',
        b"[]", b"null", b'"every"', b"1", b"{", b"", b"\xff", b'{"title": "\xff"}', b'{"title": NaN}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["lists.Lists", "lists.Flat"])
def test_what_is_wrong_is_left_to_the_judge_or_refused(wires: dict[str, Any], name: str, body: bytes) -> None:
    with pytest.raises((*DOUBT, InvalidBody)):
        wires[name](body)


def test_two_of_a_oneof_in_an_item_are_left_to_the_judge(wires: dict[str, Any]) -> None:
    with pytest.raises(DOUBT):
        wires["lists.Lists"](b'{"chosen": [{"text": "x"}, {"text": "x", "yes": true}]}')
