"""Our own server goes straight to the gateway, any other by ASGI: nobody on the outside can tell which it was."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from bridge.server import connection
from tests.conftest import listening, serving
from tests.server.test_wire import END, OPEN, talk

GUARDED = {**OPEN, "route": "/g/{rest*}", "auth": {"type": "JWT"}, "rate_limit": {"rps": 0.1, "burst": 2}}
POST = b"POST /p/a?b=c HTTP/1.1\r\nContent-Type: text/plain\r\n"


def told(answer: bytes) -> tuple[list[str], bytes]:
    """The head's lines in order of name, less what differs from one answer to the next, and the body."""
    head, _, body = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    kept = [field for field in fields if not field.lower().startswith(("date:", "x-trace-id:"))]
    return [status, *sorted(field.lower() for field in kept)], re.sub(rb'"trace_id":"\w+"', b"", body)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /p/a HTTP/1.1\r\n" + END,
        b"HEAD /p/a HTTP/1.1\r\n" + END,
        b"GET /p/a HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET http://a/p/a?x HTTP/1.1\r\n" + END,
        b"GET /p/%2e%2e/a HTTP/1.1\r\n" + END,
        b"GET /nowhere HTTP/1.1\r\n" + END,
        b"GET /-/nowhere HTTP/1.1\r\n" + END,
        b"GET /%2D/health/live HTTP/1.1\r\n" + END,
        b"GET /%72egister HTTP/1.1\r\n" + END,
        b"GET /p/a HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /p/a HTTP/1.1\r\nX-Request-Timeout: never\r\n" + END,
        POST + b"Content-Length: 5\r\n" + END + b"hello",
        POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n" + END + b"hello",
        POST + b"Transfer-Encoding: chunked\r\n" + END + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        POST + b"Content-Length: 99999999\r\n" + END,
        b"GET /g/a HTTP/1.1\r\n" + END,
        b"GET /g/a HTTP/1.1\r\nAuthorization: Basic YTpi\r\n" + END,
    ],
)
async def test_both_ways_say_the_same(gateway: Any, upstream: Any, sent: bytes) -> None:
    await gateway.register(OPEN)
    assert (await gateway.register(GUARDED)).is_success
    async with listening(gateway.app) as plain:
        answers = [told(await talk(port, sent)) for port in (gateway.port, plain)]
    assert answers[0] == answers[1]
    requests = [(one.method, one.target, one.body, sorted({name for name, _ in one.headers})) for one in upstream.seen]
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_that_has_no_body(gateway: Any, upstream: Any, status: int) -> None:
    upstream.status, upstream.body = status, b""
    await gateway.register(OPEN)
    async with listening(gateway.app) as plain:
        answers = [told(await talk(port, b"GET /p/a HTTP/1.1\r\n" + END)) for port in (gateway.port, plain)]
    assert answers[0] == answers[1]
    assert answers[0][0][0].startswith(f"HTTP/1.1 {status} ")


async def test_limits_are_told_both_ways(gateway: Any) -> None:
    assert (await gateway.register(GUARDED)).is_success
    asked = f"GET /g/a HTTP/1.1\r\nAuthorization: Bearer {gateway.token()}\r\n".encode() + END
    straight = [told(await talk(gateway.port, asked))[0] for _ in range(3)]
    assert [head[0].split()[1] for head in straight] == ["200", "200", "429"]
    async with listening(gateway.app) as plain:
        [refused, names] = [told(await talk(port, asked))[0] for port in (gateway.port, plain)]
    assert [line.partition(":")[0] for line in refused] == [line.partition(":")[0] for line in names]
    assert any(line.startswith("retry-after: ") for line in refused)


async def test_a_trailer_is_no_header(gateway: Any, upstream: Any) -> None:
    """RFC 9110, section 6.5.1: else it could say what was looked for, and not found, in the head."""
    await gateway.register(OPEN)
    chunked = POST + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    trailer = b"Host: b\r\nX-Late: 1\r\nExpect: 100-continue\r\n\r\n"
    answer = await talk(gateway.port, chunked + trailer + b"GET /p/b HTTP/1.1\r\n" + END)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"HTTP/1.1 100 " not in answer
    assert [request.header("x-late") for request in upstream.seen] == [[], []]
    assert upstream.seen[0].body == b"hello"


async def test_a_head_in_pieces_is_counted_from_its_beginning(gateway: Any, upstream: Any) -> None:
    """Small pieces that are too much together, and trailers without end."""
    await gateway.register(OPEN)
    begun = [b"GET /p/a HTTP/1.1\r\n", *[b"X: " + b"a" * 3000 + b"\r\n"] * 21]
    for last, status in ((b"", b"200"), (b"X: " + b"a" * 3000 + b"\r\n", b"431")):
        _, writer = pair = await asyncio.open_connection("127.0.0.1", gateway.port)
        for piece in [*begun, last + END]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert (await pair[0].read()).split()[1] == status
        writer.close()
    chunked = b"POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert (await talk(gateway.port, chunked, *[b"X: " + b"a" * 3000 + b"\r\n"] * 30)).split()[1] == b"431"
    assert len(upstream.seen) == 1


async def test_a_connection_rests_for_as_long_as_it_may(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One timer serves for many requests, and each answer begins the rest anew."""
    await gateway.register(OPEN)
    monkeypatch.setattr(connection, "KEEP_ALIVE", 1.0)
    async with serving(gateway.app) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):  # longer than one rest, all in all
            writer.write(b"GET /p/a HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b'{"ok":true}')
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.35)
        assert await reader.read() == b""
        writer.close()
