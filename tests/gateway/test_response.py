"""Replies whose body comes in pieces, as the gateway sends them, and which problem answers an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from bridge.api import Call, Reply
from bridge.api.exchange import Exchange
from bridge.api.problem import problem
from bridge.api.record import Record
from bridge.errors import ClientError, Timeout
from bridge.gateway.response import refused
from tests.gateway.test_boundary import OPEN, broken_by, raw
from tests.server.test_bodies import Letters, failing


def in_pieces(letters: Letters, headers: list[tuple[str, str]] | None = None, status: int = 200) -> Reply:
    return Reply(status, headers or [("content-type", "text/plain")], letters())


async def test_pieces_are_counted(start: Any, upstream: Any) -> None:
    letters = Letters(b"ab", b"c")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        broken_by(gateway, in_pieces(letters))
        assert (await gateway.client.get("/p/a")).text == "abc"
        broken_by(gateway, in_pieces(Letters(b"ab")))
        assert (await gateway.client.head("/p/a")).text == ""
    lines = [line for line in gateway.log() if line["path"] == "/p/a"]
    assert [(line["status"], line["bytes_out"]) for line in lines] == [(200, 3), (200, 0)]
    assert letters.closed.is_set()


class Resource(AsyncIterator[bytes]):
    """Pieces that hold something from their beginning."""

    def __init__(self) -> None:
        self.closed = 0

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("status", "headers"), [(99, []), (200, [("naïve€", "x")]), (200, [("x", 7)])], ids=["status", "name", "value"]
)
async def test_a_body_that_can_not_be_sent_is_closed(start: Any, upstream: Any, status: int, headers: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        broken_by(gateway, Reply(status, headers, body := Resource()))
        assert (await gateway.client.get("/p/a")).status_code == 500
    assert body.closed == 1


async def test_an_error_midway_stands_in_the_log(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        broken_by(gateway, in_pieces(Letters(b"ab", then=failing)))
        with pytest.raises(httpx.RemoteProtocolError):
            await gateway.client.get("/p/a")
    [line] = [line for line in gateway.log() if line["path"] == "/p/a"]
    assert (line["status"], line["bytes_out"], line["cause"]) == (200, 2, "ValueError: the source broke")


async def test_a_client_that_leaves_midway_stands_in_the_log(start: Any, upstream: Any) -> None:
    letters = Letters(b"ab", then=asyncio.Event().wait)  # type: ignore[arg-type]  # the result is not looked at
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        broken_by(gateway, in_pieces(letters))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /p/a HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"ab\r\n")
        writer.close()
        async with asyncio.timeout(5):
            await letters.closed.wait()
    [line] = [line for line in gateway.log() if line["path"] == "/p/a"]
    assert (line["status"], line["bytes_out"]) == (499, 2)


async def test_a_cached_route_sends_pieces(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register({**OPEN, "methods": ["GET"], "cache": {"ttl": 5}})
        broken_by(gateway, in_pieces(Letters(b"ab")))
        got = await raw(gateway.port, "GET /p/a HTTP/1.1\r\nHost: a")
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.endswith(b"2\r\nab\r\n0\r\n\r\n")


def test_a_problem_answers_only_its_own_error() -> None:
    """A thread may finish with one error while the call has already failed by its deadline."""
    late: Any = Timeout("The deadline passed.")
    large: Any = ClientError("a large fault")
    request: Any = None
    exchange = Exchange(request, Call(), Record(0.0, "1", "GET", "/a"))
    exchange.problem = large, problem(large, "1")
    assert orjson.loads(refused(exchange, late, None).content)["detail"] == "The deadline passed."
    exchange.problem = large, (ready := problem(large, "1"))
    assert refused(exchange, large, None) is ready
