"""A connection that became a WebSocket (RFC 6455), on the sans-IO protocol of `websockets`, with limits for clients."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from websockets.exceptions import InvalidState, SecurityError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from bridge.api.call import JSON_TYPE, NO_TRAILERS, Body, Headers, Reply, Trailers
from bridge.api.certificates import ShownCertificates
from bridge.api.downstream import ClientConnection, Downstream, Fields
from bridge.api.stream import WEBSOCKET
from bridge.errors import ClientDisconnected, ClientError, HeadTooLarge, UpgradeRequired
from bridge.gateway.downstream import BEARER, bearer_of, offered_to_service, with_bearer, without_content
from bridge.server.flow import hang_up
from bridge.server.head import encode_head, last_answer
from bridge.server.state import ServerState, shutting_down
from bridge.websocket.connection import WebSocketConnection
from bridge.websocket.end import WebSocketEnd, WebSocketSink

MAX_EARLY = 64 * 1024  #: bytes that a client may send before its handshake is answered
JOINED = 4096  #: bytes of a fragment below which it is joined to others


class Handshake:
    """A handshake that can be accepted (RFC 6455, section 4.2).

    The library checks it before it gets the connection, since its own answers would not be problem+json.

    :param headers: names in lower case.
    :raises ClientError, UpgradeRequired, HeadTooLarge: it can't be accepted.
    """

    def __init__(self, method: str, version: str, target: str, headers: Headers, max_message: int) -> None:
        if method != "GET" or version != "1.1":
            raise ClientError("A WebSocket begins with GET, by HTTP/1.1.")
        if ("sec-websocket-version", "13") not in headers:
            versions = [("sec-websocket-version", "13")]
            raise UpgradeRequired("This gateway speaks version 13 of WebSocket.", headers=versions)
        self.target, self.headers = target, headers
        self.protocol = ServerProtocol(max_size=max_message)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.protocol.receive_data(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        request = next(iter(self.protocol.events_received()), None)
        if not isinstance(request, Request):
            if isinstance(self.protocol.handshake_exc, SecurityError):
                raise HeadTooLarge("A handshake may not have a header of this size.")
            raise ClientError("It is no handshake of a WebSocket.")
        self.response: Response = self.protocol.accept(request)
        if self.response.status_code != 101:
            raise ClientError("It is not a WebSocket's handshake of version 13.")
        self.subprotocols = [
            name.strip() for field, value in headers if field == "sec-websocket-protocol" for name in value.split(",")
        ]


class ServerWebSocket(WebSocketConnection):
    """One WebSocket: the gateway's `ServerRequest`, and once it is accepted, its `Downstream` or one end of a relay.

    :ivar disconnected: the client has left, or was disconnected.
    :ivar complete: a close or a refusal was sent.
    """

    method, version = WEBSOCKET, "1.1"

    def __init__(
        self,
        server: ServerState,
        transport: asyncio.Transport,
        peer: str,
        handshake: Handshake,
        certificates: ShownCertificates | None = None,
    ) -> None:
        super().__init__(handshake.protocol)
        self.certificates = certificates
        self.server, self.transport, self.peer = server, transport, peer
        self.target = handshake.target
        self.path, _, self.query = self.target.partition("?")
        self.headers = with_bearer(handshake.headers, handshake.subprotocols)
        self.subprotocols = offered_to_service(handshake.subprotocols)
        self._handshake = handshake
        self.complete = self._accepted = False
        self.sent = 0
        self._text = True
        self._left: Callable[[], None] | None = None
        self._messages: deque[bytes] = deque()  # those that nobody has taken
        self._event = asyncio.Event()
        self._fragments: list[bytes | bytearray | memoryview] = []
        self._message_is_text = False
        # Data before the handshake's answer. A client should wait for that (RFC 6455, section 4.1); if it doesn't, its
        # ping must not be answered first.
        self._early = b""
        server.connections.add(self)
        transport.set_protocol(self)

    @property
    def secure(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._accepted:
            super().data_received(data)
            return
        self._early += data
        if len(self._early) > MAX_EARLY:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.server.connections.discard(self)
        self._disconnect()
        if self._left is not None:
            self._left()

    def pause_writing(self) -> None:
        """Without a relay, reading is paused, too: otherwise the answers to pings would accumulate."""
        super().pause_writing()
        if self._sink is None:
            self.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def shutdown(self) -> None:
        """The server stops: close with 1012 (service restart), refuse the handshake, or leave it to the relay."""
        if self._sink is not None:
            self._sink.stopping()
            return
        if not self._accepted:
            self.abandon(*shutting_down())
        elif not self.complete and not self.disconnected:
            self._protocol.send_close(CloseCode.SERVICE_RESTART)
            self._flush()
        self._disconnect()
        self.transport.close()

    # --- what the client says -----------------------------------------------------------------------------------

    @property
    def _waits(self) -> bool:
        """Without a relay: a message is not consumed yet, output is paused, or the connection is closing."""
        if self._sink is not None:
            return super()._waits
        return bool(self._messages) or self.write_paused or self.disconnected or self.transport.is_closing()

    def _frame(self, frame: Frame) -> None:
        if self._sink is not None:
            super()._frame(frame)
            return
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._message_is_text = frame.opcode is Opcode.TEXT
            self._fragments = [frame.data]
        elif frame.opcode is Opcode.CONT:
            self._continue(frame)
        else:
            return
        if frame.fin:
            self._end_message()

    def _continue(self, frame: Frame) -> None:
        fragments = self._fragments
        if frame.fin or len(frame.data) >= JOINED:
            fragments.append(frame.data)
        elif not frame.data:
            pass  # empty fragments would accumulate
        elif len(fragments) > 1 and isinstance(last := fragments[-1], bytearray) and len(last) < 16 * JOINED:
            last += frame.data  # an object for each would take fifty times the memory
        else:
            fragments.append(bytearray(frame.data))

    def _end_message(self) -> None:
        message, self._fragments = b"".join(self._fragments), []
        if self._message_is_text:
            try:
                message.decode()
            except UnicodeDecodeError:
                self._protocol.fail(CloseCode.INVALID_DATA, "a text frame is not UTF-8")  # RFC 6455, section 8.1
                return
        if not self.complete:  # after a close only the client's close matters
            self._messages.append(message)
            self._event.set()

    def _disconnect(self) -> None:
        super()._disconnect()
        self._event.set()

    def _cut_off(self) -> None:
        hang_up(self.transport, now=True)

    # --- the gateway's side: a request --------------------------------------------------------------------------

    @property
    def connection(self) -> ClientConnection:
        return self

    def received(self, max_bytes: int) -> bytes:
        return b""

    async def body(self, max_bytes: int, timeout: float) -> bytes:  # noqa: ASYNC109  # as the Protocol has it
        return b""

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in tuple[bytes, ...]():  # a handshake has no body
            yield piece

    def side(self, fields: Fields) -> Downstream:
        self._fields = fields
        return self

    async def answer(
        self, status: int, fields: Sequence[tuple[str, str]], body: Body, trailers: Trailers = NO_TRAILERS
    ) -> None:
        """Refuse the handshake."""
        if self.disconnected:
            return
        if not isinstance(body, bytes):
            body = b"".join([piece async for piece in body])
        self.complete = True
        self.transport.write(encode_head(status, self.server.date, fields, close=True) + body)
        self.transport.close()

    def abandon(self, reply: Reply, trace_id: str) -> None:
        if not self._accepted and not self.complete and not self.transport.is_closing():
            self.transport.write(last_answer(reply, trace_id, self.server.date))
        self.transport.close()

    def cut(self, *, now: bool) -> None:
        self._disconnect()
        hang_up(self.transport, now=now)

    def watch(self, on_leave: Callable[[], None], *, half: bool) -> None:
        self._left = on_leave

    # --- the gateway's side: a stream (`bridge.api.downstream.Downstream`) ----------------------------------

    async def read(self) -> bytes | None:
        while not self._messages:
            if self.disconnected:
                raise ClientDisconnected()
            self._event.clear()
            await self._event.wait()
        message = self._messages.popleft()
        self._go_on()
        return message or None

    async def gone(self) -> None:
        while not self.disconnected:
            self._messages.clear()
            self._go_on()
            self._event.clear()
            await self._event.wait()

    async def start(self, reply: Reply) -> int:
        if self.disconnected:
            raise ClientDisconnected()
        self._text = JSON_TYPE in reply.headers
        self._send_acceptance(self._fields(reply), "")
        self._start_pings()
        self._take_early()
        return 101

    def _send_acceptance(self, fields: Sequence[tuple[str, str]], subprotocol: str) -> None:
        """The handshake's answer; without a `subprotocol`, a client that offered its token is answered with `BEARER`:
        browsers fail if none of what they offered comes back."""
        handshake = self._handshake
        response = handshake.response
        for name, value in without_content(fields):
            response.headers[name] = value.encode("latin-1", "replace").decode("latin-1")
        subprotocol = subprotocol or (BEARER if bearer_of(handshake.subprotocols) else "")
        if subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        handshake.protocol.send_response(response)
        self._flush()
        self._accepted = True

    def _take_early(self) -> None:
        if self._early:
            data, self._early = self._early, b""
            self.data_received(data)

    async def write(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            await self.drain()
            try:
                if self._text:
                    self._protocol.send_text(chunk)
                else:
                    self._protocol.send_binary(chunk)
            except InvalidState:
                raise ClientDisconnected() from None
            if self.disconnected:
                raise ClientDisconnected()
            self.sent += len(chunk)
            self._flush()

    async def close(self, last: bytes | Trailers, *, failed: bool) -> None:
        if last and isinstance(last, bytes):  # there are no fields after a WebSocket's messages
            await self.write([last])
        await self.drain()
        if self.disconnected:
            raise ClientDisconnected()
        self.complete = True
        self._protocol.send_close(CloseCode.INTERNAL_ERROR if failed else CloseCode.NORMAL_CLOSURE)
        self._flush()
        self._messages.clear()
        self._go_on()
        self._expect_close()

    # --- the gateway's side: an end of a relay (`bridge.websocket.end.WebSocketEnd`) -------------------------------

    async def accept(self, fields: Sequence[tuple[str, str]], subprotocol: str, max_message: int) -> WebSocketEnd:
        if self.disconnected:
            raise ClientDisconnected()
        self._protocol.max_message_size = max_message
        self._send_acceptance(fields, subprotocol)
        return self

    def relay(self, sink: WebSocketSink, heartbeat: float) -> None:
        super().relay(sink, heartbeat)
        self._take_early()

    def begin_close(self, code: int, reason: str) -> None:
        self.complete = True
        super().begin_close(code, reason)
