"""Random messages and random JSON: the compiled codec and json_format agree on all of them."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.api import InvalidBody, parse_json
from bridge_grpc.codec import json_body
from bridge_grpc.codec.decode_json import Decoders, MessageReader
from bridge_grpc.codec.element import DOUBT
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema

F = FieldDescriptor
QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType]  # an enum class is a collection of its members

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    F.TYPE_DOUBLE: st.floats().map(lambda v: math.nan if math.isnan(v) else v),  # NaN's payload is not JSON's to keep
    F.TYPE_FLOAT: st.floats(width=32).map(lambda v: math.nan if math.isnan(v) else v),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_STRING: TEXT,
    F.TYPE_BYTES: st.binary(max_size=8),
    **dict.fromkeys((F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32), st.integers(-(2**31), 2**31 - 1)),
    **dict.fromkeys((F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64), st.integers(-(2**63), 2**63 - 1)),
    **dict.fromkeys((F.TYPE_UINT32, F.TYPE_FIXED32), st.integers(0, 2**32 - 1)),
    **dict.fromkeys((F.TYPE_UINT64, F.TYPE_FIXED64), st.integers(0, 2**64 - 1)),
}
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | FINITE | TEXT,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3),
    max_leaves=6,
)


@st.composite
def messages(draw: st.DrawFn, schema: Schema, descriptor: Descriptor, depth: int = 0) -> Any:
    """A message with some of its fields set; well-known types within what JSON can say."""
    cls = schema.message_class(descriptor)
    name = descriptor.full_name
    if name in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"):
        value: dict[str, st.SearchStrategy[Any]] = {
            "Struct": st.dictionaries(TEXT, JSON, max_size=3),
            "Value": JSON,
            "ListValue": st.lists(JSON, max_size=3),
        }
        return json_format.ParseDict(draw(value[descriptor.name]), cls())
    if name == "google.protobuf.Timestamp":
        return cls(seconds=draw(st.integers(-62135596800, 253402300799)), nanos=draw(st.integers(0, 999_999_999)))
    if name == "google.protobuf.Duration":
        sign = draw(st.sampled_from([1, -1]))
        return cls(seconds=sign * draw(st.integers(0, 315_575_999_999)), nanos=sign * draw(st.integers(0, 999_999_999)))
    if name == "google.protobuf.FieldMask":
        return cls(
            paths=draw(st.lists(st.from_regex(r"[a-z]{1,3}(_[a-z]{1,2})?(\.[a-z]{1,3})?", fullmatch=True), max_size=3))
        )
    if name == "google.protobuf.Any":
        inner = draw(messages(schema, schema.pool.FindMessageTypeByName("test.Leaf"), depth + 1))
        made = cls(type_url="type.googleapis.com/test.Leaf", value=inner.SerializeToString())
        return draw(st.sampled_from([cls(), made]))
    message = cls()
    fields = (
        draw(st.lists(st.sampled_from(list(descriptor.fields)), unique_by=lambda f: f.name, max_size=8))
        if descriptor.fields
        else []
    )
    for field in fields:
        if field.message_type is not None and depth > 2:
            continue
        fill(draw, schema, message, field, depth)
    return message


def fill(draw: st.DrawFn, schema: Schema, message: Any, field: FieldDescriptor, depth: int) -> None:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        target = getattr(message, field.name)
        for _ in range(draw(st.integers(1, 2))):
            key = draw(SCALARS[entry.fields_by_name["key"].type])
            value = one(draw, schema, entry.fields_by_name["value"], depth)
            if entry.fields_by_name["value"].message_type is not None:
                target[key].CopyFrom(value)
            else:
                target[key] = value
    elif field.is_repeated:
        getattr(message, field.name).extend([one(draw, schema, field, depth) for _ in range(draw(st.integers(1, 2)))])
    elif entry is not None:
        getattr(message, field.name).CopyFrom(one(draw, schema, field, depth))
    else:
        setattr(message, field.name, one(draw, schema, field, depth))


def one(draw: st.DrawFn, schema: Schema, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        return draw(messages(schema, field.message_type, depth + 1))
    if field.enum_type is not None:
        known = sorted(field.enum_type.values_by_number)
        return draw(st.sampled_from(known if field.enum_type.name == "NullValue" else [*known, 99]))
    return draw(SCALARS[field.type])


def find_in(schema: Schema) -> Any:
    def find(name: str) -> Any:
        try:
            return schema.pool.FindMessageTypeByName(name)
        except KeyError:
            return None

    return find


def ours(schema: Schema, body: bytes, name: str = "test.Everything") -> Any:
    """The message, or None where it is refused. The call for a whole body must say what its pieces say."""
    decoders, descriptor = Decoders(find_in(schema)), schema.pool.FindMessageTypeByName(name)
    reader, wire = decoders.reader(descriptor), decoders.wire(descriptor)
    made: bytes | None = None
    try:
        try:
            made = reader.serialise(reader.decode(json_body.read(body)))
        except DOUBT:
            with pytest.raises(DOUBT):
                wire(body)
            faults: list[tuple[str, str]] = []
            judged = reader.judge(parse_json(body), "", faults)
            made = None if faults else reader.serialise(judged)
        else:
            assert parsed(reader, wire(body)) == parsed(reader, made)
    except InvalidBody:
        made = None
    return None if made is None else reader.cls.FromString(made)


def parsed(reader: MessageReader, wire: bytes) -> bytes:
    """The same for every order of a map's entries, and for NaN."""
    made: bytes = reader.cls.FromString(wire).SerializeToString(deterministic=True)
    return made


