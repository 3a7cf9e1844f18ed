"""`forwarded`: what the service is told of the client, and the Host field (docs/spec.md)."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from bridge.api.call import Forwarded
from bridge.api.spec.forwarded import ForwardedSpec
from bridge.cli.offline import explanation
from bridge.egress.forwarded import arrival, forwarded_fields
from tests.conftest import Recorded, Running, Start, Upstream
from tests.docs.pages import ROOT, blocks_of

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
BASE = {"route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
NAMES = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded")


def fields(headers: list[tuple[str, str]], peer: str = "10.0.0.1", kind: Any = "both", **more: Any) -> dict[str, str]:
    known = arrival(peer, headers, PROXIES, **{"host": "api.example", "secure": False, **more})
    return dict(forwarded_fields(ForwardedSpec(headers=kind), known))


@pytest.mark.parametrize(
    ("peer", "headers", "chain", "standard"),
    [
        ("192.0.2.7", [], "192.0.2.7", "for=192.0.2.7;proto=http;host=api.example"),
        # Only a trusted proxy may say who was before it.
        ("192.0.2.7", [("x-forwarded-for", "1.1.1.1")], "192.0.2.7", "for=192.0.2.7;proto=http;host=api.example"),
        (
            "10.0.0.1",
            [("x-forwarded-for", "6.6.6.6, 192.0.2.7"), ("x-forwarded-for", "10.0.0.2")],
            "192.0.2.7, 10.0.0.2, 10.0.0.1",
            "for=192.0.2.7;proto=http;host=api.example, for=10.0.0.2, for=10.0.0.1",
        ),
        ("10.0.0.1", [("x-forwarded-for", "1.1.1.1, unknown")], "10.0.0.1", "for=10.0.0.1;proto=http;host=api.example"),
        # RFC 7239, section 6: brackets and quotes.
        (
            "fd00::1",
            [("x-forwarded-for", "[2001:db8::7]:4711")],
            "2001:db8::7, fd00::1",
            'for="[2001:db8::7]";proto=http;host=api.example, for="[fd00::1]"',
        ),
        ("", [], None, "for=unknown;proto=http;host=api.example"),
    ],
)
def test_the_chain(peer: str, headers: list[tuple[str, str]], chain: str | None, standard: str) -> None:
    made = fields(headers, peer)
    assert (made.get("x-forwarded-for"), made["forwarded"]) == (chain, standard)


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("192.0.2.7", [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")], ("http", "api.example")),
        (
            "10.0.0.1",
            [("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "a.example:84")],
            ("https", "a.example:84"),
        ),
        (
            "10.0.0.1",
            [("x-forwarded-proto", "http, wss"), ("x-forwarded-host", "evil, a.example")],
            ("https", "a.example"),
        ),
        ("10.0.0.1", [("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b")], ("http", "api.example")),
    ],
)
def test_scheme_and_host(peer: str, headers: list[tuple[str, str]], expected: tuple[str, str]) -> None:
    made = fields(headers, peer, "x")
    assert (made["x-forwarded-proto"], made["x-forwarded-host"]) == expected
    assert "forwarded" not in made


def test_a_host_with_a_port_is_quoted_and_none_is_left_out() -> None:
    spec = ForwardedSpec(headers="both")
    assert dict(forwarded_fields(spec, Forwarded(["192.0.2.7"], "https", "a:8443")))["forwarded"] == (
        'for=192.0.2.7;proto=https;host="a:8443"'
    )
    assert dict(forwarded_fields(spec, Forwarded([], "http", ""))) == {
        "x-forwarded-proto": "http",
        "forwarded": "for=unknown;proto=http",
    }
    assert dict(forwarded_fields(ForwardedSpec(headers="standard"), Forwarded([], "http", ""))).keys() == {"forwarded"}


async def test_a_service_is_told_nothing_by_default(gateway: Running, upstream: Upstream) -> None:
    assert (await gateway.register(BASE)).status_code == 201
    await gateway.client.get("/a", headers={**dict.fromkeys(NAMES, "1.1.1.1"), "host": "api.example"})
    assert [upstream.seen[0].header(name) for name in (*NAMES, "host")] == [[], [], [], [], ["svc:80"]]


async def test_the_block_of_the_documentation(start: Start, upstream: Upstream) -> None:
    [block] = [each for each in blocks_of(ROOT / "docs/spec.md") if "forwarded: {headers: both" in each.text]
    spec = f"route: /a\nupstream: svc:80\nauth: none\n{block.text}transform: {{request: passthrough}}\n"
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": spec}) as gateway:
        reply = await gateway.client.get("/a", headers={"host": "api.example:81", "x-forwarded-for": "1.1.1.1"})
        assert reply.status_code == 200
        text = await explanation(gateway.settings, "/a", b"", "")
    [seen] = upstream.seen
    assert [seen.header(name) for name in (*NAMES, "host")] == [
        ["127.0.0.1"],
        ["http"],
        ["api.example:81"],
        ['for=127.0.0.1;proto=http;host="api.example:81"'],
        ["api.example:81"],
    ]
    assert text.splitlines()[1:] == [
        "host: localhost",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: localhost",
        "forwarded: for=127.0.0.1;proto=http;host=localhost",
    ]


async def test_behind_a_trusted_proxy(start: Start, upstream: Upstream) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, trusted_proxies="127.0.0.0/8") as gateway:
        assert (await gateway.register({**BASE, "forwarded": "x"})).status_code == 201
        headers = {"x-forwarded-for": "6.6.6.6, 192.0.2.7", "x-forwarded-proto": "https"}
        headers["x-forwarded-host"] = "a.example"
        assert (await gateway.client.get("/a", headers=headers)).status_code == 200
    assert [upstream.seen[0].header(name) for name in NAMES] == [
        ["192.0.2.7, 127.0.0.1"], ["https"], ["a.example"], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://api.example/old/there?x=1", "/v1/a/there?x=1"),
        ("https://api.example/old/there", "/v1/a/there"),
        ("http://svc/old/there", "/v1/a/there"),
        ("https://other.example/old/there", "https://other.example/old/there"),
    ],
)
async def test_a_location_with_the_public_host_leads_back(
    gateway: Running, upstream: Upstream, location: str, expected: str
) -> None:
    spec = {**BASE, "route": "/v1/a/{id}", "upstream": "svc:80/old/{id}", "forwarded": {"host": "public"}}
    assert (await gateway.register(spec)).status_code == 201
    upstream.status, upstream.headers, upstream.body = 302, [("location", location)], b""
    reply = await gateway.client.get("/v1/a/7", headers={"host": "api.example"})
    assert reply.headers["location"] == expected


async def test_the_cache_keeps_public_addresses_apart(gateway: Running, upstream: Upstream) -> None:
    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return 200, [], request.header("host")[0].encode()

    upstream.answer = answer
    spec = {**BASE, "methods": ["GET", "HEAD"], "cache": {"ttl": "1h"}, "forwarded": {"host": "public"}}
    assert (await gateway.register(spec)).status_code == 201
    for host, cached in (("a.example", "MISS"), ("evil.example", "MISS"), ("a.example", "HIT")):
        reply = await gateway.client.get("/a", headers={"host": host})
        assert (reply.text, reply.headers["x-cache"]) == (host, cached)
    heads = [await gateway.client.head("/a", headers={"host": host}) for host in ("a.example", "b.example")]
    assert [head.headers["x-cache"] for head in heads] == ["HIT", "MISS"]


@pytest.mark.parametrize("keys", [{"forwarded": {"host": "public"}}, {"query": {"set": {"a": "1"}}}])
async def test_grpc_has_no_such_thing(start: Start, keys: dict[str, Any]) -> None:
    proto = 'syntax = "proto3";\npackage a.v1;\nmessage M {}\nservice S { rpc A(M) returns (M); }\n'
    spec = {**BASE, "upstream": "grpc://s:1", "transform": {"request": "grpc", "grpc": {"protos": ["a.proto"]}}, **keys}
    async with start(mesh={}, files={"protos/a.proto": proto}) as gateway:
        reply = await gateway.register(spec)
    assert reply.status_code == 400
    assert "a gRPC call" in reply.text
