"""Fields that the gateway fills: where their values come from, that nobody else may give them, and who is told what."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from bridge.api import BindError, Call, Forbidden, Identity, InvalidParameter, Operation
from tests.bridge_grpc.conftest import request_type

pytestmark = pytest.mark.usefixtures("operator")

PROTO = """
syntax = "proto3";
package f.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
service Votes {
  rpc Cast(Vote) returns (Vote) {
    option (google.api.http) = { post: "/cast" body: "*" additional_bindings { get: "/cast" } additional_bindings { patch: "/mark" body: "mark" } };
  }
  rpc Count(Nothing) returns (Nothing) { option (google.api.http) = { get: "/count/{county}" }; }
}
enum Kind { KIND_UNSPECIFIED = 0; MAIL = 1; }
message Nothing { string county = 1; }
message Vote {
  string voter_id = 1; repeated string locales = 2; string region = 3; Kind kind = 4; int64 level = 5; bool staff = 6;
  google.protobuf.Timestamp at = 7; google.protobuf.Struct extra = 8; google.protobuf.Int32Value wrapped = 9; bytes raw = 10;
  Mark mark = 11; repeated int32 numbers = 12; map<string, string> labels = 13; repeated Mark marks = 14;
  oneof who { string name = 15; string alias = 16; }
  google.protobuf.Value any_value = 17;
}
message Mark { string candidate = 1; string by = 2; Mark deeper = 3; }
"""


def at(operations: Any, method: str, path: str) -> Operation:
    found: Operation = next(op for op in operations if (op.method, op.path) == (method, path))
    return found


def message(operation: Operation, body: str = "", query: str = "", headers: Any = (), **claims: Any) -> Any:
    codec: Any = operation.codec
    call = Call(
        operation.method, "/", query=query, headers=headers, body=body.encode(), identity=Identity(claims=claims)
    )
    made = GetMessageClass(request_type(operation)).FromString(codec.request(call).message)
    return json_format.MessageToDict(made)


@pytest.mark.parametrize(
    ("fields", "headers", "claims", "expected"),
    [
        ({"voter_id": {"$claim": "sub"}}, [], {"sub": "ada"}, {"voterId": "ada"}),
        ({"voterId": {"$claim": "id"}}, [], {"id": 7}, {"voterId": "7"}),
        ({"locales": {"$header": "Accept-Language"}}, [("accept-language", "de;q=1, fr"), ("accept-language", "en")], {}, {"locales": ["de;q=1", "fr", "en"]}),
        ({"region": {"$header": "x-r", "default": "west"}}, [], {}, {"region": "west"}),
        ({"region": {"$header": "x-r", "default": None}}, [], {}, {}),
        ({"region": "west", "kind": "MAIL", "level": 7, "staff": True, "numbers": [1, "2"], "wrapped": 0}, [], {},
         {"region": "west", "kind": "MAIL", "level": "7", "staff": True, "numbers": [1, 2], "wrapped": 0}),
        ({"numbers": {"$claim": "n"}, "staff": {"$claim": "s"}, "level": {"$claim": "l"}}, [], {"n": [1, 2], "s": True, "l": 5}, {"numbers": [1, 2], "staff": True, "level": "5"}),
        ({"numbers": {"$claim": "n"}}, [], {"n": 3}, {"numbers": [3]}),
        ({"at": {"$claim": "t"}, "raw": {"$claim": "r"}}, [], {"t": "2026-11-03T20:00:00Z", "r": "AQI"}, {"at": "2026-11-03T20:00:00Z", "raw": "AQI="}),
        ({"extra": {"$claim": "e"}, "any_value": {"$claim": "a"}}, [], {"e": {"x": [1]}, "a": [True]}, {"extra": {"x": [1.0]}, "anyValue": [True]}),
        ({"extra": {"x": 1}, "any_value": "t"}, [], {}, {"extra": {"x": 1.0}, "anyValue": "t"}),
        ({"mark.deeper.by": {"$claim": "realm.name"}}, [], {"realm": {"name": "kern"}}, {"mark": {"deeper": {"by": "kern"}}}),
    ],
)  # fmt: skip
async def test_values(bind: Any, fields: Any, headers: Any, claims: Any, expected: Any) -> None:
    operation = at(await bind(PROTO, fields=fields), "POST", "/cast")
    assert message(operation, headers=headers, **claims) == expected


async def test_nobody_else_may_give_a_part_of_them(bind: Any) -> None:
    fields = {"wrapped": {"$claim": "level"}, "at": {"$claim": "since", "default": None}}
    got = at(await bind(PROTO, fields=fields), "GET", "/cast")
    assert message(got, query="region=x", level=1) == {"wrapped": 1, "region": "x"}
    for query in ("wrapped.value=9", "at.seconds=9", "at.nanos=9"):
        with pytest.raises(InvalidParameter, match="it is filled by the gateway"):
            message(got, query=query, level=1)


async def test_nobody_else_may_give_them(bind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        "voter_id": {"$claim": "sub"},
        "mark.by": {"$claim": "sub", "default": None},
        "numbers": {"$claim": "n", "default": None},
    }
    operations = await bind(PROTO, fields=fields)
    body = '{"voterId": "eve", "region": "x", "mark": {"by": "eve", "candidate": "A"}, "numbers": [9]}'
    assert message(at(operations, "POST", "/cast"), body, sub="ada", n=[1]) == {
        "voterId": "ada", "region": "x", "mark": {"by": "ada", "candidate": "A"}, "numbers": [1]
    }  # fmt: skip
    assert message(at(operations, "POST", "/cast"), body, sub="ada") == {
        "voterId": "ada", "region": "x", "mark": {"by": "ada", "candidate": "A"}
    }  # fmt: skip
    assert message(at(operations, "PATCH", "/mark"), '{"by": "eve", "candidate": "A"}', sub="ada") == {
        "voterId": "ada", "mark": {"by": "ada", "candidate": "A"}
    }  # fmt: skip
    assert message(at(operations, "POST", "/f.v1.Votes/Cast"), body, sub="ada")["voterId"] == "ada"
    for query in ("voter_id=eve", "voterId=eve", "mark.by=eve", "numbers=1"):
        with pytest.raises(InvalidParameter, match="it is filled by the gateway"):
            message(at(operations, "GET", "/cast"), query=query, sub="ada")
    unset = await bind(
        PROTO, fields={"mark.by": {"$claim": "m", "default": None}, "voter_id": {"$claim": "m", "default": None}}
    )
    assert message(at(unset, "POST", "/cast"), body) == {"region": "x", "mark": {"candidate": "A"}, "numbers": [9]}
    assert message(at(unset, "POST", "/cast"), '{"voterId": "eve"}') == {}


async def test_a_rival_in_the_body_is_refused(bind: Any) -> None:
    operation = at(await bind(PROTO, fields={"alias": {"$claim": "sub"}}), "POST", "/cast")
    assert message(operation, '{"alias": "eve"}', sub="ada") == {"alias": "ada"}
    with pytest.raises(InvalidParameter, match="alias: it can't be given together with name"):
        message(operation, '{"name": "eve"}', sub="ada")


@pytest.mark.parametrize(
    ("field", "value", "headers", "claims", "kind", "says"),
    [
        ("region", {"$claim": "sub"}, [], {}, Forbidden, "has no claim sub"),
        ("region", {"$header": "X-R"}, [], {}, InvalidParameter, "X-R: this header is required"),
        ("region", {"$header": "x-r"}, [("x-r", "a"), ("x-r", "b")], {}, InvalidParameter, "x-r: it takes one value, not 2"),
        ("region", {"$claim": "c"}, [], {"c": ["a", "b"]}, Forbidden, "claim c is not what this operation takes: it takes one value"),
        ("region", {"$claim": "c"}, [], {"c": {"a": 1}}, Forbidden, "a single value is wanted"),
        ("level", {"$claim": "c"}, [], {"c": "x"}, Forbidden, "'x' is not a whole number"),
        ("kind", {"$header": "x-k"}, [("x-k", "FAX")], {}, InvalidParameter, "x-k: 'FAX' is not one of"),
        ("at", {"$header": "x-t"}, [("x-t", "now")], {}, InvalidParameter, "x-t:"),
        ("extra", {"$claim": "c"}, [], {"c": [1]}, Forbidden, "must be an object"),
    ],
)  # fmt: skip
async def test_what_a_call_lacks_or_says_wrongly(
    bind: Any, field: str, value: Any, headers: Any, claims: Any, kind: type[Exception], says: str
) -> None:
    operation = at(await bind(PROTO, fields={field: value}), "POST", "/cast")
    with pytest.raises(kind, match=re.escape(says)):
        message(operation, headers=headers, **claims)


@pytest.mark.parametrize(
    ("fields", "key", "reason"),
    [
        ({"nope": "x"}, "transform.grpc.fields.nope", "not a field of what is published (f.v1.Nothing, f.v1.Vote)"),
        ({"mark": "x"}, "transform.grpc.fields.mark", "fields can't fill what is a message; name its fields"),
        ({"labels": {"$claim": "x"}}, "transform.grpc.fields.labels", "what is a list of messages or a map"),
        ({"level": "many"}, "transform.grpc.fields.level", "'many' is not a whole number"),
        ({"numbers": [1, "x"]}, "transform.grpc.fields.numbers", "'x' is not a whole number"),
        ({"level": [1]}, None, ""),
        ({"region": ["a", "b"]}, "transform.grpc.fields.region", "it takes one value, not 2"),
        ({"region": None}, "transform.grpc.fields.region", "a constant is wanted"),
        ({"kind": {"$claim": "k", "default": "FAX"}}, "transform.grpc.fields.kind", "'FAX' is not one of"),
        ({"region": {"$env": "BRIDGE_SECRET_NOT_SET"}}, "transform.grpc.fields.region.$env", "not set"),
        ({"level": {"$env": "BRIDGE_SECRET_TALLY_KEY"}}, "transform.grpc.fields.level", "the secret is not what the field takes"),
        ({"region": {"$clam": "x"}}, "transform.grpc.fields.region.$clam", "did you mean $claim?"),
        ({"county": "x"}, "", "both the path and the spec's fields fill 'county'"),
    ],
)  # fmt: skip
async def test_what_is_refused_at_bind(
    bind: Any, fields: Any, key: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "hush-hush")
    if key is None:
        assert await bind(PROTO, fields=fields)  # a list of one is one
        return
    with pytest.raises(BindError) as caught:
        await bind(PROTO, fields=fields)
    (*_, fault) = caught.value.faults
    assert fault.key == key
    assert reason in fault.reason
    assert "hush" not in str(caught.value)
    assert len({str(each) for each in caught.value.faults}) == len(caught.value.faults)


async def test_the_route_s_own_parameters_are_not_filled_twice(bind: Any) -> None:
    with pytest.raises(BindError, match="both the path and the spec's fields fill 'voter_id'"):
        await bind(PROTO, route="/of/{voter_id}", fields={"voter_id": {"$claim": "sub"}})


async def test_secrets_are_masked_and_caches_told(bind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "AQID")
    fields = {
        "region": {"$env": "BRIDGE_SECRET_TALLY_KEY"},
        "raw": {"$env": "BRIDGE_SECRET_TALLY_KEY"},
        "locales": {"$env": "BRIDGE_SECRET_TALLY_KEY"},
        "voter_id": {"$claim": "sub"},
    }
    operation = at(await bind(PROTO, fields=fields), "POST", "/cast")
    assert message(operation, sub="ada") == {"region": "AQID", "raw": "AQID", "locales": ["AQID"], "voterId": "ada"}
    codec: Any = operation.codec
    call = Call("POST", "/", identity=Identity(claims={"sub": "ada"}))
    shown = codec.show(codec.request(call))
    assert shown.count('"***"') == 3
    assert 'voter_id: "ada"' in shown
    from bridge.api import GrpcReply

    assert ("cache-control", "private") in codec.reply(call, GrpcReply(0)).headers


async def test_openapi_doesn_t_show_them(bind: Any) -> None:
    fields = {"voter_id": {"$claim": "sub"}, "mark.by": {"$claim": "sub"}, "mark.deeper.by": "x"}
    operations = await bind(PROTO, fields=fields)
    query = at(operations, "GET", "/cast").describe().operation["parameters"]
    names = {each["name"] for each in query}
    assert "region" in names
    assert "mark.candidate" in names
    assert not names & {"voterId", "mark.by", "mark.deeper.by"}
    media = at(operations, "POST", "/cast").describe().operation["requestBody"]["content"]["application/json"]
    properties = media["schema"]["properties"]
    assert "region" in properties
    assert "voterId" not in properties
    assert list(properties["mark"]["properties"]) == ["candidate", "deeper"]
    assert list(properties["mark"]["properties"]["deeper"]["properties"]) == ["candidate", "deeper"]
    assert "by" not in media["example"]["mark"]
    media = at(operations, "PATCH", "/mark").describe().operation["requestBody"]["content"]["application/json"]
    assert list(media["schema"]["properties"]) == ["candidate", "deeper"]
    assert "by" not in media["example"]
