"""Request bodies, sent as the flow-control windows allow (RFC 9113, section 5.2), streams in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from bridge.http2 import frames
from bridge.http2.stream import StreamState

S = TypeVar("S", bound=StreamState)


class SendWindow(Generic[S]):
    """:param write: sends frames.
    :param on_sent: called with a stream when all of it was sent.
    :ivar largest: bytes of a frame's payload.
    :ivar paused: the network accepts no more at the moment.
    """

    def __init__(self, write: Callable[[bytes], None], on_sent: Callable[[S], None]) -> None:
        self._write, self._on_sent = write, on_sent
        self._window = frames.WINDOW
        self._queued: dict[S, None] = {}  # in the order of their turns
        self.largest = frames.FRAME
        self.paused = False

    @property
    def has_queue(self) -> bool:
        """Whether a stream has something to send."""
        return bool(self._queued)

    def send(self, stream: S, data: bytes, *, end: bool) -> None:
        """Send `data` at once if windows and network allow, else when they do."""
        stream.last = end
        if stream.queue is None and self.fits(stream, len(data)):
            stream.finished = end
            self._write(frames.frame(frames.DATA, frames.END_STREAM if end else 0, stream.id, data))
            if end:
                self._on_sent(stream)
            return
        stream.queue = memoryview(data if stream.queue is None else bytes(stream.queue) + data)
        self._queued[stream] = None
        self.pump()

    def fits(self, stream: S, size: int) -> bool:
        """Whether `size` bytes may be sent at once, as one frame. If so, they are deducted from the windows."""
        if size > self.largest or size > self._window or size > stream.window or self.paused:
            return False
        self._window -= size
        stream.window -= size
        return True

    def widen(self, by: int) -> bool:
        """Enlarge the connection's window. False if it is larger than allowed now (section 6.9.1)."""
        self._window += by
        return self._window <= frames.MAX_WINDOW

    def drop(self, stream: S) -> None:
        """Remove `stream`, which sends nothing more."""
        self._queued.pop(stream, None)
        stream.queue = None

    def pump(self) -> None:
        """Send what the windows allow, one frame of each stream in turn."""
        progress = True
        while progress and self._queued and not self.paused:
            progress = False
            for stream in list(self._queued):
                progress = self._step(stream) or progress

    def _step(self, stream: S) -> bool:
        """Send one frame, if it may be sent."""
        queue = stream.queue
        if queue is None:
            return False  # `over` lets others begin, and they may have pumped
        size = min(len(queue), self.largest, self._window, stream.window)
        # An empty frame needs no window (section 6.9.1), but not every server accepts one below 0 (6.9.2).
        if size < 0 or (not size and len(queue)):
            return False
        complete = size == len(queue)
        end = complete and stream.last
        self._window -= size
        stream.window -= size
        self._write(frames.frame(frames.DATA, frames.END_STREAM if end else 0, stream.id, bytes(queue[:size])))
        if complete:
            del self._queued[stream]
            stream.queue = None
            stream.finished = end
            stream.flushed()
            if end:
                self._on_sent(stream)
        else:
            stream.queue = queue[size:]
        return True
