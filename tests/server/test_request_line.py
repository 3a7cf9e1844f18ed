"""The request line, Host and Transfer-Encoding: what each may say (RFC 9112, sections 3 and 6)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.server.test_wire import END, OPEN, problem, talk

CLOSE = b"Connection: close\r\n\r\n"
NEXT = b"GET /p/next HTTP/1.1\r\n" + END


def status(answer: bytes) -> int:
    return int(answer.split()[1])


async def two_tenants(gateway: Any) -> None:
    """`a` publishes /p openly, `b` something of its own at the same path."""
    for host, upstream in (("a.example", "svc:80/of-a"), ("b.example", "svc:80/of-b")):
        spec = {**OPEN, "route": "/p", "host": host, "upstream": upstream, "tenant": host[0]}
        assert (await gateway.register(spec)).status_code == 201


# --- absolute-form (section 3.2.2) -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://b.example/p", b"b.example"),
        (b"HTTP://B.EXAMPLE/p", b"b.example"),
        (b"http://b.example/p?x=1", b"B.example:80"),
        (b"http://b.example:80/p", b"b.example"),
        (b"http://b.example:/p", b"b.example"),
        (b"https://b.example:443/p", b"b.example"),
        (b"http://b.example:8080/p", b"b.example:8080"),
        (b"http://b.example./p", b"b.example"),
        (b"http://b.example/p", b"b.example."),
    ],
)
async def test_an_absolute_target_that_agrees_with_host(
    gateway: Any, upstream: Any, target: bytes, host: bytes
) -> None:
    await two_tenants(gateway)
    answer = await talk(gateway.port, b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE)
    assert status(answer) == 200
    assert [seen.target.partition("?")[0] for seen in upstream.seen] == ["/of-b"]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://b.example/p", b"a.example"),
        (b"http://a.example/p", b"b.example"),
        (b"http://b.example:8080/p", b"b.example"),
        (b"http://b.example/p", b"b.example:8080"),
        (b"https://b.example/p", b"b.example:80"),
        (b"http://b.example/p", b"b.example:443"),
        (b"http://b.example/p", b""),
        (b"http://b.example@a.example/p", b"b.example"),
        (b"http://user:pass@b.example/p", b"b.example"),
        (b"http://@b.example/p", b"b.example"),
        (b"http:///p", b"b.example"),
        (b"http:///p", b""),
        (b"http://:80/p", b"b.example"),
        (b"http://b.example:99999/p", b"b.example:99999"),
        (b"http://b%2eexample/p", b"b.example"),
        (b"http://[b.example]/p", b"b.example"),
        (b"ftp://b.example/p", b"b.example"),
        (b"ws://b.example/p", b"b.example"),
        (b"file:///p", b"b.example"),
        (b"http:/p", b"b.example"),
        (b"b.example:80", b"b.example"),
        (b"b.example/p", b"b.example"),
        (b"http://b.example/p#part", b"b.example"),
        (b"/p#part", b"b.example"),
        (b"*", b"b.example"),
        (b"?x", b"b.example"),
    ],
)
async def test_a_target_that_is_none_or_differs_from_host(
    gateway: Any, upstream: Any, target: bytes, host: bytes
) -> None:
    await two_tenants(gateway)
    answer = await talk(gateway.port, b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + NEXT)
    problem(answer, 400, "bad-request")
    assert upstream.seen == []


async def test_host_may_be_absent_by_http_1_0_alone(gateway: Any, upstream: Any) -> None:
    await two_tenants(gateway)
    asked = b"GET http://b.example/p HTTP/%s\r\n" + CLOSE
    assert status(await talk(gateway.port, asked % b"1.0")) == 200
    assert [seen.target for seen in upstream.seen] == ["/of-b"]
    twice = b"GET http://b.example/p HTTP/%s\r\nHost: b.example\r\nHost: b.example\r\n" + CLOSE
    for refused in (asked % b"1.1", twice % b"1.1", twice % b"1.0"):
        assert status(await talk(gateway.port, refused)) == 400
    assert len(upstream.seen) == 1


async def test_an_absolute_target_without_a_path_is_the_root(gateway: Any, upstream: Any) -> None:
    assert (await gateway.register({**OPEN, "route": "/", "upstream": "svc:80/root"})).status_code == 201
    for target in (b"http://b.example", b"http://b.example?x=1", b"http://b.example/"):
        answer = await talk(gateway.port, b"GET " + target + b" HTTP/1.1\r\nHost: b.example\r\n" + CLOSE)
        assert status(answer) == 200
    assert [seen.target for seen in upstream.seen] == ["/root", "/root?x=1", "/root"]


async def test_the_gateways_own_pages_by_absolute_target(gateway: Any) -> None:
    asked = b"GET http://b.example/-/health/live HTTP/1.1\r\nHost: "
    assert status(await talk(gateway.port, asked + b"b.example\r\n" + CLOSE)) == 200
    assert status(await talk(gateway.port, asked + b"a.example\r\n" + CLOSE)) == 400


async def test_what_an_absolute_target_holds_is_not_logged(start: Any) -> None:
    async with start(mesh={}) as gateway:
        asked = b"GET http://user:hush@b.example/p?token=hush HTTP/1.1\r\nHost: b.example\r\n\r\n"
        answer = await talk(gateway.port, asked)
        assert b"hush" not in answer
    assert "hush" not in (gateway.home / ".bridge/access.log").read_text()
    assert [line["status"] for line in gateway.log()] == [400]


async def test_secrets_are_not_logged_wherever_they_stand(start: Any, upstream: Any) -> None:
    asked = [
        b"/p/a;jsessionid=hush?SAMLResponse=hush&pinned=shown",
        b"/p/a?jwt=hush;sid=hush&auth%5Btoken%5D=hush",
        b"http://a/p/a;sid=hush?next=%2Fb%3Fpin%3Dhush",
        b"/-/nothing;sid=hush?bearer=hush",
        b"/p/%00;sid=hush?otp=hush",
    ]
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        for target in asked:
            assert b"hush" not in await talk(gateway.port, b"GET " + target + b" HTTP/1.1\r\n" + END)
        assert "hush" not in (await gateway.client.get("/-/metrics")).text
    text = (gateway.home / ".bridge/access.log").read_text()
    assert text.count("***") >= 8
    assert "hush" not in text
    assert "pinned=shown" in text
    # The service gets it as it was sent.
    assert upstream.seen[0].target == asked[0].decode()


@pytest.mark.parametrize("target", [b"*", b"a.example:80"])
async def test_the_server_as_a_whole_has_no_options(gateway: Any, target: bytes) -> None:
    await gateway.register(OPEN)
    asked = b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a.example\r\n\r\n" + NEXT
    problem(await talk(gateway.port, asked), 400, "bad-request")


# --- version -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (b"GET /p/a HTTP/2.0", 505),
        (b"POST /p/a HTTP/2.0", 505),
        (b"GET /p/a HTTP/3.0", 505),
        (b"GET /p/a HTTP/1.2", 505),
        (b"GET /p/a HTTP/1.9", 505),
        (b"GET /p/a HTTP/0.9", 505),
        (b"GET /p/a HTTP/0.0", 505),
        (b"GET /p/a HTTP/9.9", 505),
        (b"PRI * HTTP/2.0", 400),  # and then no preface
        (b"GET /p/a", 505),  # HTTP/0.9 is written so
        (b"GET /p/a HTTP/1.10", 400),
        (b"GET /p/a HTTP/1", 400),
        (b"GET /p/a HTTP/2", 400),
        (b"GET /p/a http/1.1", 400),
        (b"GET /p/a HTTPS/1.1", 400),
        (b"PRI / HTTP/1.1", 400),
    ],
)
async def test_a_version_that_is_not_spoken(gateway: Any, upstream: Any, line: bytes, refused: int) -> None:
    await gateway.register(OPEN)
    sent = line + b"\r\nHost: a\r\n\r\n" + NEXT
    problem(await talk(gateway.port, sent), refused, "bad-request")
    problem(await talk(gateway.port, *[bytes([byte]) for byte in line], b"\r\nHost: a\r\n\r\n"), refused, "bad-request")
    assert upstream.seen == []


async def test_http2_without_a_word_before_it(gateway: Any) -> None:
    """RFC 9113, section 3.3: a client that knows that we speak it. However its first bytes arrive."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(8)
    acknowledged = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"
    for parts in ([preface + settings + goaway], [*[bytes([byte]) for byte in preface], settings, goaway]):
        answer = await talk(gateway.port, *parts)
        assert answer[3:5] == b"\x04\x00"
        assert acknowledged in answer


