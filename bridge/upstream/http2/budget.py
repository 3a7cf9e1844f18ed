"""What the other side may make us do for nothing (RFC 9113, section 10.5)."""

from __future__ import annotations

from bridge.upstream.http2.frames import ENHANCE_YOUR_CALM, Http2Error

IDLE_FRAMES = 10_000  #: frames in a row that bring nothing, until `Connection.tick`
OWED = 1_000  #: answers to such frames that wait to be sent


class Budget:
    """:ivar idle: frames in a row that brought nothing. :ivar answers: answers that wait to be sent."""

    __slots__ = ("answers", "idle")

    def __init__(self) -> None:
        self.idle = self.answers = 0

    def spend(self) -> None:
        """:raises Http2Error: one more frame that brings nothing is one too many."""
        self.idle += 1
        if self.idle > IDLE_FRAMES:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def owe(self) -> None:
        """:raises Http2Error: one more answer is one too many."""
        self.answers += 1
        if self.answers > OWED:
            raise Http2Error(ENHANCE_YOUR_CALM, "it asks for answers and does not read them")
