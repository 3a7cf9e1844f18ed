"""A limit of useless work that the other side causes (RFC 9113, section 10.5)."""

from __future__ import annotations

from bridge.http2.frames import ENHANCE_YOUR_CALM, Http2Error

IDLE_FRAMES = 10_000  #: useless frames in a row, within one interval of `Http2Core.tick`
SETTINGS = 64  #: parameters of one SETTINGS frame; six are defined, nghttp2 allows 32
TINY = 64  #: bytes by which a window must grow to be useful, if more than that is queued
MAX_ANSWERS = 1_000  #: queued answers to such frames


class FloodGuard:
    """:ivar idle: useless frames in a row. :ivar answers: queued answers."""

    __slots__ = ("answers", "idle")

    def __init__(self) -> None:
        self.idle = self.answers = 0

    def spend(self, count: int = 1) -> None:
        """:param count: useless frames, or work that takes as long.
        :raises Http2Error: there are too many.
        """
        self.idle += count
        if self.idle > IDLE_FRAMES:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def answer(self) -> None:
        """Count one more queued answer.

        :raises Http2Error: there are too many.
        """
        self.answers += 1
        if self.answers > MAX_ANSWERS:
            raise Http2Error(ENHANCE_YOUR_CALM, "it asks for answers and does not read them")
