"""The server's end of an HTTP/2 connection (RFC 9113), without I/O: bytes in, exchanges; bytes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

from bridge.http2 import frames
from bridge.http2.connection import CONNECTION_WINDOW, Http2Core
from bridge.http2.frames import Http2Error
from bridge.http2.hpack import NO_TABLE
from bridge.server.head import too_large
from bridge.server.http2.exchange import Http2Exchange
from bridge.server.http2.request_head import RequestDecoder, RequestHead

MAX_STREAMS = 100  #: concurrent requests of one connection (section 5.1.2)
WINDOW = 128 * 1024  #: bytes of a request's body that wait for the application
#: Streams that end by a reset, within one interval of `tick`, beyond those that end well (CVE-2023-44487, and
#: CVE-2025-8671 for resets that the client provokes).
MAX_RESETS = 200
_MALFORMED = 100  #: useless frames that one malformed request counts as, for it has a line in the log


class Http2ServerCore(Http2Core[Http2Exchange]):
    """The parameters are those of `Http2Core`.

    :param accept: makes the exchange of a request, given its head, and whether that is all of it; None where no more
        are accepted at the moment.
    :param start: called with that exchange and the head once it can be answered.
    :param malformed: called with the cause for a request that was reset, since it is malformed.
    """

    peer: ClassVar[str] = "client"
    max_push: ClassVar[int] = 1

    def __init__(
        self,
        *,
        max_list: int,
        accept: Callable[[RequestHead, bool], Http2Exchange | None],
        start: Callable[[Http2Exchange, RequestHead], None],
        malformed: Callable[[str], None],
        output: Callable[[], None],
        pause: float = math.inf,
    ) -> None:
        first = frames.server_preface(MAX_STREAMS, WINDOW, max_list, CONNECTION_WINDOW)
        super().__init__(first, window=WINDOW, max_list=max_list, output=output, pause=pause)
        self._accept, self._start, self._malformed = accept, start, malformed
        self._decoder = RequestDecoder(max_list)
        self._max_block = 4 * max_list  # a block can be decoded only whole while there is a dynamic table
        self._resets = 0
        self._prefaced = self._answered = self._left = False
        self._last = 0  # the highest number of a stream that was not ignored

    @property
    def in_head(self) -> bool:
        """Whether the preface, SETTINGS or a header block is not complete."""
        return not self.ready or self._block is not None

    # --- what goes out ------------------------------------------------------------------------------------------

    def respond(self, stream: Http2Exchange, block: bytes, body: bytes = b"", *, end: bool) -> None:
        """Send a header block, a first piece of the body, and whether that is all. Does nothing once it is closed."""
        if self.streams.get(stream.id) is not stream:
            return
        if not self._answered:  # a decoder with a smaller table must be told (RFC 7541, section 4.2)
            self._answered, block = True, NO_TABLE + block
        number, window = stream.id, self.send_window
        if end and body and len(block) <= frames.FRAME and window.fits(stream, len(body)):
            stream.last = stream.finished = True
            self._put(frames.message(number, block, body))  # nearly all responses
            self._sent(stream)
            return
        ends = end and not body
        self._put(frames.headers(number, block, end=ends, largest=window.largest))
        if ends:
            stream.last = stream.finished = True
            self._sent(stream)
        elif body:
            window.send(stream, body, end=end)

    def inform(self, stream: Http2Exchange, block: bytes) -> None:
        """Send an informational response (section 8.1)."""
        if self.streams.get(stream.id) is stream:
            if not self._answered:
                self._answered, block = True, NO_TABLE + block
            self._put(frames.headers(stream.id, block, end=False, largest=frames.FRAME))

    def trail(self, stream: Http2Exchange, block: bytes) -> None:
        """Send trailers, which end the response (section 8.1). Nothing of the body may be queued."""
        if self.streams.get(stream.id) is stream:
            self._put(frames.headers(stream.id, block, end=True, largest=self.send_window.largest))
            stream.last = stream.finished = True
            self._sent(stream)

    def fail(self, stream: Http2Exchange, cause: str) -> None:
        """Reset a stream whose request turns out to be malformed. Does nothing once it is closed."""
        if self.streams.get(stream.id) is stream:
            self._break(stream, frames.PROTOCOL_ERROR, cause)

    def _sent(self, stream: Http2Exchange) -> None:
        """The response is sent. The rest of a request that it does not depend on is not wanted (section 8.1)."""
        self._resets = max(0, self._resets - 1)
        self._flood_guard.idle = 0
        if not stream.ended:
            self._put(frames.rst_stream(stream.id, frames.NO_ERROR))
        self._forget(stream)

    def leave(self, code: int = frames.NO_ERROR) -> None:
        """Send GOAWAY (section 6.8). Streams that the client opens later are ignored; it may send them again."""
        if code or not self._left:
            self.draining = self._left = True
            self._put(frames.goaway(code, self._last))

    def lose(self, cause: str) -> None:
        """The connection is lost, with all its streams."""
        self.draining = True
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            self.send_window.drop(stream)
            stream.closed(frames.NO_ERROR, cause)

    def tick(self) -> None:
        super().tick()
        self._resets = 0

    # --- what comes in ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        if not self._prefaced:  # section 3.4
            self._rest += data
            if not frames.PREFACE.startswith(self._rest[: len(frames.PREFACE)]):
                raise Http2Error(frames.PROTOCOL_ERROR, "it does not begin as HTTP/2 does")
            if len(self._rest) < len(frames.PREFACE):
                return
            self._prefaced = True
            data, self._rest = self._rest[len(frames.PREFACE) :], b""
        super().receive(data)

    def _unlisted(self, number: int) -> None:
        if not number & 1:
            raise Http2Error(frames.PROTOCOL_ERROR, f"HEADERS of stream {number}")

    def _section(self, flags: int, number: int, block: bytes, size: int) -> None:
        if size > self._max_block:
            if not self._decoder.independent:
                raise Http2Error(frames.ENHANCE_YOUR_CALM, "a header block far above the limit")
            block = b""
        ended = flags & frames.END_STREAM != 0
        stream = self.streams.get(number)
        if stream is not None:
            self._trailers(stream, block, ended=ended)
        elif number < self._next:
            self._decoder.trailers(block)  # closed; it may change the table
            self._flood_guard.spend()
        else:
            self._next = number + 2
            head = (
                self._decoder.head(block) if size <= self._max_block else RequestHead(error=too_large(self._max_list))
            )
            if not self.draining:
                self._last = number
                self._open(number, head, ended=ended)

    def _open(self, number: int, head: RequestHead, *, ended: bool) -> None:
        fault = head.fault or ("its body is missing" if ended and head.length else "")
        if fault:
            self._flood_guard.spend(_MALFORMED)
            self._answer(frames.rst_stream(number, frames.PROTOCOL_ERROR))
            self._malformed(fault)
            return
        stream = self._accept(head, ended) if len(self.streams) < MAX_STREAMS else None
        if stream is None:
            self._flood_guard.spend()
            self._answer(frames.rst_stream(number, frames.REFUSED_STREAM))
            return
        stream.http, stream.id, stream.ended = self, number, ended
        stream.window, stream.recv_window = self._initial, self._stream_window
        self.streams[number] = stream
        self._start(stream, head)

    def _trailers(self, stream: Http2Exchange, block: bytes, *, ended: bool) -> None:
        fault = self._decoder.trailers(block)
        if stream.ended:
            self._break(stream, frames.STREAM_CLOSED, "HEADERS after the end of the request")
        elif fault or not ended:  # section 8.1
            self._break(stream, frames.PROTOCOL_ERROR, fault or "a second header section")
        else:
            self._end(stream)
            stream.data(b"", ended=True)

    def _count_reset(self) -> None:
        self._resets += 1
        if self._resets > MAX_RESETS:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "too many requests are reset")

    def _on_settings_ack(self) -> None:
        self._decoder.acknowledge()
