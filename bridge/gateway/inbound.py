"""Requests of foreign ASGI servers, and how bodies are read and written in pieces.

Our own server needs no adapter: `bridge.server.exchange.ServerExchange` is a `ServerRequest`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from bridge.api.call import NO_TRAILERS, Body, Trailers
from bridge.api.capabilities import Closing, capability
from bridge.api.downstream import ClientConnection, Downstream, Fields
from bridge.api.stream import WEBSOCKET
from bridge.errors import ClientDisconnected, RequestTimeout
from bridge.gateway.asgi_websocket import AsgiWebSocketEnd
from bridge.gateway.downstream import (
    BEARER,
    HttpSide,
    Unwatched,
    WebSocketSide,
    bearer_of,
    encoded,
    offered_to_service,
    with_bearer,
)
from bridge.http.client_address import canonical
from bridge.stages.request import oversized
from bridge.websocket.end import WebSocketEnd

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JOINED = (
    1024 * 1024
)  #: bytes of a body from which joining its pieces leaves the event loop; Python gives up its lock then

#: Statuses whose responses end with their head (RFC 9112, section 6.3).
BODILESS = (204, 304)

CLIENT_SIDES: dict[str, Callable[..., Downstream]] = {"http": HttpSide, "websocket": WebSocketSide}


class Asgi:
    """`bridge.api.downstream.ServerRequest` of any ASGI server (ASGI 3.0, HTTP and WebSocket message formats)."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.method: str = scope.get("method", WEBSOCKET)
        self.path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        self.query = scope["query_string"].decode("latin-1")
        # ASGI does not tell an empty query from none.
        self.target = f"{self.path}?{self.query}" if self.query else self.path
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        offered: Sequence[str] = scope.get("subprotocols") or ()
        self.subprotocols = offered_to_service(offered)
        if scope["type"] == "websocket":
            self.headers = with_bearer(self.headers, offered)
        self.version: str = scope["http_version"]
        self.peer: str = canonical(scope["client"][0]) if scope.get("client") else ""
        self.disconnected = False  # a foreign server does not cancel for it

    @property
    def connection(self) -> ClientConnection:
        return Unwatched()

    @property
    def certificates(self) -> None:
        return None  # few servers tell of them (ASGI's extension for TLS), and none of those without a proxy in front

    @property
    def secure(self) -> bool:
        return self._scope.get("scheme") in ("https", "wss")

    def received(self, max_bytes: int) -> None:
        return None

    async def body(self, max_bytes: int, timeout: float) -> bytes:  # noqa: ASYNC109  # the Protocol's signature
        return await read_body(self.side(lambda reply: []).read, max_bytes, timeout)

    def stream(self) -> AsyncIterator[bytes]:
        return pieces(self.side(lambda reply: []).read)

    def side(self, fields: Fields) -> Downstream:
        return CLIENT_SIDES[self._scope["type"]](self._scope, self._receive, self._send, fields)

    async def answer(
        self, status: int, fields: Sequence[tuple[str, str]], body: Body, trailers: Trailers = NO_TRAILERS
    ) -> None:
        kind = "http.response" if self._scope["type"] == "http" else "websocket.http.response"
        await self._send({"type": f"{kind}.start", "status": status, "headers": encoded(fields)})
        if self.method == "HEAD" or status in BODILESS:
            if not isinstance(body, bytes):
                await close_pieces(body)
            body = b""
        if not isinstance(body, bytes):

            async def write(piece: bytes) -> None:
                await self._send({"type": f"{kind}.body", "body": piece, "more_body": True})

            await write_pieces(body, write, self._left())
            body = b""
        await self._send({"type": f"{kind}.body", "body": body})

    async def accept(self, fields: Sequence[tuple[str, str]], subprotocol: str, max_message: int) -> WebSocketEnd:
        """As `bridge.api.downstream.WebSocketRequest.accept`."""
        chosen = subprotocol or (BEARER if bearer_of(self._scope.get("subprotocols") or ()) else None)
        return await AsgiWebSocketEnd.accept(self._receive, self._send, fields, chosen, max_message)

    async def _left(self) -> None:
        while not (await self._receive())["type"].endswith(".disconnect"):
            pass


async def pieces(read: Callable[[], Awaitable[bytes | None]]) -> AsyncIterator[bytes]:
    """The results of `read` until None, which ends a body (`ServerRequest.stream`)."""
    while (piece := await read()) is not None:
        if piece:
            yield piece


async def read_body(
    read: Callable[[], Awaitable[bytes | None]],
    max_bytes: int,
    timeout: float,  # noqa: ASYNC109  # it bounds more than one await
) -> bytes:
    """All results of `read` until None (`ServerRequest.body`)."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout):
            while (chunk := await read()) is not None:
                size += len(chunk)
                if size > max_bytes:
                    raise oversized(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeout("The body did not arrive in time.") from None
    if size > JOINED and len(chunks) > 1:
        return await asyncio.to_thread(b"".join, chunks)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def write_pieces(
    body: AsyncIterable[bytes], write: Callable[[bytes], Awaitable[None]], disconnect: Coroutine[Any, Any, None]
) -> None:
    """Write the pieces of `body`, and close its iterator in any case.

    :param disconnect: returns when the client has disconnected, which a silent iterator would not notice.
    :raises ClientDisconnected: the client disconnected before the end.
    """
    writing, leaving = asyncio.ensure_future(_write_all(body, write)), asyncio.ensure_future(disconnect)
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
    """Close `body` if it can be closed: generators can, other iterators need not."""
    if closing := capability(body, Closing):
        await closing.aclose()
