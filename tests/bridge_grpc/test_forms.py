"""Forms as bodies, as httpx and urllib write them: fields by path, files, and everything that may be wrong with one."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import Call, ClientError, Identity, InvalidBody, InvalidParameter, UnsupportedMediaType
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.mapping.forms import MAX_NAME, MAX_PARTS, Form
from tests.bridge_grpc.conftest import request_type

PROTO = """
syntax = "proto3";
package f.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
service Votes {
  rpc Cast(Vote) returns (Vote) { option (google.api.http) = { post: "/cast/{county}" body: "*" }; }
  rpc Mark(MarkRequest) returns (Vote) { option (google.api.http) = { patch: "/mark/{id}" body: "mark" }; }
}
enum Kind { KIND_UNSPECIFIED = 0; MAIL = 1; }
message Vote {
  string county = 1; Mark mark = 2; repeated string tags = 3; repeated int32 numbers = 4; map<string, int32> labels = 5;
  Kind kind = 6; bytes raw = 7; google.protobuf.Timestamp at = 8; google.api.HttpBody scan = 9; repeated bytes pages = 10;
  repeated google.api.HttpBody scans = 11; string voter_id = 12; repeated Mark marks = 13; bool sure = 14;
  google.protobuf.Struct extra = 15; string note_text = 16; oneof who { string name = 17; string alias = 18; }
}
message Mark { string candidate = 1; int64 rank = 2; Mark next = 3; bytes proof = 4; }
message MarkRequest { string id = 1; Mark mark = 2; google.protobuf.FieldMask update_mask = 3; bool dry = 4; }
"""


@pytest.fixture
async def read(bind: Any) -> Any:
    """Reads a body by the rule for POST /cast/{county}, or another; gives the message as JSON."""
    made: dict[str, Any] = {}

    async def prepare(**options: Any) -> Any:
        operations = await bind(PROTO, **options)

        def reading(body: bytes, kind: str, path: str = "/cast/{county}", query: str = "", **claims: Any) -> Any:
            operation = next(op for op in operations if op.path == path)
            call = Call(
                operation.method, "/", raw_params={"county": "Kern", "id": "1"}, query=query, body=body,
                headers=[("content-type", kind)], identity=Identity(claims=claims),
            )  # fmt: skip
            message = GetMessageClass(request_type(operation)).FromString(operation.codec.request(call).message)
            return json_format.MessageToDict(message)

        return reading

    made["plain"] = await prepare()
    made["prepare"] = prepare
    return made


URLENCODED = "application/x-www-form-urlencoded"


def urlencoded(*pairs: tuple[str, str]) -> tuple[bytes, str]:
    return urlencode(pairs).encode(), URLENCODED


def multipart(files: Any) -> tuple[bytes, str]:
    """What httpx sends."""
    request = httpx.Request("POST", "http://x/", files=files)
    return request.read(), request.headers["content-type"]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("mark.candidate", "A & B"), ("mark.next.rank", "2")], {"mark": {"candidate": "A & B", "next": {"rank": "2"}}}),
        ([("tags", "a b+c"), ("tags", ""), ("numbers", "1"), ("numbers", "2")], {"tags": ["a b+c", ""], "numbers": [1, 2]}),
        ([("labels[a]", "1"), ("labels[ü]", "2"), ("kind", "MAIL"), ("sure", "true")], {"labels": {"a": 1, "ü": 2}, "kind": "MAIL", "sure": True}),
        ([("noteText", "é"), ("raw", "AQI="), ("at", "2026-11-03T20:00:00Z")], {"noteText": "é", "raw": "AQI=", "at": "2026-11-03T20:00:00Z"}),
        ([("note_text", "x"), ("extra", '{"a":[1]}'), ("alias", "me")], {"noteText": "x", "extra": {"a": [1.0]}, "alias": "me"}),
        ([("county", "Inyo")], {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_fields(read: Any, kind: str, pairs: Any, expected: Any) -> None:
    body, declared = urlencoded(*pairs) if kind == "urlencoded" else multipart([(n, (None, v)) for n, v in pairs])
    assert read["plain"](body, declared) == {"county": "Kern", **expected}


async def test_files(read: Any) -> None:
    files = [
        ("raw", ("a.bin", b"\x00\xff\r\n--", "application/octet-stream")),
        ("scan", ("s.png", b"\x89PNG", "image/png")),
        ("noteText", ("n.txt", "né".encode())),
        ("pages", ("1", b"one")), ("pages", ("2", b"")),
        ("scans", ("1", b"x", "text/csv")), ("scans", ("2", b"y", "text/html; charset=utf-8")),
        ("mark.proof", ("p", b"\x01\x02")), ("mark.candidate", (None, "A")),
    ]  # fmt: skip
    assert read["plain"](*multipart(files)) == {
        "county": "Kern", "raw": "AP8NCi0t", "scan": {"contentType": "image/png", "data": "iVBORw=="}, "noteText": "né",
        "pages": ["b25l", ""], "scans": [{"contentType": "text/csv", "data": "eA=="}, {"contentType": "text/html; charset=utf-8", "data": "eQ=="}],
        "mark": {"proof": "AQI=", "candidate": "A"},
    }  # fmt: skip


async def test_a_field_as_the_body(read: Any) -> None:
    expected = {"id": "1", "mark": {"candidate": "A", "next": {"rank": "2"}, "proof": "AQI="}, "dry": True}
    body, kind = multipart([("candidate", (None, "A")), ("next.rank", (None, "2")), ("proof", ("p", b"\1\2"))])
    found = read["plain"](body, kind, "/mark/{id}", "dry=true")
    assert set(found.pop("updateMask").split(",")) == {"candidate", "next.rank", "proof"}
    assert found == expected


async def test_the_gateway_s_fields_count(read: Any) -> None:
    reading = await read["prepare"](fields={"voter_id": {"$claim": "sub"}})
    assert reading(*urlencoded(("voter_id", "eve")), sub="ada") == {"county": "Kern", "voterId": "ada"}


async def test_charsets(read: Any) -> None:
    assert read["plain"](b"note_text=%E9&tags=\xe9", f"{URLENCODED}; charset=ISO-8859-1")["noteText"] == "é"
    assert read["plain"](b"note_text=%C3%A9", f'{URLENCODED};charset="UTF-8"')["noteText"] == "é"
    body = b'--b\r\nContent-Disposition: form-data; name="note_text"\r\nContent-Type: text/plain;charset=windows-1252\r\n\r\n\x80\r\n--b--\r\n'
    assert read["plain"](body, "multipart/form-data; boundary=b")["noteText"] == "€"
    with pytest.raises(UnsupportedMediaType, match="not as 'utf-16'"):
        read["plain"](b"a=b", f"{URLENCODED}; charset=utf-16")


async def test_unknown_names_may_be_ignored(read: Any) -> None:
    reading = await read["prepare"](unknown="ignore")
    body, kind = multipart([("nope", (None, "x")), ("none", ("f", b"x")), ("noteText", (None, "y"))])
    assert reading(body, kind) == {"county": "Kern", "noteText": "y"}


@pytest.mark.parametrize(
    ("form", "where", "reason"),
    [
        (urlencoded(("nope", "x")), "nope", "no such parameter"),
        (urlencoded(("mark", "x")), "mark", "takes a message"),
        (urlencoded(("marks.rank", "1")), "marks.rank", "no such parameter"),
        (urlencoded(("kind", "FAX")), "kind", "not one of"),
        (urlencoded(("noteText", "a"), ("note_text", "b")), "note_text", "given twice"),
        (urlencoded(("raw", "$")), "raw", "not base64"),
        (urlencoded(("name", "a"), ("alias", "b")), "alias", "together with name"),
        ((b"note_text=%ff", URLENCODED), "note_text", "it is not utf-8 text"),
        (multipart([("nope", ("f", b"x"))]), "nope", "no such parameter"),
        (multipart([("kind", ("f", b"x"))]), "kind", "it takes no file"),
        (multipart([("noteText", ("f", b"\xff"))]), "noteText", "it is not utf-8 text"),
        (multipart([("raw", ("f", b"x")), ("raw", ("g", b"y"))]), "raw", "given twice"),
        (multipart([("raw", (None, "AQI=")), ("raw", ("g", b"y"))]), "raw", "given twice"),
        (multipart([("pages", (None, "AQI=")), ("pages", ("g", b"y"))]), "pages", "as text and as a file"),
        ((b'--b\r\nContent-Disposition: form-data; name="raw"\r\nContent-Transfer-Encoding: base64\r\n\r\nAQI=\r\n--b--\r\n', "multipart/form-data; boundary=b"),
         "raw", "Content-Transfer-Encoding"),
    ],
)  # fmt: skip
async def test_wrong_fields(read: Any, form: tuple[bytes, str], where: str, reason: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read["plain"](*form)
    assert [name for name, _ in caught.value.errors] == [where]
    assert reason in caught.value.errors[0][1]


async def test_all_wrong_fields_are_listed_within_bounds(read: Any) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read["plain"](*multipart([("nope", (None, "x")), ("kind", (None, "FAX")), ("sure", ("f", b"x"))]))
    assert [name for name, _ in caught.value.errors] == ["nope", "kind", "sure"]
    with pytest.raises(InvalidParameter) as caught:
        read["plain"](*urlencoded(*[(f"x{n}", "") for n in range(MAX_PARTS)]))
    assert len(caught.value.errors) == 101


LONG = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="tags"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (urlencode([("tags", "x")] * (MAX_PARTS + 1)).encode(), URLENCODED, "more than 1000 parts"),
        (PART * (MAX_PARTS + 1) + b"--b--\r\n", LONG, "more than 1000 parts"),
        (b"a" * (MAX_NAME + 1) + b"=1", URLENCODED, "longer than 512 bytes"),
        (b"%ff=1", URLENCODED, "a name in the form is not utf-8 text"),
        (PART.replace(b"tags", b"t" * (MAX_NAME + 1)) + b"--b--\r\n", LONG, "longer than 512 bytes"),
        (PART, LONG, "is not complete"),
        (PART[:-2], LONG, "is not complete"),
        (b"tags=x", LONG, "it is no multipart form"),
        (PART + b"--b--\r\n", "multipart/form-data", "needs a boundary"),
        (PART + b"--b--\r\n", f"multipart/form-data; boundary={'b' * 1000}", "it is no multipart form"),
        (b"--b\r\nX-A: 1\r\n\r\nx\r\n--b--\r\n", LONG, "part 1 of the form has no name"),
        (b'--b\r\nContent-Disposition: attachment; name="tags"\r\n\r\nx\r\n--b--\r\n', LONG, "part 1 of the form has no name"),
        (PART.replace(b"\r\n\r\n", b"\r\nX-A: " + b"y" * 9000 + b"\r\n\r\n") + b"--b--\r\n", LONG, "header size"),
        (PART.replace(b"\r\n\r\n", b"\r\nX-A: y" * 20 + b"\r\n\r\n") + b"--b--\r\n", LONG, "header count"),
    ],
)  # fmt: skip
async def test_what_is_no_form(read: Any, body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        read["plain"](body, kind)
    assert reason in caught.value.errors[0][1]


async def test_as_many_parts_as_are_taken(read: Any) -> None:
    assert len(read["plain"](PART * MAX_PARTS + b"--b--\r\n", LONG)["tags"]) == MAX_PARTS
    assert len(read["plain"](*urlencoded(*[("tags", "x")] * MAX_PARTS))["tags"]) == MAX_PARTS


@pytest.mark.parametrize("body", [b'{"noteText": "x"}', b'\xef\xbb\xbf {"noteText": "x"}'])
async def test_a_strict_route_refuses_json_declared_as_a_form(read: Any, body: bytes) -> None:
    assert read["plain"](body, URLENCODED)["noteText"] == "x"
    strict = await read["prepare"](strict=True)
    with pytest.raises(UnsupportedMediaType, match="Declare it as application/json"):
        strict(body, f"{URLENCODED}; charset=utf-8")
    assert strict(body, "application/json")["noteText"] == "x"
    assert strict(b"note_text=x", URLENCODED)["noteText"] == "x"


async def test_openapi_lists_forms(bind: Any) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    from tests.bridge_grpc.test_describe import document

    for op in await bind(PROTO):
        doc = op.describe()
        assert list(OpenAPIV31SpecValidator(document(op.path, op.method, doc)).iter_errors()) == []
        assert list(doc.operation["requestBody"]["content"]) == ["application/json", URLENCODED, "multipart/form-data"]


@given(
    st.lists(
        st.sampled_from([b"--b", b"--", b"\r\n", b"\r\n\r\n", PART[5:], b"\x00\xff", b'name="', b": ", b";", b"="]),
        max_size=12,
    ),
    st.sampled_from([LONG, URLENCODED, 'multipart/form-data; boundary="b', "multipart/form-data;boundary=;boundary=b"]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_read_or_refused(read_any: Any, pieces: list[bytes], kind: str) -> None:
    try:
        read_any(Call("POST", body=b"".join(pieces), headers=[("content-type", kind)]))
    except ClientError:
        pass


@pytest.fixture(scope="module")
def read_any(make_schema: Any) -> Any:
    made = make_schema(PROTO)
    return Form(made.pool.FindMessageTypeByName("f.v1.Vote"), Decoders(lambda name: None), ignore=False).read
