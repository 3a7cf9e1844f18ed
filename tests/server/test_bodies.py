"""Bodies in pieces, over real sockets: an answer's asynchronous iterator, and a request's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import httpx
import pytest

from bridge.api.call import Trailers
from bridge.api.downstream import ServerRequest
from bridge.errors import ClientDisconnected
from bridge.gateway.inbound import Asgi
from bridge.server.listener import accepting
from bridge.server.state import ServerState
from tests.conftest import bind, listening
from tests.server.test_wire import talk

Handler = Callable[[ServerRequest], Coroutine[Any, Any, None]]
GET = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PLAIN = [("content-type", "text/plain")]


@contextlib.asynccontextmanager
async def answering(handler: Handler, *, max_message: int = 1000, drain: float = 10) -> AsyncIterator[int]:
    """Our server, with `handler` for every request; yields the port."""
    bound = bind()
    server = ServerState(None, handler, lambda record: None, max_message)
    async with accepting(server, bound):
        yield bound.getsockname()[1]
    await server.drain(drain, asyncio.Event())


class Letters:
    """Pieces of a body; tells when it is closed."""

    def __init__(self, *pieces: bytes, then: Callable[[], Awaitable[None]] | None = None) -> None:
        self.closed = asyncio.Event()
        self.taken = 0
        self._pieces, self._then = pieces, then

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                self.taken += 1
                yield piece
            if self._then is not None:
                await self._then()
        finally:
            self.closed.set()


def whole(body: Letters, fields: list[tuple[str, str]] = PLAIN, status: int = 200) -> Handler:
    async def handler(request: ServerRequest) -> None:
        await request.answer(status, fields, body())

    return handler


async def test_it_is_chunked_and_the_connection_goes_on() -> None:
    letters = Letters(b"ab", b"", b"c")
    async with answering(whole(letters)) as port:
        answer = await talk(port, GET.replace(b"close", b"keep-alive") + GET)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body.startswith(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert body.endswith(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    assert letters.closed.is_set()


async def test_a_length_that_is_known_is_said() -> None:
    async with answering(whole(Letters(b"ab", b"c"), [*PLAIN, ("content-length", "3")])) as port:
        head, _, body = (await talk(port, GET)).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"abc"


@pytest.mark.parametrize("length", ["2", "4"])
async def test_a_length_that_is_wrong_breaks_the_answer_off(length: str, caplog: pytest.LogCaptureFixture) -> None:
    letters = Letters(b"ab", b"c")
    async with answering(whole(letters, [("content-length", length)])) as port:
        assert (await talk(port, GET)).partition(b"\r\n\r\n")[2] == (b"ab" if length == "2" else b"abc")
    assert letters.closed.is_set()
    assert "another length" in caplog.text


async def test_http_1_0_ends_with_the_connection() -> None:
    async with answering(whole(Letters(b"ab", b"c"))) as port:
        head, _, body = (await talk(port, b"GET /a HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"abc"


async def test_head_gets_the_head_and_the_iterator_is_not_asked() -> None:
    letters = Letters(b"ab")
    async with answering(whole(letters)) as port:
        head, _, body = (await talk(port, GET.replace(b"GET", b"HEAD"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert (body, letters.taken) == (b"", 0)


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_ends_with_the_head(status: int) -> None:
    letters = Letters(b"ab")

    async def handler(request: ServerRequest) -> None:
        await request.answer(status, PLAIN, letters() if request.path == "/pieces" else b"ab")

    async with answering(handler) as port:
        ask = b"GET /%s HTTP/1.1\r\nHost: a\r\nConnection: %s\r\n\r\n"
        answers = await talk(port, ask % (b"pieces", b"keep-alive") + ask % (b"whole", b"close"))
    assert answers.count(b"HTTP/1.1 ") == 2
    assert answers.endswith(b"\r\n\r\n")
    assert b"ab" not in answers
    assert letters.taken == 0


async def failing() -> None:
    raise ValueError("the source broke")


async def test_a_failure_is_no_clean_end(caplog: pytest.LogCaptureFixture) -> None:
    letters = Letters(b"ab", then=failing)
    async with answering(whole(letters)) as port:
        assert (await talk(port, GET)).endswith(b"\r\n\r\n2\r\nab\r\n")
        with pytest.raises(ConnectionResetError):
            await talk(port, b"GET /a HTTP/1.0\r\n\r\n")
    assert letters.closed.is_set()
    assert "the source broke" in caplog.text


async def test_it_is_closed_when_its_client_leaves_while_it_is_silent() -> None:
    letters = Letters(b"ab", then=asyncio.Event().wait)  # type: ignore[arg-type]  # the result is not looked at
    outcome = asyncio.get_running_loop().create_future()

    async def handler(request: ServerRequest) -> None:
        try:
            await request.answer(200, PLAIN, letters())
        except ClientDisconnected as error:
            outcome.set_result(error)
            raise

    async with answering(handler) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"ab\r\n")
        writer.close()
        await letters.closed.wait()
        assert isinstance(await outcome, ClientDisconnected)


async def test_a_client_that_does_not_read_is_not_written_to() -> None:
    letters = Letters(*[b"x" * 100_000] * 1000)
    async with answering(whole(letters)) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(GET)
        taken = -1
        while taken != letters.taken or not taken:
            taken = letters.taken
            await asyncio.sleep(0.1)
        assert taken < 900
        assert len(await reader.read(-1)) > 100_000_000
        writer.close()
    assert letters.taken == 1000


async def test_a_requests_pieces_come_as_they_are_sent_and_wait_when_nobody_asks() -> None:
    asked, size = asyncio.Event(), 0

    async def handler(request: ServerRequest) -> None:
        nonlocal size
        await asked.wait()
        async for piece in request.stream():
            size += len(piece)
        await request.answer(200, [("content-length", "2")], b"ok")

    async with answering(handler) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            writer.write(b"x" * 100_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)  # the kernel's buffers are full, and nobody reads them
        asked.set()
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert size == 50_000_000


async def test_a_request_is_answered_piece_by_piece_while_it_comes() -> None:
    async def handler(request: ServerRequest) -> None:
        await request.answer(200, PLAIN, request.stream())

    async with answering(handler) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        for letter in (b"a", b"b"):
            writer.write(b"1\r\n" + letter + b"\r\n")
            assert await reader.readexactly(6) == b"1\r\n" + letter + b"\r\n"
        writer.write(b"0\r\n\r\n")
        assert await reader.readexactly(5) == b"0\r\n\r\n"
        writer.close()


async def test_a_client_that_leaves_within_its_body() -> None:
    outcome = asyncio.get_running_loop().create_future()

    async def handler(request: ServerRequest) -> None:
        try:
            outcome.set_result([piece async for piece in request.stream()])
        except ClientDisconnected as error:
            outcome.set_result(error)

    async with answering(handler) as port, asyncio.timeout(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        await writer.drain()
        writer.close()
        assert isinstance(await outcome, ClientDisconnected)


async def test_an_iterator_that_is_no_generator() -> None:
    class Once:
        def __init__(self) -> None:
            self.pieces = [b"a", b"b"]

        def __aiter__(self) -> Once:
            return self

        async def __anext__(self) -> bytes:
            if not self.pieces:
                raise StopAsyncIteration
            return self.pieces.pop(0)

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, PLAIN, Once())

    async with answering(handler) as port:
        assert (await talk(port, GET)).endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


# --- by another ASGI server --------------------------------------------------------------------------------------


async def test_another_server_gets_the_pieces_too() -> None:
    letters = Letters(b"ab", b"c")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Asgi(scope, receive, send)
        sent = b"".join([piece async for piece in request.stream()])
        await request.answer(200, [*PLAIN, ("x-sent", sent.decode())], letters())

    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.post("/a", content=b"hello")
        assert (answer.text, answer.headers["x-sent"]) == ("abc", "hello")
        assert letters.closed.is_set()
        assert (await client.head("/a")).text == ""


async def test_another_servers_client_that_leaves() -> None:
    letters = Letters(b"ab", then=asyncio.Event().wait)  # type: ignore[arg-type]  # the result is not looked at

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(ClientDisconnected):
            await Asgi(scope, receive, send).answer(200, PLAIN, letters())

    async with listening(app) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"ab\r\n")
        writer.close()
        await letters.closed.wait()


# --- trailers -------------------------------------------------------------------------------------------------------


async def test_fields_after_a_body_are_in_the_last_chunk() -> None:
    """RFC 9112, section 7.1.2."""

    async def handler(request: ServerRequest) -> None:
        await request.answer(200, PLAIN, b"abc", Trailers((("x-sum", "1"), ("x-a", "b"))))

    async with answering(handler) as port:
        answer = await talk(port, GET.replace(b"close", b"keep-alive") + GET)
        assert answer.count(b"3\r\nabc\r\n0\r\nx-sum: 1\r\nx-a: b\r\n\r\n") == 2
        assert (await talk(port, b"GET /a HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nabc")
        assert (await talk(port, GET.replace(b"GET", b"HEAD"))).endswith(b"\r\n\r\n")
