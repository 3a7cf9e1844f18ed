"""A connection that became a WebSocket (RFC 6455): uvicorn's protocol, with bounds on what its clients may do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bridge.errors import ClientError, HeadTooLarge, RequestError
from bridge.server.exchange import hang_up

MAX_EARLY = 64 * 1024  #: bytes that a client may send before its handshake is answered
#: Bytes that are parsed in one go, and seconds after which others have their turn: a frame of no byte takes seven on
#: the wire, and more microseconds than that here.
STEP, PAUSE = 1024, 0.002
JOINED = 4096  #: bytes of a fragment below which it is joined to others


class WebSocket(WebSocketsSansIOProtocol):
    """The same connection after an upgrade (RFC 6455)."""

    _left: Callable[[], None] | None = None
    #: What came before the handshake's answer. A client should wait for that (RFC 6455, section 4.1); one that doesn't
    #: must not have its ping answered before it.
    _early = b""
    #: What came and is not parsed yet: for want of time, or of somebody who takes the messages.
    _backlog: bytearray | None = None
    _due = False

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)  # the head, which the connection has read within its bounds
        elif not self.handshake_complete:
            self._early += data
            if len(self._early) > MAX_EARLY:
                self.transport.abort()
        elif self._backlog is not None:
            self._backlog += data
            self.transport.pause_reading()
        elif len(data) <= STEP:
            super().data_received(data)
        else:
            self._backlog = bytearray(data)
            self.transport.pause_reading()
            self._parse_on()

    def _parse_on(self) -> None:
        self._due = False
        began = time.perf_counter()
        while self._backlog and not self._waits:
            piece = bytes(self._backlog[:STEP])
            del self._backlog[:STEP]
            super().data_received(piece)
            if self._backlog and not self._waits and time.perf_counter() - began > PAUSE:
                self._due = True
                self.loop.call_soon(self._parse_on)
                return
        if not self._backlog:
            self._backlog = None
            if not self._waits and not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def _waits(self) -> bool:
        """Whether nothing is to be parsed now: a message waits to be taken, answers to pings wait to be sent, or it is
        over."""
        return self.read_paused or not self.writable.is_set() or self.transport.is_closing()

    async def receive(self) -> Any:
        message = await super().receive()
        self._resume()
        return message

    def _resume(self) -> None:
        if self._backlog is not None and not self._due and not self._waits:
            self.transport.pause_reading()
            self._due = True
            self.loop.call_soon(self._parse_on)

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
        if self._backlog is not None:
            self._resume()
        elif not self.read_paused:
            self.transport.resume_reading()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["bridge.connection"] = self  # type: ignore[typeddict-unknown-key]  # ours

    def handle_cont(self, event: Frame) -> None:
        if not (event.data or event.fin):
            return  # fragments of nothing would be kept, without end
        frames: list[Any] = self.frames
        if event.fin or len(event.data) >= JOINED:
            super().handle_cont(event)
        elif len(frames) > 1 and type(frames[-1]) is bytearray and len(frames[-1]) < 16 * JOINED:
            frames[-1] += event.data  # an object for each would take fifty times the room of a byte
        else:
            frames.append(bytearray(event.data))

    def send_receive_event_to_app(self) -> None:
        """uvicorn's own writes a traceback for text that is not UTF-8, which is the client's failure and not ours."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            data = b"".join(self.frames)
            self.frames = [data]
            try:
                data.decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(CloseCode.INVALID_DATA, "a text frame is not UTF-8")  # RFC 6455, section 8.1
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

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
        if self._early and message["type"] == "websocket.accept":
            early, self._early = self._early, b""
            self.data_received(early)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # by a refusal; uvicorn would miss its end

    def cut(self, *, now: bool) -> None:
        self.disconnected = True
        hang_up(self.transport, now=now)

    def watch(self, left: Callable[[], None], *, half: bool) -> None:
        self._left = left


def unfit(method: str, version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> RequestError | None:
    """Why this handshake can't be taken (RFC 6455, section 4.2). The library is asked before it gets the
    connection: it would answer in words of its own, or not at all."""
    if method != "GET" or version != "1.1":
        return ClientError("A WebSocket begins with GET, by HTTP/1.1.")
    if not any(field == (b"sec-websocket-version", b"13") for field in headers):
        spoken = [("sec-websocket-version", "13")]
        return ClientError("This gateway speaks version 13 of WebSocket.", status=426, headers=spoken)
    trial = ServerProtocol()
    fields = b"".join(b"%s: %s\r\n" % field for field in headers)
    trial.receive_data(b"GET %s HTTP/1.1\r\n%s\r\n" % (target, fields))
    request = next(iter(trial.events_received()), None)
    if not isinstance(request, Request):
        return (
            HeadTooLarge("A handshake may not have a header of this size.")
            if isinstance(trial.handshake_exc, SecurityError)
            else ClientError("It is no handshake of a WebSocket.")
        )
    answer = trial.accept(request)
    if answer.status_code == 101:
        return None
    versions = [(name, value) for name, value in answer.headers.raw_items() if name == "Sec-WebSocket-Version"]
    return ClientError("It is not a WebSocket's handshake of version 13.", status=answer.status_code, headers=versions)
