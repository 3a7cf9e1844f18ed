"""What differs between Envoy and the gateway, and the clause that decides: nothing else may, and nothing less."""

# ruff: noqa: E501  # a row of a table stays on one line
# fmt: off

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """`theirs` is Envoy's answer, `ours` the gateway's, each as `tests.live.test_envoy.told` has it; a last ``…`` stands
    for any rest."""

    name: str
    theirs: str
    ours: str


#: Clause -> the requests whose answers it decides.
CLAUSES: dict[str, list[Difference]] = {
    "proto3: a string is UTF-8, so the caller is told; of Envoy the service gets a message that it can't read": [
        Difference('GET /v1/things/%ff', '500 {"code": 2, …', '400'),
        Difference('GET /v1/rest/a/%ff', '500 {"code": 2, …', '400'),
        Difference('GET /v1/search?name=%ff', '500 {"code": 2, …', '400'),
        Difference('GET /v1/things/%ED%A0%80', '500 {"code": 2, …', '400'),
    ],
    'RFC 3986, 7.3: a percent-encoded NUL needs care; the gateway refuses controls in a path': [
        Difference('GET /v1/things/%00', '200 application/json {"name": "\\u0000"}', '400'),
    ],
    'google/api/http.proto, Path template syntax: a template has no empty segment': [
        Difference('GET /v1/things/abc/', '200 application/json {"name": "abc"}', '404'),
    ],
    'RFC 9110, 15.5.6: the path is known, with other methods': [
        Difference('GET /v1/things', '404', '405'),
        Difference('GET /same.Same/Plain', '404', '405'),
        Difference('POST /v1/search {}', '404', '405'),
        Difference('DELETE /v1/search', '404', '405'),
        Difference('SEARCH /v1/things/a', '404', '405'),
    ],
    'RFC 3986, 3.3: a path with a last slash is another path; `**` takes all of it': [
        Difference('GET /v1/rest/a/', '200 application/json {"name": "a"}', '200 application/json {"name": "a/"}'),
    ],
    'ProtoJSON, bool: true or false, and nothing else': [
        Difference('GET /v1/typed/5/1/RED', '200 application/json {"colour": "RED", "flag": true, "i64": "5"}', '400'),
        Difference('GET /v1/typed/5/TRUE/RED', '200 application/json {"colour": "RED", "flag": true, "i64": "5"}', '400'),
        Difference('GET /v1/search?flag=1', '200 application/json {"flag": true}', '400'),
        Difference('GET /v1/search?flag=yes', '200 application/json {"flag": true}', '400'),
        Difference('GET /v1/search?wrapped_flag=1', '200 application/json {"wrappedFlag": true}', '400'),
        Difference('POST /v1/things {"flag": "true"}', '200 application/json {"flag": true}', '400'),
        Difference('POST /v1/things {"struct": {"a": {"b": []}}, "wrappedFlag": "true"}', '200 application/json {"struct": {"a": {"b": []}}, "wrappedFlag": true}', '400'),
    ],
    'ProtoJSON, enum: by name or number; an open enum takes any int32': [
        Difference('GET /v1/typed/5/true/99', '400', '200 application/json {"colour": 99, "flag": true, "i64": "5"}'),
        Difference('GET /v1/search?colour=99', '400', '200 application/json {"colour": 99}'),
        Difference('GET /v1/search?colour=-1', '400', '200 application/json {"colour": -1}'),
    ],
    'google/api/http.proto: only repeated fields are given several times, and a message as a whole or by its fields': [
        Difference('GET /v1/search?name=a&name=b', '200 application/json {"name": "b"}', '400'),
        Difference('GET /v1/search?at=2026-11-03T20:15:00Z&at.nanos=5', '200 application/json {"at": "2026-11-03T20:15:00.000000005Z"}', '400'),
        Difference('GET /v1/search?at.nanos=5&at=2026-11-03T20:15:00Z', '200 application/json {"at": "2026-11-03T20:15:00.000000005Z"}', '400'),
    ],
    'ProtoJSON, int32 to uint64: a number or its text; exponents and trailing zeros are read where the value is whole': [
        Difference('GET /v1/search?i32=5.0', '400', '200 application/json {"i32": 5}'),
        Difference('GET /v1/search?i32=1e2', '400', '200 application/json {"i32": 100}'),
        Difference('GET /v1/search?i64=1e2', '400', '200 application/json {"i64": "100"}'),
        Difference('POST /v1/things {"i32": "1e2"}', '400', '200 application/json {"i32": 100}'),
    ],
    "google/api/http.proto: a query parameter's field is no repeated message": [
        Difference('GET /v1/search?leaves.text=a', '200 application/json {"leaves": [{"text": "a"}]}', '400'),
    ],
    'beyond the comment: entries of maps': [
        Difference('GET /v1/search?labels[a]=b', '400', '200 application/json {"labels": {"a": "b"}}'),
    ],
    'beyond the comment: Struct, Value and ListValue as JSON text, as a whole': [
        Difference('GET /v1/search?struct={"a":1}', '400', '200 application/json {"struct": {"a": 1}}'),
        Difference('GET /v1/search?list=[1]', '400', '200 application/json {"list": [1]}'),
        Difference('GET /v1/search?value=5', '200 application/json {"value": "5"}', '200 application/json {"value": 5}'),
        Difference('GET /v1/search?list.values=a', '200 application/json {"list": ["a"]}', '400'),
    ],
    'google/api/http.proto: fields that the path binds are no query parameters': [
        Difference('GET /v1/things/abc?name=b', '200 application/json {"name": "b"}', '400'),
    ],
    'google/rpc/status.proto: all details, the unknown too: docs/grpc.md, Any; Envoy gives up the whole body': [
        Difference('GET /v1/fail/5?text=unknown', '404', '404 {"code": 5, "details": [{"@type": "example.org/of.nobody.Knows", "value": "AQ=="}], "message": "it is so"}'),
    ],
    "the stream's failure is its last item; Envoy's array ends as if all were well": [
        Difference('GET /v1/down/2?fail=5', '200 application/json [{}, {"i32": 1}]', '200 application/json [{}, {"i32": 1}, {"code": 5, "message": "it is so"}]'),
    ],
    "google/api/httpbody.proto: the content type is the message's, and there was none": [
        Difference('GET /v1/pieces/0', '200 application/json ""', '200 ""'),
    ],
    'RFC 3986, 2.3: a percent-encoded unreserved character is that character': [
        Difference('GET /v1/a%2Db%5Fc.d%7Ee/x', '404', '200 application/json {"name": "x"}'),
        Difference('GET /v1/search?leaf%2Etext=a', '400', '200 application/json {"leaf": {"text": "a"}}'),
    ],
    'RFC 3986, 5.2.4: clients take dot segments out; one that arrives, encoded or not, leads astray': [
        Difference('GET /v1/rest/%2E%2E/a', '200 application/json {"name": "../a"}', '400'),
        Difference('GET /v1/things/..', '200 application/json {"name": ".."}', '400'),
        Difference('GET /v1/things/a/../b', '404', '400'),
    ],
    "Value is given as JSON text; its fields, by the comment's letter possible, are not (Envoy takes their names for keys)": [
        Difference('GET /v1/search?value.number_value=5', '200 application/json {"value": {"number_value": "5"}}', '400'),
        Difference('GET /v1/search?value.string_value=a', '200 application/json {"value": {"string_value": "a"}}', '400'),
        Difference('GET /v1/search?value.string_value=a&value.bool_value=true', '200 application/json {"value": {"bool_value": "true", "string_value": "a"}}', '400'),
        Difference('GET /v1/search?value.list_value.values=a', '200 application/json {"value": {"list_value": {"values": "a"}}}', '400'),
    ],
    "ProtoJSON's texts are JSON's numbers: no plus sign, a digit before the point (RFC 8259, 6)": [
        Difference('GET /v1/search?i32=%2B5', '200 application/json {"i32": 5}', '400'),
        Difference('GET /v1/search?dbl=.5', '200 application/json {"dbl": 0.5}', '400'),
    ],
    'ProtoJSON: parsers refuse unknown fields by default; `unknown: ignore` takes them': [
        Difference('POST /v1/things {"nothing": 5}', '200 application/json {}', '400'),
        Difference('POST /v1/up [{"nothing": 1}]', '200 application/json {"texts": [""]}', '400'),
    ],
    'RFC 8259, 4, and ProtoJSON: a field is given once; none of two values is dropped in silence': [
        Difference('POST /v1/things {"name": "a", "name": "b"}', '200 application/json {"name": "b"}', '400'),
        Difference('POST /v1/things {"snakeCaseName": "a", "snake_case_name": "b"}', '200 application/json {"snakeCaseName": "b"}', '400'),
    ],
    'ProtoJSON, repeated V: an array': [
        Difference('POST /v1/things {"texts": "a"}', '200 application/json {"texts": ["a"]}', '400'),
        Difference('POST /v1/texts "a"', '200 application/json {"texts": ["a"]}', '400'),
    ],
    'ProtoJSON, null: it is no item of an array and no value of a map': [
        Difference('POST /v1/things {"texts": [null]}', '200 application/json {}', '400'),
        Difference('POST /v1/things {"labels": {"a": null}}', '200 application/json {"labels": {"a": ""}}', '400'),
        Difference('POST /v1/leaves/a [null]', '200 application/json {"name": "a"}', '400'),
        Difference('POST /v1/things {"colours": [null]}', '200 application/json {}', '400'),
        Difference('POST /v1/things {"byNumber": {"5": null}}', '200 application/json {"byNumber": {"5": {}}}', '400'),
    ],
    'google/api/http.proto: with `body: "*"` there are no query parameters': [
        Difference('POST /v1/things?name=a {}', '200 application/json {"name": "a"}', '400'),
    ],
    "google/api/http.proto: `*` is all that the path doesn't bind; the path's value counts": [
        Difference('POST /v1/things/a {"name": "b"}', '200 application/json {"name": "b"}', '200 application/json {"name": "a"}'),
    ],
    "google/api/http.proto: the body's field is no query parameter": [
        Difference('POST /v1/leaf/a?leaf.number=5 {"text": "b"}', '200 application/json {"leaf": {"number": 5, "text": "b"}, "name": "a"}', '400'),
    ],
    'nothing was sent, so the field stays unset; Envoy sets an empty one': [
        Difference('POST /v1/leaf/a', '200 application/json {"leaf": {}, "name": "a"}', '200 application/json {"name": "a"}'),
    ],
    'google/api/http.proto: without `body` there is no request body (of GET and DELETE RFC 9110, 9.3.1 and 9.3.5 say the same)': [
        Difference('POST /v1/none/a {"text": "b"}', '200 application/json {"name": "a", "text": "b"}', '400'),
        Difference('GET /v1/things/a {"text": "b"}', '200 application/json {"name": "a", "text": "b"}', '400'),
        Difference('DELETE /v1/things/a {"text": "b"}', '200 application/json {"name": "a", "text": "b"}', '400'),
    ],
    'an absent `update_mask` is filled with what the body gives, as grpc-gateway does': [
        Difference('PATCH /v1/things/a {"text": "b", "leaf": {"number": 5}}', '200 application/json {"leaf": {"leaf": {"number": 5}, "text": "b"}, "name": "a"}', '200 application/json {"leaf": {"leaf": {"number": 5}, "text": "b"}, "name": "a", "updateMask": "text,leaf.number"}'),
    ],
    'RFC 9110, 9.3.2: HEAD is answered where GET is': [
        Difference('HEAD /v1/things/a', '404', '200 application/json ""'),
    ],
    "a client's stream: docs/grpc.md, Streams: texts one after another are one, too, and so is none": [
        Difference('POST /v1/up {"name": "a"}', '400', '200 application/json {"texts": ["a"]}'),
        Difference('POST /v1/up', '400', '200 application/json {}'),
    ],
    "ProtoJSON: Timestamp, Duration and FieldMask are strings, in lowerCamelCase the mask's names": [
        Difference('POST /v1/at/a {"seconds": 5}', '200 application/json {"at": "1970-01-01T00:00:05Z", "name": "a"}', '400'),
        Difference('POST /v1/things {"at": {"seconds": 5}}', '200 application/json {"at": "1970-01-01T00:00:05Z"}', '400'),
        Difference('POST /v1/things {"updateMask": "snake_case"}', '200 application/json {"updateMask": "snakeCase"}', '400'),
        Difference('POST /v1/things {"updateMask": {"paths": ["a"]}}', '200 application/json {"updateMask": "a"}', '400'),
    ],
    'RFC 8259, 8.1: a parser may ignore a byte order mark': [
        Difference('POST /v1/things \ufeff{"name": "a"}', '400', '200 application/json {"name": "a"}'),
    ],
    'RFC 8259, 2 to 7: the grammar of JSON: quotes are double, names are quoted, no comma is last': [
        Difference("POST /v1/things {'name': 'a'}", '200 application/json {"name": "a"}', '400'),
        Difference('POST /v1/things {"name": "a",}', '200 application/json {"name": "a"}', '400'),
        Difference('POST /v1/things {name: "a"}', '200 application/json {"name": "a"}', '400'),
    ],
    'the automatic path is there for annotated methods, too': [
        Difference('POST /same.Same/Get {"name": "a"}', '404', '200 application/json {"name": "a"}'),
    ],
    'RFC 9110, 15.5.16: the operation does not read that type': [
        Difference('POST /v1/things <xml>', '400', '415'),
    ],
    'gRPC over HTTP/2, Binary-Header: with or without padding': [
        Difference('GET /v1/search <bytes without padding>', '200 application/json {} x-told-bin=AP8', '200 application/json {} x-told-bin=AP8='),
    ],
    'docs/grpc.md, `reply_headers`: trailers, too; Envoy leaves them out': [
        Difference('GET /v1/search <metadata after the answer>', '200 application/json {"name": "a"}', '200 application/json {"name": "a"} x-trailed=one'),
    ],
}
