"""Each clause of the comment in ``google/api/http.proto``, as a table: what comes in, and the message that it makes."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from bridge.api import Call, FaultList, GrpcReply, InvalidBody, InvalidParameter, Operation, UnsupportedMediaType
from bridge.gateway.matcher import Matcher
from bridge.payload import json_text as jsontext
from bridge_grpc.codec import json_body
from tests.bridge_grpc.conftest import request_type

PROTO = """
syntax = "proto3";
package ex.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

service Messaging {
  rpc GetName(NameRequest) returns (Message) { option (google.api.http) = { get: "/v1/{name=messages/*}" }; }
  rpc Get(GetRequest) returns (Message) {
    option (google.api.http) = {
      get: "/v1/byid/{message_id}"
      additional_bindings { get: "/v1/users/{user_id}/messages/{message_id}" }
      additional_bindings { get: "/v1/sub/{sub.subfield}" }
      additional_bindings { get: "/v1/typed/{revision}/{kind}/{flag}/{data}/{at}/{lasting}/{wrapped}" }
    };
  }
  rpc Update(UpdateRequest) returns (Message) { option (google.api.http) = { put: "/v1/put/{message_id}" body: "message" }; }
  rpc Patch(UpdateRequest) returns (Message) { option (google.api.http) = { patch: "/v1/patch/{message.message_id}" body: "message" }; }
  rpc UpdateStar(Message) returns (Message) { option (google.api.http) = { patch: "/v1/star/{message_id}" body: "*" }; }
  rpc Remove(GetRequest) returns (Message) { option (google.api.http) = { delete: "/v1/byid/{message_id}" }; }
  rpc Head(GetRequest) returns (Message) { option (google.api.http) = { custom: { kind: "HEAD" path: "/v1/head/{message_id}" } }; }
  rpc Any(GetRequest) returns (Message) { option (google.api.http) = { custom: { kind: "*" path: "/v1/any/{message_id}" } }; }
  rpc Deep(NameRequest) returns (Message) { option (google.api.http) = { get: "/v1/{name=shelves/*/books/*}" }; }
  rpc Rest(NameRequest) returns (Message) { option (google.api.http) = { get: "/v1/rest/{name=**}" }; }
  rpc Undo(NameRequest) returns (Message) { option (google.api.http) = { post: "/v1/{name=messages/*}:undo" body: "*" }; }
  rpc Search(GetRequest) returns (Message) { option (google.api.http) = { get: "/v1/messages:search" }; }
  rpc Batch(BatchRequest) returns (BatchReply) { option (google.api.http) = { post: "/v1/batch" body: "messages" response_body: "messages" }; }
  rpc Upload(UploadRequest) returns (google.api.HttpBody) { option (google.api.http) = { post: "/v1/upload/{name}" body: "file" }; }
  rpc One(GetRequest) returns (Message) { option (google.api.http) = { post: "/v1/one/{one}" body: "*" }; }
  rpc Wild(GetRequest) returns (Message) { option (google.api.http) = { get: "/v1/wild/*/x" }; }
}
enum Kind { KIND_UNSPECIFIED = 0; LETTER = 1; }
message NameRequest { string name = 1; int32 n = 2; }
message GetRequest {
  message SubMessage { string subfield = 1; repeated int32 numbers = 2; SubMessage deeper = 3; }
  string message_id = 1; int64 revision = 2; SubMessage sub = 3; string user_id = 4;
  repeated string tags = 5; repeated Kind kinds = 6; Kind kind = 7; bool flag = 8; bytes data = 9; double ratio = 10;
  google.protobuf.Timestamp at = 11; google.protobuf.Duration lasting = 12; google.protobuf.Int32Value wrapped = 13;
  google.protobuf.FieldMask read_mask = 14; google.protobuf.Struct extra = 15; map<string, int32> labels = 16;
  repeated Message messages = 17; map<string, Message> by_name = 18;
  oneof pick { string one = 20; int32 two = 21; SubMessage three = 25; }
  optional string maybe = 22; string renamed = 23 [json_name = "Other"]; google.protobuf.Value any_value = 24;
}
message Message { string message_id = 1; string text = 2; GetRequest.SubMessage sub = 3; repeated string lines = 4; }
message UpdateRequest { string message_id = 1; Message message = 2; bool dry = 3; google.protobuf.FieldMask update_mask = 4; }
message BatchRequest { repeated Message messages = 1; }
message BatchReply { repeated Message messages = 1; }
message UploadRequest { string name = 1; google.api.HttpBody file = 2; }
"""


class Case(NamedTuple):
    clause: str
    method: str
    target: str
    body: str
    expected: dict[str, Any]


CLAUSES = [
    Case("a variable with a template", "GET", "/v1/messages/123456", "", {"name": "messages/123456"}),
    Case(
        "fields that the path doesn't bind are query parameters",
        "GET", "/v1/byid/123456?revision=2&sub.subfield=foo", "",
        {"messageId": "123456", "revision": "2", "sub": {"subfield": "foo"}},
    ),
    Case("a repeated parameter", "GET", "/v1/byid/1?tags=A&tags=B", "", {"messageId": "1", "tags": ["A", "B"]}),
    Case("a repeated parameter within a message", "GET", "/v1/byid/1?sub.numbers=1&sub.numbers=2&sub.deeper.deeper.numbers=3", "",
         {"messageId": "1", "sub": {"numbers": [1, 2], "deeper": {"deeper": {"numbers": [3]}}}}),
    Case("both names of a field", "GET", "/v1/byid/1?userId=u&Other=o", "", {"messageId": "1", "userId": "u", "Other": "o"}),
    Case("both names of a field, the proto's", "GET", "/v1/byid/1?user_id=u&renamed=o", "", {"messageId": "1", "userId": "u", "Other": "o"}),
    Case("enums by name and number", "GET", "/v1/byid/1?kinds=LETTER&kinds=0&kind=1", "",
         {"messageId": "1", "kinds": ["LETTER", "KIND_UNSPECIFIED"], "kind": "LETTER"}),
    Case("scalars of every sort", "GET", "/v1/byid/1?flag=true&data=-_8&ratio=-1.5e3&revision=-9223372036854775808", "",
         {"messageId": "1", "flag": True, "data": "+/8=", "ratio": -1500.0, "revision": "-9223372036854775808"}),
    Case("+ and %20 are spaces", "GET", "/v1/byid/a+b?user_id=a+b%20c%2Bd&maybe=", "", {"messageId": "a+b", "userId": "a b c+d", "maybe": ""}),
    Case("well-known types", "GET",
         "/v1/byid/1?at=2020-01-01T00:00:00%2B01:00&lasting=1.5s&wrapped=0&readMask=a,bC&extra=%7B%22x%22:1%7D&anyValue=null", "",
         {"messageId": "1", "at": "2019-12-31T23:00:00Z", "lasting": "1.500s", "wrapped": 0, "readMask": "a,bC", "extra": {"x": 1.0}, "anyValue": None}),
    Case("a field mask by the proto's names", "GET", "/v1/byid/1?read_mask=user_id,sub.subfield", "", {"messageId": "1", "readMask": "userId,sub.subfield"}),
    Case("each field of a well-known type, as of other messages", "GET",
         "/v1/byid/1?at.seconds=5&at.nanos=7&lasting.seconds=1&wrapped.value=0&readMask.paths=user_id&readMask.paths=sub", "",
         {"messageId": "1", "at": "1970-01-01T00:00:05.000000007Z", "lasting": "1s", "wrapped": 0, "readMask": "userId,sub"}),
    Case("maps", "GET", "/v1/byid/1?labels[a]=1&labels[b.c]=2", "", {"messageId": "1", "labels": {"a": 1, "b.c": 2}}),
    Case("a member of a oneof", "GET", "/v1/byid/1?two=0", "", {"messageId": "1", "two": 0}),
    Case("fields of a oneof's member", "GET", "/v1/byid/1?three.subfield=a&three.numbers=1", "",
         {"messageId": "1", "three": {"subfield": "a", "numbers": [1]}}),
    Case("a field as the body", "PUT", "/v1/put/123456", '{"text": "Hi!"}', {"messageId": "123456", "message": {"text": "Hi!"}}),
    Case("a field as the body, the rest in the query", "PUT", "/v1/put/1?dry=true&updateMask=text", '{"text": "Hi!"}',
         {"messageId": "1", "message": {"text": "Hi!"}, "dry": True, "updateMask": "text"}),
    Case("an absent body leaves its field unset", "PUT", "/v1/put/1", "", {"messageId": "1"}),
    Case("null as a body, too", "PUT", "/v1/put/1", "null", {"messageId": "1"}),
    Case("a variable within the body's field", "PATCH", "/v1/patch/7", '{"sub": {"numbers": [1]}, "lines": ["a"]}',
         {"message": {"messageId": "7", "sub": {"numbers": [1]}, "lines": ["a"]}, "updateMask": "sub.numbers,lines"}),
    Case("an update_mask that is given stays", "PATCH", "/v1/patch/7?update_mask=text", '{"text": "x", "lines": []}',
         {"message": {"messageId": "7", "text": "x"}, "updateMask": "text"}),
    Case("* is all that the path leaves", "PATCH", "/v1/star/123456", '{"text": "Hi!"}', {"messageId": "123456", "text": "Hi!"}),
    Case("with * the path's word counts", "PATCH", "/v1/star/1", '{"text": "Hi!", "messageId": "2"}', {"messageId": "1", "text": "Hi!"}),
    Case("additional bindings", "GET", "/v1/users/me/messages/123456", "", {"userId": "me", "messageId": "123456"}),
    Case("a field path as a variable", "GET", "/v1/sub/x?sub.numbers=1", "", {"sub": {"subfield": "x", "numbers": [1]}}),
    Case("variables of every sort", "GET", "/v1/typed/-5/LETTER/false/AQI/2020-01-01T00:00:00Z/3s/9", "",
         {"revision": "-5", "kind": "LETTER", "data": "AQI=", "at": "2020-01-01T00:00:00Z", "lasting": "3s", "wrapped": 9}),
    Case("without body all others are query parameters", "DELETE", "/v1/byid/1?flag=true", "", {"messageId": "1", "flag": True}),
    Case("an empty object is no body", "DELETE", "/v1/byid/1", "{}", {"messageId": "1"}),
    Case("custom methods by name", "HEAD", "/v1/head/1", "", {"messageId": "1"}),
    Case("custom methods of any name", "PUT", "/v1/any/1", "", {"messageId": "1"}),
    Case("* matches one segment, ** any number", "GET", "/v1/shelves/a%2Fb/books/c%20d", "", {"name": "shelves/a%2Fb/books/c d"}),
    Case("** of three segments", "GET", "/v1/rest/a/b%2Fc/d%3Fe?n=1", "", {"name": "a/b%2Fc/d?e", "n": 1}),
    Case("** of no segment", "GET", "/v1/rest?n=1", "", {"n": 1}),
    Case("** of an empty segment", "GET", "/v1/rest/", "", {}),
    Case("a verb", "POST", "/v1/messages/5:undo", '{"n": 2}', {"name": "messages/5", "n": 2}),
    Case("a verb after a literal", "GET", "/v1/messages:search?flag=true", "", {"flag": True}),
    Case("a single segment is decoded, slashes too", "GET", "/v1/byid/a%2Fb%20%C3%A9", "", {"messageId": "a/b é"}),
    Case("a wildcard outside variables", "GET", "/v1/wild/whatever/x", "", {}),
    Case("a JSON array as the body", "POST", "/v1/batch", '[{"text": "a"}, {}]', {"messages": [{"text": "a"}, {}]}),
    Case("the automatic path", "POST", "/ex.v1.Messaging/Get", '{"messageId": "1", "labels": {"a": 1}}', {"messageId": "1", "labels": {"a": 1}}),
    Case("the automatic path without a body", "POST", "/ex.v1.Messaging/Get", "", {}),
]  # fmt: skip

REFUSED = [
    ("GET", "/v1/byid/1?nope=1", "", InvalidParameter, "nope", "no such parameter"),
    ("GET", "/v1/byid/1?message_id=2", "", InvalidParameter, "message_id", "part of the path"),
    ("GET", "/v1/byid/1?sub=x", "", InvalidParameter, "sub", "takes a message"),
    ("GET", "/v1/byid/1?sub.nope=x", "", InvalidParameter, "sub.nope", "no such parameter"),
    ("GET", "/v1/byid/1?tags.x=1", "", InvalidParameter, "tags.x", "no such parameter"),
    ("GET", "/v1/byid/1?messages=x", "", InvalidParameter, "messages", "takes a message"),
    ("GET", "/v1/byid/1?messages.text=x", "", InvalidParameter, "messages.text", "no such parameter"),
    ("GET", "/v1/byid/1?labels=x", "", InvalidParameter, "labels", "name[key]=value"),
    ("GET", "/v1/byid/1?labels[a]=x", "", InvalidParameter, "labels[a]", "not a whole number"),
    ("GET", "/v1/byid/1?by_name[a]=x", "", InvalidParameter, "by_name[a]", "name[key]=value"),
    ("GET", "/v1/byid/1?user_id[a]=x", "", InvalidParameter, "user_id[a]", "takes a message"),
    ("GET", "/v1/byid/1?revision=1&revision=2", "", InvalidParameter, "revision", "given twice"),
    ("GET", "/v1/byid/1?revision=1&revision=1", "", InvalidParameter, "revision", "given twice"),
    ("GET", "/v1/byid/1?userId=1&user_id=1", "", InvalidParameter, "user_id", "given twice"),
    ("GET", "/v1/byid/1?revision=", "", InvalidParameter, "revision", "not a whole number"),
    ("GET", "/v1/byid/1?revision=%201", "", InvalidParameter, "revision", "not a whole number"),
    ("GET", "/v1/byid/1?flag=1", "", InvalidParameter, "flag", "neither true nor false"),
    ("GET", "/v1/byid/1?flag", "", InvalidParameter, "flag", "neither true nor false"),
    ("GET", "/v1/byid/1?kind=nope", "", InvalidParameter, "kind", "not one of"),
    ("GET", "/v1/byid/1?data=$", "", InvalidParameter, "data", "not base64"),
    ("GET", "/v1/byid/1?at=now", "", InvalidParameter, "at", "not a time"),
    ("GET", "/v1/byid/1?extra=[", "", InvalidParameter, "extra", "must be JSON"),
    ("GET", "/v1/byid/1?extra=[]", "", InvalidParameter, "extra", "must be an object"),
    ("GET", "/v1/byid/1?one=a&two=1", "", InvalidParameter, "two", "together with one"),
    ("GET", "/v1/byid/1?one=a&three.subfield=b", "", InvalidParameter, "three.subfield", "together with one"),
    ("GET", "/v1/byid/1?three.subfield=b&one=a", "", InvalidParameter, "one", "together with three"),
    ("POST", "/v1/one/a", '{"two": 1}', InvalidParameter, "one", "together with two"),
    ("POST", "/v1/one/a", '{"three": {"subfield": "b"}}', InvalidParameter, "one", "together with three"),
    ("GET", "/v1/byid/1?at=2020-01-01T00:00:00Z&at.nanos=5", "", InvalidParameter, "at.nanos", "given twice"),
    ("GET", "/v1/byid/1?wrapped.value=1&wrapped=1", "", InvalidParameter, "wrapped", "given twice"),
    ("GET", "/v1/byid/1?readMask.paths=a&readMask=b", "", InvalidParameter, "readMask", "given twice"),
    ("GET", "/v1/byid/1?at.seconds=1&at.seconds=2", "", InvalidParameter, "at.seconds", "given twice"),
    ("GET", "/v1/byid/1?at.seconds=x", "", InvalidParameter, "at.seconds", "not a whole number"),
    ("GET", "/v1/byid/1?at.nope=1", "", InvalidParameter, "at.nope", "no such parameter"),
    ("GET", "/v1/byid/1?extra.fields[a]=1", "", InvalidParameter, "extra.fields[a]", "no such parameter"),
    ("GET", "/v1/typed/1/LETTER/true/AQI/2020-01-01T00:00:00Z/3s/9?at.nanos=5", "", InvalidParameter, "at.nanos", "part of the path"),
    ("GET", "/v1/byid/1?data=AQI==", "", InvalidParameter, "data", "not base64"),
    ("GET", "/v1/byid/1?" + "sub." * 20 + "subfield=1", "", InvalidParameter, "sub." * 20 + "subfield", "no such"),
    ("GET", "/v1/typed/x/LETTER/no/AQI/2020-01-01T00:00:00Z/3s/9", "", InvalidParameter, "revision", "not a whole number"),
    ("PATCH", "/v1/star/1?text=x", '{"text": "y"}', InvalidParameter, "text", "no query parameters here"),
    ("PUT", "/v1/put/1?message.text=x", '{"text": "y"}', InvalidParameter, "message.text", "belongs into the body"),
    ("PUT", "/v1/put/1", '{"text": 1}', InvalidBody, "/text", "must be a string"),
    ("PUT", "/v1/put/1", "[]", InvalidBody, "", "must be an object"),
    ("POST", "/v1/batch", "{}", InvalidBody, "", "must be an array"),
    ("POST", "/v1/batch", '[{"txt": "a"}]', InvalidBody, "/0/txt", "did you mean"),
    ("DELETE", "/v1/byid/1", '{"flag": true}', InvalidBody, "", "takes no body"),
    ("GET", "/v1/byid/1", "x", InvalidBody, "", "takes no body"),
]  # fmt: skip


class Published:
    """A route's operations behind the gateway's own matcher."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self._matcher: Matcher[Operation] = Matcher()
        self._matcher.add_all((None, op.path or "/", op.method, op) for op in operations)

    def call(self, method: str, target: str, body: str | bytes = "", **headers: str) -> tuple[Operation, Call]:
        path, _, query = target.partition("?")
        operation, params = self._matcher.match("", path, method)
        raw = body.encode() if isinstance(body, str) else body
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return operation, Call(method, path, raw_params=params, query=query, body=raw, headers=fields)

    def message(self, method: str, target: str, body: str | bytes = "", **headers: str) -> Any:
        """The request message that goes up."""
        from google.protobuf.message_factory import GetMessageClass

        operation, call = self.call(method, target, body, **headers)
        codec: Any = operation.codec
        request = codec.request(call)
        assert request.path == operation.upstream_name
        return GetMessageClass(request_type(operation)).FromString(request.message)


