"""The transformer `passthrough`: what goes up, what comes down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import entry_points

import orjson
import pytest
from pydantic import ValidationError

from bridge.api import (
    BadReply,
    BindError,
    Call,
    HttpCodec,
    HttpReply,
    Operation,
    Transformer,
    UpstreamError,
    UpstreamFault,
)
from bridge_xml import Passthrough

Codec = Callable[..., Awaitable[HttpCodec]]
XML = ("content-type", "application/xml")
JSON = ("content-type", "application/json")
HTML = ("content-type", "text/html; charset=utf-8")
PAGE = b"<html><body>Traceback: /srv/app/secret.py</body></html>"


def call(method: str = "GET", body: bytes = b"", **given: object) -> Call:
    return Call(method, "/v1/things/a%2Fb", raw_params={"id": "a%2Fb"}, body=body, **given)  # type: ignore[arg-type]  # test data


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="bridge.transformers", name="passthrough")
    made: Transformer[Passthrough.options] = found.load()()  # type: ignore[valid-type]  # a class variable as a type
    assert made.name == "passthrough"
    assert made.wire == "http"


# --- what goes up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", ["json", "passthrough"])
async def test_a_call_goes_up_as_it_came(passthrough: Codec, response: str) -> None:
    codec = await passthrough(response)
    headers = [("content-type", "application/x-custom"), ("accept", "a/b"), ("x-one", "1"), ("x-one", "2")]
    sent = codec.request(call("PATCH", b"\x00\xff", query="a=%20&b=+&a=2", headers=headers))
    assert (sent.method, sent.path, sent.body) == ("PATCH", "/v1/things/a%2Fb?a=%20&b=+&a=2", b"\x00\xff")
    assert sent.headers == headers
    assert sent.decode is (response == "json")
    assert codec.request(call()).path == "/v1/things/a%2Fb"


async def test_a_part_of_a_document_is_not_asked_for(passthrough: Codec) -> None:
    asking = call(headers=[("range", "bytes=0-9"), ("if-range", '"x"'), ("x-one", "1")])
    assert (await passthrough()).request(asking).headers == [("x-one", "1")]
    assert (await passthrough("passthrough")).request(asking).headers == asking.headers


@pytest.mark.parametrize(
    ("upstream", "path"),
    [
        ("things-svc:80/old/{id}/x", "/old/a%2Fb/x?q=1"),
        ("things-svc:80/{id}", "/a%2Fb?q=1"),
        ("things-svc:80/fixed", "/fixed?q=1"),
        ("things-svc:80/", "/?q=1"),
        ("things-svc:80", "/v1/things/a%2Fb?q=1"),
    ],
)
async def test_the_upstreams_path(passthrough: Codec, upstream: str, path: str) -> None:
    assert (await passthrough(upstream=upstream)).request(call(query="q=1")).path == path
    assert (await passthrough(upstream=upstream)).request(call()).path == path.removesuffix("?q=1")


async def test_the_rest_of_a_path_keeps_its_slashes(passthrough: Codec) -> None:
    codec = await passthrough(route="/v1/{id}/{rest*}", upstream="s:80/old/{id}/{rest*}")
    assert codec.request(Call("GET", "/", raw_params={"id": "1", "rest": "a/b%20c/"})).path == "/old/1/a/b%20c/"


async def test_a_parameter_that_the_route_lacks(passthrough: Codec) -> None:
    with pytest.raises(BindError, match=r"upstream: the path /v1/things/\{id\} has no parameter 'nope'"):
        await passthrough(upstream="s:80/old/{nope}")


async def test_response_xml_is_refused(passthrough: Codec) -> None:
    with pytest.raises(BindError, match=r"transform\.response: "):
        await passthrough("xml")


def test_there_are_no_options() -> None:
    with pytest.raises(ValidationError):
        Passthrough.options.model_validate({"root": "a"})


@pytest.mark.parametrize(
    ("route", "upstream", "location", "public"),
    [
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/there/", "/v1/permits/there/"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/there?a=/old/b#c", "/v1/permits/there?a=/old/b#c"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/old", "/v1/permits"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/older/7", "/older/7"),
        ("/v1/permits/{id}", "s:80/old/{id}", "there/", "/v1/permits/there/"),
        ("/v1/permits/{id}", "s:80/old/{id}", "?page=2", "/v1/permits/7?page=2"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/x/../y", "/v1/permits/y"),
        ("/v1/permits/{id}", "s:80/old/{id}", "https://other.example/old/7", "https://other.example/old/7"),
        ("/v1/permits/{id}", "s:80/old/{id}", "//other.example/old/7", "//other.example/old/7"),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://[", "http://["),
        ("/v1/{area}/x/{id}", "s:80/x/{id}", "/x/9", "/v1/south/x/9"),
        ("/v1/permits/{rest*}", "s:80/{rest*}", "/a/b", "/v1/permits/a/b"),
        ("/{rest*}", "s:80/app/{rest*}", "/app/a/b", "/a/b"),
        ("/{rest*}", "s:80/app/{rest*}", "/app", "/"),
        ("/{rest*}", "s:80/app/{rest*}", "/app//evil.example/x", "/evil.example/x"),
        ("/{rest*}", "s:80/app/{rest*}", "/app/\\evil.example", "/evil.example"),
        ("/{rest*}", "s:80/app/{rest*}", "/app/\t/evil.example", "/evil.example"),
        ("/v1/{rest*}", "s:80/app/{rest*}", "/app//a//b", "/v1//a//b"),
        ("/{host}/x/{id}", "s:80/x/{id}", "/x/9", "/evil.example/x/9"),
        ("/v1/permits/{id}", "s:80/old/{id}/", "/old/8/", "/v1/permits/8"),
        ("/v1/permits/{id}", "s:80/old/{id}/", "/old/8", "/v1/permits/8"),
        ("/v1/permits/{id}", "s:80/old/{id}/", "/old/8/more/", "/v1/permits/8/more/"),
        ("/v1/permits/{id}/", "s:80/old/{id}", "/old/8", "/v1/permits/8/"),
        ("/v1/permits", "s:80/", "/", "/v1/permits"),
        ("/v1/permits", "s:80/", "/?page=2", "/v1/permits?page=2"),
        ("/v1/fixed", "s:80/old/index.php", "/old/index.php/", "/v1/fixed/"),
        ("/v1/{id}/detail", "s:80/old/{id}", "/old/9/", "/v1/9/detail/"),
        ("/v1/{id}/detail", "s:80/old/{id}", "/old/9/more", "/old/9/more"),
        ("/v1/permits/{id}", "s:80", "/v1/permits/7/", "/v1/permits/7/"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/8?", "/v1/permits/8?"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/8?#", "/v1/permits/8?#"),
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/8#a?b", "/v1/permits/8#a?b"),
    ],
)
@pytest.mark.parametrize("response", ["json", "passthrough", "xml"])
async def test_where_redirects_lead(
    passthrough: Codec, xml: Codec, response: str, route: str, upstream: str, location: str, public: str
) -> None:
    bind = partial(xml, "json") if response == "xml" else partial(passthrough, response)
    codec = await bind(route=route, upstream=upstream)
    asking = Call("GET", "/", raw_params={"id": "7", "rest": "7", "area": "south", "host": "\\evil.example"})
    reply = codec.reply(asking, HttpReply(302, [("location", location), ("x-a", "/old/7")]))
    assert reply.headers == [("location", public), ("x-a", "/old/7")]


@pytest.mark.parametrize(
    ("route", "upstream", "cookie", "public"),
    [
        ("/v1/permits/{id}", "s:80/old/{id}", "a=/old; Path=/old; HttpOnly", "a=/old; Path=/v1/permits; HttpOnly"),
        ("/v1/permits/{id}", "s:80/old/{id}", "a=b;path = /old/ ;Secure", "a=b;path = /v1/permits/;Secure"),
        ("/v1/permits/{id}", "s:80/old/{id}", "a=b; PATH=/old/7", "a=b; PATH=/v1/permits/7"),
        ("/v1/permits/{id}", "s:80/old/{id}", "path=/old; Domain=x", "path=/old; Domain=x"),
        ("/v1/permits/{id}", "s:80/old/{id}", "a=b; Path=/", "a=b; Path=/"),
        ("/v1/permits/{id}", "s:80/old/{id}", "a=b; Path=/older", "a=b; Path=/older"),
        ("/v1/permits/{id}", "s:80/old/{id}", "a=b", "a=b"),
        ("/v1/permits/{id}", "s:80/old/app/{id}/x", "a=b; Path=/old", "a=b; Path=/v1/permits"),
        ("/v1/fixed", "s:80/old/app/index.php", "a=b; Path=/old/app", "a=b; Path=/v1/fixed"),
        ("/{rest*}", "s:80/app/{rest*}", "a=b; Path=/app", "a=b; Path=/"),
        ("/{host}/x/{id}", "s:80/x/{id}", "a=b; Path=/x", "a=b; Path=/x"),  # the parameter has a semicolon
        ("/v1/permits/{id}", "s:80", "a=b; Path=/v1/permits", "a=b; Path=/v1/permits"),
    ],
)
@pytest.mark.parametrize("response", ["json", "passthrough", "xml"])
async def test_cookies_of_the_services_path_come_back_to_the_route(
    passthrough: Codec, xml: Codec, response: str, route: str, upstream: str, cookie: str, public: str
) -> None:
    bind = partial(xml, "json") if response == "xml" else partial(passthrough, response)
    codec = await bind(route=route, upstream=upstream)
    asking = Call("GET", "/", raw_params={"id": "7", "rest": "7", "host": "a;Domain=b"})
    reply = codec.reply(asking, HttpReply(200, [("set-cookie", cookie), ("set-cookie", "c=d")], b""))
    assert reply.headers == [("set-cookie", public), ("set-cookie", "c=d")]


# --- what comes down: passthrough --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 206, 304, 307, 400, 404, 418, 499])
async def test_bytes_are_untouched_below_500(passthrough: Codec, status: int) -> None:
    headers = [HTML, ("content-encoding", "br"), ("etag", '"x"'), ("set-cookie", "a"), ("set-cookie", "b")]
    got = (await passthrough("passthrough")).reply(call(), HttpReply(status, headers, b"\x00\xff"))
    assert (got.status, got.headers, got.body) == (status, headers, b"\x00\xff")


@pytest.mark.parametrize("response", ["json", "passthrough"])
@pytest.mark.parametrize("status", [500, 502, 503, 599])
@pytest.mark.parametrize("kind", [HTML, JSON, XML])
async def test_an_upstreams_failure_is_told_in_our_words(
    passthrough: Codec, response: str, status: int, kind: tuple[str, str]
) -> None:
    with pytest.raises(UpstreamError) as caught:
        (await passthrough(response)).reply(call(), HttpReply(status, [kind, ("retry-after", "7")], PAGE))
    assert caught.value.status == 502
    assert caught.value.members == {"upstream_status": status}
    assert caught.value.headers == (("retry-after", "7"),)
    assert "secret" not in caught.value.detail
    assert "secret" in caught.value.cause  # for the log


FAULT = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode>'
    b"<faultstring>No.</faultstring></s:Fault></s:Body></s:Envelope>"
)


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_a_soap_fault_is_an_answer(passthrough: Codec, xml: Codec, status: int) -> None:
    """SOAP 1.1, section 6.2: it comes with 500."""
    inbound = HttpReply(status, [XML, ("retry-after", "7"), ("set-cookie", "a=b")], FAULT)
    for codec in (await passthrough("passthrough"), await xml("passthrough")):
        asking = call()
        got = codec.reply(asking, inbound)
        assert (got.status, got.headers, got.body) == (status, inbound.headers, FAULT)
        assert asking.fault is not None
        assert (asking.fault.status, asking.fault.cause) == (400, "SOAP fault Client: No.")
    if status >= 500:
        for codec in (await passthrough(), await xml("json"), await xml("xml")):
            with pytest.raises(UpstreamError):
                codec.reply(call(), inbound)


async def test_an_interim_status_is_no_answer(passthrough: Codec) -> None:
    with pytest.raises(BadReply):
        (await passthrough()).reply(call(), HttpReply(101))


# --- what comes down: json ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["application/xml", "text/xml; charset=utf-8", "Application/Atom+XML", "application/vnd.x+xml;v=1", "text/xml "],
)
async def test_xml_becomes_json(passthrough: Codec, kind: str) -> None:
    headers = [
        ("x-one", "1"),
        ("content-type", kind),
        ("content-length", "9"),
        ("etag", '"x"'),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
        ("accept-ranges", "bytes"),
        ("cache-control", "max-age=5"),
        ("last-modified", "Tue, 03 Nov 2026 20:00:00 GMT"),
    ]
    got = (await passthrough()).reply(call(), HttpReply(200, headers, b"<a x='1'><b>2</b><b/></a>"))
    assert orjson.loads(got.content) == {"a": {"@x": "1", "b": ["2", None]}}
    assert got.headers == [headers[0], *headers[-2:], JSON]


@pytest.mark.parametrize(
    "kind", ["application/json", "application/hal+json; x=1", "text/csv", "text/html", "image/svg+xml"]
)
async def test_what_is_not_xml_passes_byte_for_byte(passthrough: Codec, kind: str) -> None:
    headers = [("content-type", kind), ("etag", '"x"')]
    body = b'{ "a" : 1.0, "a": <NaN>}\xff'
    got = (await passthrough()).reply(call(), HttpReply(200, headers, body))
    assert (got.status, got.headers, got.body) == (200, headers, body)


async def test_xhtml_is_a_page_and_a_part_is_no_document(passthrough: Codec) -> None:
    codec = await passthrough()
    page = HttpReply(200, [("content-type", "application/xhtml+xml")], b"<html/>")
    assert codec.reply(call(), page).body == b"<html/>"
    assert codec.reply(call(), HttpReply(206, [XML], b"<a><b")).body == b"<a><b"


async def test_the_charset_is_minded(passthrough: Codec) -> None:
    headers = [("content-type", 'text/xml; charset="windows-1252"')]
    got = (await passthrough()).reply(call(), HttpReply(200, headers, "<a>5 €</a>".encode("windows-1252")))
    assert orjson.loads(got.content) == {"a": "5 €"}


@pytest.mark.parametrize("body", [b"<a>", b"<!DOCTYPE a><a/>", b"not xml", b"<a>\xff</a>"])
async def test_xml_that_is_none(passthrough: Codec, body: bytes) -> None:
    codec = await passthrough()
    with pytest.raises(BadReply, match="says it answers in XML, but it") as caught:
        codec.reply(call(), HttpReply(200, [XML], body))
    assert caught.value.status == 502
    with pytest.raises(UpstreamFault) as refused:
        codec.reply(call(), HttpReply(404, [XML], body))
    assert refused.value.status == 404


async def test_answers_without_a_body(passthrough: Codec) -> None:
    codec = await passthrough()
    tag = ("etag", '"x"')
    got = codec.reply(call("HEAD"), HttpReply(200, [XML, tag, ("content-length", "99")]))
    assert (got.headers, got.body) == ([JSON], b"")  # as GET would say
    assert codec.reply(call("HEAD"), HttpReply(200, [HTML, tag])).headers == [HTML, tag]
    for status in (204, 304, 202):
        got = codec.reply(call(), HttpReply(status, [XML, tag]))
        assert (got.status, got.headers, got.body) == (status, [tag], b"")


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 451])
async def test_refusals_pass_in_json_only(passthrough: Codec, status: int) -> None:
    codec = await passthrough()
    for json_type in ("application/json", "application/problem+json"):
        reply = HttpReply(status, [("content-type", json_type), ("x-one", "1")], b'{"why": "so"}')
        got = codec.reply(call(), reply)
        assert (got.status, got.headers, got.body) == (status, reply.headers, reply.body)
    got = codec.reply(call(), HttpReply(status, [XML], b"<why>so</why>"))
    assert (got.status, got.headers, got.body) == (status, [JSON], b'{"why":"so"}')
    hints = [("www-authenticate", "Basic"), ("allow", "GET"), ("retry-after", "1")]
    for kind, body in ((HTML, PAGE), (JSON, PAGE), (("x-none", "1"), PAGE), (JSON, b""), (XML, b"")):
        with pytest.raises(UpstreamFault) as caught:
            codec.reply(call(), HttpReply(status, [kind, ("set-cookie", "x"), *hints], body))
        assert caught.value.status == status
        assert caught.value.members == {"upstream_status": status}
        assert list(caught.value.headers) == hints
        assert "secret" not in caught.value.detail


# --- what is published -------------------------------------------------------------------------------------------


async def test_operations(passthrough_operations: Callable[..., Awaitable[list[Operation]]]) -> None:
    (one,) = await passthrough_operations()
    assert (one.name, one.method, one.path) == ("any", "*", "")
    named = await passthrough_operations(methods=["GET", "PUT"], upstream="s:80/old/{id}")
    assert [(op.name, op.method, op.upstream_name) for op in named] == [
        ("get", "GET", "GET /old/{id}"),
        ("put", "PUT", "PUT /old/{id}"),
    ]
    get, put = (op.describe().operation for op in named)
    assert get["parameters"] == [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert "requestBody" not in get
    assert put["requestBody"]["content"] == {"*/*": {"schema": {}}}
    assert "application/json" in put["responses"]["200"]["content"]