async def test_a_beginning_that_only_resembles_http2(gateway: Any) -> None:
    problem(await talk(gateway.port, b"PRI", b" * HTTP/2.0\r\n\r\nXX"), 400, "bad-request")
    assert b"HTTP/1.1 404 " in await talk(gateway.port, b"P", b"UT /nowhere HTTP/1.1\r\n" + END)


# --- Host --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (b"b.example", 200),
        (b"b.example:0", 200),
        (b"b.example:65535", 200),
        (b"b.example:", 200),  # RFC 3986, section 3.2.3: as if there were none
        (b"b.example.", 200),
        (b"b.example.:80", 200),
        (b"b.example:65536", 400),
        (b"b.example:99999", 400),
        (b"b.example:000080", 400),
        (b"b.example:-1", 400),
        (b"b.example:8o", 400),
        (b"b.example:\xc2\xb2", 400),
        (b"b.example:80:80", 400),
        (b"b.example..", 404),
        (b".", 400),
        (b":80", 400),
        (b"[::1]", 404),
        (b"[::1]:80", 404),
        (b"[::1]:65536", 400),
        (b"[::1", 400),
        (b"::1", 400),
        (b"[:::::]", 400),
        (b"[1.2.3.4]", 400),
        (b"b.example,a.example", 400),
        (b"b" * 253, 404),
        (b"b" * 60_000, 400),
    ],
)
async def test_what_a_host_may_be(gateway: Any, host: bytes, found: int) -> None:
    await two_tenants(gateway)
    assert status(await talk(gateway.port, b"GET /p HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE)) == found
    own = status(await talk(gateway.port, b"GET /-/health/live HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE))
    assert own == (400 if found == 400 else 200)


# --- Transfer-Encoding (section 6.1) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "refused"),
    [
        (b"gzip, chunked", 501),
        (b"GZIP , Chunked", 501),
        (b"deflate,chunked", 501),
        (b"identity, chunked", 501),
        (b"x-mine;a=b, chunked", 501),
        (b"gzip\r\nTransfer-Encoding: chunked", 501),
        (b"gzip", 400),
        (b"identity", 400),
        (b"xchunked", 400),
        (b"chunked;q=1", 400),
        (b"chunked, gzip", 400),
        (b"chunked, chunked", 400),
        (b"chunked\r\nTransfer-Encoding: chunked", 400),
        (b"chunked\r\nTransfer-Encoding: gzip", 400),
        (b",chunked", 400),
        (b"chunked,", 400),
        (b'"chunked"', 400),
        (b"", 400),
        (b"chunked\x0b", 400),
        (b"chunked\r\nContent-Length: 11", 400),
    ],
)
@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"], ids=["plain", "upgrade"])
async def test_a_body_is_chunked_or_nothing(
    gateway: Any, upstream: Any, coding: bytes, refused: int, upgrade: bytes
) -> None:
    await gateway.register(OPEN)
    head = b"POST /p/a HTTP/1.1\r\nHost: a\r\n" + upgrade + b"Transfer-Encoding: " + coding + b"\r\n\r\n"
    answer = await talk(gateway.port, head + b"2\r\nok\r\n0\r\n\r\n" + NEXT)
    problem(answer, refused, "not-implemented" if refused == 501 else "bad-request")
    assert answer.count(b"\r\nHTTP/1.1 ") == 0
    assert upstream.seen == []


async def test_chunked_in_any_case_passes(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    for coding in (b"chunked", b"Chunked", b"CHUNKED"):
        head = b"POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + coding + b"\r\n\r\n"
        assert status(await talk(gateway.port, head + b"2\r\nok\r\n0\r\n\r\n" + NEXT)) == 200
    assert [seen.body for seen in upstream.seen] == [b"ok", b""] * 3


async def test_http_1_0_knows_no_codings(gateway: Any, upstream: Any) -> None:
    """RFC 9112, section 6.1: the framing is faulty, whatever it says."""
    await gateway.register(OPEN)
    for coding in (b"chunked", b"gzip, chunked"):
        head = b"POST /p/a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: " + coding + b"\r\n\r\n"
        problem(await talk(gateway.port, head + b"2\r\nok\r\n0\r\n\r\n" + NEXT), 400, "bad-request")
    assert upstream.seen == []


async def test_a_trailer_frames_nothing(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    head = b"POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n\r\n"
    answer = await talk(gateway.port, head + NEXT)
    assert answer.count(b"HTTP/1.1 200 ") == 2


# --- the path ----------------------------------------------------------------------------------------------------

CONTROLS = ["%00", "a%00.txt", "%0d%0aX:y", "%0D", "%0a", "%09", "%1f", "%7f", "%7F"]
CLIMBS = ["%c0%ae%c0%ae", "%C0%AE", "%e0%80%ae.", "a%C0%AF..%c0%afb", "..%c1%9cb", "%E0%80%AF%2e%C0%ae"]


@pytest.mark.parametrize("part", CONTROLS + CLIMBS)
async def test_a_path_holds_no_controls_and_climbs_nowhere_however_written(
    gateway: Any, upstream: Any, part: str
) -> None:
    await gateway.register(OPEN)
    answer = await talk(gateway.port, f"GET /p/{part}/b HTTP/1.1\r\n".encode() + END)
    assert status(answer) == 400
    assert b"application/problem+json" in answer
    assert upstream.seen == []


@pytest.mark.parametrize(
    "part",
    [
        "%20", "%25", "%2500", "%E9", "%C3%A9", "%C3%A0", "%E2%82%AC", "%F0%9F%98%80", "%E0%A4%85", "%2F", "%3F", "%23",
        "%7E", "%80", "%ff", "a%2Bb", "a+b", "a;b=c", "a=b&c", "%c0b", "%C0%B4%C0%AE", "%c0%afa", "%C1%B3", "%E0%9F%8B",
        "caf%E9%20x", "%C2%A0", "%ed%95%9c",
    ],
)  # fmt: skip
async def test_a_path_goes_on_as_it_is(gateway: Any, upstream: Any, part: str) -> None:
    """What a legacy service takes for Latin-1 is not for the gateway to judge."""
    await gateway.register(OPEN)
    assert status(await talk(gateway.port, f"GET /p/{part} HTTP/1.1\r\n".encode() + END)) == 200
    assert [seen.target for seen in upstream.seen] == [f"/p/{part}"]


async def test_the_gateways_own_paths_hold_none_either(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    for path in ("/-/routes/%00", "/-/%0d%0aroutes", "/-/routes/%c0%ae"):
        got = await gateway.client.get(path, headers=admin)
        assert got.status_code in (400, 404)
    async with asyncio.timeout(10):
        assert (await gateway.client.get("/-/health/live")).status_code == 200
