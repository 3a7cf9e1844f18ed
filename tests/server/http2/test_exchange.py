"""Requests and responses over HTTP/2, on real sockets: what `ServerRequest` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.api.call import Reply, Trailers
from bridge.api.downstream import ServerRequest
from bridge.errors import ClientDisconnected, TooLarge
from bridge.http2 import frames
from bridge.server.http2.core import WINDOW
from tests.server.http2.kit import GET, POST, answering, dialled, echoes, says_ok

NO_WINDOW = (4).to_bytes(2, "big") + bytes(4)  #: SETTINGS_INITIAL_WINDOW_SIZE of 0


async def test_a_request_as_the_gateway_sees_it() -> None:
    seen: list[Any] = []

    async def handler(request: ServerRequest) -> None:
        seen.append(request)
        assert request.received(10) == b""
        await says_ok(request)

    fields = [
        *GET[:3],
        (":path", "/a%20b?c=d&"),
        ("cookie", "a=1"),
        ("x-a", "1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
    ]
    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, fields))
        answer = await client.answer(1)
    assert answer.head.pop("date").endswith("GMT")
    assert answer.head == {":status": "200", "content-length": "2"}
    assert (answer.body, answer.reset) == (b"ok", None)
    [request] = seen
    assert (request.method, request.target, request.path, request.query) == ("GET", "/a%20b?c=d&", "/a%20b", "c=d&")
    assert request.headers == [("host", "a"), ("x-a", "1"), ("te", "trailers"), ("cookie", "a=1; b=2")]
    assert (request.version, request.peer) == ("2", "127.0.0.1")


async def test_host_in_place_of_authority() -> None:
    seen: list[Any] = []

    async def handler(request: ServerRequest) -> None:
        seen.append(request.headers)
        await says_ok(request)

    async with answering(handler) as served, dialled(served.port) as client:
        without = [field for field in GET if field[0] != ":authority"]
        client.write(client.headers(1, [*without, ("host", "b")]), client.headers(3, [*GET, ("host", "A")]))
        await client.answer(1)
        await client.answer(3)
    assert seen == [[("host", "b")], [("host", "a")]]


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_bodies_both_ways(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with answering(echoes) as served, dialled(served.port) as client:
        await client.settled()
        client.write(
            frames.window_update(0, 2**30), client.headers(1, [*POST, ("content-length", str(size))], end=False)
        )
        client.write(frames.window_update(1, 2**30))
        granted = WINDOW
        for at in range(0, size, 16_384):
            piece = body[at : at + 16_384]
            while granted < len(piece):
                await client.read()
                kind, _, number, payload = client.frames[-1]
                granted += int.from_bytes(payload, "big") if kind == frames.WINDOW_UPDATE and number == 1 else 0
            granted -= len(piece)
            client.write(client.data(1, piece))
        client.write(client.data(1, b"", end=True))
        answer = await client.answer(1)
    assert answer.body == body
    assert answer.head["content-length"] == str(size)


async def test_a_body_without_a_length_is_announced_as_one_of_http1_is() -> None:
    seen: list[Any] = []

    async def handler(request: ServerRequest) -> None:
        seen.append(("transfer-encoding", "chunked") in request.headers)
        await echoes(request)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), client.data(1, b"ab"), client.data(1, b"c", end=True))
        assert (await client.answer(1)).body == b"abc"
        client.write(client.headers(3, POST))
        assert (await client.answer(3)).body == b""
    assert seen == [True, False]


async def test_trailers_of_a_request_end_it_and_are_dropped() -> None:
    async with answering(echoes) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), client.data(1, b"ab"), client.headers(1, [("x-sum", "1")]))
        assert (await client.answer(1)).body == b"ab"


async def test_requests_run_at_the_same_time() -> None:
    arrived, go_on = list[str](), asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        arrived.append(request.path)
        if len(arrived) == 50:
            go_on.set()
        await go_on.wait()
        await says_ok(request)

    async with answering(handler) as served, dialled(served.port) as client:
        numbers = range(1, 100, 2)
        client.write(*[client.headers(number, GET) for number in numbers])
        for number in numbers:
            assert (await client.answer(number)).body == b"ok"


async def test_head_and_statuses_without_a_body() -> None:
    async def handler(request: ServerRequest) -> None:
        if request.path == "/a":
            await request.answer(200, [("content-length", "2")], b"ok")
        else:
            await request.answer(int(request.path[1:]), [], b"")

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, [(":method", "HEAD"), *GET[1:]]))
        answer = await client.answer(1)
        assert (answer.head["content-length"], answer.body) == ("2", b"")
        for number, status in ((3, 204), (5, 304), (7, 418)):
            client.write(client.headers(number, [*GET[:3], (":path", f"/{status}")]))
            assert (await client.answer(number)).head[":status"] == str(status)


async def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    go_on = asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        await go_on.wait()
        await (echoes if request.path == "/a" else says_ok)(request)

    async with answering(handler) as served, dialled(served.port) as client:
        expecting = [*POST, ("expect", "100-continue"), ("content-length", "2")]
        client.write(client.headers(1, expecting, end=False))
        await client.alive()
        assert 1 not in client.answers
        go_on.set()
        await client.until(lambda: 1 in client.answers)
        assert client.answers[1].head == {":status": "100"}
        client.write(client.data(1, b"ab", end=True))
        assert (await client.answer(1)).body == b"ab"
        client.write(client.headers(3, [*expecting[:3], (":path", "/b"), *expecting[4:]], end=False))
        answer = await client.answer(3)
        assert [head[":status"] for head in answer.heads] == ["200"]
        await client.until(lambda: answer.reset is not None)
        assert answer.reset == frames.NO_ERROR  # RFC 9113, section 8.1: the body is not wanted


# --- in pieces ----------------------------------------------------------------------------------------------------


class Pieces:
    """Tells when it is closed, and how many were taken."""

    def __init__(self, *pieces: bytes, forever: bool = False) -> None:
        self.closed = asyncio.Event()
        self.taken = 0
        self._pieces, self._forever = pieces, forever

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                self.taken += 1
                yield piece
            if self._forever:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_pieces_are_sent_as_they_come() -> None:
    pieces = Pieces(b"ab", b"", b"c", forever=True)

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [("content-type", "text/event-stream")], pieces())

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await client.until(lambda: 1 in client.answers and client.answers[1].body == b"abc")
        assert not client.answers[1].ended
        client.write(client.reset(1))
        await asyncio.wait_for(pieces.closed.wait(), 10)
        await client.alive()


async def test_a_client_that_takes_nothing_is_not_sent_more() -> None:
    pieces = Pieces(*[b"x" * 60_000] * 100)

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [], pieces())

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await client.until(lambda: 1 in client.answers and len(client.answers[1].body) == 65_535)
        await client.alive()
        assert pieces.taken <= 3
        client.write(frames.window_update(0, 2**30), frames.window_update(1, 2**30))
        assert len((await client.answer(1)).body) == 6_000_000


async def test_one_slow_stream_holds_up_no_other() -> None:
    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [], b"x" * 200_000 if request.path == "/a" else b"ok")

    async with answering(handler) as served, dialled(served.port, settings=NO_WINDOW) as client:
        client.write(client.headers(1, GET), client.headers(3, [*GET[:3], (":path", "/b")]))
        client.write(frames.window_update(3, 100))
        assert (await client.answer(3)).body == b"ok"
        assert client.answers[1].body == b""
        client.write(frames.window_update(1, 300_000), frames.window_update(0, 300_000))
        assert (await client.answer(1)).body == b"x" * 200_000


async def test_a_failure_within_a_body_is_seen_as_one() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"ab"
        raise ValueError("a defect")

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [], failing())

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        answer = await client.answer(1)
        assert (answer.body, answer.ended, answer.reset) == (b"ab", False, frames.INTERNAL_ERROR)
        await client.alive()


async def test_a_body_of_another_length_than_announced(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [("content-length", "5")], Pieces(b"ab")())

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        answer = await client.answer(1)
        assert (answer.ended, answer.reset) == (False, frames.INTERNAL_ERROR)
    assert "another length" in caplog.text


async def test_a_request_is_read_only_while_it_is_wanted() -> None:
    """Its window bounds what waits for the application."""
    go_on, sizes = asyncio.Event(), list[int]()

    async def handler(request: ServerRequest) -> None:
        await go_on.wait()
        async for piece in request.stream():
            sizes.append(len(piece))
        await says_ok(request)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), *[client.data(1, b"x" * 16_384)] * (WINDOW // 16_384))
        await client.alive()
        assert not any(kind == frames.WINDOW_UPDATE and number == 1 for kind, _, number, _ in client.frames)
        go_on.set()
        await client.until(lambda: any(kind == frames.WINDOW_UPDATE and number for kind, _, number, _ in client.frames))
        client.write(client.data(1, b"x", end=True))
        await client.answer(1)
    assert sum(sizes) == WINDOW + 1


async def test_single_bytes_do_not_pile_up() -> None:
    arrived, go_on, seen = asyncio.Event(), asyncio.Event(), list[Any]()

    async def handler(request: ServerRequest) -> None:
        seen.append(request)
        arrived.set()
        await go_on.wait()
        await echoes(request)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), *[client.data(1, b"x")] * 5000)
        await client.alive()
        assert len(seen[0]._parts) <= 513
        go_on.set()
        client.write(client.data(1, b"y", end=True))
        assert (await client.answer(1)).body == b"x" * 5000 + b"y"


async def test_a_body_that_is_too_large() -> None:
    async def handler(request: ServerRequest) -> None:
        with pytest.raises(TooLarge):
            await request.body(10, 10)
        await request.answer(413, [], b"")

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), client.data(1, b"x" * 11))
        answer = await client.answer(1)
        await client.until(lambda: answer.reset is not None)
        assert (answer.head[":status"], answer.reset) == ("413", frames.NO_ERROR)
        client.write(client.data(1, b"y" * 1000, end=True))  # what was under way
        await client.alive()


# --- clients that leave ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_call_is_cancelled_when_its_client_leaves(how: str) -> None:
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        arrived.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert request.disconnected
            cancelled.set()
            raise

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await asyncio.wait_for(arrived.wait(), 10)
        if how == "reset":
            client.write(client.reset(1))
        else:
            client.close()
        await asyncio.wait_for(cancelled.wait(), 10)


async def test_who_reads_the_body_of_a_client_that_leaves_is_told() -> None:
    told = asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        request.connection.watch(lambda: None, half=True)  # as streams do, which are not cancelled then
        with pytest.raises(ClientDisconnected):
            await request.body(100, 10)
        told.set()

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False), client.data(1, b"a"))
        await client.alive()
        client.write(client.reset(1))
        await asyncio.wait_for(told.wait(), 10)


async def test_a_stream_hears_of_the_client_that_leaves() -> None:
    left, watching = asyncio.Event(), asyncio.Event()

    async def handler(request: ServerRequest) -> None:
        request.connection.watch(left.set, half=True)
        watching.set()
        await request.side(lambda reply: []).gone()

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST))  # the end of its half is no sign of leaving
        await asyncio.wait_for(watching.wait(), 10)
        await client.alive()
        assert not left.is_set()
        client.write(client.reset(1))
        await asyncio.wait_for(left.wait(), 10)


async def test_a_response_that_is_cut_comes_as_far_as_it_was_sent() -> None:
    async def handler(request: Any) -> None:
        await request.begin(200, [])
        await request.send(b"x" * 70_000)
        request.connection.cut(now=False)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        await client.until(lambda: 1 in client.answers and len(client.answers[1].body) == 65_535)
        client.write(frames.window_update(0, 100_000), frames.window_update(1, 100_000))
        answer = await client.answer(1)
        assert (len(answer.body), answer.ended, answer.reset) == (70_000, False, frames.INTERNAL_ERROR)


async def test_a_handler_that_fails_or_forgets_to_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: ServerRequest) -> None:
        if request.path == "/a":
            raise ValueError("a defect")

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET), client.headers(3, [*GET[:3], (":path", "/b")]))
        for number in (1, 3):
            answer = await client.answer(number)
            assert (answer.head[":status"], answer.head["content-type"]) == ("500", "application/problem+json")
    assert "a defect" in caplog.text
    assert "without a complete answer" in caplog.text


# --- trailers -------------------------------------------------------------------------------------------------------

TRAILERS = Trailers((("x-sum", "1"), ("x-a", "b")))


@pytest.mark.parametrize("size", [0, 2, 200_000])
async def test_fields_after_a_body(size: int) -> None:
    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [("content-type", "text/plain")], b"x" * size, TRAILERS)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        if size > 65_535:  # they wait for the whole body
            await client.until(lambda: 1 in client.answers and len(client.answers[1].body) == 65_535)
            assert len(client.answers[1].heads) == 1
            client.write(frames.window_update(0, 2**30), frames.window_update(1, 2**30))
        answer = await client.answer(1)
        assert (len(answer.body), answer.reset) == (size, None)
        assert answer.heads[1:] == [dict(TRAILERS)]
        client.write(client.headers(3, [(":method", "HEAD"), *GET[1:]]))
        answer = await client.answer(3)
        assert (answer.body, len(answer.heads)) == (b"", 1)


async def test_fields_after_a_stream() -> None:
    async def handler(request: ServerRequest) -> None:
        side = request.side(lambda reply: [])
        await side.start(Reply(200, [], b"a"))
        await side.write([b"b", b"c"])
        await side.close(TRAILERS, failed=False)

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, POST, end=False))
        answer = await client.answer(1)
        assert (answer.body, answer.heads[1:]) == (b"abc", [dict(TRAILERS)])
        await client.until(lambda: answer.reset is not None)
        assert answer.reset == frames.NO_ERROR


async def test_values_stand_without_blanks_around_them() -> None:
    """Section 8.2.1: with them a response is malformed, and clients reset it."""

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, [("x-a", " b\t"), ("x-c", " ")], b"a", Trailers((("x-d", "e  "),)))

    async with answering(handler) as served, dialled(served.port) as client:
        client.write(client.headers(1, GET))
        answer = await client.answer(1)
        assert (answer.head["x-a"], answer.head["x-c"], answer.heads[1]["x-d"]) == ("b", "", "e")
