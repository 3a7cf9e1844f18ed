"""Which of a route's operations answer other protocols than JSON, and how their paths and schemas take part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from bridge.api import Call, GrpcReply, InvalidBody, Operation
from bridge.fronts.connect import ConnectGetCodec
from bridge.fronts.publish import FrontedCodec
from tests.fronts.rpc_service import framed, opened, post

Bind = Callable[..., Awaitable[Sequence[Operation]]]

PROTO = """
syntax = "proto3";
package tally.v1;
import "google/api/annotations.proto";
service Tally {
  // Counts.
  rpc Get(Ask) returns (Ask) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = { get: "/counts/{county}" };
  }
  rpc Put(Ask) returns (Ask);
  rpc Taken(Ask) returns (Ask) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = { get: "/tally.v1.Tally/Taken" };
  }
  rpc Again(Ask) returns (Ask) { option idempotency_level = IDEMPOTENT; }
}
message Ask { string county = 1; string tenant = 2; int64 ballots = 3; }
"""


async def test_automatic_paths_alone(bind: Bind) -> None:
    found = {(op.method, op.path): type(op.codec) for op in await bind(PROTO)}
    fronted = {key: kind for key, kind in found.items() if issubclass(kind, FrontedCodec | ConnectGetCodec)}
    assert fronted == {
        ("POST", "/tally.v1.Tally/Get"): FrontedCodec,
        ("POST", "/tally.v1.Tally/Put"): FrontedCodec,
        ("POST", "/tally.v1.Tally/Taken"): FrontedCodec,
        ("POST", "/tally.v1.Tally/Again"): FrontedCodec,
        ("GET", "/tally.v1.Tally/Get"): ConnectGetCodec,  # of what only reads, where no rule has the path
    }
    assert ("GET", "/counts/{county}") in found
    assert ("GET", "/tally.v1.Tally/Taken") in found


async def test_names_stay_unique(bind: Bind) -> None:
    names = [op.name for op in await bind(PROTO)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", ["application/grpc-web", "application/proto"])
async def test_the_routes_own_parameters_count_more_than_the_message(kind: str, bind: Bind) -> None:
    """A tenant in the path is whom the route has authorised; another one in the body must not go up."""
    operations = await bind(PROTO, route="/of/{tenant}", metadata={"shard": "4"})
    (operation,) = (op for op in operations if (op.method, op.path) == ("POST", "/tally.v1.Tally/Put"))
    theirs = b"\n\x01a\x12\x06theirs\x18\x07"
    call = post(kind, framed(theirs) if "web" in kind else theirs)
    call.raw_params = {"tenant": "o%75rs"}
    assert isinstance(operation.codec, FrontedCodec)
    made = operation.codec.request(call)
    shown = operation.codec.show(made)
    assert 'tenant: "ours"' in shown
    assert "theirs" not in shown
    assert made.metadata == [("shard", "4")]


async def test_calls_that_are_under_way_together_keep_their_own_forms(bind: Bind) -> None:
    """A codec serves them all, and what a call speaks goes with the call, shown to one codec or to several."""
    operations = await bind(PROTO)
    (codec,) = (op.codec for op in operations if (op.method, op.path) == ("POST", "/tally.v1.Tally/Put"))
    (other,) = (op.codec for op in operations if (op.method, op.path) == ("POST", "/tally.v1.Tally/Again"))
    assert isinstance(codec, FrontedCodec)
    assert isinstance(other, FrontedCodec)
    wire, text = b"\n\x01a", b'{"county":"a"}'
    calls = {
        "application/json": post("application/json", text),
        "application/grpc-web+proto": post("application/grpc-web+proto", framed(wire)),
        "application/proto": post("application/proto", wire),
        "application/grpc-web+json": post("application/grpc-web+json", framed(text)),
    }
    assert [codec.request(call).message for call in calls.values()] == [wire] * 4
    assert [other.request(call).message for call in reversed(calls.values())] == [wire] * 4
    replies = [codec.reply(call, GrpcReply(0, wire)) for call in reversed(calls.values())]
    assert [dict(reply.headers)["content-type"] for reply in replies] == list(reversed(calls))
    unseen = codec.reply(post("application/proto", wire), GrpcReply(0, wire))
    assert dict(unseen.headers)["content-type"] == "application/proto"


async def test_the_faults_of_a_body_are_the_same_in_every_dialect(bind: Bind) -> None:
    (codec,) = (op.codec for op in await bind(PROTO) if (op.method, op.path) == ("POST", "/tally.v1.Tally/Put"))
    assert isinstance(codec, FrontedCodec)
    connect = ("connect-protocol-version", "1")
    for text in (
        b'{"county": 1, "ballots": "x", "no": 2}',
        b'{"county": "a", "county": "b"}',
        b"{",
        b"[" * 200 + b"]" * 200,
    ):
        faults = []
        for call in (
            post("application/json", text),
            post("application/json", text, connect),
            post("application/grpc-web+json", framed(text)),
        ):
            with pytest.raises(InvalidBody) as caught:
                codec.request(call)
            faults.append(caught.value.errors)
        assert faults[0] == faults[1] == faults[2]
        assert faults[0]


async def test_an_answer_in_json_is_the_routes_json(bind: Bind) -> None:
    operations = await bind(PROTO, print={"default_values": True})
    (operation,) = (op for op in operations if (op.method, op.path) == ("POST", "/tally.v1.Tally/Put"))
    assert isinstance(operation.codec, FrontedCodec)
    reply = operation.codec.reply(post("application/grpc-web+json"), GrpcReply(0))
    assert next(opened(reply.content)) == (0, b'{"county":"","tenant":"","ballots":"0"}')


async def test_connects_get_is_described(bind: Bind) -> None:
    ((operation, codec),) = ((op, op.codec) for op in await bind(PROTO) if isinstance(op.codec, ConnectGetCodec))
    described = operation.describe().operation
    names = [parameter["name"] for parameter in described["parameters"]]
    assert names == ["connect", "encoding", "message", "base64", "compression"]
    assert "requestBody" not in described
    call = Call("GET", "/x", query="connect=v1&encoding=json&message=%7B%22ballots%22%3A3%7D")
    assert codec.request(call).message == b"\x18\x03"
