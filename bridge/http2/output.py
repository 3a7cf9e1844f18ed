"""The output buffer of an HTTP/2 connection."""

from __future__ import annotations

from collections.abc import Callable

from bridge.http2 import frames
from bridge.http2.flood_guard import FloodGuard


class Output:
    """:param first: sent before anything else.
    :param output: called when there is something to `take`, once until it is taken.
    """

    def __init__(self, first: bytes, output: Callable[[], None]) -> None:
        self._output = output
        self._out: list[bytes] = [first]
        self._scheduled = False
        self._flood_guard = FloodGuard()
        self.pinged = False  #: our PING is not answered yet

    def take(self) -> bytes:
        """All pending output; the buffer is empty afterwards."""
        out, self._out = self._out, []
        self._scheduled, self._flood_guard.answers = False, 0
        return out[0] if len(out) == 1 else b"".join(out)

    def ping(self) -> None:
        """Send a PING (section 6.7); `pinged` is true until it is answered."""
        self.pinged = True
        self._put(frames.frame(frames.PING, 0, 0, b"hmsbridg"))

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._output()

    def _answer(self, data: bytes) -> None:
        """Queue an answer to a frame of the other side."""
        self._flood_guard.answer()
        self._put(data)
