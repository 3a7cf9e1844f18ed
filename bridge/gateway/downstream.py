"""The client's side of a stream, HTTP or WebSocket, with one interface for `bridge.gateway.streaming`.

It reads and writes ASGI's events: `read` returns the client's next bytes or frame, `write` sends and waits while the
client doesn't read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from bridge.api.call import JSON_TYPE, Headers, Reply, Trailers
from bridge.api.downstream import Fields
from bridge.errors import ClientDisconnected

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Browsers can't put a token into a WebSocket's headers, so it may be among the subprotocols: ``bearer, TOKEN``.
BEARER = "bearer"
_NORMAL, _INTERNAL = 1000, 1011  # RFC 6455, section 7.4.1


class Unwatched:
    """The `bridge.api.downstream.ClientConnection` of a foreign server, which closes the connection by itself when a
    response is not completed."""

    def cut(self, *, now: bool) -> None: ...

    def watch(self, on_leave: Callable[[], None], *, half: bool) -> None: ...


class HttpSide:
    """A request and its response, sent in pieces. HEAD gets only the head."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, fields: Fields) -> None:
        self._receive, self._send, self._fields = receive, send, fields
        self._ended = False
        self._head_only = scope["method"] == "HEAD"
        self.sent = 0
        self.complete = False

    async def read(self) -> bytes | None:
        if self._ended:
            return None
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected()
        self._ended = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body or (None if self._ended else b"")

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, reply: Reply) -> int:
        await self._send(
            {"type": "http.response.start", "status": reply.status, "headers": encoded(self._fields(reply))}
        )
        if self._head_only:
            await self.close(b"", failed=False)
        elif reply.body:
            await self.write([reply.content])
        return reply.status

    async def write(self, chunks: Sequence[bytes]) -> None:
        await self._body(chunks[0] if len(chunks) == 1 else b"".join(chunks), more=True)

    async def close(self, last: bytes | Trailers, *, failed: bool) -> None:
        await self._body(last if isinstance(last, bytes) else b"", more=False)

    async def _body(self, data: bytes, *, more: bool) -> None:
        self.complete = not more
        self.sent += len(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


class WebSocketSide:
    """A WebSocket: one message per frame; an empty frame from the client ends its messages. Frames are text if the
    answer is JSON, and binary otherwise."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, fields: Fields) -> None:
        self._receive, self._send, self._fields = receive, send, fields
        self._subprotocol = BEARER if bearer_of(scope.get("subprotocols") or ()) else None
        self._text = True
        self.sent = 0
        self.complete = False

    async def read(self) -> bytes | None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise ClientDisconnected()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                return (text.encode() if text is not None else message.get("bytes")) or None

    async def gone(self) -> None:
        while (await self._receive())["type"] != "websocket.disconnect":
            pass

    async def start(self, reply: Reply) -> int:
        self._text = JSON_TYPE in reply.headers
        headers = encoded(without_content(self._fields(reply)))
        await self._out({"type": "websocket.accept", "subprotocol": self._subprotocol, "headers": headers})
        return 101

    async def write(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            self.sent += len(chunk)
            await self._out(
                {"type": "websocket.send", **({"text": chunk.decode()} if self._text else {"bytes": chunk})}
            )

    async def close(self, last: bytes | Trailers, *, failed: bool) -> None:
        if last and isinstance(last, bytes):  # there are no fields after a WebSocket's messages
            await self.write([last])
        self.complete = True
        await self._out({"type": "websocket.close", "code": _INTERNAL if failed else _NORMAL})

    async def _out(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:  # ASGI's sign of a disconnected client
            raise ClientDisconnected() from None


def encoded(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """`fields` in ASGI's form."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in fields]


def without_content(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """`fields` for the answer to a handshake, which has no content."""
    return [field for field in fields if field[0] not in ("content-type", "content-length")]


def bearer_of(offered: Sequence[str]) -> str:
    """The token among a WebSocket's subprotocols (``Sec-WebSocket-Protocol: bearer, TOKEN``), or ``""``."""
    return offered[1] if len(offered) > 1 and offered[0].lower() == BEARER else ""


def offered_to_service(offered: Sequence[str]) -> tuple[str, ...]:
    """The subprotocols that a client offers to the service: those that are not its token."""
    return tuple(offered[2:] if bearer_of(offered) else offered)


def with_bearer(headers: Headers, offered: Sequence[str]) -> list[tuple[str, str]]:
    """`headers` of a WebSocket's handshake, less the fields of the handshake itself; a token among the
    subprotocols becomes an ``Authorization`` field."""
    fields = [field for field in headers if not field[0].startswith("sec-websocket-")]
    token = bearer_of(offered)
    return [*fields, ("authorization", f"Bearer {token}")] if token and "authorization" not in dict(fields) else fields
