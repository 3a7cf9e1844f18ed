"""JSON to protobuf: the rules of ProtoJSON as a table, each case also put to json_format where it follows the rule."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MessageOptions
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from bridge.api import InvalidBody, parse_json, pointer_of
from bridge_grpc.codec import json_body
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT, pointer_of_missing
from bridge_grpc.schema.pool import Schema

#: (JSON body, the same as canonical JSON) where json_format agrees
ACCEPTED = [
    # 64-bit integers: strings and numbers
    ('{"anInt64": "9223372036854775807"}', '{"anInt64": "9223372036854775807"}'),
    ('{"anInt64": 9223372036854775807}', '{"anInt64": "9223372036854775807"}'),
    ('{"anInt64": -9223372036854775808}', '{"anInt64": "-9223372036854775808"}'),
    ('{"aUint64": 18446744073709551615}', '{"aUint64": "18446744073709551615"}'),
    ('{"aUint64": "18446744073709551615"}', '{"aUint64": "18446744073709551615"}'),
    # fractions of zero and exponents
    ('{"anInt32": 1.0}', '{"anInt32": 1}'),
    ('{"anInt32": 1e5}', '{"anInt32": 100000}'),
    ('{"anInt32": 2.147483647e9}', '{"anInt32": 2147483647}'),
    ('{"anInt32": "1e2"}', '{"anInt32": 100}'),
    ('{"anInt32": "-0"}', "{}"),
    ('{"aUint32": 4294967295}', '{"aUint32": 4294967295}'),
    ('{"int64s": ["1", 2, 3.0]}', '{"int64s": ["1", "2", "3"]}'),
    # floats
    ('{"aDouble": "NaN", "aFloat": "-Infinity"}', '{"aDouble": "NaN", "aFloat": "-Infinity"}'),
    ('{"aDouble": "Infinity"}', '{"aDouble": "Infinity"}'),
    ('{"aDouble": "1.5e-3"}', '{"aDouble": 0.0015}'),
    ('{"aDouble": 1}', '{"aDouble": 1}'),
    ('{"aFloat": 0.1}', '{"aFloat": 0.1}'),
    ('{"aDouble": -0.0}', '{"aDouble": -0.0}'),
    # bytes in both alphabets, padded or not
    ('{"someBytes": "-_-_"}', '{"someBytes": "+/+/"}'),
    ('{"someBytes": "+/+/"}', '{"someBytes": "+/+/"}'),
    ('{"someBytes": "AQI"}', '{"someBytes": "AQI="}'),
    ('{"someBytes": "AQI="}', '{"someBytes": "AQI="}'),
    ('{"someBytes": "-_"}', '{"someBytes": "+w=="}'),
    # enums by name and number, unknown numbers, aliases
    ('{"colour": "RED"}', '{"colour": "RED"}'),
    ('{"colour": 2}', '{"colour": "GREEN"}'),
    ('{"colour": -1}', '{"colour": "BELOW"}'),
    ('{"colour": 77}', '{"colour": 77}'),
    ('{"alias": "UNO"}', '{"alias": "ONE"}'),
    ('{"colours": ["RED", 2, 9]}', '{"colours": ["RED", "GREEN", 9]}'),
    # names: both, and json_name
    ('{"an_int32": 5}', '{"anInt32": 5}'),
    ('{"other": "x"}', '{"other": "x"}'),
    ('{"renamed": "x"}', '{"other": "x"}'),
    ('{"from": "x", "class": "y", "HasField": 3}', '{"from": "x", "class": "y", "HasField": 3}'),
    # null is "not set"
    ('{"anInt32": null, "leaf": null, "int32s": null, "byString": null, "at": null}', "{}"),
    ('{"int64Value": null, "text": null, "yes": true}', '{"yes": true}'),
    ('{"text": null, "count": null}', "{}"),
    # but it is a value of Value and NullValue
    ('{"value": null}', '{"value": null}'),
    ('{"nothing": null}', '{"nothing": null}'),
    ('{"nothing": "NULL_VALUE"}', '{"nothing": null}'),
    ('{"values": [null, 1, "a", [null], {"b": null}]}', '{"values": [null, 1, "a", [null], {"b": null}]}'),
    ('{"valuesByName": {"a": null}}', '{"valuesByName": {"a": null}}'),
    # presence
    ('{"maybeNumber": 0, "maybeText": "", "maybeColour": 0}', '{"maybeNumber": 0, "maybeText": "", "maybeColour": "COLOUR_UNSPECIFIED"}'),
    ('{"leaf": {}, "empty": {}}', '{"leaf": {}, "empty": {}}'),
    ('{"text": ""}', '{"text": ""}'),
    ('{"count": 0}', '{"count": "0"}'),
    ('{"branch": {}}', '{"branch": {}}'),
    ('{"int32Value": 0, "stringValue": "", "boolValue": false}', '{"int32Value": 0, "stringValue": "", "boolValue": false}'),
    # nested and repeated
    ('{"again": {"again": {"leaf": {"number": 3}}}}', '{"again": {"again": {"leaf": {"number": 3}}}}'),
    ('{"leaves": [{}, {"name": "a"}]}', '{"leaves": [{}, {"name": "a"}]}'),
    ('{"again": ' * 99 + '{"aString": "[[[["}' + "}" * 99,) * 2,
    # maps
    ('{"byString": {"a": "b", "": ""}}', '{"byString": {"a": "b", "": ""}}'),
    ('{"byInt32": {"-1": {"name": "x"}}}', '{"byInt32": {"-1": {"name": "x"}}}'),
    ('{"byBool": {"true": "1", "false": 2}}', '{"byBool": {"true": "1", "false": "2"}}'),
    ('{"byUint64": {"18446744073709551615": "RED"}}', '{"byUint64": {"18446744073709551615": "RED"}}'),
    ('{"byInt64": {"5": "NaN", "6": 1}}', '{"byInt64": {"5": "NaN", "6": 1}}'),
    ('{"bytesByName": {"a": "-_"}}', '{"bytesByName": {"a": "+w=="}}'),
    # well-known types
    ('{"at": "1970-01-01T00:00:00Z"}', '{"at": "1970-01-01T00:00:00Z"}'),
    ('{"at": "9999-12-31T23:59:59.999999999Z"}', '{"at": "9999-12-31T23:59:59.999999999Z"}'),
    ('{"at": "0001-01-01T00:00:00Z"}', '{"at": "0001-01-01T00:00:00Z"}'),
    ('{"at": "2020-02-29T01:02:03.5+08:00"}', '{"at": "2020-02-28T17:02:03.500Z"}'),
    ('{"at": "1969-12-31T23:59:59.1-00:30"}', '{"at": "1970-01-01T00:29:59.100Z"}'),
    ('{"times": ["2020-01-01T00:00:00Z"], "timesByName": {"a": "2020-01-01T00:00:00.000001Z"}}',) * 2,
    ('{"lasting": "1s"}', '{"lasting": "1s"}'),
    ('{"lasting": "-0.5s"}', '{"lasting": "-0.500s"}'),
    ('{"lasting": "315576000000s"}', '{"lasting": "315576000000s"}'),
    ('{"lasting": "315576000000.999999999s"}', '{"lasting": "315576000000.999999999s"}'),
    ('{"lasting": "-315576000000.999999999s"}', '{"lasting": "-315576000000.999999999s"}'),
    ('{"lasting": "-1.000000001s"}', '{"lasting": "-1.000000001s"}'),
    ('{"mask": "aB,c.dE"}', '{"mask": "aB,c.dE"}'),
    ('{"mask": ""}', '{"mask": ""}'),
    ('{"struct": {"a": 1.5, "b": [true, "x", null], "c": {}, "fields": {"x": 1}}}',) * 2,
    ('{"struct": {}}', '{"struct": {}}'),
    ('{"structs": [{}, {"a": {"b": 1}}]}', '{"structs": [{}, {"a": {"b": 1}}]}'),
    ('{"list": [1, [], "x"]}', '{"list": [1, [], "x"]}'),
    ('{"value": {"number_value": 1}}', '{"value": {"number_value": 1}}'),
    ('{"value": false}', '{"value": false}'),
    ('{"int64Value": "5", "uint64Value": 6, "bytesValue": "AQ==", "doubleValue": "NaN"}', '{"int64Value": "5", "uint64Value": "6", "bytesValue": "AQ==", "doubleValue": "NaN"}'),
    ('{"wrapped": [1, "2"]}', '{"wrapped": ["1", "2"]}'),
    ('{"any": {"@type": "type.googleapis.com/test.Leaf", "name": "x"}}',) * 2,
    ('{"any": {"name": "x", "@type": "type.googleapis.com/test.Leaf"}}', '{"any": {"@type": "type.googleapis.com/test.Leaf", "name": "x"}}'),
    ('{"any": {"@type": "example.org/p/google.protobuf.Duration", "value": "1.5s"}}', '{"any": {"@type": "example.org/p/google.protobuf.Duration", "value": "1.500s"}}'),
    ('{"any": {"@type": "type.googleapis.com/google.protobuf.Any", "value": {"@type": "type.googleapis.com/test.Leaf", "number": 1}}}',) * 2,
    ('{"any": {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": 5}}', '{"any": {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": "5"}}'),
    ('{"any": {}}', '{"any": {}}'),
    ('{"anys": [{"@type": "t/google.protobuf.Struct", "value": {"a": 1}}]}',) * 2,
    ('{"any": {"@type": "t/google.protobuf.Empty"}}', '{"any": {"@type": "t/google.protobuf.Empty"}}'),
    # text
    ('{"aString": "\\ud83d\\ude00\\u0000é/"}', '{"aString": "😀\\u0000é/"}'),
    ("{}", "{}"),
    (" { } ", "{}"),
]  # fmt: skip

#: (JSON body, where it is wrong, what the reason holds)
REFUSED = [
    ('{"anInt32": 2147483648}', "/anInt32", "out of range"),
    ('{"anInt32": "2147483648"}', "/anInt32", "out of range"),
    ('{"anInt32": 1.5}', "/anInt32", "not a whole number"),
    ('{"anInt32": "1.5"}', "/anInt32", "not a whole number"),
    ('{"anInt32": true}', "/anInt32", "not a boolean"),
    ('{"anInt32": ""}', "/anInt32", "not a whole number"),
    ('{"anInt32": " 1"}', "/anInt32", "not a whole number"),
    ('{"anInt32": "0x1"}', "/anInt32", "not a whole number"),
    ('{"anInt32": "1_0"}', "/anInt32", "not a whole number"),
    ('{"anInt32": "١"}', "/anInt32", "not a whole number"),
    ('{"anInt32": 1e400}', "", "out of range"),
    ('{"anInt32": "1e999999"}', "/anInt32", "out of range"),
    ('{"anInt32": {}}', "/anInt32", "not an object"),
    ('{"aUint32": -1}', "/aUint32", "out of range"),
    ('{"aUint64": 18446744073709551616}', "/aUint64", "out of range"),
    ('{"anInt64": 9223372036854775808}', "/anInt64", "out of range"),
    ('{"anInt64": 9.3e18}', "/anInt64", "out of range"),
    ('{"aDouble": true}', "/aDouble", "not a boolean"),
    ('{"aDouble": "nan"}', "/aDouble", "not a number"),
    ('{"aDouble": "1e400"}', "/aDouble", "out of range"),
    ('{"aDouble": ""}', "/aDouble", "not a number"),
    ('{"aFloat": 3.5e38}', "/aFloat", "out of range for a float"),
    ('{"aFloat": true}', "/aFloat", "not a boolean"),
    ('{"doubles": [1, true]}', "/doubles/1", "not a boolean"),
    ('{"floats": [1e39]}', "/floats/0", "out of range"),
    ('{"aBool": 1}', "/aBool", "true or false"),
    ('{"aBool": "true"}', "/aBool", "true or false"),
    ('{"bools": [0]}', "/bools/0", "true or false"),
    ('{"aString": 5}', "/aString", "not a number"),
    ('{"aString": ["x"]}', "/aString", "not an array"),
    ('{"someBytes": "a$b="}', "/someBytes", "not base64"),
    ('{"someBytes": "A"}', "/someBytes", "not base64"),
    ('{"someBytes": "AQI=="}', "/someBytes", "not base64"),
    ('{"someBytes": "AQ="}', "/someBytes", "not base64"),
    ('{"someBytes": "AQID="}', "/someBytes", "not base64"),
    ('{"someBytes": "="}', "/someBytes", "not base64"),
    ('{"someBytes": 1}', "/someBytes", "base64"),
    ('{"someBytes": "AA=A"}', "/someBytes", "not base64"),
    ('{"colour": "PINK"}', "/colour", "not one of"),
    ('{"colour": true}', "/colour", "not a boolean"),
    ('{"colour": 1.5}', "/colour", "not a whole number"),
    ('{"colours": [null]}', "/colours/0", "null"),
    ('{"leaf": []}', "/leaf", "must be an object"),
    ('{"leaf": "x"}', "/leaf", "must be an object"),
    ('{"leaf": {"nmae": "x"}}', "/leaf/nmae", "did you mean 'name'"),
    ('{"leaves": {}}', "/leaves", "must be an array"),
    ('{"leaves": [{}, null]}', "/leaves/1", "null"),
    ('{"int32s": "1"}', "/int32s", "must be an array"),
    ('{"int32s": [1, null]}', "/int32s/1", "null"),
    ('{"wrapped": [null]}', "/wrapped/0", "null"),
    ('{"byString": []}', "/byString", "must be an object"),
    ('{"byString": {"a": null}}', "/byString/a", "null"),
    ('{"byInt32": {"a": {}}}', "/byInt32/a", "as a key"),
    ('{"byInt32": {"1": {}, "01": {}}}', "/byInt32/01", "already"),
    ('{"byInt32": {"1": null}}', "/byInt32/1", "null"),
    ('{"byBool": {"True": 1}}', "/byBool/True", "as a key"),
    ('{"byString": {"a/b~c": 1}}', "/byString/a~1b~0c", "must be a string"),
    ('{"text": "a", "count": 1}', "/count", "only one of"),
    ('{"text": "a", "nothing": null}', "/nothing", "only one of"),
    ('{"anInt32": 1, "an_int32": 2}', "/an_int32", "given twice"),
    ('{"anInt32": 1, "anInt32": 1}', "/anInt32", "given twice"),
    ('{"again": {"aString": "x\\\\\\":", "leaf": {"name": "a", "name": "b"}}}', "/again/leaf/name", "given twice"),
    ('{"unknown": 1}', "/unknown", "no field 'unknown'"),
    ('{"at": "2020-01-01"}', "/at", "not a time"),
    ('{"at": "2020-01-01t00:00:00z"}', "/at", "not a time"),
    ('{"at": "2020-02-30T00:00:00Z"}', "/at", "not a time"),
    ('{"at": "0001-01-01T00:00:00+00:01"}', "/at", "years 1 to 9999"),
    ('{"at": "2020-01-01T00:00:00.1234567891Z"}', "/at", "not a time"),
    ('{"at": "2020-01-01T00:00:00"}', "/at", "not a time"),
    ('{"at": 5}', "/at", "must be a string"),
    ('{"times": [null]}', "/times/0", "null"),
    ('{"lasting": "1"}', "/lasting", "not a duration"),
    ('{"lasting": "1.0000000001s"}', "/lasting", "not a duration"),
    ('{"lasting": "315576000001s"}', "/lasting", "longer than"),
    ('{"lasting": "-315576000001s"}', "/lasting", "longer than"),
    ('{"mask": "a_b"}', "/mask", "lowerCamelCase"),
    ('{"struct": []}', "/struct", "must be an object"),
    ('{"list": {}}', "/list", "must be an array"),
    ('{"any": {"name": "x"}}', "/any/@type", "names its type"),
    ('{"any": {"@type": "test.Leaf"}}', "/any/@type", "not a type"),
    ('{"any": {"@type": "t/test.Nothing"}}', "/any/@type", "not a type"),
    ('{"any": {"@type": "t/test.Leaf", "number": "x"}}', "/any/number", "not a whole number"),
    ('{"any": {"@type": "t/google.protobuf.Duration"}}', "/any/value", "missing"),
    ('{"any": {"@type": "t/google.protobuf.Duration", "value": "1s", "x": 1}}', "/any/x", "only"),
    ("[]", "", "must be an object"),
    ('"x"', "", "must be an object"),
    ("null", "", "must be an object"),
    ("{", "", "not JSON"),
    ('{"aDouble": NaN}', "", "not JSON"),
    ('{"aString": "\\ud800"}', "", "not JSON"),
    ('{"value": ' + "[" * 200 + "]" * 200 + "}", "", "nested deeper"),
    ('{"value": ' + "[" * 600 + "]" * 600 + "}", "", "nested deeper"),
    ('{"again": ' * 200 + "{}" + "}" * 200, "", "nested deeper"),
]  # fmt: skip


def read(schema: Schema, name: str, body: str, *, ignore: bool = False, quick: bool = True) -> Any:
    """What a request does with its body; without `quick`, the judging way alone."""

    def find(full: str) -> Any:
        try:
            return schema.pool.FindMessageTypeByName(full)
        except KeyError:
            return None

    reader = Decoders(find, ignore=ignore).reader(schema.pool.FindMessageTypeByName(name))
    raw = body.encode()
    value = json_body.read(raw, bounded=reader.bounded)
    if quick:
        try:
            return reader.cls.FromString(reader.serialise(reader.decode(value)))
        except DOUBT:
            pass
    faults: list[tuple[str, str]] = []
    made = reader.judge(parse_json(raw), "", faults)
    if faults:
        raise InvalidBody(faults)
    return reader.cls.FromString(reader.serialise(made))


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "judging"])
@pytest.mark.parametrize(("body", "canonical"), ACCEPTED)
def test_what_the_mapping_accepts(everything: Schema, body: str, canonical: str, quick: bool) -> None:
    message = read(everything, "test.Everything", body, quick=quick)
    oracle = json_format.Parse(body, type(message)(), descriptor_pool=everything.pool)
    assert message.SerializeToString(deterministic=True) == oracle.SerializeToString(deterministic=True)
    again = json_format.MessageToJson(message, descriptor_pool=everything.pool)
    # NaN differs from itself as a number, not as ProtoJSON's string.
    assert json.loads(again) == json.loads(canonical)


@pytest.mark.parametrize(("body", "pointer", "reason"), REFUSED)
def test_what_the_mapping_refuses(everything: Schema, body: str, pointer: str, reason: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        read(everything, "test.Everything", body)
    assert [at for at, _ in caught.value.errors] == [pointer]
    assert reason in caught.value.errors[0][1]


def test_all_faults_are_listed_at_once(everything: Schema) -> None:
    body = '{"anInt32": "x", "leaf": {"number": true, "nom": 1}, "leaves": [{"name": 1}, 5], "byInt32": {"z": {}}, "at": 1}'
    with pytest.raises(InvalidBody) as caught:
        read(everything, "test.Everything", body)
    assert [at for at, _ in caught.value.errors] == [
        "/anInt32", "/leaf/number", "/leaf/nom", "/leaves/0/name", "/leaves/1", "/byInt32/z", "/at"
    ]  # fmt: skip


def test_unknown_things_may_be_ignored(everything: Schema) -> None:
    body = '{"nope": {"x": [1]}, "colour": "PINK", "colours": ["PINK", "RED"], "byUint64": {"1": "PINK", "2": "RED"}, "aString": "x", "leaf": {"nope": 1}}'
    message = read(everything, "test.Everything", body, ignore=True)
    assert json_format.MessageToDict(message) == {
        "colours": ["RED"], "byUint64": {"2": "RED"}, "aString": "x", "leaf": {}
    }  # fmt: skip
    oracle = json_format.Parse(body, type(message)(), ignore_unknown_fields=True)
    assert message == oracle
    with pytest.raises(InvalidBody, match="whole number"):
        read(everything, "test.Everything", '{"anInt32": "x"}', ignore=True)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("google.protobuf.Timestamp", '"2020-01-01T00:00:00Z"'),
        ("google.protobuf.Duration", '"5s"'),
        ("google.protobuf.Struct", '{"a": [1, null]}'),
        ("google.protobuf.Value", "null"),
        ("google.protobuf.Value", "[1]"),
        ("google.protobuf.ListValue", "[1]"),
        ("google.protobuf.Int64Value", '"7"'),
        ("google.protobuf.BytesValue", '"AQ"'),
        ("google.protobuf.FieldMask", '"a,bC"'),
        ("google.protobuf.Empty", "{}"),
        ("google.protobuf.Any", '{"@type": "t/test.Leaf", "name": "x"}'),
    ],
)
def test_a_well_known_type_as_the_whole_body(everything: Schema, name: str, body: str) -> None:
    message = read(everything, name, body)
    oracle = json_format.Parse(body, type(message)(), descriptor_pool=everything.pool)
    assert message == oracle
    assert read(everything, name, body, quick=False) == oracle


# --- proto2 ------------------------------------------------------------------------------------------------------


def test_proto2_groups_extensions_and_defaults(old: Schema) -> None:
    body = (
        '{"id": "1", "number": 0, "closed": "B", "several": ["A", 2], "data": {"innerText": "x", "old": {"id": "2"}},'
        ' "row": [{"cell": "5"}, {}], "raw": "AQ==", "[old.note]": "n", "[old.marks]": ["1", 2],'
        ' "[old.tail]": {"text": "t"}, "[old.tails]": [{}, {"text": "u"}], "[old.shut]": "A"}'
    )
    message = read(old, "old.Old", body)
    oracle = json_format.Parse(body, type(message)())
    assert message == oracle
    assert message.Extensions[old.pool.FindExtensionByName("old.shut")] == 1


@pytest.mark.parametrize(
    ("body", "pointer", "reason"),
    [
        ('{"id": "1", "closed": 5}', "/closed", "not a number of"),
        ('{"id": "1", "closed": "C"}', "/closed", "not one of"),
        ('{"number": 1}', "/id", "required"),
        ('{"id": "1", "data": {"old": {}}}', "/data/old/id", "required"),
        ('{"id": "1", "[old.nothing]": 1}', "/[old.nothing]", "no field"),
        ('{"id": "1", "[old.marks]": ["x"]}', "/[old.marks]/0", "not a whole number"),
        ('{"id": "1", "[old.Tail]": {}}', "/[old.Tail]", "no field"),
    ],
)
def test_proto2_refusals(old: Schema, body: str, pointer: str, reason: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        read(old, "old.Old", body)
    assert [at for at, _ in caught.value.errors] == [pointer]
    assert reason in caught.value.errors[0][1]


def test_the_place_of_a_missing_field_keeps_the_characters_of_keys() -> None:
    file: Any = FileDescriptorProto(name="missing.proto", package="p", syntax="proto2")
    file.message_type.add(name="Sub").field.add(name="need", number=1, type=9, label=2)
    outer = file.message_type.add(name="Outer")
    entry = outer.nested_type.add(name="MEntry", options=MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".p.Sub", label=1)
    outer.field.add(name="m", number=1, type=11, type_name=".p.Outer.MEntry", label=3)
    outer.field.add(name="list", number=2, type=11, type_name=".p.Sub", label=3)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    message: Any = GetMessageClass(pool.FindMessageTypeByName("p.Outer"))()
    keys = ("a.b", "a/b~c", 'say "[0].x"', "")
    for key in keys:
        message.m[key].SetInParent()
    message.list.add()
    pointers = {pointer_of_missing(path) for path in message.FindInitializationErrors()}
    assert pointers == {"/list/0/need", *(pointer_of(["m", key, "need"]) for key in keys)}
