"""One request of a client, as a stream of an HTTP/2 connection."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

from bridge.http2.stream import StreamState
from bridge.transport.http2.fields import Fields


class Carrier(Protocol):
    """The connection, as a stream uses it (`bridge.transport.http2.connection.Http2Connection`)."""

    goaway: str

    def send(self, stream: Any, data: bytes, *, end: bool = False) -> None: ...

    def credit(self, stream: Any, size: int) -> None: ...

    def cancel(self, stream: Any) -> None: ...


class Http2Stream(StreamState):
    """The abstract methods are called by the connection as frames come in, and must not raise.

    :ivar http: the connection that it is on.
    """

    __slots__ = ("ended", "finished", "http", "id", "last", "queue", "recv_window", "unacked", "window")

    def __init__(self) -> None:
        self.http: Carrier | None = None
        self.id = 0
        self.window = self.recv_window = self.unacked = 0
        self.queue: memoryview | None = None
        self.last = self.finished = self.ended = False

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
    def headers(self, fields: Fields, *, ended: bool) -> None:
        """A header section: informational, the response's, or the trailers."""

    @abstractmethod
    def lost(self, cause: str, *, untouched: bool) -> None:
        """The connection is lost, or accepts no more streams. `untouched`: the other side has not received the request,
        or reports that it did not process it (sections 6.8, 8.7), so that it may be sent again in any case."""
