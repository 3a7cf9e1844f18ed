"""What the other side may make us do for nothing (RFC 9113, section 10.5)."""

from __future__ import annotations

from bridge.transport.http2.frames import ENHANCE_YOUR_CALM, Http2Error

IDLE_FRAMES = 10_000  #: frames in a row that bring nothing, until `Http2Connection.tick`
SETTINGS = 64  #: parameters of one SETTINGS frame; six are defined, and nghttp2 takes 32
TINY = 64  #: bytes by which a window must grow to bring something, where more than that waits
OWED = 1_000  #: answers to such frames that wait to be sent


class FloodGuard:
    """:ivar idle: frames in a row that brought nothing. :ivar answers: answers that wait to be sent."""

    __slots__ = ("answers", "idle")

    def __init__(self) -> None:
        self.idle = self.answers = 0

    def spend(self, count: int = 1) -> None:
        """:param count: of frames that bring nothing, or of what takes as long as one.
        :raises Http2Error: those are too many.
        """
        self.idle += count
        if self.idle > IDLE_FRAMES:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def owe(self) -> None:
        """:raises Http2Error: one more answer is one too many."""
        self.answers += 1
        if self.answers > OWED:
            raise Http2Error(ENHANCE_YOUR_CALM, "it asks for answers and does not read them")
