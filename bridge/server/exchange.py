"""One request on a `ServerConnection`, and its answer (RFC 9112).

It is the gateway's `ServerRequest`: fields as text, a body that usually arrives with the head, the answer in one write.
For a stream it is also the `Downstream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bridge.api.body import WHOLE, StreamedBody
from bridge.api.call import NO_TRAILERS, Body, Reply, Trailers
from bridge.api.certificates import ShownCertificates
from bridge.api.downstream import ClientConnection
from bridge.errors import ClientDisconnected
from bridge.gateway.inbound import BODILESS
from bridge.server.exchange_base import ExchangeBase
from bridge.server.head import encode_fields, encode_head, last_answer
from bridge.server.response_body import ResponseBody, wrong_length

_JOINED = 16 * 1024  #: bytes of a body that are copied behind its head, which costs less than another write
HIGH_WATER = 64 * 1024  #: bytes of a body that wait for the application; then reading from the client is paused


class Dated(Protocol):
    """:ivar date: the ``Date`` field of every answer."""

    date: str


class Host(ClientConnection, Protocol):
    """What an exchange needs of its connection."""

    transport: Any
    write_paused: bool
    on_writable: Callable[[], None] | None
    peer: str
    certificates: ShownCertificates | None

    @property
    def server(self) -> Dated: ...

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written."""
        ...

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def on_response_complete(self) -> None: ...

    def bypass(self, size: int) -> None:
        """The next `size` bytes are the rest of the body: they need no parser."""
        ...

    def linger(self) -> None:
        """Close, but let the client read the answer first: it still sends a body that nobody wants."""
        ...


class ServerExchange(ExchangeBase):
    """The attributes are described at `ExchangeBase`."""

    __slots__ = (
        "_chunked", "_connection", "_due", "_lingers", "_response", "_transport", "headers", "keep_alive", "path",
        "peer", "query", "target", "version",
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
        self._body = None
        self._trailers = ()
        self._response: ResponseBody | None = None  # the answer's body, while it is passed on
        self._lingers = False
        self._chunked = False
        self._due: int | None = 0  # bytes of the answer that are left by its Content-Length; None if it has none

    @property
    def connection(self) -> Host:
        return self._connection

    @property
    def certificates(self) -> ShownCertificates | None:
        return self._connection.certificates

    @property
    def secure(self) -> bool:
        return self._transport.get_extra_info("ssl_object") is not None

    # --- the connection's side ----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        if self._body is not None:
            self._body.feed(data)
            return
        self._parts.append(data)
        self.waiting = size = self.waiting + len(data)
        if size > HIGH_WATER:
            self._connection.pause_reading()
        if self._event is not None:
            self._event.set()

    def leave(self) -> None:
        super().leave()
        if self._response is not None:
            self._response.fail(ClientDisconnected())

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
        if self.expects and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects = False

    def stream(self) -> StreamedBody:
        length = None
        if not any(name == "transfer-encoding" for name, _ in self.headers):
            length = next((int(value) for name, value in self.headers if name == "content-length"), 0)
            if self.more_body:
                self._connection.bypass(length - self.waiting)
        body = self._body = StreamedBody(self, length=length, proceed=self._invite if self.expects else None)
        parts, self._parts, self.waiting = self._parts, [], 0
        for part in parts:
            body.feed(part)
        if not self.more_body:
            body.feed_end(self._trailers)
        elif self.disconnected:
            body.fail(ClientDisconnected())
        return body

    def pause_reading(self) -> None:
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        self._connection.resume_reading()

    def drop(self) -> None:
        """The rest of the body is read and thrown away until the answer is complete."""
        if not self.expects:
            self._connection.resume_reading()

    def _want(self) -> None:
        self._connection.resume_reading()

    # --- the answer ---------------------------------------------------------------------------------------------

    async def answer(
        self, status: int, fields: Sequence[tuple[str, str]], body: Body, trailers: Trailers = NO_TRAILERS
    ) -> None:
        if type(body) is not bytes or trailers:  # `isinstance` would be a call
            await self._answer_in_pieces(status, fields, body, trailers)
            return
        connection = self._connection
        if connection.write_paused and not self.disconnected:
            await connection.drain()
        if self.disconnected:
            return
        self.started = True
        if self.more_body:
            self._forgo_body(status)
        head = encode_head(status, connection.server.date, fields, close=not self.keep_alive)
        if self.method == "HEAD" or not body or status in BODILESS:
            self._transport.write(head)
        elif len(body) <= _JOINED:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._end()

    async def _answer_in_pieces(
        self, status: int, fields: Sequence[tuple[str, str]], body: Any, trailers: Trailers
    ) -> None:
        if not isinstance(body, StreamedBody) or self.method == "HEAD" or status in BODILESS:
            await super()._answer_in_pieces(status, fields, body, trailers)
            return
        try:
            await self.begin(status, fields)
            await self._pipe(body)
        except ClientDisconnected:
            raise
        except BaseException:
            if not self.disconnected:
                self._break_off()
            raise

    async def _pipe(self, body: StreamedBody) -> None:
        """As `write_pieces`, without a task, and each piece in the turn in which it comes."""
        connection = self._connection
        if self.disconnected:
            raise ClientDisconnected()
        sink = self._response = ResponseBody(connection, self._transport, chunked=self._chunked, length=self._due)
        connection.on_writable = body.resume
        try:
            body.pipe(sink)
            await sink.done
        finally:
            self.sent = sink.sent
            connection.on_writable = self._response = None
            body.close()
        self._end()

    async def begin(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """The head of an answer whose body is written by `send`. Without a length in `fields` the body is chunked, or
        for HTTP/1.0 ends with the connection (RFC 9112, section 6.3)."""
        await self._writable()
        if self.disconnected:
            return
        self.started = True
        if self.more_body:
            self._forgo_body(status)
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
                raise wrong_length()
        if data:
            self._transport.write(data)
        self.sent += size
        if not more:
            self._end()

    async def finish(self, trailers: Trailers) -> None:
        if not trailers or not self._chunked or self.method == "HEAD":  # only chunks have a trailer section
            await self.send(b"", more=False)
            return
        await self._writable()
        if not self.disconnected and not self.complete:
            self._transport.write(b"0\r\n" + encode_fields(trailers) + b"\r\n")
            self._end()

    def _break_off(self) -> None:
        self._connection.cut(now=False)

    async def _writable(self) -> None:
        if self._connection.write_paused and not self.disconnected:
            await self._connection.drain()

    def _forgo_body(self, status: int) -> None:
        """The answer begins before the body's end.

        A client that was not told to send it may do so or not, so the connection can't be used again (RFC 9110, section
        10.1.1). Nor is it after an error, where much is to come that nobody wants (RFC 9112, section 9.3).
        """
        if self.expects or (status >= 400 and self._is_long()):
            self.keep_alive, self.expects, self._lingers = False, False, True

    def _is_long(self) -> bool:
        """Whether much is to come. A chunked body may end at once, but for one that is passed on in pieces."""
        length = next((value for name, value in self.headers if name == "content-length"), "")
        return int(length) > WHOLE if length.isdigit() else self._body is not None

    def _end(self) -> None:
        self.complete = True
        if self._event is not None:
            self._event.set()
        if self._body is not None and self.more_body:  # an answer that is complete before the request is
            self._body.close()
            self.keep_alive, self._lingers = False, True
        if self._lingers and self.more_body:
            self._connection.linger()
        elif not self.keep_alive:
            self._transport.close()
        self._connection.on_response_complete()
