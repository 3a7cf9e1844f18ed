"""One request of a client, as a stream of an HTTP/2 connection."""

from __future__ import annotations

from abc import abstractmethod

from bridge.http2.stream import StreamState
from bridge.transport.http2.fields import Fields


class Http2Stream(StreamState):
    """The abstract methods are called by the connection as frames come in, and must not raise."""

    __slots__ = ()

    def __init__(self) -> None:
        self.http = None
        self.id = 0
        self.window = self.recv_window = self.unacked = 0
        self.queue = None
        self.last = self.sent = self.ended = False

    @abstractmethod
    def headers(self, fields: Fields, *, ended: bool) -> None:
        """A header section: informational, the response's, or the trailers."""

    @abstractmethod
    def lost(self, cause: str, *, untouched: bool) -> None:
        """The connection is lost, or accepts no more streams. `untouched`: the other side has not received the request,
        or reports that it did not process it (sections 6.8, 8.7), so that it may be sent again in any case."""
