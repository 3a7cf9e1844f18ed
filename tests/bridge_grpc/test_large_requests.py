"""Large JSON bodies become the same messages as small ones, though they are read, built and written in parts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.api import Call, InvalidBody
from bridge_grpc.codec import decode_json, json_body

PROTO = """
syntax = "proto3";
package big;
message Item { string name = 1; int64 number = 2; Item inner = 3; }
message All {
  repeated Item items = 5; string before = 1; repeated int64 numbers = 2; map<string, Item> map = 3; Item one = 4;
  oneof which { string this = 6; string that = 7; } repeated string texts = 8;
}
service S { rpc Echo(All) returns (All); }
"""
ITEMS = [{"name": f'row {number}: \u00e9 "quoted", \\ and {{', "number": str(number)} for number in range(6000)]
ALL = {
    "items": ITEMS,
    "before": "x",
    "numbers": [str(number) for number in range(3000)],
    "map": {f"k:{number}": {"name": "m"} for number in range(2000)},
    "one": {"inner": {"name": "one"}},
    "that": "that one",
    "texts": ["", ",", ":"] * 1000,
}


def written(value: Any, **options: Any) -> bytes:
    body = json.dumps(value, **options).encode()
    assert len(body) > json_body.LARGE
    return body


@pytest.fixture
async def codec(bind: Any) -> Any:
    [operation] = await bind(PROTO)
    return operation.codec


BODIES = {
    "plain": written(ALL),
    "as orjson writes it": written(ALL, separators=(",", ":"), ensure_ascii=False),
    "indented": written(ALL, indent=2),
    "the list alone": written({"items": ITEMS}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_the_same_message(codec: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = codec.request(Call("POST", body=body)).message
    monkeypatch.setattr(json_body, "LARGE", 1 << 40)  # as a small one
    small = codec.request(Call("POST", body=body)).message
    if body is BODIES["the list alone"]:
        assert wire == small
    assert sorted_fields(wire) == sorted_fields(small)


def sorted_fields(wire: bytes) -> list[bytes]:
    """The fields of a serialised message, those of one number in their order."""
    fields: list[tuple[int, bytes]] = []
    at = 0

    def varint(at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            byte = wire[at]
            number |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return number, at

    while at < len(wire):
        tag, after = varint(at)
        assert tag & 7 == 2
        length, content = varint(after)
        fields.append((tag >> 3, wire[content : content + length]))
        at = content + length
    # A packed field may come in several parts.
    packed = b"".join(content for number, content in fields if number == 2)
    maps = sorted(content for number, content in fields if number == 3)
    rest = sorted((field for field in fields if field[0] not in (2, 3)), key=lambda field: field[0])
    return [packed, *maps, *[b"%d:" % number + content for number, content in rest]]


@pytest.mark.fast_path
async def test_the_parts_are_small(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call into C builds or serialises more than a few items."""
    sizes: list[int] = []
    codec_reader = decode_json.MessageReader
    serialise_large = codec_reader.serialise_large

    def noted(self: Any, arguments: Any) -> bytes:
        own = self.cls

        class Counting:
            def __call__(self, **given: Any) -> Any:
                sizes.append(max((len(value) for value in given.values() if isinstance(value, list)), default=0))
                return own(**given)

        self.cls = Counting()
        try:
            return serialise_large(self, arguments)
        finally:
            self.cls = own

    monkeypatch.setattr(codec_reader, "serialise_large", noted)
    codec.request(Call("POST", body=BODIES["plain"]))
    assert len(sizes) == 1 + 6 + 3 + 3
    assert max(sizes) == json_body.ITEMS


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"items": [*ITEMS, {"nam": "x"}]}, "/items/6000/nam"),
        ({"items": [*ITEMS[:10], {"number": "x"}, *ITEMS]}, "/items/10/number"),
        ({"this": "two of a oneof"}, ""),
    ],
)
async def test_faults_have_their_places(codec: Any, change: Any, pointer: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        codec.request(Call("POST", body=written(ALL | change)))
    assert caught.value.errors[0][0].startswith(pointer)


@pytest.mark.parametrize("options", [{}, {"separators": (",", ":")}])
async def test_a_name_that_is_given_twice(codec: Any, options: Any) -> None:
    body = written(ALL, **options)
    twice = body[:-1] + b',"before":"y"}'
    with pytest.raises(InvalidBody, match="twice"):
        codec.request(Call("POST", body=twice))


async def test_a_required_field_is_missed_at_its_place(bind: Any) -> None:
    proto = PROTO.replace('"proto3"', '"proto2"').replace("string name = 1", "required string name = 1")
    proto = proto.replace(
        "  repeated Item items = 5; string before = 1;", "repeated Item items = 5; optional string before = 1;"
    )
    proto = proto.replace("int64 number = 2; Item inner = 3;", "optional int64 number = 2; optional Item inner = 3;")
    proto = proto.replace("Item one = 4;", "optional Item one = 4;")
    [operation] = await bind(proto)
    items = [*ITEMS, {"number": "1"}]
    with pytest.raises(InvalidBody) as caught:
        operation.codec.request(Call("POST", body=written({"items": items})))
    assert caught.value.errors == (("/items/6000/name", "this field is required"),)


async def test_too_many_levels_are_found_in_large_ones_too(codec: Any) -> None:
    deep: Any = {"name": "x"}
    for _ in range(120):
        deep = {"inner": deep}
    with pytest.raises(InvalidBody):
        codec.request(Call("POST", body=written({"items": [*ITEMS, deep]})))
    for _ in range(60):
        deep = deep["inner"]
    assert codec.request(Call("POST", body=written({"items": [*ITEMS, deep]}))).message