@pytest.fixture
async def published(bind: Any) -> Published:
    return Published(await bind(PROTO, route="/"))


async def test_the_clauses(published: Published) -> None:
    from google.protobuf import json_format

    wrong = []
    for case in CLAUSES:
        made = json_format.MessageToDict(published.message(case.method, case.target, case.body))
        if made != case.expected:
            wrong.append(f"{case.clause}: {made} instead of {case.expected}")
    assert not wrong, "\n".join(wrong)


async def test_what_a_request_may_not_say(published: Published) -> None:
    for method, target, body, kind, where, reason in REFUSED:
        with pytest.raises(kind) as caught:
            published.message(method, target, body)
        error: Any = caught.value
        assert error.errors[0][0] == where, target
        assert reason in error.errors[0][1], target


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every body counts as a large one."""
    monkeypatch.setattr(json_body, "LARGE", 0)
    monkeypatch.setattr(jsontext, "SLICE", 8)


@pytest.mark.usefixtures("large")
async def test_large_bodies_are_read_and_refused_as_any_are(published: Published) -> None:
    await test_the_clauses(published)
    await test_what_a_request_may_not_say(published)


async def test_all_wrong_parameters_are_listed(published: Published) -> None:
    with pytest.raises(InvalidParameter) as caught:
        published.message("GET", "/v1/typed/x/NO/maybe/AQI/2020-01-01T00:00:00Z/3s/9?nope=1&ratio=x")
    assert [name for name, _ in caught.value.errors] == ["revision", "kind", "flag", "nope", "ratio"]


async def test_a_flood_of_faults_is_cut_and_takes_no_time(published: Published) -> None:
    body = "{" + ",".join(f'"field{n}": 1' for n in range(50_000)) + "}"
    started = time.perf_counter()
    with pytest.raises(InvalidBody) as caught:
        published.message("PATCH", "/v1/star/1", body)
    assert time.perf_counter() - started < 5
    assert len(caught.value.errors) == 101
    assert caught.value.errors[-1] == ("", "there are more faults than these")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PATCH", "/v1/star/1", b"{%s}" % b",".join([b'"field%d":1' % n for n in range(20_000)])),
        ("GET", "/v1/byid/1?" + "&".join(f"field{n}=1" for n in range(20_000)), b""),
        ("PATCH", "/v1/star/1?" + "&".join(f"field{n}=1" for n in range(20_000)), b"{}"),
    ],
    ids=["body", "query", "query of a body"],
)
async def test_faults_beyond_the_bound_are_not_even_looked_at(
    published: Published, method: str, target: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    append = FaultList.append

    def counted(self: FaultList, fault: tuple[str, str]) -> None:
        looked.append(1)
        append(self, fault)

    monkeypatch.setattr(FaultList, "append", counted)
    with pytest.raises((InvalidBody, InvalidParameter)) as caught:
        published.message(method, target, body)
    assert len(caught.value.errors) == 101  # type: ignore[attr-defined]  # both have them
    assert len(looked) <= 101


async def test_unknown_parameters_may_be_ignored(bind: Any) -> None:
    lenient = Published(await bind(PROTO, route="/", unknown="ignore"))
    assert lenient.message("GET", "/v1/byid/1?nope=1&kind=NOPE&user_id=u").user_id == "u"
    assert lenient.message("PATCH", "/v1/star/1?x=1", '{"text": "y", "nope": 1}').text == "y"
    assert lenient.message("DELETE", "/v1/byid/1", '{"x": 1}').message_id == "1"


async def test_http_body_goes_in_and_out_untouched(published: Published) -> None:
    message = published.message("POST", "/v1/upload/x", b"\x00\xff", content_type="image/png")
    assert (message.name, message.file.content_type, message.file.data) == ("x", "image/png", b"\x00\xff")
    operation, call = published.call("POST", "/v1/upload/x")
    answer = type(message.file)(content_type="text/csv", data=b"a;b")
    codec: Any = operation.codec
    reply = codec.reply(call, GrpcReply(0, answer.SerializeToString()))
    assert (reply.status, reply.headers, reply.body) == (200, [("content-type", "text/csv")], b"a;b")


async def test_response_body_is_one_field(published: Published) -> None:
    operation, call = published.call("POST", "/v1/batch")
    codec: Any = operation.codec
    from google.protobuf.message_factory import GetMessageClass

    answer = GetMessageClass(request_type(operation))(messages=[{"text": "a"}])  # BatchReply has the same shape
    assert codec.reply(call, GrpcReply(0, answer.SerializeToString())).body == b'[{"text":"a"}]'
    assert codec.reply(call, GrpcReply(0, b"")).body == b"[]"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json", "text/json", ""]
)
async def test_json_by_any_of_its_names(published: Published, kind: str) -> None:
    assert (
        published.message("PUT", "/v1/put/1", '{"text": "x"}', **({"content_type": kind} if kind else {})).message.text
        == "x"
    )


async def test_other_media_types_are_refused(published: Published) -> None:
    for kind in ("text/plain", "application/xml", "application/jsonx", "multipart/mixed; boundary=x"):
        with pytest.raises(UnsupportedMediaType) as caught:
            published.message("PUT", "/v1/put/1", '{"text": "x"}', content_type=kind)
        assert caught.value.status == 415
        read = "application/json, application/x-www-form-urlencoded, multipart/form-data"
        assert caught.value.headers == (("accept", read),)
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # an array of messages is none that forms can say
        with pytest.raises(UnsupportedMediaType) as caught:
            published.message("POST", "/v1/batch", "x", content_type=kind)
        assert caught.value.headers == (("accept", "application/json"),)


async def test_what_curl_says_by_default_is_taken_with_a_warning(published: Published) -> None:
    operation, call = published.call(
        "PUT", "/v1/put/1", '{"text": "x"}', content_type="application/x-www-form-urlencoded"
    )
    codec: Any = operation.codec
    codec.request(call)
    assert call.warnings


# --- one method at the route itself ------------------------------------------------------------------------------


async def test_a_single_method_by_post(bind: Any) -> None:
    (operation,) = await bind(PROTO, route="/api/messages/{message_id}", method="Get")
    assert (operation.name, operation.method, operation.path) == ("Get", "POST", "")
    codec: Any = operation.codec
    call = Call("POST", "/api/messages/5%206", raw_params={"message_id": "5%206"}, body=b'{"revision": 3}')
    assert 'message_id: "5 6"\n  revision: 3' in codec.show(codec.request(call))


async def test_a_single_method_by_get_takes_the_query(bind: Any) -> None:
    operations = await bind(
        PROTO, route="/api/{message_id}/{sub.subfield*}", methods=["GET", "POST"], method="ex.v1.Messaging.Get"
    )
    assert [(op.name, op.method, op.path) for op in operations] == [("Get", "GET", ""), ("Get.2", "POST", "")]
    codec: Any = operations[0].codec
    call = Call("GET", "/", raw_params={"message_id": "1", "sub.subfield": "a/b%2Fc%20d"}, query="tags=x&sub.numbers=1")
    shown = codec.show(codec.request(call))
    assert 'subfield: "a/b%2Fc d"' in shown
    assert 'tags: "x"' in shown


async def test_the_route_s_parameters_fill_fields_of_rules_too(bind: Any) -> None:
    operations = await bind(PROTO, route="/tenants/{user_id}")
    operation = next(op for op in operations if op.path == "/v1/byid/{message_id}" and op.method == "GET")
    codec: Any = operation.codec
    shown = codec.show(codec.request(Call("GET", "/", raw_params={"user_id": "t", "message_id": "1"})))
    assert 'user_id: "t"' in shown
    with pytest.raises(InvalidParameter, match="part of the path"):
        codec.request(Call("GET", "/", raw_params={"user_id": "t", "message_id": "1"}, query="user_id=x"))


async def test_constant_metadata_goes_up(bind: Any) -> None:
    (operation,) = await bind(PROTO, method="Get", metadata={"x-agency": "gridworks", "x-raw-bin": "AQI="})
    codec: Any = operation.codec
    first = codec.request(Call("POST", "/"))
    assert first.metadata == [("x-agency", "gridworks"), ("x-raw-bin", b"\x01\x02")]
    first.metadata.append(("x", "y"))
    assert len(codec.request(Call("POST", "/")).metadata) == 2
