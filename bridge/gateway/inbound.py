"""A request on its way in and its answer's way out, as `bridge.gateway.answer` takes them: from any ASGI server
(`Asgi`), or
straight from ours (`bridge.server.exchange.ServerExchange`), which makes no events of what it has at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Protocol

from bridge.api.stream import WEBSOCKET
from bridge.errors import ClientDisconnected, ClientError, TooLarge
from bridge.gateway.downstream import Connection, Downstream, Fields, HttpSide, Unwatched, WebSocketSide, with_bearer
from bridge.http.client_address import canonical

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

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
        :raises ClientError: it did not arrive within `patience` seconds.
        :raises ClientDisconnected: the client has left.
        """
        ...

    def side(self, fields: Fields) -> Downstream:
        """The client's side of a stream, in place of `body` and `answer`."""
        ...

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: bytes) -> None:
        """The whole answer. `fields` are fit to be sent (names are tokens, values hold no controls), and frame the
        body; those of Latin-1 alone go out as they are."""
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
            self.headers = with_bearer(self.headers, scope)
        self.version: str = scope["http_version"]
        self.peer: str = canonical(scope["client"][0]) if scope.get("client") else ""

    @property
    def connection(self) -> Connection:
        return self._scope.get("bridge.connection") or Unwatched()

    async def body(self, most: int, patience: float) -> bytes:
        return await read_body(self._receive, most, patience)

    def side(self, fields: Fields) -> Downstream:
        return CLIENT_SIDES[self._scope["type"]](self._scope, self._receive, self._send, fields)

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: bytes) -> None:
        kind = "http.response" if self._scope["type"] == "http" else "websocket.http.response"
        await self._send({"type": f"{kind}.start", "status": status, "headers": encoded(fields)})
        await self._send({"type": f"{kind}.body", "body": b"" if self.method == "HEAD" else body})


def encoded(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """`fields` as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in fields]


def oversized(most: int) -> TooLarge:
    return TooLarge(f"A request body may have at most {most} bytes.")


async def read_body(receive: Receive, most: int, patience: float) -> bytes:
    """The whole body, from ASGI's events (`ServerRequest.body`)."""
    chunks: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(patience):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected()
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise oversized(most)
                chunks.append(chunk)
                more = message.get("more_body", False)
    except TimeoutError:
        raise ClientError("The body did not arrive in time.", status=408) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
