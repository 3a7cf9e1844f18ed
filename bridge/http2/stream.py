"""One stream of an HTTP/2 connection (RFC 9113, section 5): its state, and the calls that it gets from the
connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol


class Carrier(Protocol):
    """The connection, as a stream uses it (`bridge.http2.connection.Http2Core`)."""

    goaway: str

    def send(self, stream: Any, data: bytes, *, end: bool = False) -> None: ...

    def credit(self, stream: Any, size: int) -> None: ...

    def cancel(self, stream: Any) -> None: ...


class StreamState(ABC):
    """The abstract methods are called by the connection as frames come in, and must not raise.

    :ivar http: the connection that it is on.
    :ivar id: 0 until it is sent.
    :ivar window: bytes that may be sent before the other side grants more (section 5.2).
    :ivar recv_window: bytes that the other side may still send.
    :ivar unacked: bytes received for which no WINDOW_UPDATE was sent yet.
    :ivar queue: data to send when the windows allow it; `last`: nothing follows.
    :ivar sent: our side has ended. `ended`: the other side has.
    """

    __slots__ = ("ended", "http", "id", "last", "queue", "recv_window", "sent", "unacked", "window")

    http: Carrier | None
    id: int
    window: int
    recv_window: int
    unacked: int
    queue: memoryview | None
    last: bool
    sent: bool
    ended: bool

    # --- for the request's side -----------------------------------------------------------------------------------

    def send(self, data: bytes, *, end: bool = False) -> None:
        """More of the body. If the windows don't allow it at once, it is in `queue` until `flushed`."""
        if self.http is not None:
            self.http.send(self, data, end=end)

    def credit(self, size: int) -> None:
        """`size` more received bytes were processed."""
        if self.http is not None:
            self.http.credit(self, size)

    def give_back(self) -> None:
        """Cancel it (RST_STREAM with CANCEL, unless it is closed)."""
        if self.http is not None:
            self.http.cancel(self)

    @property
    def goaway(self) -> str:
        """Why the other side closes the connection, after its GOAWAY."""
        return self.http.goaway if self.http is not None else ""

    # --- for the connection ---------------------------------------------------------------------------------------

    @abstractmethod
    def data(self, payload: bytes, *, ended: bool) -> None:
        """A piece of the body."""

    def flushed(self) -> None:
        """The queue is empty."""
        return

    @abstractmethod
    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        """It was reset, by the other side with `code` (section 6.4), or by us (`local`) for a protocol error."""
