"""The field of an answer that is the id of its event: a path, through messages and the last items of lists."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from bridge.api import BindError
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.event_id import EventId
from bridge_grpc.mapping.parameters import resolve
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema
from tests.bridge_grpc.conftest import Bind

PROTO = """
syntax = "proto3";
package watch;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
service Watch { rpc Watch(Ask) returns (stream Told); }
message Ask { From from = 1; repeated int64 marks = 2; }
message From { int64 revision = 1; }
enum Kind { NONE = 0; SOME = 1; }
message Event { Item item = 1; repeated int64 marks = 2; }
message Item { int64 mod_revision = 1; bytes key = 2; string name = 3; Kind kind = 4; bool on = 5; double far = 6; }
message Told {
  Item item = 1; repeated Event events = 2; map<string, Item> items = 3; google.protobuf.Timestamp at = 4;
  google.protobuf.StringValue cursor = 5; optional int64 maybe = 6;
}
"""
ITEM: dict[str, Any] = {"mod_revision": 7, "key": b"\xff\x00", "name": "a", "kind": 1, "on": True, "far": 0.5}


@pytest.fixture(scope="module")
def watch(make_schema: Any) -> Schema:
    made: Schema = make_schema(PROTO)
    return made


def told(watch: Schema, path: str, **fields: Any) -> str:
    descriptor = watch.pool.FindMessageTypeByName("watch.Told")
    event_id = EventId(descriptor, path, Encoders(lambda name: None, Print()))
    return event_id.of(GetMessageClass(descriptor)(**fields).SerializeToString())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("item.mod_revision", "7"),
        ("item.modRevision", "7"),
        ("item.key", "/wA="),
        ("item.name", "a"),
        ("item.kind", "SOME"),
        ("item.on", "true"),
        ("item.far", "0.5"),
        ("events.item.mod_revision", "9"),
        ("events.marks", "3"),
        ("at", "2026-11-03T00:00:00Z"),
        ("cursor", "next"),
        ("maybe", "0"),
    ],
)
def test_a_path_finds_the_last_one_in_the_form_that_parameters_have(watch: Schema, path: str, text: str) -> None:
    events = [{"item": ITEM}, {"item": {**ITEM, "mod_revision": 9}, "marks": [1, 2, 3]}]
    made = {"item": ITEM, "events": events, "at": {"seconds": 1793664000}, "cursor": {"value": "next"}, "maybe": 0}
    assert told(watch, path, **made) == text
    target = resolve(watch.pool.FindMessageTypeByName("watch.Told"), path.split("."))
    if target is not None:  # one that holds no list can be filled with what was told
        target.read(text)


@pytest.mark.parametrize("path", ["item.mod_revision", "events.item.key", "events.marks", "at", "cursor", "maybe"])
def test_what_is_not_there_has_no_id(watch: Schema, path: str) -> None:
    assert told(watch, path) == ""


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("item.nothing", "not a field"),
        ("item.", "not a field"),
        ("items.value.name", "not a field"),
        ("at.seconds", "not a field"),
        ("item", "no text"),
        ("events", "no text"),
        ("items", "no text"),
    ],
)
async def test_paths_that_lead_nowhere_are_refused_at_bind(bind: Bind, path: str, reason: str) -> None:
    with pytest.raises(BindError, match=reason):
        await bind(PROTO, events={"Watch": {"id": path, "resume": "from.revision"}})


SEVERAL = PROTO.replace(
    "service Watch {",
    'service Watch { rpc Get(Ask) returns (Told); rpc Again(Ask) returns (stream Told) { option (google.api.http) = { get: "/a" additional_bindings { get: "/b" } }; }',  # noqa: E501
).replace("package watch;", 'package watch; import "google/api/annotations.proto";')


@pytest.mark.parametrize(
    ("events", "told_so"),
    [
        ({"Wach": {"id": "at"}}, {"Wach": "the route publishes no such method; did you mean 'Watch'?"}),
        ({"Get": {}}, {"Get": "it answers once, and events are a stream's"}),
        ({"Again": {"id": "nothing"}}, {"Again.id": "'nothing' is not a field of watch.Told"}),
        ({"Again": {"resume": "from.nothing"}}, {"Again.resume": "'from.nothing' is not a field of watch.Ask"}),
        ({"Again": {"resume": "from"}}, {"Again.resume": "'from' has no text of its own"}),
        ({"Again": {"resume": "marks"}}, {"Again.resume": "'marks' is a list, and the last id is one value"}),
        (
            {"watch.Watch.Again": {"id": "item", "resume": "x"}},
            {
                '["watch.Watch.Again"].id': "'item' has no text of its own",
                '["watch.Watch.Again"].resume': "'x' is not a field of watch.Ask",
            },
        ),
    ],
)
async def test_what_events_get_wrong_is_told_once(bind: Bind, events: Any, told_so: dict[str, str]) -> None:
    with pytest.raises(BindError) as caught:
        await bind(SEVERAL, events=events)
    assert [
        (fault.key.removeprefix("transform.grpc.events").removeprefix("."), fault.reason)
        for fault in caught.value.faults
    ] == [*told_so.items()]
