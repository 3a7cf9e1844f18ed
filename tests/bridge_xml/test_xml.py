"""The transformer `xml`: what goes up, what comes down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bridge.api import (
    BadReply,
    BindError,
    Call,
    HttpCodec,
    HttpReply,
    InvalidBody,
    Operation,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamFault,
)
from bridge_xml import Xml, XmlOptions

Codec = Callable[..., Awaitable[HttpCodec]]
XML = ("content-type", "application/xml")
JSON = ("content-type", "application/json")
HTML = ("content-type", "text/html")
SENT = [("accept", "application/xml, text/xml;q=0.9"), ("content-type", "application/xml; charset=utf-8")]


def call(method: str = "POST", body: bytes = b"", **given: Any) -> Call:
    return Call(method, "/v1/things/7", raw_params={"id": "7"}, body=body, **given)


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="bridge.transformers", name="xml")
    assert found.load() is Xml
    assert (Xml.name, Xml.wire) == ("xml", "http")


# --- what goes up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/hal+json", ""])
async def test_json_goes_up_as_xml(xml: Codec, kind: str) -> None:
    headers = [("x-one", "1"), ("accept", "application/json"), ("accept-charset", "x"), ("range", "bytes=0-1")]
    if kind:
        headers.append(("content-type", kind))
    sent = (await xml(upstream="s:80/old/{id}")).request(call("PUT", b'{"a":{"@b":1}}', headers=headers, query="q=1"))
    assert (sent.method, sent.path) == ("PUT", "/old/7?q=1")
    assert sent.body == b'<?xml version="1.0" encoding="UTF-8"?>\n<a b="1"/>'
    assert sent.headers == [("x-one", "1"), *SENT]
    assert sent.decode


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_call_without_a_body_has_none_upstream(xml: Codec, method: str) -> None:
    sent = (await xml(options={"root": "r"})).request(call(method, query="a=1", headers=[JSON]))
    assert (sent.path, sent.body, sent.headers) == ("/v1/things/7?a=1", b"", SENT[:1])


async def test_options(xml: Codec) -> None:
    options = {"root": "order", "namespace": "urn:o", "content_type": "text/xml"}
    sent = (await xml(options=options)).request(call(body=b'{"n":[1,2]}'))
    assert sent.body.endswith(b'<order xmlns="urn:o"><n>1</n><n>2</n></order>')
    assert ("content-type", "text/xml") in sent.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "*/*"])
async def test_another_type_is_refused(xml: Codec, kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        (await xml()).request(call(body=b"a=1", headers=[("content-type", kind)]))


async def test_what_curl_declares_for_want_of_another_is_read(xml: Codec) -> None:
    asking = call(body=b'\xef\xbb\xbf {"a": {"b": 1}}', headers=[("content-type", "application/x-www-form-urlencoded")])
    assert (await xml()).request(asking).body.endswith(b"<a><b>1</b></a>")
    assert asking.warnings == ["the body was read as JSON, though declared as a form"]
    with pytest.raises(UnsupportedMediaType):
        (await xml(options={"strict": True})).request(asking)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"a":1,"b":2}', b'{"a b":1}', b'{"a":"\\u0000"}'])
async def test_what_can_not_be_xml_is_refused(xml: Codec, body: bytes) -> None:
    with pytest.raises(InvalidBody):
        (await xml()).request(call(body=body))


@pytest.mark.parametrize(
    "options",
    [
        {"rot": "a"},
        {"root": "a b"},
        {"root": "p:a"},
        {"namespace": ""},
        {"force_list": "a"},
        {"force_list": ["#text"]},
        {"content_type": "application/json"},
    ],
)
def test_options_are_strict(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        XmlOptions.model_validate(options)


async def test_a_parameter_that_the_route_lacks(xml: Codec) -> None:
    with pytest.raises(BindError, match="no parameter 'nope'"):
        await xml(upstream="s:80/old/{nope}")


# --- what comes down ---------------------------------------------------------------------------------------------


async def test_xml_comes_down_as_json(xml: Codec) -> None:
    codec = await xml(options={"force_list": ["race", "p:x"]})
    body = b'<results n="1"><race>7</race><p:x/></results>'
    got = codec.reply(call(), HttpReply(201, [XML, ("etag", "x"), ("location", "/t/1")], body))
    assert got.status == 201
    assert orjson.loads(got.content) == {"results": {"@n": "1", "race": ["7"], "p:x": [None]}}
    assert got.headers == [("location", "/t/1"), JSON]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([], b"<a/>"),
        ([("content-type", "text/plain")], b'<?xml version="1.0"?><a/>'),
        ([HTML], b'\n<?xml version="1.0"?><a/>'.lstrip()),
    ],
)
async def test_old_services_that_mislabel_their_xml_are_read(xml: Codec, headers: Any, body: bytes) -> None:
    assert orjson.loads((await xml()).reply(call(), HttpReply(200, headers, body)).content) == {"a": None}


@pytest.mark.parametrize("response", ["json", "xml"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'{"a":1}'),
        (HTML, b"<html/>"),
        (XML, b"<a>"),
        (XML, b"<!DOCTYPE a><a/>"),
        (XML, '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'.encode("utf-16")),
        (("x", "y"), b"{}"),
    ],
)
async def test_an_answer_that_is_not_xml(xml: Codec, response: str, kind: tuple[str, str], body: bytes) -> None:
    with pytest.raises(BadReply) as caught:
        (await xml(response)).reply(call(), HttpReply(200, [kind], body))
    assert caught.value.status == 502


async def test_response_xml_is_checked_and_left(xml: Codec) -> None:
    body = "<a>é</a>".encode("iso-8859-1")
    headers = [("content-type", "text/xml; charset=iso-8859-1"), ("etag", "x")]
    got = (await xml("xml")).reply(call(), HttpReply(200, headers, body))
    assert (got.headers, got.body) == (headers, body)


async def test_response_passthrough_is_not_looked_at(xml: Codec) -> None:
    codec = await xml("passthrough")
    sent = codec.request(call(body=b'{"a":1}', headers=[("accept", "x/y"), ("range", "r"), JSON]))
    assert sent.headers == [("accept", "x/y"), ("range", "r"), SENT[1]]
    assert not sent.decode
    for status in (200, 302, 404):
        got = codec.reply(call(), HttpReply(status, [HTML], b"<\xff"))
        assert (got.status, got.headers, got.body) == (status, [HTML], b"<\xff")


@pytest.mark.parametrize("response", ["json", "xml", "passthrough"])
async def test_an_upstreams_failure_is_told_in_our_words(xml: Codec, response: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        (await xml(response)).reply(call(), HttpReply(500, [XML], b"<trace/>"))
    assert (caught.value.status, caught.value.members) == (502, {"upstream_status": 500})


async def test_refusals(xml: Codec) -> None:
    codec = await xml(options={"force_list": ["why"]})
    got = codec.reply(call(), HttpReply(404, [XML], b"<e><why>so</why></e>"))
    assert (got.status, got.headers, orjson.loads(got.content)) == (404, [JSON], {"e": {"why": ["so"]}})
    assert codec.reply(call(), HttpReply(422, [JSON], b'{"e":1}')).body == b'{"e":1}'
    assert (await xml("xml")).reply(call(), HttpReply(404, [XML], b"<e/>")).body == b"<e/>"
    for kind, body in (
        (HTML, b"<html/>"),
        (XML, b"<!DOCTYPE e><e/>"),
        (JSON, b"<html/>"),
        (XML, b""),
        (("x", ""), b""),
    ):
        with pytest.raises(UpstreamFault) as caught:
            codec.reply(call(), HttpReply(403, [kind], body))
        assert caught.value.status == 403


async def test_answers_without_a_body(xml: Codec) -> None:
    codec = await xml()
    for method, status in (("HEAD", 200), ("DELETE", 204), ("GET", 304), ("POST", 202)):
        got = codec.reply(call(method), HttpReply(status, [XML, ("x-one", "1")]))
        assert (got.status, got.headers, got.body) == (status, [("x-one", "1")], b"")
    moved = codec.reply(call(), HttpReply(301, [HTML, ("location", "/x")], b"<html/>"))
    assert (moved.status, moved.headers, moved.body) == (301, [("location", "/x")], b"")


# --- what is published -------------------------------------------------------------------------------------------


async def test_operations(xml_operations: Callable[..., Awaitable[list[Operation]]]) -> None:
    from openapi_spec_validator import validate

    (anything,) = await xml_operations()
    assert anything.method == "*"
    post, get = await xml_operations(methods=["POST", "GET"])
    described = post.describe().operation
    free = {"application/json": {"schema": {"type": "object", "additionalProperties": True}}}
    assert described["requestBody"]["content"] == free
    assert described["responses"]["200"]["content"] == free
    paths = {"/v1/things/{id}": {"post": described, "get": get.describe().operation}}
    validate({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths})


async def test_a_large_call_can_be_translated_again(xml: Codec) -> None:
    """As for a call that is sent again: what was freed of the body is read anew."""
    codec = await xml()
    body = orjson.dumps({"r": {"a": [{"b": "text of a row"}] * 20_000}})
    large = call(body=body)
    assert len(body) > 256 * 1024
    assert codec.request(large).body == codec.request(large).body == codec.request(call(body=body)).body
