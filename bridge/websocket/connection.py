"""A WebSocket on a connection (RFC 6455), on the sans-IO protocol of `websockets`: parsing in steps and under
back-pressure, pings, and the close. The gateway is the server of its clients, and a client of its services."""

from __future__ import annotations

import asyncio
import codecs
import time

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Protocol

from bridge.websocket.end import LOST, NO_CODE, Ending, WebSocketSink
from bridge.websocket.flow import ConnectionFlow

#: Bytes that are parsed in one step, and seconds after which the event loop runs: an empty frame has two bytes (seven
#: from a client), and takes more than seven microseconds.
STEP, PAUSE = 1024, 0.002
PING_INTERVAL = 20.0  #: seconds between pings; a peer that has not answered one by the next is disconnected
CLOSE_TIMEOUT = 10.0  #: seconds for the peer to answer a close
FAIR = 64 * 1024  #: bytes that a peer must take within that time to get as much time again for the rest
MAX_PONGS = 256  #: answers to pings that may wait for a peer that does not read

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_NOT_UTF8 = "a text frame is not UTF-8"


class WebSocketConnection(ConnectionFlow):
    """One WebSocket. `relay` makes it a `bridge.websocket.end.WebSocketEnd`; without that, a subclass takes its frames.

    :param protocol: after the handshake, or in it.
    :ivar disconnected: the peer has left, or was disconnected.
    :ivar closed: done when the connection is closed, if there was one.
    """

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self.disconnected = False
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self._backlog = bytearray()  # what came and is not parsed yet
        self._scheduled = False  # the next step of parsing
        self._timer: asyncio.TimerHandle | None = None  # to the next ping, or to the end of a close
        self._ping_interval = 0.0
        self._unanswered = False  # the last ping
        self._sink: WebSocketSink | None = None
        self._held = self._failed = self._ended = self._lost = False
        self._pongs = 0
        self._decoder: codecs.IncrementalDecoder | None = None  # of a text message in fragments

    # --- asyncio's side ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._backlog += data
        if not self._scheduled:
            self._parse_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._lost = True
        self.disconnected = True
        self.closed.set_result(None)
        if self._sink is None or self._ended:
            self._backlog.clear()
        elif self._backlog:
            self._go_on()  # what the peer said before it left still counts
        else:
            self._end(Ending(LOST, "", closed=False))
        self.resume_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sink is not None:
            self._sink.write_paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._pongs = 0
        if self._sink is not None:
            self._sink.write_resumed()
            self._go_on()

    # --- parsing ----------------------------------------------------------------------------------------------------

    @property
    def _waits(self) -> bool:
        """Whether parsing must pause: frames are not wanted now, or the connection is closing."""
        return self._held or self._pongs > MAX_PONGS or (self.transport.is_closing() and not self._lost)

    def _parse_on(self) -> None:
        """Parse the input in steps; nothing more is read until that is done."""
        self._scheduled = False
        start = time.perf_counter()
        while self._backlog and not self._waits:
            piece = bytes(self._backlog[:STEP])
            del self._backlog[:STEP]
            self._parse(piece)
            if self._backlog and not self._waits and time.perf_counter() - start > PAUSE:
                self._pause_or_resume(pause=True)
                self._scheduled = True
                self.loop.call_soon(self._parse_on)
                return
        self._pause_or_resume(pause=self._waits)
        if self._lost and not self._backlog:
            self._end(Ending(LOST, "", closed=False))

    def _pause_or_resume(self, *, pause: bool) -> None:
        if self._lost:
            return
        if pause:
            self.pause_reading()
        else:
            self.resume_reading()

    def _go_on(self) -> None:
        if not self._scheduled and not self._waits:
            self._scheduled = True
            self.loop.call_soon(self._parse_on)

    def _parse(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        self._unanswered = False  # whoever speaks is there
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            self._frame(frame)
        self._settle()

    def _frame(self, frame: Frame) -> None:
        """One frame of the peer. The protocol answers control frames itself."""
        opcode = frame.opcode
        if opcode in _DATA:
            if not self._failed and self._is_text_valid(frame):
                assert self._sink is not None
                self._sink.frame(opcode, bytes(frame.data), frame.fin)
        elif opcode is Opcode.PING and self.write_paused:
            self._pongs += 1

    def _is_text_valid(self, frame: Frame) -> bool:
        """Whether text is UTF-8 (RFC 6455, section 8.1), which fragments may divide anywhere; if not, it is failed."""
        try:
            if frame.opcode is Opcode.TEXT:
                if frame.fin:
                    bytes(frame.data).decode()
                    return True
                self._decoder = codecs.getincrementaldecoder("utf-8")()
            if self._decoder is not None and frame.opcode is not Opcode.BINARY:
                self._decoder.decode(bytes(frame.data), frame.fin)
                if frame.fin:
                    self._decoder = None
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _NOT_UTF8)
            return False
        return True

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._failed = True
        self._protocol.fail(code, reason)

    # --- sending ----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send the protocol's output, and close the connection after a failure or both sides' close."""
        data = b"".join(self._protocol.data_to_send())
        if data and not self.transport.is_closing():
            self.transport.write(data)
        if self._protocol.eof_sent:
            self._disconnect()
            self.transport.close()

    def _disconnect(self) -> None:
        self.disconnected = True

    def _start_pings(self, interval: float | None = None) -> None:
        self._ping_interval = PING_INTERVAL if interval is None else interval
        self._timer = self.loop.call_later(self._ping_interval, self._ping)

    def _ping(self) -> None:
        # A pong can't be seen while the peer is not read.
        if self._unanswered and not self._waits and not self.write_paused:
            self._fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        elif not self._unanswered:
            self._unanswered = True
            self._protocol.send_ping(b"bridge")
        self._settle()
        if not self.disconnected and not self._ended:
            self._timer = self.loop.call_later(self._ping_interval, self._ping)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expect_close(self) -> None:
        """The peer has some time to close the connection."""
        self._stop_timer()
        if not self._lost:
            size = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(CLOSE_TIMEOUT, self._check_close, size)

    def _check_close(self, before: int) -> None:
        """:param before: bytes that were unsent when the time began; a peer with much to read gets more of it."""
        if before - self.transport.get_write_buffer_size() >= FAIR:
            self._expect_close()
        else:
            self._cut_off()

    def _cut_off(self) -> None:
        """The peer doesn't answer the close; it may not be reading either."""
        self.transport.abort()

    # --- the relay's side (`bridge.websocket.end.WebSocketEnd`) -----------------------------------------------------

    def relay(self, sink: WebSocketSink, heartbeat: float) -> None:
        self._sink = sink
        self._start_pings(heartbeat)
        if self._lost and not self._backlog:
            self._end(Ending(LOST, "", closed=False))
        elif self.write_paused:
            sink.write_paused()

    def send(self, opcode: int, data: bytes, fin: bool) -> None:
        protocol = self._protocol
        try:
            if opcode == Opcode.TEXT:
                protocol.send_text(data, fin)
            elif opcode == Opcode.BINARY:
                protocol.send_binary(data, fin)
            else:
                protocol.send_continuation(data, fin)
        except InvalidState:
            return  # it is closing

    def flush(self) -> None:
        self._flush()

    def hold(self) -> None:
        self._held = True
        self._pause_or_resume(pause=True)

    def release(self) -> None:
        self._held = False
        self._go_on()

    def begin_close(self, code: int, reason: str) -> None:
        if self._lost or self._ended:
            return
        if self._protocol.state is OPEN:
            self._protocol.send_close(None if code == NO_CODE else code, reason)
        self._flush()
        self._expect_close()
        self.release()  # its answer may be behind other frames

    def abort(self) -> None:
        self._cut_off()

    async def finish(self) -> None:
        """The connection does the rest by itself."""

    def _settle(self) -> None:
        """After frames came, or it failed: send what follows from that, and tell the relay."""
        sink = self._sink
        if sink is not None:
            sink.flush()
        self._flush()
        protocol = self._protocol
        if sink is None or protocol.state is OPEN:
            return
        received, sent = protocol.close_rcvd, protocol.close_sent
        if self._failed or protocol.parser_exc is not None:
            self._end(Ending(LOST if sent is None else sent.code, "" if sent is None else sent.reason, closed=False))
        elif received is not None:
            self._end(Ending(received.code, received.reason, closed=True))

    def _end(self, ending: Ending) -> None:
        if self._sink is None or self._ended:
            return
        self._ended = True
        self._backlog.clear()
        self._expect_close()
        self._sink.ended(ending)
