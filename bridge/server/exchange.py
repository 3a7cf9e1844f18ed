"""One request on a `ServerConnection`, and its answer (RFC 9112).

It is the gateway's `ServerRequest`: fields as text, a body that usually arrives with the head, the answer in one write.
For a stream it is also the `Downstream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from bridge.api.call import Body, Reply
from bridge.api.downstream import ClientConnection
from bridge.gateway.inbound import BODILESS
from bridge.server.exchange_base import ExchangeBase
from bridge.server.head import encode_head, last_answer

_JOINED = 16 * 1024  #: bytes of a body that are copied behind its head, which costs less than another write
HIGH_WATER = 64 * 1024  #: bytes of a body that wait for the application; then reading from the client is paused


class Dated(Protocol):
    """:ivar date: the ``Date`` field of every answer."""

    date: str


class Host(ClientConnection, Protocol):
    """What an exchange needs of its connection."""

    transport: Any
    write_paused: bool
    peer: str

    @property
    def server(self) -> Dated: ...

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written."""
        ...

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def on_response_complete(self) -> None: ...


class ServerExchange(ExchangeBase):
    """The attributes are described at `ExchangeBase`."""

    __slots__ = (
        "_chunked", "_connection", "_due", "_transport", "headers", "keep_alive", "path", "peer", "query", "target",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        connection: Host,
        method: str,
        target: str,
        path: str,
        query: str,
        headers: list[tuple[str, str]],
        version: str,
        *,
        expects: bool,
        keep_alive: bool,
    ) -> None:
        self._connection, self._transport = connection, connection.transport
        self.method, self.target, self.path, self.query = method, target, path, query
        self.headers, self.version, self.peer = headers, version, connection.peer
        self.expects, self.keep_alive = expects, keep_alive
        self.disconnected = self.started = self.complete = False
        self.more_body = True
        self.waiting = self.sent = 0
        self._parts: list[bytes] = []
        self._event: asyncio.Event | None = None  # made when somebody waits, which is rare
        self._chunked = False
        self._due: int | None = 0  # bytes of the answer that are left by its Content-Length; None if it has none

    @property
    def connection(self) -> Host:
        return self._connection

    # --- the connection's side ----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        self._parts.append(data)
        self.waiting = size = self.waiting + len(data)
        if size > HIGH_WATER:
            self._connection.pause_reading()
        if self._event is not None:
            self._event.set()

    def abandon(self, reply: Reply, trace_id: str) -> None:
        """The application will not answer: send `reply`, or cut off an answer that has begun."""
        if self.disconnected or self.complete:
            return
        if self.started:
            self._connection.cut(now=False)
            return
        self.keep_alive = False
        self._transport.write(last_answer(reply, trace_id, self._connection.server.date))
        self._end()

    # --- the request's body -------------------------------------------------------------------------------------

    def _invite(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects = False

    def _want(self) -> None:
        self._connection.resume_reading()

    # --- the answer ---------------------------------------------------------------------------------------------

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: Body) -> None:
        if type(body) is not bytes:  # `isinstance` would be a call
            await self._answer_in_pieces(status, fields, body)
            return
        connection = self._connection
        if connection.write_paused and not self.disconnected:
            await connection.drain()
        if self.disconnected:
            return
        self.started = True
        if self.expects:
            self._forgo_body()
        head = encode_head(status, connection.server.date, fields, close=not self.keep_alive)
        if self.method == "HEAD" or not body or status in BODILESS:
            self._transport.write(head)
        elif len(body) <= _JOINED:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._end()

    async def begin(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """The head of an answer whose body is written by `send`. Without a length in `fields` the body is chunked, or
        for HTTP/1.0 ends with the connection (RFC 9112, section 6.3)."""
        await self._writable()
        if self.disconnected:
            return
        self.started = True
        if self.expects:
            self._forgo_body()
        length = next((int(value) for name, value in fields if name == "content-length"), None)
        self._due = length
        if self.method == "HEAD" or status in BODILESS:
            self._due = 0
        elif length is None and self.version != "1.0":  # which knows no chunks (RFC 9112, section 6.1)
            self._chunked = True
            fields = [*fields, ("transfer-encoding", "chunked")]
        self._transport.write(encode_head(status, self._connection.server.date, fields, close=not self.keep_alive))

    async def send(self, data: bytes, *, more: bool = True) -> None:
        """The next bytes of the body; none are sent for HEAD.

        :param more: whether others follow.
        :raises RuntimeError: the body is longer or shorter than its Content-Length.
        """
        await self._writable()
        if self.disconnected or self.complete:
            return
        if self.method == "HEAD":
            data = b""
        size = len(data)
        if self._chunked:
            # An empty chunk would end the body (RFC 9112, section 7.1).
            data = (b"%x\r\n%s\r\n" % (size, data) if data else b"") + (b"" if more else b"0\r\n\r\n")
        elif self._due is not None:
            self._due -= size
            if self._due < 0 or (self._due and not more):
                raise RuntimeError("the answer's body has another length than its Content-Length says")
        if data:
            self._transport.write(data)
        self.sent += size
        if not more:
            self._end()

    def _break_off(self) -> None:
        self._connection.cut(now=False)

    async def _writable(self) -> None:
        if self._connection.write_paused and not self.disconnected:
            await self._connection.drain()

    def _forgo_body(self) -> None:
        """The client was not told to send the body, and may send it or not, so the connection can't be used again (RFC
        9110, section 10.1.1)."""
        self.keep_alive = self.expects = False

    def _end(self) -> None:
        self.complete = True
        if self._event is not None:
            self._event.set()
        if not self.keep_alive:
            self._transport.close()
        self._connection.on_response_complete()
