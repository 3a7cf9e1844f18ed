"""The requests that both are asked, and what differs: the clause that decides stands beside each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Difference:
    """`status` is ours; `clause` says why."""

    status: int
    clause: str


#: GET targets.
_GETS = """
/v1/things/abc
/v1/things/a%20b
/v1/things/a+b
/v1/things/a%2Fb
/v1/things/a%2fb
/v1/things/%E2%82%AC
/v1/things/a%3Ab
/v1/things/a:b
/v1/things/a%25b
/v1/things/%ff
/v1/rest/a/%ff
/v1/things/a;b=c
/v1/things/a,b
/v1/things/a@b
/v1/things/a=b
/v1/things/a%26b
/v1/things/a$b!c'd(e)f*g
/v1/things/~a-b_c.d
/v1/things/abc:verb
/v1/things/a:b:verb
/v1/things/abc:other
/v1/things/abc%3Averb
/v1/things/
/v1/things/abc/
/v1/things
//v1/things/abc
/v1/things/abc?
/v1/shelves/1/books/2
/v1/shelves/a%2Fb/books/c%2Fd
/v1/shelves/a%20b/books/c+d
/v1/shelves/1/books
/v1/shelves/1/books/2/3
/v1/rest/a
/v1/rest/a/b/c
/v1/rest/a%2Fb/c
/v1/rest/
/v1/rest
/v1/rest/a/
/v1/rest/a%20b/c%3Fd
/v1/pre/a/b/c
/v1/pre/a
/v1/pre/b/c
/v1/loose/x/abc
/v1/loose/x/y/abc
/v1/nested/hello/5
/v1/nested/hello/x
/v1/nested/hello/99999999999
/v1/typed/9223372036854775807/true/RED
/v1/typed/9223372036854775808/true/RED
/v1/typed/-5/false/2
/v1/typed/5/1/RED
/v1/typed/5/TRUE/RED
/v1/typed/5/true/BLUE
/v1/typed/5/true/red
/v1/typed/5/true/99
/v1/search
/v1/search?name=a
/v1/search?name=a%20b
/v1/search?name=a+b
/v1/search?name=a%2Bb
/v1/search?name=
/v1/search?name
/v1/search?name=a&name=b
/v1/search?texts=a&texts=b
/v1/search?texts=a,b
/v1/search?numbers=1&numbers=2
/v1/search?numbers=1&numbers=x
/v1/search?i32=5
/v1/search?i32=-5
/v1/search?i32=5.0
/v1/search?i32=5.5
/v1/search?i32=2147483648
/v1/search?i32=%205
/v1/search?i32=0x10
/v1/search?i64=9007199254740993
/v1/search?u32=-1
/v1/search?u64=18446744073709551615
/v1/search?flag=true
/v1/search?flag=false
/v1/search?flag=1
/v1/search?flag=yes
/v1/search?dbl=1.5
/v1/search?dbl=NaN
/v1/search?dbl=Infinity
/v1/search?dbl=-Infinity
/v1/search?dbl=1e400
/v1/search?flt=0.1
/v1/search?data=AQI=
/v1/search?data=AQI
/v1/search?data=-_8=
/v1/search?data=%21
/v1/search?colour=GREEN
/v1/search?colour=2
/v1/search?colour=BLUE
/v1/search?colours=RED&colours=2
/v1/search?leaf.text=a
/v1/search?leaf.leaf.text=a
/v1/search?leaf.words=a&leaf.words=b
/v1/search?leaf.nothing=a
/v1/search?leaf=a
/v1/search?leaves.text=a
/v1/search?nothing=a
/v1/search?snake_case_name=a
/v1/search?snakeCaseName=a
/v1/search?at=2026-11-03T20:15:00Z
/v1/search?at=2026-11-03T20:15:00.123456789%2B01:00
/v1/search?at=yesterday
/v1/search?lasting=1.5s
/v1/search?lasting=1.5
/v1/search?update_mask=a,b.c
/v1/search?update_mask=aB
/v1/search?wrapped=a
/v1/search?wrapped=
/v1/search?wrapped_number=9007199254740993
/v1/search?wrapped_flag=true
/v1/search?maybe=0
/v1/search?one=a
/v1/search?one=a&two=2
/v1/search?labels=a
/v1/search?labels[a]=b
/v1/search?struct={"a":1}
/v1/search?&&name=a&
/v1/search?name=%zz
/v1/search?name=%ff
/v1/things/abc?text=b&leaf.text=c
/v1/things/abc?name=b
/v1/also?name=a
/v1/also/a?text=b
/v1/part/hello?leaf.number=5
/v1/part/hello?name=a
/v1/raw/hello
/v1/raw/hello?text=text/html
/v1/fail/1
/v1/fail/2
/v1/fail/3?text=typed
/v1/fail/4
/v1/fail/5?text=unknown
/v1/fail/6
/v1/fail/7
/v1/fail/8
/v1/fail/9
/v1/fail/10
/v1/fail/11
/v1/fail/12
/v1/fail/13
/v1/fail/14
/v1/fail/15
/v1/fail/16
/v1/down/3?name=a
/v1/down/0
/v1/down/2?fail=5
/v1/nowhere
/same.Same/Plain
"""


_BODIES = [
    ("POST", "/v1/things", b"{}"),
    ("POST", "/v1/things", b""),
    ("POST", "/v1/things", b'{"name": "a", "i64": "5", "i32": 5}'),
    ("POST", "/v1/things", b'{"i64": 5, "i32": "5"}'),
    ("POST", "/v1/things", b'{"i32": 5.0}'),
    ("POST", "/v1/things", b'{"i32": 5.5}'),
    ("POST", "/v1/things", b'{"i32": 1e2}'),
    ("POST", "/v1/things", b'{"i32": true}'),
    ("POST", "/v1/things", b'{"i32": null}'),
    ("POST", "/v1/things", b'{"flag": "true"}'),
    ("POST", "/v1/things", b'{"flag": 1}'),
    ("POST", "/v1/things", b'{"name": 5}'),
    ("POST", "/v1/things", b'{"nothing": 5}'),
    ("POST", "/v1/things", b'{"name": "a", "name": "b"}'),
    ("POST", "/v1/things", b'{"snake_case_name": "a"}'),
    ("POST", "/v1/things", b'{"snakeCaseName": "a"}'),
    ("POST", "/v1/things", b'{"snakeCaseName": "a", "snake_case_name": "b"}'),
    ("POST", "/v1/things", b'{"colour": "RED"}'),
    ("POST", "/v1/things", b'{"colour": 2}'),
    ("POST", "/v1/things", b'{"colour": 99}'),
    ("POST", "/v1/things", b'{"colour": "BLUE"}'),
    ("POST", "/v1/things", b'{"dbl": "NaN", "flt": "-Infinity"}'),
    ("POST", "/v1/things", b'{"dbl": 0.1, "flt": 0.1}'),
    ("POST", "/v1/things", b'{"dbl": -0.0}'),
    ("POST", "/v1/things", b'{"data": "AQI="}'),
    ("POST", "/v1/things", b'{"data": "-_8"}'),
    ("POST", "/v1/things", b'{"data": "!"}'),
    ("POST", "/v1/things", b'{"texts": ["a", "b"], "numbers": [1, 2], "colours": ["RED", 2]}'),
    ("POST", "/v1/things", b'{"texts": "a"}'),
    ("POST", "/v1/things", b'{"texts": [null]}'),
    ("POST", "/v1/things", b'{"texts": null}'),
    ("POST", "/v1/things", b'{"leaves": [{"text": "a"}, {}]}'),
    ("POST", "/v1/things", b'{"labels": {"a": "b"}, "byNumber": {"5": {"text": "a"}}}'),
    ("POST", "/v1/things", b'{"byNumber": {"x": {}}}'),
    ("POST", "/v1/things", b'{"labels": {"a": null}}'),
    ("POST", "/v1/things", b'{"one": "a", "two": 5}'),
    ("POST", "/v1/things", b'{"one": "a", "two": null}'),
    ("POST", "/v1/things", b'{"at": "2026-11-03T20:15:00.5Z", "lasting": "1.5s", "updateMask": "a,bC"}'),
    ("POST", "/v1/things", b'{"at": "0000-01-01T00:00:00Z"}'),
    ("POST", "/v1/things", b'{"at": "2026-02-30T00:00:00Z"}'),
    ("POST", "/v1/things", b'{"lasting": "315576000001s"}'),
    ("POST", "/v1/things", b'{"struct": {"a": [1, null, {"b": true}]}, "value": 5}'),
    ("POST", "/v1/things", b'{"value": null}'),
    ("POST", "/v1/things", b'{"wrapped": "a", "wrappedNumber": "5", "wrappedFlag": false}'),
    ("POST", "/v1/things", b'{"wrapped": null}'),
    ("POST", "/v1/things", b'{"maybe": 0}'),
    ("POST", "/v1/things", b'{"name": "\\ud83d\\ude00 \\u20ac"}'),
    ("POST", "/v1/things", b'{"name": "\\ud83d"}'),
    ("POST", "/v1/things", b'{"name": "a"'),
    ("POST", "/v1/things", b"[]"),
    ("POST", "/v1/things", b'"a"'),
    ("POST", "/v1/things", b"null"),
    ("POST", "/v1/things", b'{"name": "a"} {}'),
    ("POST", "/v1/things", b"nonsense"),
    ("POST", "/v1/things?name=a", b"{}"),
    ("POST", "/v1/things/a", b'{"text": "b"}'),
    ("POST", "/v1/things/a", b'{"name": "b"}'),
    ("POST", "/v1/leaf/a", b'{"text": "b"}'),
    ("POST", "/v1/leaf/a?text=c", b'{"text": "b"}'),
    ("POST", "/v1/leaf/a?leaf.number=5", b'{"text": "b"}'),
    ("POST", "/v1/leaf/a", b""),
    ("POST", "/v1/texts", b'["a", "b"]'),
    ("POST", "/v1/texts", b'"a"'),
    ("POST", "/v1/none/a?text=b", b""),
    ("POST", "/v1/none/a", b'{"text": "b"}'),
    ("PUT", "/v1/things/a", b'{"text": "b"}'),
    ("DELETE", "/v1/things/a?text=b", b""),
    ("PATCH", "/v1/things/a", b'{"text": "b", "leaf": {"number": 5}}'),
    ("PATCH", "/v1/things/a?update_mask=text", b'{"text": "b"}'),
    ("OPTIONS", "/v1/things/a", b""),
    ("HEAD", "/v1/things/a", b""),
    ("POST", "/v1/also", b'{"name": "a"}'),
    ("POST", "/v1/search", b"{}"),
    ("DELETE", "/v1/search", b""),
    ("POST", "/v1/up", b'[{"name": "a", "i32": 1}, {"name": "b", "i32": 2}]'),
    ("POST", "/v1/up", b"[]"),
    ("POST", "/v1/up", b'[{"nothing": 1}]'),
    ("POST", "/same.Same/Plain", b'{"name": "a"}'),
    ("POST", "/same.Same/Get", b'{"name": "a"}'),
    ("POST", "/same.Same/Nothing", b"{}"),
]


def _cases() -> Iterator[Case]:
    for target in _GETS.splitlines():
        if target:
            yield Case(f"GET {target}", "GET", target)
    for method, target, body in _BODIES:
        headers = {"content-type": "application/json"} if body else {}
        yield Case(f"{method} {target} {body.decode()}".rstrip(), method, target, body, headers)
    yield Case("POST /v1/raw <raw>", "POST", "/v1/raw", b"\x01\x02", {"content-type": "image/png"})
    yield Case("POST /v1/things <xml>", "POST", "/v1/things", b"<a/>", {"content-type": "text/xml"})
    charset = {"content-type": "application/json; charset=utf-8"}
    yield Case("POST /v1/things <charset>", "POST", "/v1/things", b'{"name": "a"}', charset)


CASES = [
    # An array is the one form of a stream that Envoy has for JSON.
    Case(case.name, case.method, case.target, case.body, {"accept": "application/json", **case.headers})
    for case in _cases()
]

DIFFERENCES: dict[str, Difference] = {
    "GET /v1/things/%ff": Difference(
        400, "proto3: a string is UTF-8, so the caller is told (Envoy's service fails to read it)"
    ),
    "GET /v1/rest/a/%ff": Difference(
        400, "proto3: a string is UTF-8, so the caller is told (Envoy's service fails to read it)"
    ),
    "GET /v1/things/abc/": Difference(
        404, "google/api/http.proto, Path template syntax: a template has no empty segment"
    ),
    "GET /v1/things": Difference(405, "RFC 9110, 15.5.6: the path is known, its method is POST"),
    "GET /v1/rest/a/": Difference(200, "RFC 3986, 3.3: a path with a last slash is another path; `**` takes all of it"),
    "GET /v1/typed/5/1/RED": Difference(400, "ProtoJSON: a bool is true or false"),
    "GET /v1/typed/5/TRUE/RED": Difference(400, "ProtoJSON: a bool is true or false"),
    "GET /v1/typed/5/true/99": Difference(200, "ProtoJSON: enums are read by name or number; an open enum takes any"),
    "GET /v1/search?name=a&name=b": Difference(
        400, "google/api/http.proto: only repeated fields are given several times; none of two values is dropped"
    ),
    "GET /v1/search?i32=5.0": Difference(
        200, "ProtoJSON: trailing zeros and exponents are read where the value is whole"
    ),
    "GET /v1/search?flag=1": Difference(400, "ProtoJSON: a bool is true or false"),
    "GET /v1/search?flag=yes": Difference(400, "ProtoJSON: a bool is true or false"),
    "GET /v1/search?leaves.text=a": Difference(
        400, "google/api/http.proto: a query parameter's field is no repeated message"
    ),
    "GET /v1/search?labels[a]=b": Difference(200, "beyond the comment: entries of maps"),
    'GET /v1/search?struct={"a":1}': Difference(200, "beyond the comment: Struct, Value and ListValue as JSON text"),
    "GET /v1/search?name=%ff": Difference(
        400, "proto3: a string is UTF-8, so the caller is told (Envoy's service fails to read it)"
    ),
    "GET /v1/things/abc?name=b": Difference(
        400, "google/api/http.proto: fields that the path binds are no query parameters"
    ),
    "GET /v1/down/2?fail=5": Difference(
        200, "the stream's failure is its last item; Envoy's array ends as if all were well"
    ),
    "GET /same.Same/Plain": Difference(405, "RFC 9110, 15.5.6: the path is known, its method is POST"),
    'POST /v1/things {"flag": "true"}': Difference(400, "ProtoJSON: a bool is true or false"),
    'POST /v1/things {"nothing": 5}': Difference(
        400, "ProtoJSON: parsers refuse unknown fields by default; `unknown: ignore` takes them"
    ),
    'POST /v1/things {"name": "a", "name": "b"}': Difference(
        400, "RFC 8259, 4: names should be unique; none of two values is dropped"
    ),
    'POST /v1/things {"snakeCaseName": "a", "snake_case_name": "b"}': Difference(
        400, "ProtoJSON: one field, given twice"
    ),
    'POST /v1/things {"texts": "a"}': Difference(400, "ProtoJSON: a repeated field is an array"),
    'POST /v1/things {"texts": [null]}': Difference(400, "ProtoJSON: null is no item of an array"),
    'POST /v1/things {"labels": {"a": null}}': Difference(400, "ProtoJSON: null is no value of a map"),
    "POST /v1/things?name=a {}": Difference(
        400, 'google/api/http.proto: with `body: "*"` there are no query parameters'
    ),
    'POST /v1/things/a {"name": "b"}': Difference(
        200, "google/api/http.proto: `*` is all that the path doesn't bind; the path's value counts"
    ),
    'POST /v1/leaf/a?leaf.number=5 {"text": "b"}': Difference(
        400, "google/api/http.proto: the body's field is no query parameter"
    ),
    "POST /v1/leaf/a": Difference(200, "nothing was sent, so the field stays unset; Envoy sets an empty one"),
    'POST /v1/texts "a"': Difference(400, "ProtoJSON: a repeated field is an array"),
    'POST /v1/none/a {"text": "b"}': Difference(
        400, "google/api/http.proto: without `body` there is no request body; Envoy reads it all the same"
    ),
    'PATCH /v1/things/a {"text": "b", "leaf": {"number": 5}}': Difference(
        200, "an absent `update_mask` is filled with what the body gives, as grpc-gateway does"
    ),
    "HEAD /v1/things/a": Difference(200, "RFC 9110, 9.3.2: HEAD is answered where GET is"),
    "POST /v1/search {}": Difference(405, "RFC 9110, 15.5.6: the path is known, its method is GET"),
    "DELETE /v1/search": Difference(405, "RFC 9110, 15.5.6: the path is known, its method is GET"),
    'POST /v1/up [{"nothing": 1}]': Difference(400, "ProtoJSON: parsers refuse unknown fields by default"),
    'POST /same.Same/Get {"name": "a"}': Difference(200, "the automatic path is there for annotated methods, too"),
    "POST /v1/things <xml>": Difference(415, "RFC 9110, 15.5.16: the operation does not read that type"),
}
