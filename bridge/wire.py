"""The server's end of a connection: uvicorn's protocol, with bounds on what comes before a request is understood.

httptools refuses what is no HTTP; what it leaves open is how long a header may be and how long it may take. What is
refused here gets the same problem+json as everything else, a trace id and a line in the access log.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bridge.errors import ClientError, HeadTooLarge, RequestError
from bridge.observe.access import Record
from bridge.observe.tracing import make_trace_id
from bridge.problem import problem

MAX_HEAD = 64 * 1024  #: bytes of request line and header fields; as many again of trailers
HEAD_TIMEOUT = 30.0  #: seconds from the first byte (or the connection) to the end of the header
PIPELINE = 100  #: requests that may wait on one connection for the answers before theirs
STALL = 300.0  #: seconds within which a client takes something of an answer that waits for it
LINGER = 2.0  #: seconds that what a refused client still sends is thrown away, so that it can read why

_REASONS = {400: "Bad Request", 408: "Request Timeout", 426: "Upgrade Required", 431: "Request Header Fields Too Large"}


class Wire(HttpToolsProtocol):
    """:ivar log: takes the record of what was refused; set on a subclass by `logging_to`."""

    log: Any = staticmethod(lambda record: None)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._size = 0
        self._fields = 0
        self._patience: asyncio.TimerHandle | None = None
        self._refusal: RequestError | None = None
        self._deaf = False
        self._running: Any = None  # the cycle that is being answered; uvicorn's `cycle` is the last one that came
        self._left: Callable[[], None] | None = None
        self._half = False
        self._stall: asyncio.TimerHandle | None = None

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_done()
        if self._stall is not None:
            self._stall.cancel()
        running = self._running
        if running is not None and running is not self.cycle and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._left is not None:
            self._left()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect(self.transport.get_write_buffer_size() + 1)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def _expect(self, before: int) -> None:
        """An answer of which nothing is taken would be kept for ever, even after a close, which waits for it."""
        waits = self.transport.get_write_buffer_size()
        if waits >= before:
            _end(self.transport, now=True)
        else:
            self._stall = self.loop.call_later(STALL, self._expect, waits)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn closes at once, whatever it owes
        """A client that has said all it wants may close its half and still gets its answer (RFC 9112, 9.6)."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_started or cycle.more_body:
            return None  # within a stream it has left: a service may be silent for long, and should learn of it now
        if self._left is not None and (self._half or self._running.response_started):
            return None
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        super().data_received(data)
        if self._in_head:
            # A single endless field is never reported by the parser, only kept.
            self._size += len(data)
            if self._size > 2 * MAX_HEAD:
                self._refuse(_too_large())
        if self.transport.get_protocol() is not self:
            self._be_done()  # it is a WebSocket now
            return
        cycle: Any = self.cycle
        if self._patience is None and not self._deaf and (cycle is None or cycle.response_complete):
            self._be_patient()  # line ends between requests are data, too, and uvicorn stops its own clock for them

    # --- the parser's side --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._size, self._fields = True, 0, 0
        if self._patience is None:
            self._be_patient()

    def on_headers_complete(self) -> None:
        self._in_head, self._fields = False, 0
        self._be_done()
        if len(self.pipeline) >= PIPELINE:
            raise ClientError("Too many requests wait on this connection.")  # httptools makes it a parser error
        self.scope["bridge.connection"] = self  # type: ignore[typeddict-unknown-key]  # ours
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running, self._left = cycle, None
        if cycle.waiting_for_100_continue or cycle.scope["http_version"] == "1.0":
            app = _careful(cycle, app)
        super()._start_asgi_task(cycle, app)

    # --- the stream's side (`bridge.clientside.Connection`) -----------------------------------------------------

    def cut(self, *, now: bool) -> None:
        running = self._running
        # Where only the connection's end tells the body's, it may not look like one.
        _end(self.transport, now=now or running.scope["http_version"] == "1.0")
        running.disconnected = True
        running.message_event.set()

    def watch(self, left: Callable[[], None], *, half: bool) -> None:
        self._left, self._half = left, half

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._fields += size
        if self._fields > MAX_HEAD:
            self._refusal = _too_large()
            raise self._refusal  # httptools makes it a parser error, uvicorn a call of `send_400_response`

    # --- refusing -----------------------------------------------------------------------------------------------

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(HEAD_TIMEOUT, self._lose_patience)

    def _be_done(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._in_head:
            self._refuse(ClientError("The request's header did not arrive in time.", status=408))
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's hook for what httptools could not read."""
        self._refuse(self._refusal or ClientError("What was sent is not a valid HTTP/1.1 request."))

    def _refuse(self, error: RequestError) -> None:
        self._be_done()
        self._deaf = True
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        waits = cycle is not self._running  # for the answers before its own
        if (
            cycle is not None
            and not cycle.response_complete
            and (cycle.response_started or not cycle.more_body or waits)
        ):
            # An answer is still owed; one to what follows would be taken for it. It is given, and then it is over.
            cycle.keep_alive = False
            return
        reply = problem(error, trace_id := make_trace_id())
        fields = [
            f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}",
            *(f"{name}: {value}" for name, value in reply.headers),
            f"x-trace-id: {trace_id}",
            f"content-length: {len(reply.body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*fields, "", ""]).encode() + reply.body)
        # Closed at once, with bytes unread, the kernel would send a reset that takes the answer along.
        self.transport.write_eof()
        self._patience = self.loop.call_later(LINGER, self.transport.close)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        peer = self.client[0] if self.client else ""
        self.log(
            Record(
                time.time(), trace_id, "-", "", peer=peer, status=reply.status, bytes_out=len(reply.body),
                cause=error.detail,
            )
        )  # fmt: skip

    def handle_websocket_upgrade(self) -> None:
        error = self._unfit()
        if error is not None:
            self._refuse(error)
        else:
            super().handle_websocket_upgrade()

    def _unfit(self) -> RequestError | None:
        """Why this handshake can't be taken (RFC 6455, section 4.2). The library is asked before it gets the
        connection: it would answer in words of its own, or not at all."""
        running = self._running
        if running is not None and not running.response_complete:
            return ClientError("A WebSocket can't begin while answers before it are under way.")
        if self.scope["method"] != "GET" or self.scope["http_version"] != "1.1":
            return ClientError("A WebSocket begins with GET, by HTTP/1.1.")
        if not any(field == (b"sec-websocket-version", b"13") for field in self.headers):
            version = [("sec-websocket-version", "13")]
            return ClientError("This gateway speaks version 13 of WebSocket.", status=426, headers=version)
        trial = ServerProtocol()
        fields = b"".join(b"%s: %s\r\n" % field for field in self.headers)
        trial.receive_data(b"GET %s HTTP/1.1\r\n%s\r\n" % (self.url, fields))
        request = next(iter(trial.events_received()), None)
        if not isinstance(request, Request):
            return (
                _too_large()
                if isinstance(trial.handshake_exc, SecurityError)
                else ClientError("It is no handshake of a WebSocket.")
            )
        answer = trial.accept(request)
        if answer.status_code == 101:
            return None
        versions = [(name, value) for name, value in answer.headers.raw_items() if name == "Sec-WebSocket-Version"]
        return ClientError(
            "It is not a WebSocket's handshake of version 13.", status=answer.status_code, headers=versions
        )

    def _should_upgrade(self) -> bool:
        """Only for what is a WebSocket's handshake indeed (RFC 6455, section 4.2.1); other upgrades are not taken."""
        return super()._should_upgrade() and any(name == b"sec-websocket-key" for name, _ in self.headers)

    def _unsupported_upgrade_warning(self) -> None:
        """Not a word: anybody can ask for an upgrade, and gets an answer without (RFC 9110, 7.8)."""


class WebSocket(WebSocketsSansIOProtocol):
    """The same connection after an upgrade (RFC 6455)."""

    _left: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._left is not None:
            self._left()

    def pause_writing(self) -> None:
        """Whoever doesn't read isn't read: the answers to its pings would pile up."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["bridge.connection"] = self  # type: ignore[typeddict-unknown-key]  # ours

    def handle_cont(self, event: Frame) -> None:
        if event.data or event.fin:  # fragments of nothing would be kept, without end
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is None:  # frames before the handshake's end, for which there are no words
            self.transport.abort()
        else:
            super().handle_parser_exception()

    async def send(self, message: Any) -> None:
        """:raises ClientDisconnected: the client has left, or was sent away."""
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            raise ClientDisconnected()
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # by a refusal; uvicorn would miss its end

    def cut(self, *, now: bool) -> None:
        self.disconnected = True
        _end(self.transport, now=now)

    def watch(self, left: Callable[[], None], *, half: bool) -> None:
        self._left = left


def _careful(cycle: Any, app: Any) -> Any:
    """`app`, its answer framed for a client that knows no chunks (RFC 9112, section 6.1), or that waits to be asked for
    its body: refused without, whether the body comes can't be known, nor what the next bytes are (RFC 9110, 10.1.1)."""

    async def careful(scope: Any, receive: Any, send: Any) -> None:
        unframed = False

        async def framed(message: Any) -> None:
            nonlocal unframed
            if message["type"] == "http.response.start":
                if cycle.waiting_for_100_continue:
                    cycle.keep_alive = False
                if scope["http_version"] == "1.0" and b"content-length" not in dict(message["headers"]):
                    unframed, cycle.chunked_encoding = True, False
            elif unframed:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, framed)

    return careful


def _end(transport: asyncio.Transport, *, now: bool) -> None:
    """`now`: by a reset, which throws away what is still to be sent, the kernel's part too."""
    if not now:
        transport.close()
        return
    if not transport.is_closing():
        # A copy, since uvloop doesn't lend its own; the option is the connection's.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as copy:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"A request's header may have at most {MAX_HEAD // 1024} kB.")


def logging_to(log: Any) -> type[Wire]:
    """The protocol of a gateway that logs to `log`."""
    return type("Wire", (Wire,), {"log": staticmethod(log)})
