"""Query parameters beyond ``google/api/http.proto``: brackets in JSON names, items of repeated messages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
import pytest

from bridge.api import BindError, Call, GrpcReply, InvalidBody, InvalidParameter
from bridge_grpc import Grpc

PROTO = """
syntax = "proto3";
package q;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
message Part {
  string name = 1; int32 size = 2; repeated string tags = 3; repeated Part parts = 4; map<string, string> labels = 5;
  google.protobuf.Timestamp at = 6; Part inner = 7;
}
message Query {
  string by_name = 1 [json_name = "filter[name]"];
  repeated string by_tag = 2 [json_name = "filter[tag]"];
  string dotted = 3 [json_name = "page.size"];
  map<string, string> labels = 4;
  repeated Part parts = 5;
  Part part = 6;
  repeated Part more_parts = 7 [json_name = "more.parts"];
}
service S {
  rpc Find(Query) returns (Query) { option (google.api.http) = { get: "/find" }; }
  rpc Watch(Query) returns (stream Query);
}
"""


async def found(bind: Any, query: str, **options: Any) -> Any:
    """The message that the service gets, as JSON."""
    [get] = [op for op in await bind(PROTO, **options) if op.method == "GET" and op.path == "/find"]
    message = get.codec.request(Call(query=query)).message
    return orjson.loads(get.codec.reply(Call(), GrpcReply(0, message)).content)


async def test_a_json_name_with_brackets_is_a_parameter(bind: Any, grpc_plugin: Grpc) -> None:
    query = f"{quote('filter[name]')}=a&filter[tag]=b&filter[tag]=c&page.size=5&labels[x]=y"
    assert await found(bind, query) == {
        "filter[name]": "a", "filter[tag]": ["b", "c"], "page.size": "5", "labels": {"x": "y"}
    }  # fmt: skip
    assert await found(bind, "by_name=a") == {"filter[name]": "a"}
    with pytest.raises(InvalidParameter) as caught:
        await found(bind, "filter[other]=a&filter[name]=b&filter[name]=c")
    assert [name for name, _ in caught.value.errors] == ["filter[other]", "filter[name]"]
    [get] = [op for op in await bind(PROTO) if op.path == "/find" and op.method == "GET"]
    names = [parameter["name"] for parameter in get.describe().operation["parameters"]]
    assert {"filter[name]", "filter[tag]", "page.size", "labels"} <= set(names)


async def test_items_of_repeated_messages_where_the_route_takes_them(bind: Any) -> None:
    query = "parts[0].name=a&parts[1].size=2&parts[1].tags=x&parts[1].tags=y&parts[1].parts[0].name=b"
    query += "&parts[0].labels[k]=v&parts[0].at=2026-11-03T20:15:00Z&part.parts[0].inner.name=c&filter[name]=d"
    assert await found(bind, query, query_items=True) == {
        "filter[name]": "d",
        "parts": [
            {"name": "a", "labels": {"k": "v"}, "at": "2026-11-03T20:15:00Z"},
            {"size": 2, "tags": ["x", "y"], "parts": [{"name": "b"}]},
        ],
        "part": {"parts": [{"inner": {"name": "c"}}]},
    }
    with pytest.raises(InvalidParameter):
        await found(bind, query)
    more = {"more.parts": [{"name": "a"}, {"name": "b"}]}
    for name in ("more.parts", "more_parts"):
        assert await found(bind, f"{name}[1].name=b&{name}[0].name=a", query_items=True) == more


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("parts[1].name=a", "parts[1]"),
        ("parts[0].name=a&parts[2].name=b", "parts[0]"),
        ("parts[0].size=x", "parts[0].size"),
        ("parts[0].other=x", "parts[0].other"),
        ("parts[0].name=a&parts[0].name=b", "parts[0].name"),
        ("others[0].name=a", "others[0]"),
        ("filter[0].name=a", "filter[0]"),
        ("part[0].name=a", "part[0]"),
        ("labels[0].name=a", "labels[0]"),
        ("parts[1000].name=a", "parts[1000].name"),
        ("parts[0]=a", "parts[0]"),
        ("parts[00].name=a", "parts[00].name"),
        ("parts[٠].name=a", "parts[٠].name"),  # a zero of another script
        ("more.parts[0].name=a&more_parts[0].name=b", "more_parts[0]"),
        (f"{'parts[0].' * 6}name=a", "parts[0].parts[0].parts[0].parts[0].parts[0].parts[0].name"),
    ],
)
async def test_items_that_can_not_be_given_are_named(bind: Any, query: str, name: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        await found(bind, query, query_items=True)
    assert [each for each, _ in caught.value.errors] == [name]


async def test_items_are_in_the_document(bind: Any) -> None:
    [get] = [op for op in await bind(PROTO, query_items=True) if op.path == "/find" and op.method == "GET"]
    names = [parameter["name"] for parameter in get.describe().operation["parameters"]]
    assert {"parts[0].name", "parts[0].size", "parts[0].tags"} <= set(names)


async def test_a_success_may_have_another_status(bind: Any) -> None:
    for name, status in (("Find", 201), ("q.S.Find", 202), ("*", 204)):
        operations = await bind(PROTO, statuses={name: status})
        find = [op for op in operations if op.upstream_name == "/q.S/Find" and op.path != "/q.S/Watch"]
        assert len(find) == 2
        for operation in find:
            reply = operation.codec.reply(Call("POST"), GrpcReply(0, b""))
            assert (reply.status, reply.content) == (status, b"" if status == 204 else b"{}")
            responses = operation.describe().operation["responses"]
            assert list(responses) == [str(status)]
            assert ("content" in responses[str(status)]) is (status != 204)


@pytest.mark.parametrize(("name", "reason"), [("Fnd", "did you mean 'Find'"), ("Watch", "it streams")])
async def test_statuses_of_methods_that_have_none(bind: Any, name: str, reason: str) -> None:
    with pytest.raises(BindError, match=reason) as caught:
        await bind(PROTO, statuses={name: 201})
    assert caught.value.faults[0].path == ("transform", "grpc", "statuses", name)


ENUMS = """
syntax = "proto3";
package e;
import "google/api/annotations.proto";
enum OrderState { ORDER_STATE_UNSPECIFIED = 0; ORDER_STATE_OPEN = 1; ORDER_STATE_2 = 2; OTHER = 3; }
enum HTTPCode { HTTP_CODE_OK = 0; HTTP_CODE_GONE = 1; }
message M {
  OrderState state = 1; repeated OrderState states = 2; map<string, OrderState> by_name = 3; HTTPCode code = 4;
  OrderState path = 5;
}
service S {
  rpc Get(M) returns (M) {
    option (google.api.http) = { get: "/of/{path}" additional_bindings { post: "/all" body: "*" } };
  }
}
"""


async def test_enum_values_without_their_type_s_prefix_where_the_route_takes_them(bind: Any) -> None:
    query = "state=OPEN&states=OPEN&states=ORDER_STATE_UNSPECIFIED&states=OTHER&by_name[a]=OPEN&code=GONE"
    body = (
        b'{"state": "OPEN", "states": ["OPEN", "ORDER_STATE_OPEN", "OTHER"], "byName": {"a": "OPEN"}, "code": "GONE"}'
    )
    for options, opened, gone in (
        ({"short_enums": True}, "ORDER_STATE_OPEN", "HTTP_CODE_GONE"),
        ({"print": {"short_enums": True}}, "OPEN", "GONE"),
    ):
        get, post, _ = await bind(ENUMS, **options)
        message = get.codec.request(Call(raw_params={"path": "OPEN"}, query=query)).message
        answer = orjson.loads(get.codec.reply(Call(), GrpcReply(0, message)).content)
        unspecified = "UNSPECIFIED" if opened == "OPEN" else "ORDER_STATE_UNSPECIFIED"
        assert answer == {
            "state": opened, "states": [opened, unspecified, "OTHER"], "byName": {"a": opened},
            "code": gone, "path": opened,
        }  # fmt: skip
        message = post.codec.request(Call("POST", body=body)).message
        answer = orjson.loads(post.codec.reply(Call(), GrpcReply(0, message)).content)
        assert answer == {"state": opened, "states": [opened, opened, "OTHER"], "byName": {"a": opened}, "code": gone}
        schema = str(get.describe().schemas)
        assert ("'OPEN'" in schema) is (opened == "OPEN")
        for name in ("2", "ORDER_STATE_2"):  # a number is a number
            assert b"\x08\x02" in post.codec.request(Call("POST", body=b'{"state": "%s"}' % name.encode())).message
        with pytest.raises(InvalidBody, match="'NOPE' is not one of"):
            post.codec.request(Call("POST", body=b'{"state": "NOPE"}'))
    get, post, _ = await bind(ENUMS)
    with pytest.raises(InvalidParameter):
        get.codec.request(Call(raw_params={"path": "OPEN"}))
    with pytest.raises(InvalidBody) as caught:
        post.codec.request(Call("POST", body=body))
    assert [pointer for pointer, _ in caught.value.errors] == ["/state", "/states/0", "/byName/a", "/code"]
