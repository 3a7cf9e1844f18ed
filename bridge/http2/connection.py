"""One end of an HTTP/2 connection (RFC 9113), without I/O: bytes in, calls of `StreamState`; bytes out.

Everything that the other side controls is limited: frames by the announced size (section 4.2), header sections by their
size (6.5.2), bodies by the windows (5.2), and useless frames by `FloodGuard` (10.5). A large input is processed in
steps, so that the caller can serve other connections between them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import ClassVar, Generic, TypeVar

from bridge.http2 import frames
from bridge.http2.flood_guard import SETTINGS, TINY
from bridge.http2.frames import Http2Error, frame, name_of
from bridge.http2.header_block import HeaderBlock
from bridge.http2.output import Output
from bridge.http2.send_window import SendWindow
from bridge.http2.stream import StreamState

MUCH = 4096  #: bytes of input from which it may be processed in several steps
LOOK = 32  #: frames between two checks of the clock
CONNECTION_WINDOW = 16 * 1024 * 1024  #: bytes of all streams together; each has a smaller one

S = TypeVar("S", bound=StreamState)


class Http2Core(Output, ABC, Generic[S]):
    """What client and server do alike; they derive from it.

    :cvar peer: the other side, in causes.
    :cvar max_push: the highest valid ENABLE_PUSH of the other side (section 6.5.2).
    :param first: what this end sends before anything else.
    :param window: bytes that one stream may send before they are credited.
    :param max_list: bytes of a header section.
    :param output: called when there is something to `take`, once until it is taken.
    :param pause: seconds that one step of reading may take.
    :ivar more: not all input is processed yet: call `receive` without data to continue.
    :ivar ready: the other side's SETTINGS have arrived (section 3.4).
    :ivar draining: no new streams are accepted (section 6.8); open ones continue.
    :ivar goaway: why the other side closes the connection, once it has sent GOAWAY.
    :ivar streams: the open ones, by number.
    :ivar heard: something arrived since the last `tick`.
    """

    peer: ClassVar[str]
    max_push: ClassVar[int] = 0  # a server has nothing to allow

    def __init__(
        self, first: bytes, *, window: int, max_list: int, output: Callable[[], None], pause: float = math.inf
    ) -> None:
        super().__init__(first, output)
        self.ready = self.draining = self.more = self.heard = False
        self.goaway = ""
        self._pause = pause
        self.streams: dict[int, S] = {}
        self._stream_window = window
        self._max_list = self._max_block = max_list
        self._next = 1  # the lowest number of a stream that was not opened yet; all are a client's
        self._rest = b""
        self._block: HeaderBlock | None = None
        self._unacked = 0  # of the connection's window
        self._initial = frames.WINDOW
        self.send_window = SendWindow[S](self._put, self._sent)
        self._handlers = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # --- what goes out ------------------------------------------------------------------------------------------

    def send(self, stream: S, data: bytes, *, end: bool = False) -> None:
        """Send more of the body of `stream`. If the windows don't allow it at once, it is in `StreamState.queue`, and
        `StreamState.flushed` is called when it was sent. Does nothing once the stream is closed."""
        if stream.id in self.streams and not stream.last:
            self._flood_guard.idle = 0  # it causes WINDOW_UPDATEs
            self.send_window.send(stream, data, end=end)

    def cancel(self, stream: S, code: int = frames.CANCEL) -> None:
        """Cancel a stream (section 6.4); later frames for it are ignored. Does nothing once it is closed."""
        if self.streams.get(stream.id) is stream:
            self._put(frames.rst_stream(stream.id, code))  # first, since `_forget` opens a queued stream
            self._forget(stream)

    def pause(self) -> None:
        """The network accepts no more at the moment: output and new streams are queued."""
        self.send_window.paused = True

    def resume(self) -> None:
        """The network accepts output again."""
        self.send_window.paused = False
        self.send_window.pump()

    def credit(self, stream: S, size: int) -> None:
        """`size` more bytes of `stream` were processed; the other side may send as many more (section 6.9)."""
        stream.unacked += size
        if stream.unacked * 2 >= self._stream_window and not stream.ended and stream.id in self.streams:
            stream.recv_window += stream.unacked
            self._put(frames.window_update(stream.id, stream.unacked))
            stream.unacked = 0

    def tick(self) -> None:
        """To be called at intervals: the limit of useless frames applies to one interval."""
        self._flood_guard.idle, self.heard = 0, False

    def _sent(self, stream: S) -> None:
        """All of `stream` was sent from this end."""
        if stream.ended:
            self._forget(stream)

    def _forget(self, stream: S) -> None:
        """`stream` is closed."""
        del self.streams[stream.id]
        if stream.queue is not None:
            self.send_window.drop(stream)

    # --- what comes in ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """:raises Http2Error: it breaks the protocol. The caller sends GOAWAY with its code and calls `lose`."""
        self.heard = True
        if self._rest:
            data = self._rest + data
        at, size, unpack = 0, len(data), frames.head.unpack_from
        self.more = False
        count = LOOK if size > MUCH else size  # no frame is shorter than a byte
        step_end = 0.0
        while size - at >= 9:
            if not count:
                count, now = LOOK, perf_counter()
                step_end = step_end or now + self._pause
                if now > step_end:
                    self.more = True
                    break
            count -= 1
            high, low, kind, flags, number = unpack(data, at)
            length = high << 8 | low
            if length > frames.FRAME:
                raise Http2Error(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            stop = at + 9 + length
            if stop > size:
                break
            payload = data[at + 9 : stop]
            at = stop
            if self._block is not None and kind != frames.CONTINUATION:
                raise Http2Error(frames.PROTOCOL_ERROR, "a header block is broken off")
            if not self.ready and (kind != frames.SETTINGS or flags & frames.ACK):
                raise Http2Error(frames.PROTOCOL_ERROR, "it does not begin with SETTINGS")
            handler = self._handlers.get(kind)
            if handler is not None:
                handler(flags, number & 0x7FFFFFFF, payload)
            else:
                self._flood_guard.spend()  # sections 4.1, 5.3.2: unknown types and PRIORITY are ignored
        self._rest = data[at:]

    def _find(self, number: int) -> S | None:
        """The stream of that number; None for one that is closed.

        :raises Http2Error: it was never opened (section 5.1: idle).
        """
        stream = self.streams.get(number)
        if stream is None and (not number & 1 or number >= self._next):
            raise Http2Error(frames.PROTOCOL_ERROR, f"a frame of stream {number}, which was not opened")
        return stream

    def _break(self, stream: S, code: int, cause: str) -> None:
        """Reset a stream for a protocol error (section 5.4.2)."""
        self._answer(frames.rst_stream(stream.id, code))
        self._forget(stream)
        stream.closed(code, cause, local=True)
        self._count_reset()

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._unacked += size
        if self._unacked * 2 >= CONNECTION_WINDOW:
            self._put(frames.window_update(0, self._unacked))
            self._unacked = 0
        if flags & frames.PADDED:
            payload = frames.unpadded(payload)
        stream = self.streams.get(number) or self._find(number)
        ended = flags & frames.END_STREAM != 0
        if not payload and not ended:
            self._flood_guard.spend()
        else:
            self._flood_guard.idle = 0
        if stream is None:
            return
        if stream.ended or size > stream.recv_window:
            self._break(stream, frames.STREAM_CLOSED if stream.ended else frames.FLOW_CONTROL_ERROR, "more than it may")
            return
        stream.recv_window -= size
        if size != len(payload):
            self.credit(stream, size - len(payload))
        if ended:
            self._end(stream)
        stream.data(payload, ended=ended)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.fragment(flags, payload)
        if number not in self.streams:
            self._unlisted(number)
        if flags & frames.END_HEADERS:
            self._section(flags, number, payload, len(payload))
        else:
            self._block = HeaderBlock(number, flags, payload, self._max_block)

    def _unlisted(self, number: int) -> None:
        """HEADERS of a stream that is not open.

        :raises Http2Error: the other side may not send them.
        """
        self._find(number)

    @abstractmethod
    def _section(self, flags: int, number: int, block: bytes, size: int) -> None:
        """A whole header section.

        :param flags: of its HEADERS. :param size: bytes of the block as it was sent; `block` may lack its end.
        """

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise Http2Error(frames.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        self._flood_guard.spend()
        fragment = block.more(flags, number, payload)
        if fragment is not None:
            self._block = None
            self._section(block.flags, number, fragment, block.size)

    def _end(self, stream: S) -> None:
        stream.ended = True
        if stream.finished:
            self._forget(stream)

    def _on_rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        stream = self._find(number)
        if stream is None:
            self._flood_guard.spend()
            return
        code = int.from_bytes(payload, "big")
        self._forget(stream)
        stream.closed(code, f"the {self.peer} reset the stream: {name_of(code)}")
        self._count_reset()

    def _count_reset(self) -> None:
        """A stream has ended by a reset."""
        return

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise Http2Error(frames.PROTOCOL_ERROR if number else frames.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes")
        self._flood_guard.spend()
        self.draining = True
        last, code = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big")
        self.goaway = f"the {self.peer} closes the connection: {name_of(code)}"
        self._leaves(last, code)

    def _leaves(self, last: int, code: int) -> None:
        """The other side has sent GOAWAY. :param last: the highest stream that it may have processed."""
        return

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(frames.PROTOCOL_ERROR, "SETTINGS of a stream")
        self._flood_guard.spend(1 + len(payload) // 6)
        if flags & frames.ACK:
            if payload:
                raise Http2Error(frames.FRAME_SIZE_ERROR, "SETTINGS with ACK are empty")
            self._on_settings_ack()
            return
        if len(payload) > 6 * SETTINGS:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, f"SETTINGS of {len(payload) // 6} parameters")
        for key, value in frames.read_settings(payload, self.max_push):
            self._set(key, value)
        self.ready = True
        self._answer(frame(frames.SETTINGS, frames.ACK, 0))
        self.send_window.pump()

    def _on_settings_ack(self) -> None:
        """The other side has applied ours."""
        return

    def _set(self, key: int, value: int) -> None:
        if key == frames.INITIAL_WINDOW_SIZE and value != self._initial:
            self._flood_guard.spend(len(self.streams) // 8)
            for stream in self.streams.values():  # section 6.9.2: it may become negative
                stream.window += value - self._initial
                if stream.window > frames.MAX_WINDOW:
                    raise Http2Error(frames.FLOW_CONTROL_ERROR, "a window above 2^31-1")
            self._initial = value
        elif key == frames.MAX_FRAME_SIZE:
            self.send_window.largest = min(value, 4 * frames.FRAME)  # larger ones would keep other streams waiting

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:
        raise Http2Error(frames.PROTOCOL_ERROR, "a push that was not allowed")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(frames.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "PING has 8 bytes")
        self._flood_guard.spend()
        if flags & frames.ACK:
            self.pinged = False
            return
        self._answer(frame(frames.PING, frames.ACK, 0, payload))

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        by = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not number:
            if not by or not self.send_window.widen(by):
                raise Http2Error(frames.PROTOCOL_ERROR if not by else frames.FLOW_CONTROL_ERROR, f"a window by {by}")
            if not self.send_window.has_queue or by < TINY:
                self._flood_guard.spend()
            self.send_window.pump()
            return
        stream = self._find(number)
        if stream is None or not stream.queue or by < min(TINY, len(stream.queue)):
            self._flood_guard.spend()
        if stream is None:
            return
        stream.window += by
        if not by or stream.window > frames.MAX_WINDOW:
            self._break(stream, frames.FLOW_CONTROL_ERROR if by else frames.PROTOCOL_ERROR, f"a window by {by}")
        else:
            self.send_window.pump()
