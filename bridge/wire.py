"""The server's end of a connection: uvicorn's protocol, with bounds on what comes before a request is understood.

httptools refuses what is no HTTP; what it leaves open is how long a header may be and how long it may take. What is
refused here gets the same problem+json as everything else, a trace id and a line in the access log.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from bridge.errors import ClientError, HeadTooLarge, RequestError
from bridge.observe.access import Record
from bridge.observe.tracing import make_trace_id
from bridge.problem import problem

MAX_HEAD = 64 * 1024  #: bytes of request line and header fields; as many again of trailers
HEAD_TIMEOUT = 30.0  #: seconds from the first byte (or the connection) to the end of the header
LINGER = 2.0  #: seconds that what a refused client still sends is thrown away, so that it can read why

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


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

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_done()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn closes at once, whatever it owes
        """A client that has said all it wants may close its half and still gets its answer (RFC 9112, 9.6)."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_started or cycle.more_body:
            return None  # within a stream it has left: a service may be silent for long, and should learn of it now
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
        self.scope["bridge.cut"] = self._cut  # type: ignore[typeddict-unknown-key]  # ours
        super().on_headers_complete()

    def _cut(self, *, now: bool) -> None:
        """End the connection within a response, so that its client knows it for broken. `now`: for a client that takes
        nothing of what it asked for, whatever is still to be sent."""
        if now:
            self.transport.abort()
        else:
            self.transport.close()
        cycle: Any = self.cycle
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()

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
        if cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
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

    def _should_upgrade(self) -> bool:
        """Only for what is a WebSocket's handshake indeed (RFC 6455, section 4.2.1); other upgrades are not taken."""
        return super()._should_upgrade() and any(name == b"sec-websocket-key" for name, _ in self.headers)

    def _unsupported_upgrade_warning(self) -> None:
        """Not a word: anybody can ask for an upgrade, and gets an answer without (RFC 9110, 7.8)."""


class WebSocket(WebSocketsSansIOProtocol):
    """The same connection after an upgrade (RFC 6455)."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["bridge.cut"] = self._cut  # type: ignore[typeddict-unknown-key]  # ours

    def _cut(self, *, now: bool) -> None:
        """As `Wire._cut`."""
        self.disconnected = True
        if now:
            self.transport.abort()
        else:
            self.transport.close()


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"A request's header may have at most {MAX_HEAD // 1024} kB.")


def logging_to(log: Any) -> type[Wire]:
    """The protocol of a gateway that logs to `log`."""
    return type("Wire", (Wire,), {"log": staticmethod(log)})
