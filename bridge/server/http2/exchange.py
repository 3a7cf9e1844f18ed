"""One request on an HTTP/2 connection, and its response: a stream that is the gateway's `ServerRequest`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bridge.api.call import NO_TRAILERS, Body, Reply, Trailers
from bridge.api.certificates import ShownCertificates
from bridge.gateway.inbound import BODILESS
from bridge.http2 import frames
from bridge.http2.stream import StreamState
from bridge.server.exchange import Dated
from bridge.server.exchange_base import ExchangeBase
from bridge.server.http2.request_head import RequestHead
from bridge.server.http2.response_head import CONTINUE, field_block, response_block

PIECE = 64 * 1024  #: bytes of a body that are sent at a time; between them the client must have taken the last ones
_PARTS = 512  #: pieces of a request's body that are kept apart: single bytes would take forty times their size


class Responder(Protocol):
    """The connection's core, as an exchange uses it (`bridge.server.http2.core.Http2ServerCore`)."""

    def respond(self, stream: Http2Exchange, block: bytes, body: bytes = b"", *, end: bool) -> None: ...
    def inform(self, stream: Http2Exchange, block: bytes) -> None: ...
    def trail(self, stream: Http2Exchange, block: bytes) -> None: ...
    def send(self, stream: Http2Exchange, data: bytes, *, end: bool = False) -> None: ...
    def credit(self, stream: Http2Exchange, size: int) -> None: ...
    def cancel(self, stream: Http2Exchange, code: int = frames.CANCEL) -> None: ...
    def fail(self, stream: Http2Exchange, cause: str) -> None: ...


class Http2Host(Protocol):
    """What an exchange needs of its connection."""

    transport: Any
    peer: str
    certificates: ShownCertificates | None

    @property
    def server(self) -> Dated: ...

    def wrote(self, size: int) -> None:
        """`size` bytes of a body are in the output; it is written once there is enough of it."""
        ...

    def flush(self) -> None:
        """Write the output now."""
        ...


