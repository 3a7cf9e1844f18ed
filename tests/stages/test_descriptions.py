"""``?wsdl`` through ``response: passthrough``: the public address, and what HTTP says of changed bytes."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import httpx
import pytest

from bridge.stages import descriptions
from tests.conftest import Running, Start, Upstream, listening
from tests.docs.pages import ROOT, blocks_of

XML = ("content-type", "text/xml; charset=utf-8")
SPEC = """
route: /v1/permits
upstream: svc:80/old/permits.asmx
auth: none
transform: {{request: passthrough, response: passthrough}}
{more}
"""


def wsdl(address: str) -> bytes:
    soap = "http://schemas.xmlsoap.org/wsdl/soap/"
    return f'<d xmlns:s="{soap}"><s:address location="{address}"/></d>'.encode()


INSIDE = wsdl("http://inside.example/old/permits.asmx")


@pytest.fixture
def service(upstream: Upstream) -> Upstream:
    upstream.headers = [
        XML,
        ("etag", '"1"'),
        ("last-modified", "Tue, 03 Nov 2026 00:00:00 GMT"),
        ("accept-ranges", "bytes"),
        ("content-md5", "x"),
        ("repr-digest", "sha-256=:x:"),
        ("cache-control", "max-age=60"),
    ]
    upstream.body = INSIDE
    return upstream


def serving(start: Start, upstream: Upstream, more: str = "", **settings: Any) -> Any:
    routes = {"a.yml": SPEC.format(more=more)}
    return start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, **settings)


def public(gateway: Running) -> bytes:
    return wsdl(f"http://127.0.0.1:{gateway.port}/v1/permits")


@pytest.mark.parametrize("query", ["wsdl", "WSDL", "singleWsdl", "wsdl=wsdl0", "xsd=xsd0"])
async def test_a_description_has_the_public_address(start: Start, service: Upstream, query: str) -> None:
    async with serving(start, service) as gateway:
        reply = await gateway.client.get(f"/v1/permits?{query}")
        assert (reply.status_code, reply.content) == (200, public(gateway))
        assert reply.headers["content-length"] == str(len(reply.content))
        assert reply.headers["cache-control"] == "max-age=60"
        assert service.seen[0].target == f"/old/permits.asmx?{query}"
        head = await gateway.client.head(f"/v1/permits?{query}")
    for name in ("etag", "last-modified", "accept-ranges", "content-md5", "repr-digest"):
        assert name not in reply.headers
        assert name not in head.headers
    assert "content-length" not in head.headers
    assert service.seen[1].method == "HEAD"


async def test_parts_and_conditions_are_not_asked_for(start: Start, service: Upstream) -> None:
    conditions = {
        "range": "bytes=0-9",
        "if-range": '"1"',
        "if-none-match": '"1"',
        "if-modified-since": "Tue, 03 Nov 2026 00:00:00 GMT",
        "if-match": '"2"',
        "accept-encoding": "br",
    }
    async with serving(start, service) as gateway:
        reply = await gateway.client.get("/v1/permits?wsdl", headers=conditions)
        assert (reply.status_code, reply.content) == (200, public(gateway))
        await gateway.client.get("/v1/permits?other", headers=conditions)
    names = [{name for name, _ in seen.headers} & conditions.keys() for seen in service.seen]
    assert names == [{"accept-encoding"}, conditions.keys()]
    assert [seen.header("accept-encoding") for seen in service.seen] == [["identity"], ["br"]]


@pytest.mark.parametrize(
    ("path", "method", "status", "headers"),
    [
        ("/v1/permits", "GET", 200, [XML]),
        ("/v1/permits?wsdls", "GET", 200, [XML]),
        ("/v1/permits?wsdl", "POST", 200, [XML]),
        ("/v1/permits?wsdl", "GET", 404, [XML]),
        ("/v1/permits?wsdl", "GET", 203, [XML]),
        ("/v1/permits?wsdl", "GET", 200, [("content-type", "text/html")]),
        ("/v1/permits?wsdl", "GET", 200, [("content-type", "image/svg+xml")]),
    ],
)
async def test_all_else_is_as_it_comes(
    start: Start, service: Upstream, path: str, method: str, status: int, headers: list[tuple[str, str]]
) -> None:
    service.status, service.headers = status, [*headers, ("etag", '"1"')]
    async with serving(start, service) as gateway:
        reply = await gateway.client.request(method, path)
    assert (reply.status_code, reply.content, reply.headers["etag"]) == (status, INSIDE, '"1"')


@pytest.mark.parametrize(
    ("coding", "coded"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip, identity", gzip.compress)]
)
async def test_a_coding_that_nobody_asked_for_is_undone(
    start: Start, service: Upstream, coding: str, coded: Any
) -> None:
    service.headers.append(("content-encoding", coding))
    service.body = coded(INSIDE)
    async with serving(start, service) as gateway:
        reply = await gateway.client.get("/v1/permits?wsdl")
        assert reply.content == public(gateway)
        assert "content-encoding" not in reply.headers


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ([XML, ("content-encoding", "br")], b"\x0b\x02\x80wsdl\x03", "it can't be read: br"),
        ([XML, ("content-encoding", "gzip")], b"no gzip", "it can't be read: not gzip"),
        ([XML], b"<!DOCTYPE a><a/>", "it can't be read: it carries a DOCTYPE"),
        ([XML], b"<a>", "it can't be read: it is not well-formed XML"),
    ],
)
async def test_what_cannot_be_read_goes_on_as_it_is(
    start: Start, service: Upstream, headers: list[tuple[str, str]], body: bytes, why: str
) -> None:
    service.headers, service.body = [*headers, ("etag", '"1"')], body
    async with serving(start, service) as gateway:
        async with gateway.client.stream("GET", "/v1/permits?wsdl") as reply:
            assert b"".join([piece async for piece in reply.aiter_raw()]) == body
        assert reply.headers["etag"] == '"1"'
    [warning] = gateway.log()[0]["warnings"]
    assert warning.startswith(f"addresses in the description are the service's: {why}")


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_ones(start: Start, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    """One that is read in a thread, and one that is too large."""
    large = INSIDE.replace(b"</d>", b"<!-- filled -->" * 10_000 + b"</d>")
    monkeypatch.setattr(descriptions, "MOST", len(large))

    async def service(scope: Any, receive: Any, send: Any) -> None:
        body = large + b"\n" if b"too=large" in scope["query_string"] else large
        length = [] if chunked else [(b"content-length", b"%d" % len(body))]
        head = [(b"content-type", b"text/xml"), *length]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body[:9], "more_body": True})
        await send({"type": "http.response.body", "body": body[9:]})

    async with listening(service) as port:
        mesh, routes = {"svc": f"127.0.0.1:{port}"}, {"a.yml": SPEC.format(more="")}
        async with start(mesh=mesh, routes=routes) as gateway:
            reply = await gateway.client.get("/v1/permits?wsdl")
            assert reply.content == large.replace(INSIDE[:-4], public(gateway)[:-4])
            reply = await gateway.client.get("/v1/permits?wsdl&too=large")
            assert reply.content == large + b"\n"
    first, second = gateway.log()
    assert "warnings" not in first
    assert "addresses in the description are the service's: it has more than" in second["warnings"][0]


async def test_a_cache_keeps_none_of_the_addresses(start: Start, service: Upstream) -> None:
    async with serving(start, service, "cache: {ttl: 1h}\ncompress: {min_size: 1}") as gateway:
        for host, mark in (("a.example", "MISS"), ("b.example:81", "HIT"), ("a.example", "HIT")):
            reply = await gateway.client.get("/v1/permits?wsdl", headers={"host": host})
            assert (reply.content, reply.headers["x-cache"]) == (wsdl(f"http://{host}/v1/permits"), mark)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("settings", "headers", "base"),
    [
        ({}, {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}, "http://gw.example"),
        (
            {"trusted_proxies": "127.0.0.1"},
            {"x-forwarded-host": "public.example", "x-forwarded-proto": "https", "x-forwarded-prefix": "/eu"},
            "https://public.example/eu",
        ),
        ({"trusted_proxies": "127.0.0.1"}, {"x-forwarded-proto": "https"}, "https://gw.example"),
        ({"trusted_proxies": "127.0.0.1"}, {}, "http://gw.example"),
        ({"openapi_servers": "https://api.example/x"}, {}, "https://api.example/x"),
        ({"openapi_servers": "/x"}, {}, "http://gw.example/x"),
        ({"openapi_servers": "/"}, {}, "http://gw.example"),
    ],
)
async def test_where_clients_see_the_gateway(
    start: Start, service: Upstream, settings: dict[str, Any], headers: dict[str, str], base: str
) -> None:
    async with serving(start, service, **settings) as gateway:
        reply = await gateway.client.get("/v1/permits?wsdl", headers={"host": "gw.example", **headers})
    assert reply.content == wsdl(f"{base}/v1/permits")


async def test_a_client_that_does_not_say_where(start: Start, service: Upstream) -> None:
    async with serving(start, service) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /v1/permits?wsdl HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n" + INSIDE)
        writer.close()
    assert "the client sent no Host" in gateway.log()[0]["warnings"][0]


async def test_the_route_of_the_page(start: Start, service: Upstream) -> None:
    """docs/xml.md"""
    [block] = [block.text for block in blocks_of(ROOT / "docs" / "xml.md") if "Ledger.asmx" in block.text]
    service.body = wsdl("http://ledger.inside.example:8080/services/Ledger.asmx")
    async with start(mesh={"ledger-svc": f"127.0.0.1:{service.port}"}, routes={"a.yml": block}) as gateway:
        reply = await gateway.client.get("/v1/ledger?wsdl")
    assert reply.content == wsdl(f"http://127.0.0.1:{gateway.port}/v1/ledger")
    assert descriptions.MOST == 8 << 20  # as the page says


async def test_json_stays_as_it_was(start: Start, service: Upstream) -> None:
    more = "transform: {request: passthrough}"
    text = SPEC.format(more="").replace("transform: {request: passthrough, response: passthrough}", more)
    async with start(mesh={"svc": f"127.0.0.1:{service.port}"}, routes={"a.yml": text}) as gateway:
        reply: httpx.Response = await gateway.client.get("/v1/permits?wsdl")
    assert reply.json()["d"]["s:address"] == {"@location": "http://inside.example/old/permits.asmx"}
