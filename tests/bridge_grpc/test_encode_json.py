"""Protobuf to JSON: every kind of field under every print option, beside json_format."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from google.protobuf import json_format

from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.scalars import FieldValueError
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema

OPTIONS = [
    Print(),
    Print(proto_names=True),
    Print(enum_numbers=True),
    Print(default_values=True),
    Print(proto_names=True, enum_numbers=True, default_values=True),
]

BODIES = [
    "{}",
    '{"aDouble": -0.0, "aFloat": -0.0}',
    '{"aDouble": "NaN", "aFloat": "Infinity", "doubles": [1, "NaN", -0.0, 0.1], "floats": ["-Infinity", 0.1, 16777216, 1e-45]}',
    '{"aFloat": 3.4028234e38, "floats": [1.17549435e-38, 0.3, 123456789, 1.1, 5e9]}',
    '{"anInt64": "-1", "aUint64": "18446744073709551615", "int64s": [0, -5], "uint64s": [7]}',
    '{"aBool": true, "bools": [true, false], "aString": "é😀", "strings": ["", "x"]}',
    '{"someBytes": "AQID", "bytesList": ["", "/+8="]}',
    '{"colour": 99, "colours": ["RED", 0, -1, 99], "alias": 1}',
    '{"byString": {"b": "", "a": "x"}, "byInt32": {"-5": {}}, "byBool": {"true": 0, "false": 1}, "byUint64": {"9": 99}}',
    '{"byInt64": {"1": "NaN"}, "bytesByName": {"x": "AQ=="}, "timesByName": {"x": "2020-01-01T00:00:00Z"}}',
    '{"text": ""}', '{"count": 0}', '{"branch": {}}', '{"nothing": null}', '{"yes": false}',
    '{"maybeNumber": 0, "maybeText": "", "maybeColour": 0}',
    '{"leaf": {}, "again": {"again": {"aString": "x"}}, "leaves": [{}, {"number": 1}]}',
    '{"at": "0001-01-01T00:00:00Z", "times": ["1969-12-31T23:59:59.5Z", "9999-12-31T23:59:59.999999999Z", "2024-02-29T12:00:00.00001Z"]}',
    '{"lasting": "-0.000000001s", "mask": "a,bC.dE", "empty": {}}',
    '{"struct": {"a": [1, null, {"b": false}], "": "x"}, "value": null, "values": [1.5, "x", [], {}], "list": []}',
    '{"any": {}, "anys": [{"@type": "t/test.Leaf", "name": "x"}, {"@type": "t/google.protobuf.Duration", "value": "1s"}]}',
    '{"any": {"@type": "t/google.protobuf.BoolValue", "value": true}, "nulls": [null, "NULL_VALUE"], "nullValue": null}',
    '{"doubleValue": 0, "floatValue": 0.1, "int64Value": "0", "uint64Value": 1, "int32Value": -1, "uint32Value": 0}',
    '{"boolValue": false, "stringValue": "", "bytesValue": "", "wrapped": [0, 5]}',
    '{"other": "x", "from": "y", "class": "z", "HasField": 4}',
]  # fmt: skip


def encoders(schema: Schema, options: Print = OPTIONS[0]) -> Encoders:
    def find(name: str) -> Any:
        try:
            return schema.pool.FindMessageTypeByName(name)
        except KeyError:
            return None

    return Encoders(find, options)


def parsed(schema: Schema, body: str, name: str = "test.Everything") -> Any:
    cls = schema.message_class(schema.pool.FindMessageTypeByName(name))
    # json_format sees no null inside a list of NullValue, but the name is the same value.
    body = body.replace('[null, "NULL_VALUE"]', '["NULL_VALUE", "NULL_VALUE"]')
    return json_format.Parse(body, cls(), descriptor_pool=schema.pool)


def by_oracle(schema: Schema, message: Any, options: Print) -> Any:
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=options.proto_names,
        use_integers_for_enums=options.enum_numbers,
        always_print_fields_with_no_presence=options.default_values,
        descriptor_pool=schema.pool,
    )


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(k for k, v in o if v) or "plain")
@pytest.mark.parametrize("body", BODIES)
def test_it_writes_what_json_format_writes(everything: Schema, body: str, options: Print) -> None:
    message = parsed(everything, body)
    made = encoders(everything, options)
    written = made.writer(message.DESCRIPTOR)(message)
    text = made.text(message.DESCRIPTOR)(message.SerializeToString())
    assert orjson.loads(text) == orjson.loads(orjson.dumps(written))
    expected = by_oracle(everything, message, options)
    if options.enum_numbers:  # json_format writes NullValue as 0 then, which protobuf's own table says is null
        written = json.loads(
            json.dumps(written), object_hook=lambda o: {k: 0 if k in NULLS and v is None else v for k, v in o.items()}
        )
        written = {k: [0] * len(v) if k == "nulls" else v for k, v in written.items()}
    assert written == expected
    assert orjson.loads(orjson.dumps(written)) == json.loads(json.dumps(expected))


NULLS = {"nothing", "nullValue", "null_value"}


def test_fields_come_in_the_order_of_their_numbers(everything: Schema) -> None:
    message = parsed(everything, '{"other": "x", "leaf": {"number": 1, "name": "a"}, "aDouble": 1}')
    written = encoders(everything).writer(message.DESCRIPTOR)(message)
    assert orjson.dumps(written) == b'{"aDouble":1.0,"leaf":{"name":"a","number":1},"other":"x"}'


def test_an_unknown_type_in_an_any_keeps_its_url_and_its_bytes(everything: Schema) -> None:
    message = parsed(everything, "{}")
    message.any.type_url, message.any.value = "example.org/of.another.Schema", b"\x01\xff"
    written = encoders(everything).writer(message.DESCRIPTOR)(message)
    assert written == {"any": {"@type": "example.org/of.another.Schema", "value": "Af8="}}


@pytest.mark.parametrize(
    ("set_it", "reason"),
    [
        (lambda m: setattr(m.at, "seconds", 253402300800), "years 1 to 9999"),
        (lambda m: setattr(m.at, "nanos", -1), "years 1 to 9999"),
        (lambda m: setattr(m.lasting, "seconds", 315576000001), "out of range"),
        (lambda m: m.lasting.MergeFrom(type(m.lasting)(seconds=1, nanos=-1)), "different sign"),
        (lambda m: m.mask.paths.append("fooBar"), "can't be written"),
        (lambda m: m.mask.paths.append("foo__bar"), "can't be written"),
        (lambda m: setattr(m.value, "number_value", math.nan), "NaN"),
        (lambda m: m.any.MergeFrom(type(m.any)(type_url="t/test.Leaf", value=b"\xff")), "something else"),
    ],
)
def test_what_json_can_not_say_is_refused(everything: Schema, set_it: Any, reason: str) -> None:
    message = parsed(everything, "{}")
    set_it(message)
    with pytest.raises(FieldValueError, match=reason):
        encoders(everything).writer(message.DESCRIPTOR)(message)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(k for k, v in o if v) or "plain")
def test_proto2(old: Schema, options: Print) -> None:
    body = (
        '{"id": "1", "number": 7, "closed": "B", "several": ["A"], "data": {"innerText": "x", "old": {"id": "2"}},'
        ' "row": [{"cell": "5"}, {}], "raw": "AQ==", "[old.note]": "n", "[old.marks]": ["1", 2],'
        ' "[old.tail]": {"text": "t"}, "[old.tails]": [{}, {"text": "u"}], "[old.shut]": "A"}'
    )
    message = parsed(old, body, "old.Old")
    write = encoders(old, options).writer(message.DESCRIPTOR)
    text = encoders(old, options).text(message.DESCRIPTOR)
    assert orjson.loads(text(message.SerializeToString())) == by_oracle(old, message, options)
    assert write(message) == by_oracle(old, message, options)
    assert write(message) == by_oracle(old, message, options)  # extensions are compiled on first use


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("leaves", [{"name": "a"}]),
        ("leaf", {}),
        ("int64s", ["1"]),
        ("by_string", {"a": "b"}),
        ("an_int64", "0"),
        ("a_string", ""),
        ("colour", "RED"),
        ("at", None),
        ("value", None),
        ("struct", {"a": 1}),
        ("maybe_text", ""),
        ("text", ""),
        ("a_double", 0),
    ],
)
def test_one_field_for_response_body(everything: Schema, field: str, expected: Any) -> None:
    message = parsed(
        everything,
        '{"leaves": [{"name": "a"}], "int64s": [1], "byString": {"a": "b"}, "colour": 1, "struct": {"a": 1}}',
    )
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    assert encoders(everything).field(descriptor)(message) == expected
    assert orjson.loads(encoders(everything).field_text(descriptor)(message.SerializeToString())) == expected