class Http2Exchange(StreamState, ExchangeBase):
    """Its own `bridge.api.downstream.ClientConnection`: other streams of the connection have nothing to do with it.

    :ivar http: the core of its connection; None until it is open.
    :ivar task: answers it; cancelled when the client resets the stream.
    :ivar stalled: seconds for which the client has taken nothing, and bytes that waited for it then.
    """

    __slots__ = (
        "_cutting", "_drained", "_due", "_host", "_on_leave", "_owed", "ended", "finished", "headers", "http", "id",
        "keep_alive", "last", "path", "peer", "query", "queue", "recv_window", "stalled", "target", "task", "unacked",
        "version", "window",
    )  # fmt: skip

    def __init__(self, host: Http2Host, head: RequestHead, *, ended: bool) -> None:
        self.id = self.window = self.recv_window = self.unacked = 0
        self.queue: memoryview | None = None
        self.last = self.finished = False
        self.ended = ended
        self._host = host
        self.http: Responder | None = None
        self.task: asyncio.Task[None] | None = None
        self.method, self.target, self.path, self.query = head.method, head.target, head.path, head.query
        self.headers, self.version, self.peer = list(head.headers), "2", host.peer
        if not ended and head.length is None:  # as HTTP/1.1 tells that a body follows
            self.headers.append(("transfer-encoding", "chunked"))
        self._owed = head.length  # bytes of the request's body that are to come; None if it has no Content-Length
        self.more_body, self.expects, self.keep_alive = not ended, head.expects and not ended, True
        self.disconnected = self.started = self.complete = False
        self.waiting = self.sent = 0
        self.stalled: tuple[float, int] = (0.0, 0)
        self._parts: list[bytes] = []
        self._trailers = ()
        self._body = None
        self._event: asyncio.Event | None = None  # made when somebody waits, as the next one
        self._drained: asyncio.Event | None = None
        self._due: int | None = None  # bytes of the answer that are left by its Content-Length; None if it has none
        self._on_leave: Callable[[], None] | None = None
        self._cutting = False

    @property
    def connection(self) -> Http2Exchange:
        return self

    @property
    def certificates(self) -> ShownCertificates | None:
        return self._host.certificates

    @property
    def secure(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    @property
    def transport(self) -> Any:
        return self._host.transport

    # --- the connection's side ----------------------------------------------------------------------------------

    def data(self, payload: bytes, *, ended: bool) -> None:
        size = len(payload)
        if self._owed is not None:
            self._owed -= size
            if self._owed < 0 or (ended and self._owed):
                assert self.http is not None
                self.http.fail(self, "the body has another length than its content-length says")
                return
        if size and not self.complete and not self.disconnected:
            self._parts.append(payload)
            self.waiting += size
            if len(self._parts) > _PARTS:
                self._parts = [b"".join(self._parts)]
            if self._event is not None:
                self._event.set()
        if ended:
            self.feed_end()

    def flushed(self) -> None:
        if self._drained is not None:
            self._drained.set()
        if self._cutting and self.http is not None:
            self.http.cancel(self, frames.INTERNAL_ERROR)

    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        answered = self.complete
        self.leave()
        if self._drained is not None:
            self._drained.set()
        if self._on_leave is not None:
            self._on_leave()
        elif self.task is not None and not answered:
            # Not at once: a task that is cancelled before it has begun never closes its coroutine.
            self.task.get_loop().call_soon(self.task.cancel)

    def abandon(self, reply: Reply, trace_id: str) -> None:
        """The application will not answer: send `reply`, or cut off an answer that has begun."""
        if self.disconnected or self.complete:
            return
        if self.started:
            self.cut(now=False)
            return
        fields = [*reply.headers, ("x-trace-id", trace_id), ("content-length", str(len(reply.content)))]
        self._respond(reply.status, fields, b"" if self.method == "HEAD" else reply.content, end=True)
        self._end()
        self._host.flush()

    # --- `ClientConnection` -------------------------------------------------------------------------------------

    def cut(self, *, now: bool) -> None:
        if self.queue is not None and not now:
            self._cutting = True
        elif self.http is not None:
            self.http.cancel(self, frames.INTERNAL_ERROR)
            if self._drained is not None:
                self._drained.set()
        self.leave()

    def watch(self, on_leave: Callable[[], None], *, half: bool) -> None:
        self._on_leave = on_leave  # the end of a request is no sign of a client that leaves: that is a reset

    # --- the request's body -------------------------------------------------------------------------------------

    def _invite(self) -> None:
        self.expects = False
        if self.http is not None:
            self.http.inform(self, CONTINUE)

    def _want(self) -> None:
        return  # what was taken was credited

    def _take(self) -> bytes:
        data = super()._take()
        if data and self.http is not None:
            self.http.credit(self, len(data))
        return data

    # --- the answer ---------------------------------------------------------------------------------------------

    async def answer(
        self, status: int, fields: Sequence[tuple[str, str]], body: Body, trailers: Trailers = NO_TRAILERS
    ) -> None:
        if trailers or not isinstance(body, bytes):
            await self._answer_in_pieces(status, fields, body, trailers)
            return
        if self.disconnected:
            return
        self._due = None
        if self.method == "HEAD" or status in BODILESS:
            body = b""
        if len(body) <= PIECE:
            self._respond(status, fields, body, end=True)
            self._end()
            return
        self._respond(status, fields, end=False)
        view, size = memoryview(body), len(body)
        for at in range(0, size, PIECE):
            await self.send(bytes(view[at : at + PIECE]), more=at + PIECE < size)

    def _respond(self, status: int, fields: Sequence[tuple[str, str]], body: bytes = b"", *, end: bool) -> None:
        self.started, self.expects = True, False
        if self.http is not None:
            self.http.respond(self, response_block(status, self._host.server.date, fields), body, end=end)

    async def begin(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        if self.disconnected:
            return
        self._due = next((int(value) for name, value in fields if name == "content-length"), None)
        if self.method == "HEAD" or status in BODILESS:
            self._due = 0
        self._respond(status, fields, end=False)

    async def _writable(self) -> None:
        while self.queue is not None and not self.disconnected:
            if self._drained is None:
                self._drained = asyncio.Event()
            self._drained.clear()
            await self._drained.wait()

    async def send(self, data: bytes, *, more: bool = True) -> None:
        if self.queue is not None:
            await self._writable()
        if self.disconnected or self.complete:
            return
        if self.method == "HEAD":
            data = b""
        size = len(data)
        if self._due is not None:
            self._due -= size
            if self._due < 0 or (self._due and not more):
                raise RuntimeError("the answer's body has another length than its Content-Length says")
        if self.http is not None and (data or not more):
            self.http.send(self, data, end=not more)
            self._host.wrote(size)
        self.sent += size
        if not more:
            self._end()

    async def finish(self, trailers: Trailers) -> None:
        if not trailers or self.method == "HEAD":
            await self.send(b"", more=False)
            return
        await self._writable()
        if self.http is not None and not self.disconnected and not self.complete:
            self.http.trail(self, field_block(trailers))
            self._end()

    def _break_off(self) -> None:
        self.cut(now=False)

    def _end(self) -> None:
        self.complete = True
        if self._event is not None:
            self._event.set()
