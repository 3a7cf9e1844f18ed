"""One stream of an HTTP/2 connection (RFC 9113, section 5): its state, and the calls that it gets from the
connection."""

from __future__ import annotations

from abc import ABC, abstractmethod


class StreamState(ABC):
    """The abstract methods are called by the connection as frames come in, and must not raise.

    :ivar id: 0 until it is sent.
    :ivar window: bytes that may be sent before the other side grants more (section 5.2).
    :ivar recv_window: bytes that the other side may still send.
    :ivar unacked: bytes received for which no WINDOW_UPDATE was sent yet.
    :ivar queue: data to send when the windows allow it; `last`: nothing follows.
    :ivar finished: our side has ended. `ended`: the other side has.
    """

    __slots__ = ()  # a subclass has them, for it may have another base with slots

    id: int
    window: int
    recv_window: int
    unacked: int
    queue: memoryview | None
    last: bool
    finished: bool
    ended: bool

    @abstractmethod
    def data(self, payload: bytes, *, ended: bool) -> None:
        """A piece of the body."""

    def flushed(self) -> None:
        """The queue is empty."""
        return

    @abstractmethod
    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        """It was reset, by the other side with `code` (section 6.4), or by us (`local`) for a protocol error."""
