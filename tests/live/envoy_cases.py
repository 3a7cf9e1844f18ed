"""The requests that both are asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.live.envoy_targets import TARGETS


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


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
    ("POST", "/v1/up", b'[{"i32": -1}]'),
    ("POST", "/v1/up", b'{"name": "a"}'),
    ("POST", "/v1/up", b'[{"name": "a"}, '),
    ("POST", "/v1/up", b'[{"i32": "x"}]'),
    ("POST", "/v1/up", b""),
    ("POST", "/v1/both", b'[{"name": "a"}, {"i32": 2}]'),
    ("POST", "/v1/both", b"[]"),
    ("POST", "/v1/labels/a", b'{"b": "c", "": "d"}'),
    ("POST", "/v1/labels/a", b"[]"),
    ("POST", "/v1/colour/a", b'"RED"'),
    ("POST", "/v1/colour/a", b'"BLUE"'),
    ("POST", "/v1/at/a", b'"2026-11-03T20:15:00Z"'),
    ("POST", "/v1/at/a", b'{"seconds": 5}'),
    ("POST", "/v1/struct/a", b'{"b": {"c": [1, "d", null]}}'),
    ("POST", "/v1/struct/a", b"[]"),
    ("POST", "/v1/leaves/a", b'[{"text": "b"}, {"leaf": {}}]'),
    ("POST", "/v1/leaves/a", b"[null]"),
    ("POST", "/v1/one/a", b'{"name": "b"}'),
    ("POST", "/v1/one/a", b'{"two": 5}'),
    ("POST", "/v1/one/a", b'{"three": {"text": "b"}}'),
    ("POST", "/v1/things", b'{"data": "AQ="}'),
    ("POST", "/v1/things", b'{"data": "AQID="}'),
    ("PATCH", "/v1/all/a", b'{"text": "b"}'),
    ("PATCH", "/v1/all/a", b'{"text": "b", "updateMask": "text,leaf.number"}'),
    ("SEARCH", "/v1/find", b'{"name": "a"}'),
    ("SEARCH", "/v1/things/a", b""),
    ("GET", "/v1/things/a", b'{"text": "b"}'),
    ("DELETE", "/v1/things/a", b'{"text": "b"}'),
    ("POST", "/v1/things", b'{"any": {"@type": "type.googleapis.com/same.Leaf", "text": "a"}}'),
    ("POST", "/v1/things", b'{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"}}'),
    ("POST", "/v1/things", b'{"any": {"@type": "example.org/of.nobody", "value": "AQ=="}}'),
    ("POST", "/v1/things", b'{"any": {"text": "a"}}'),
    ("POST", "/v1/things", b'{"any": {}}'),
    ("POST", "/v1/things", b'{"list": [1, "a", null, [], {}]}'),
    ("POST", "/v1/things", b'{"value": {"a": [true]}}'),
    ("POST", "/v1/things", b'{"value": "NaN"}'),
    ("POST", "/v1/things", b'{"i64": 9007199254740993}'),
    ("POST", "/v1/things", b'{"i64": "9223372036854775808"}'),
    ("POST", "/v1/things", b'{"i64": 1e3, "u64": "18446744073709551615"}'),
    ("POST", "/v1/things", b'{"i32": "1e2"}'),
    ("POST", "/v1/things", b'{"i32": " 5"}'),
    ("POST", "/v1/things", b'{"i32": ""}'),
    ("POST", "/v1/things", b'{"i32": 2147483648}'),
    ("POST", "/v1/things", b'{"dbl": 1e400}'),
    ("POST", "/v1/things", b'{"flt": 3.5e38}'),
    ("POST", "/v1/things", b'{"dbl": NaN}'),
    ("POST", "/v1/things", b'{"dbl": "1.5", "flt": 16777217}'),
    ("POST", "/v1/things", b'{"i32": 05}'),
    ("POST", "/v1/things", b'{"data": "-_8", "texts": []}'),
    ("POST", "/v1/things", b'{"data": "AQI=="}'),
    ("POST", "/v1/things", b'{"colour": null, "leaf": null, "labels": null}'),
    ("POST", "/v1/things", b'{"colours": [null]}'),
    ("POST", "/v1/things", b'{"colour": 1.0}'),
    ("POST", "/v1/things", b'{"colour": "1"}'),
    ("POST", "/v1/things", b'{"leaf": []}'),
    ("POST", "/v1/things", b'{"leaf": {"leaf": {"leaf": {"words": ["a"]}}}}'),
    ("POST", "/v1/things", b'{"byNumber": {"5": null}}'),
    ("POST", "/v1/things", b'{"byNumber": {"05": {}}}'),
    ("POST", "/v1/things", b'{"labels": {"a": "b", "a": "c"}}'),
    ("POST", "/v1/things", b'{"at": "2026-11-03T20:15:00.123456789+01:00"}'),
    ("POST", "/v1/things", b'{"at": "2026-11-03T20:15:00"}'),
    ("POST", "/v1/things", b'{"at": {"seconds": 5}}'),
    ("POST", "/v1/things", b'{"at": "9999-12-31T23:59:59.999999999Z", "lasting": "-315576000000s"}'),
    ("POST", "/v1/things", b'{"lasting": "0.000000001s"}'),
    ("POST", "/v1/things", b'{"lasting": "1"}'),
    ("POST", "/v1/things", b'{"updateMask": "snake_case"}'),
    ("POST", "/v1/things", b'{"updateMask": ""}'),
    ("POST", "/v1/things", b'{"updateMask": {"paths": ["a"]}}'),
    ("POST", "/v1/things", b'{"struct": {"a": {"b": []}}, "wrappedFlag": "true"}'),
    ("POST", "/v1/things", b'{"name": "<&>\\u007f \xc3\xa9"}'),
    ("POST", "/v1/things", b'{"name": "a\\u0000b"}'),
    ("POST", "/v1/things", b'{"name": "\xff"}'),
    ("POST", "/v1/things", b'\xef\xbb\xbf{"name": "a"}'),
    ("POST", "/v1/things", b"{'name': 'a'}"),
    ("POST", "/v1/things", b'{"name": "a",}'),
    ("POST", "/v1/things", b'{name: "a"}'),
    ("POST", "/v1/things", b' \t\r\n{"name": "a"} \n'),
    ("POST", "/same.Same/Plain", b'{"name": "a"}'),
    ("POST", "/same.Same/Get", b'{"name": "a"}'),
    ("POST", "/same.Same/Nowhere", b"{}"),
]


def _cases() -> Iterator[Case]:
    for target in TARGETS.splitlines():
        if target:
            yield Case(f"GET {target}", "GET", target)
    for method, target, body in _BODIES:
        headers = {"content-type": "application/json"} if body else {}
        text = body.decode(errors="backslashreplace")
        yield Case(f"{method} {target} {text}".rstrip(" "), method, target, body, headers)
    yield Case("POST /v1/raw <raw>", "POST", "/v1/raw", b"\x01\x02", {"content-type": "image/png"})
    yield Case("POST /v1/things <xml>", "POST", "/v1/things", b"<a/>", {"content-type": "text/xml"})
    yield Case("POST /v1/files/a <raw>", "POST", "/v1/files/a", b"\x01\x02", {"content-type": "image/png"})
    yield Case("POST /v1/files/a <empty>", "POST", "/v1/files/a", b"", {"content-type": "image/png"})
    json = {"content-type": "application/json"}
    yield Case("POST /v1/files/a?text=b <json>", "POST", "/v1/files/a?text=b", b"{}", json)
    yield Case("POST /v1/raw <untyped>", "POST", "/v1/raw", b"\x01\x02")
    yield Case("POST /v1/things <untyped>", "POST", "/v1/things", b'{"name": "a"}')
    merge = {"content-type": "application/merge-patch+json"}
    yield Case("PATCH /v1/things/a <merge-patch>", "PATCH", "/v1/things/a?update_mask=text", b'{"text": "b"}', merge)
    yield Case("GET /v1/search <metadata>", "GET", "/v1/search?name=a", b"", {"x-asked": "one, two"})
    yield Case("GET /v1/search <bytes as metadata>", "GET", "/v1/search?name=a", b"", {"x-asked-bin": "AP+A"})
    yield Case("GET /v1/search <bytes without padding>", "GET", "/v1/search", b"", {"x-asked-bin": "AP8"})
    yield Case("GET /v1/search <metadata after the answer>", "GET", "/v1/search?name=a", b"", {"x-trail": "one"})
    yield Case("GET /v1/fail/5 <metadata>", "GET", "/v1/fail/5", b"", {"x-asked": "one"})
    yield Case("GET /v1/search <grpc-timeout>", "GET", "/v1/search?name=a", b"", {"grpc-timeout": "20S"})
    charset = {"content-type": "application/json; charset=utf-8"}
    yield Case("POST /v1/things <charset>", "POST", "/v1/things", b'{"name": "a"}', charset)


CASES = [
    # An array is the one form of a stream that Envoy has for JSON.
    Case(case.name, case.method, case.target, case.body, {"accept": "application/json", **case.headers})
    for case in _cases()
]
