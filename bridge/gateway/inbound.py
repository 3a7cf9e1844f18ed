"""A request on its way in and its answer's way out, as `bridge.gateway.answer` takes them.

Our own server gives them directly (`bridge.server.exchange.ServerExchange`). `Asgi` adapts any other ASGI server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any, Protocol

from bridge.api.stream import WEBSOCKET
from bridge.errors import ClientDisconnected, RequestTimeout, TooLarge
from bridge.gateway.downstream import (
    Connection,
    Downstream,
    Fields,
    HttpSide,
    Unwatched,
    WebSocketSide,
    encoded,
    with_bearer,
)
from bridge.http.client_address import canonical

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: The body of a request or an answer: whole, or in pieces as they arrive.
Body = bytes | AsyncIterable[bytes]

CLIENT_SIDES: dict[str, Callable[..., Downstream]] = {"http": HttpSide, "websocket": WebSocketSide}


class ServerRequest(Protocol):
    """:ivar method: upper case; `bridge.api.stream.WEBSOCKET` for a WebSocket.
    :ivar path: as sent, still percent-encoded, without the query.
    :ivar query: as sent, without ``?``.
    :ivar headers: the request's fields in order; names in lower case.
    :ivar version: of HTTP, ``1.1``.
    :ivar peer: the address at the connection's other end (`bridge.http.client_address.canonical`), or ``""``.
    :ivar connection: what a stream needs of it.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    version: str
    peer: str

    @property
    def connection(self) -> Connection: ...

    async def body(self, most: int, patience: float) -> bytes:
        """The whole body.

        :raises TooLarge: it has more than `most` bytes.
        :raises RequestTimeout: it did not arrive within `patience` seconds.
        :raises ClientDisconnected: the client has left.
        """
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces, in place of `body`. The client is not read while no piece is asked for.

        :raises ClientDisconnected: from the iterator: the client left before the body's end.
        """
        ...

    def side(self, fields: Fields) -> Downstream:
        """The client's side of a stream, in place of `body` and `answer`."""
        ...

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: Body) -> None:
        """The answer. `fields` are fit to be sent (names are tokens, values hold no controls); those of Latin-1 alone
        go out as they are. They frame a body of bytes. A body in pieces is framed here, unless they name its length.
        Its iterator is closed at its end, at a failure, and when the client leaves.

        :raises ClientDisconnected: the client left before a body in pieces had ended.
        :raises Exception: as the iterator; the answer is cut off, so that the client knows that it is not complete.
        """
        ...


class Asgi:
    """What an ASGI server gives to an application (ASGI 3.0, HTTP and WebSocket message formats)."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.method: str = scope.get("method", WEBSOCKET)
        self.path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        self.query = scope["query_string"].decode("latin-1")
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if scope["type"] == "websocket":
            self.headers = with_bearer(self.headers, scope.get("subprotocols") or ())
        self.version: str = scope["http_version"]
        self.peer: str = canonical(scope["client"][0]) if scope.get("client") else ""

    @property
    def connection(self) -> Connection:
        return Unwatched()

    async def body(self, most: int, patience: float) -> bytes:
        return await read_body(self.side(lambda reply: []).read, most, patience)

    def stream(self) -> AsyncIterator[bytes]:
        return pieces(self.side(lambda reply: []).read)

    def side(self, fields: Fields) -> Downstream:
        return CLIENT_SIDES[self._scope["type"]](self._scope, self._receive, self._send, fields)

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: Body) -> None:
        kind = "http.response" if self._scope["type"] == "http" else "websocket.http.response"
        await self._send({"type": f"{kind}.start", "status": status, "headers": encoded(fields)})
        if self.method == "HEAD":
            if not isinstance(body, bytes):
                await close_pieces(body)
            body = b""
        if not isinstance(body, bytes):

            async def write(piece: bytes) -> None:
                await self._send({"type": f"{kind}.body", "body": piece, "more_body": True})

            await write_pieces(body, write, self._left())
            body = b""
        await self._send({"type": f"{kind}.body", "body": body})

    async def _left(self) -> None:
        while not (await self._receive())["type"].endswith(".disconnect"):
            pass


def oversized(most: int) -> TooLarge:
    return TooLarge(f"A request body may have at most {most} bytes.")


async def pieces(read: Callable[[], Awaitable[bytes | None]]) -> AsyncIterator[bytes]:
    """What `read` gives until it gives None, as `Downstream.read` does (`ServerRequest.stream`)."""
    while (piece := await read()) is not None:
        if piece:
            yield piece


async def read_body(read: Callable[[], Awaitable[bytes | None]], most: int, patience: float) -> bytes:
    """All that `read` gives until it gives None (`ServerRequest.body`)."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience):
            while (chunk := await read()) is not None:
                size += len(chunk)
                if size > most:
                    raise oversized(most)
                chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeout("The body did not arrive in time.") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def write_pieces(
    body: AsyncIterable[bytes], write: Callable[[bytes], Awaitable[None]], left: Coroutine[Any, Any, None]
) -> None:
    """Write the pieces of `body`, and close its iterator however that ends.

    :param left: returns when the client has left, which a silent iterator would not notice.
    :raises ClientDisconnected: the client left before the end.
    """
    writing, leaving = asyncio.ensure_future(_write_all(body, write)), asyncio.ensure_future(left)
    try:
        await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not writing.done():
            raise ClientDisconnected()
        writing.result()
    finally:
        writing.cancel()
        leaving.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)


async def _write_all(body: AsyncIterable[bytes], write: Callable[[bytes], Awaitable[None]]) -> None:
    iterator = aiter(body)
    try:
        async for piece in iterator:
            if piece:
                await write(piece)
    finally:
        await close_pieces(iterator)


async def close_pieces(body: AsyncIterable[bytes]) -> None:
    """Close `body` where it can be: generators can, other iterators need not."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None:
        await aclose()
