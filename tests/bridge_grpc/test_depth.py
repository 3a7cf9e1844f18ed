"""How deep JSON may be nested: what an answer can hold can be sent back, and what no service reads is 400."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest

from bridge.api import BadReply, Call, GrpcReply, InvalidBody

PROTO = """
syntax = "proto3";
package deep;
import "google/protobuf/struct.proto";
import "google/protobuf/any.proto";
message M {
  M again = 1; repeated M many = 2; map<string, M> map = 3; string text = 4; google.protobuf.Value value = 5;
  google.protobuf.Any any = 6; google.protobuf.Struct struct = 7;
}
service S { rpc Echo(M) returns (M); }
"""
#: How one level is written: before and after the next one, and how many levels of JSON and messages that is.
SHAPES = {
    "again": ('{"again":', "}", 1, 1),
    "many": ('{"many":[', "]}", 2, 1),
    "map": ('{"map":{"a":', "}}", 2, 2),
}


def nested(shape: str, levels: int, inner: str = '{"text":"x"}') -> bytes:
    begin, end, _, _ = SHAPES[shape]
    return (begin * levels + inner + end * levels).encode()


def value(levels: int) -> bytes:
    return b'{"value":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_deepest_answer_can_be_sent_back(bind: Any, shape: str) -> None:
    [operation] = await bind(PROTO)
    codec: Any = operation.codec
    levels = 100 // SHAPES[shape][3]
    body = nested(shape, levels - 1)
    wire = codec.request(Call("POST", body=body)).message
    reply = codec.reply(Call(), GrpcReply(0, wire))
    assert orjson.loads(reply.body) == orjson.loads(body)
    assert codec.request(Call("POST", body=reply.body)).message == wire


async def test_values_too(bind: Any) -> None:
    """A list in a list is two messages."""
    [operation] = await bind(PROTO)
    codec: Any = operation.codec
    for levels in (10, 33, 48):
        wire = codec.request(Call("POST", body=value(levels))).message
        assert codec.reply(Call(), GrpcReply(0, wire)).body == value(levels)
    for levels in range(49, 70):
        with contextlib.suppress(InvalidBody):
            wire = codec.request(Call("POST", body=value(levels))).message
            codec.reply(Call(), GrpcReply(0, wire))
    with pytest.raises(InvalidBody, match=r"messages are nested|can.t be made of it"):
        codec.request(Call("POST", body=value(60)))


@pytest.mark.parametrize("text", ['"x"', "5"], ids=["right", "wrong"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_no_service_reads_is_refused(bind: Any, shape: str, text: str) -> None:
    """By the fast and by the judging reader, and never by Python's own limit."""
    [operation] = await bind(PROTO)
    codec: Any = operation.codec
    for levels in (103, 110, 198, 250, 900, 2000):
        with pytest.raises(InvalidBody) as caught:
            codec.request(Call("POST", body=nested(shape, levels, f'{{"text":{text}}}')))
        reason = caught.value.errors[0][1]
        is_json = levels * SHAPES[shape][2] < 200
        assert ("messages are nested" in reason or "must be a string" in reason) if is_json else "deeper" in reason


def in_any(kind: str, levels: int) -> bytes:
    if kind == "M":
        return b'{"any":{"@type":"x/deep.M","again":' + b'{"again":' * (levels - 1) + b"{}" + b"}" * (levels + 1)
    opening, closing = (b'{"a":', b"}") if kind == "Struct" else (b"[", b"]")
    inner = opening * levels + (b"{}" if kind == "Struct" else b"") + closing * levels
    return b'{"any":{"@type":"x/google.protobuf.%b","value":%b}}' % (kind.encode(), inner)


@pytest.mark.parametrize(("kind", "most"), [("M", 100), ("Struct", 33), ("Value", 50)])
async def test_what_an_any_may_hold_comes_back_and_what_not_is_refused(bind: Any, kind: str, most: int) -> None:
    """An Any holds bytes, so that protobuf itself looks no further."""
    [operation] = await bind(PROTO)
    codec: Any = operation.codec
    for levels in range(most - 3, most + 1):
        wire = codec.request(Call("POST", body=in_any(kind, levels))).message
        assert orjson.loads(codec.reply(Call(), GrpcReply(0, wire)).body) == orjson.loads(in_any(kind, levels))
    for levels in range(most + 1, most + 4):
        with pytest.raises(InvalidBody, match="more than 100 messages are nested in one another"):
            codec.request(Call("POST", body=in_any(kind, levels)))


async def test_a_fault_of_depth_has_no_words_of_the_library(bind: Any) -> None:
    [operation] = await bind(PROTO)
    codec: Any = operation.codec
    for levels in range(33, 37):
        body = b'{"struct":' + b'{"a":' * levels + b"{}" + b"}" * levels + b"}"
        with contextlib.suppress(InvalidBody):
            codec.request(Call("POST", body=body))
            continue
        with pytest.raises(InvalidBody, match="more than 100 messages are nested in one another"):
            codec.request(Call("POST", body=body))


async def test_an_answer_that_is_nested_too_deeply_is_a_bad_reply(bind: Any) -> None:
    [operation] = await bind(PROTO)
    codec: Any = operation.codec
    wire = b"\x22\x01x"
    for _ in range(120):
        size = len(wire)
        wire = b"\x0a" + (bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))) + wire
    with pytest.raises(BadReply):
        codec.reply(Call(), GrpcReply(0, wire))
