"""The client's end of an HTTP/2 connection (RFC 9113), without I/O: bytes in, calls of `Http2Stream`; bytes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

from bridge.http2 import frames
from bridge.http2.connection import CONNECTION_WINDOW, Http2Core
from bridge.http2.hpack import NO_TABLE
from bridge.transport.http2.fields import TOO_LARGE, Decoder
from bridge.transport.http2.pending import Entry, PendingStreams
from bridge.transport.http2.stream import Http2Stream


class Http2Connection(Http2Core[Http2Stream]):
    """The parameters are those of `Http2Core`.

    :ivar broken: the other side's GOAWAY had an error code.
    """

    peer: ClassVar[str] = "service"

    def __init__(self, *, window: int, max_list: int, output: Callable[[], None], pause: float = math.inf) -> None:
        first = frames.preface(window, max_list, CONNECTION_WINDOW)
        super().__init__(first, window=window, max_list=max_list, output=output, pause=pause)
        self.broken = False
        self._decode = Decoder(max_list)
        self._max_streams = frames.MAX_STREAM
        self._pending = PendingStreams()

    # --- what goes out ------------------------------------------------------------------------------------------

    def open(self, stream: Http2Stream, block: bytes, body: bytes = b"", *, end: bool) -> None:
        """Send a request: its header block, a first piece of its body, and whether that is all. It is queued if the
        other side or the network accepts no more at the moment."""
        stream.http = self
        if self.draining:
            stream.lost("the connection takes no more streams", untouched=True)
        elif len(self.streams) >= self._max_streams or self.send_window.paused:
            self._pending.add(Entry(stream, block, body, end))
        else:
            self._begin(stream, block, body, end)

    def _begin(self, stream: Http2Stream, block: bytes, body: bytes, end: bool) -> None:
        stream.id = number = self._next
        self._next += 2
        if self._next > frames.MAX_STREAM:  # section 5.1.1: a new connection starts again at 1
            self.draining = True
            self._reject_pending("the connection has no more numbers")
        stream.window, stream.recv_window = self._initial, self._stream_window
        self.streams[number] = stream
        self._flood_guard.idle = 0
        if number == 1:  # a decoder with a smaller table must be told (RFC 7541, section 4.2)
            block = NO_TABLE + block
        if end and body and len(block) <= frames.FRAME and self.send_window.fits(stream, len(body)):
            stream.last = stream.finished = True
            self._put(frames.message(number, block, body))  # nearly all requests
        else:
            stream.finished = end and not body
            self._put(frames.headers(number, block, end=stream.finished, largest=self.send_window.largest))
            if body:
                self.send_window.send(stream, body, end=end)
        if stream.queue is None:
            stream.flushed()

    @property
    def full(self) -> bool:
        """Whether a new stream would have to wait."""
        return len(self.streams) >= self._max_streams

    def hand_over(self, other: Http2Connection) -> None:
        """Move the queued requests to `other`."""
        for stream, block, body, end in self._pending.all():
            other.open(stream, block, body, end=end)

    def send(self, stream: Http2Stream, data: bytes, *, end: bool = False) -> None:
        """As `Http2Core.send`; what belongs to a queued request is queued with it."""
        if not stream.id:
            self._pending.send(stream, data, end=end)
        elif stream.id in self.streams and not stream.last:
            self._flood_guard.idle = 0  # it causes WINDOW_UPDATEs
            self.send_window.send(stream, data, end=end)

    def cancel(self, stream: Http2Stream, code: int = frames.CANCEL) -> None:
        if not stream.id:
            self._pending.drop(stream)
        else:
            super().cancel(stream, code)

    def resume(self) -> None:
        super().resume()
        self._admit()

    def leave(self, code: int = frames.NO_ERROR) -> None:
        """Send GOAWAY (section 6.8). New streams are not accepted."""
        self.draining = True
        self._put(frames.goaway(code))
        self._reject_pending("the connection takes no more streams")

    def lose(self, cause: str) -> None:
        """The connection is lost, with all its streams."""
        self.draining = True
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            stream.lost(cause, untouched=False)
        self._reject_pending(cause)

    def _reject_pending(self, cause: str) -> None:
        """Notify the queued streams, which were never sent."""
        for entry in self._pending.all():
            entry.stream.lost(cause, untouched=True)

    def _forget(self, stream: Http2Stream) -> None:
        del self.streams[stream.id]
        if stream.queue is not None:
            self.send_window.drop(stream)
        if self._pending.entries:
            self._admit()

    def _admit(self) -> None:
        while self._pending.entries and not (self.full or self.send_window.paused or self.draining):
            self._begin(*self._pending.next())

    # --- what comes in ------------------------------------------------------------------------------------------

    def _section(self, flags: int, number: int, block: bytes, size: int) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._flood_guard.spend()
            return  # closed; the block changes nothing, as there is no table
        if stream.ended:
            self._break(stream, frames.STREAM_CLOSED, "more than it may")
            return
        fields = self._decode(block) if size <= self._max_list else TOO_LARGE
        if fields.status is not None and fields.status < 200:
            self._flood_guard.spend()  # there may be any number of informational ones
        else:
            self._flood_guard.idle = 0
        ended = flags & frames.END_STREAM != 0
        if ended:
            self._end(stream)
        stream.headers(fields, ended=ended)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        super()._on_settings(flags, number, payload)
        self._admit()

    def _set(self, key: int, value: int) -> None:
        if key == frames.MAX_CONCURRENT_STREAMS:
            self._max_streams = value
        else:
            super()._set(key, value)

    def _leaves(self, last: int, code: int) -> None:
        self.broken = self.broken or code != frames.NO_ERROR
        for stream in [stream for number, stream in self.streams.items() if number > last]:
            self._forget(stream)
            stream.lost(self.goaway, untouched=True)
        self._reject_pending(self.goaway)