@QUICKLY
@given(st.data())
def test_messages_go_to_json_and_back(everything: Schema, data: st.DataObject) -> None:
    message = data.draw(messages(everything, everything.pool.FindMessageTypeByName("test.Everything")))
    encoders = Encoders(find_in(everything), Print())
    written = encoders.writer(message.DESCRIPTOR)(message)
    expected = json_format.MessageToDict(message, descriptor_pool=everything.pool)
    assert written == expected
    text = encoders.text(message.DESCRIPTOR)(message.SerializeToString())
    assert orjson.loads(text) == orjson.loads(orjson.dumps(written))
    back = ours(everything, orjson.dumps(written))
    # NaN is not equal to itself, so the bytes are compared. A list of NullValue holds nulls, which stand for its items.
    assert back is not None
    assert back.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


#: Near misses: what a client might write where a scalar belongs.
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), FINITE, TEXT, JSON,
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1.0", "-1", "1e3", "00", "RED", "COLOUR_UNSPECIFIED", "true", "AQ==", "-_", "1s", "1.5s",
                     "2020-01-01T00:00:00Z", "a,b", 1.0, 1e10, 2**31, 2**63, 2**64, -(2**31), 3.5e38, "x", "", {}, [], [1], {"a": 1}, {"1": 1}, {"name": "x"},
                     {"@type": "t/test.Leaf"}, {"@type": "t/test.Leaf", "name": "y"}, [None], [{}], {"a": None}]),
)  # fmt: skip


@settings(QUICKLY, max_examples=300)
@given(st.data())
def test_json_is_taken_or_refused_as_json_format_does(everything: Schema, data: st.DataObject) -> None:
    descriptor = everything.pool.FindMessageTypeByName("test.Everything")
    field = data.draw(st.sampled_from(list(descriptor.fields)))
    value = data.draw(ODD)
    body = json.dumps({field.json_name: value}).encode()
    mine = ours(everything, body)
    try:
        theirs = json_format.Parse(body, everything.message_class(descriptor)(), descriptor_pool=everything.pool)
    except json_format.ParseError:
        theirs = None
    if laxer(field, value) or stricter(field, value):
        return
    assert (mine is None) == (theirs is None)
    if mine is not None and theirs is not None:
        assert mine.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for k, v in value.items() for text in (k, *texts(v))]
    return [text for v in value for text in texts(v)] if isinstance(value, list) else [str(value)]


def laxer(field: FieldDescriptor, value: Any) -> bool:
    """Where json_format takes what the specification doesn't: we refuse."""
    kinds = {field.type} | ({f.type for f in field.message_type.fields} if field.message_type else set())
    words = texts(value)
    if field.message_type is not None and any(part in ("", []) for part in (value, *iterable(value))):
        return True  # an empty string or array is an empty message there
    if F.TYPE_BYTES in kinds and any(not re.fullmatch(r"[A-Za-z0-9+/_-]*={0,2}", word) or word for word in words):
        return True  # characters outside the alphabet are skipped there
    if any(word != word.strip() or "_" in word or not word.isascii() or word.startswith("+") for word in words):
        return True  # int() and float() take spaces, underscores, plus signs and other scripts' digits
    if kinds & {F.TYPE_DOUBLE, F.TYPE_FLOAT} and (
        isinstance(value, bool) or any(isinstance(v, bool) for v in iterable(value))
    ):
        return True  # true is 1.0 there
    if kinds & {F.TYPE_DOUBLE, F.TYPE_FLOAT} and any(re.fullmatch(r"-?0[0-9].*", word) for word in words):
        return True  # float() takes leading zeros, which no JSON number has
    if any(word.lower() in ("nan", "inf", "infinity", "-inf", "-infinity", "-nan") for word in words):
        return True
    # A boolean is 0 or 1 there, a fraction is cut, and a number out of range loses its upper half.
    return F.TYPE_ENUM in kinds and any(
        isinstance(v, bool) or (isinstance(v, int | float) and (abs(v) >= 2**31 or v % 1))
        for v in (value, *iterable(value))
    )


def stricter(field: FieldDescriptor, value: Any) -> bool:
    """Where json_format refuses what the specification takes: we take it."""
    holder = field.message_type
    value_type = (
        holder.fields_by_name["value"].enum_type
        if holder is not None and holder.GetOptions().map_entry
        else field.enum_type
    )
    if value_type is not None and value_type.full_name == "google.protobuf.NullValue":
        return True  # null in a list or a map is a NullValue, too
    if value is None and field.is_repeated:
        return True  # it takes a list of Value that is null for a Value, and stumbles
    # Numbers beyond 2**53 as text with an exponent, and empty values that read as nothing.
    return isinstance(value, float) and abs(value) > 2**53


def iterable(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
