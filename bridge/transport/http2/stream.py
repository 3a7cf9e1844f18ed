"""One stream of an HTTP/2 connection (RFC 9113, section 5): what the connection keeps of it, and tells it."""

from __future__ import annotations

from typing import Protocol

from bridge.transport.http2.fields import Fields


class Carrier(Protocol):
    """What a stream needs of its connection (`bridge.transport.http2.connection.Connection`)."""

    farewell: str

    def send(self, stream: Stream, data: bytes, *, end: bool = False) -> None: ...

    def credit(self, stream: Stream, size: int) -> None: ...

    def cancel(self, stream: Stream) -> None: ...


class Stream:
    """What a request is to the connection. Whoever makes requests derives from it; the methods are called by the
    connection as frames come in, and must not raise.

    :ivar http: the connection that it is on.
    :ivar id: 0 until it is sent.
    :ivar window: bytes that may be sent before the other side gives more (section 5.2).
    :ivar room: bytes that it may still send us.
    :ivar owed: bytes received that `Connection.credit` has not given back yet.
    :ivar queue: what is to be sent once windows allow; `last` says that nothing follows.
    :ivar sent: our side has ended. `ended`: theirs has.
    """

    __slots__ = ("ended", "http", "id", "last", "owed", "queue", "room", "sent", "window")

    def __init__(self) -> None:
        self.http: Carrier | None = None
        self.id = 0
        self.window = self.room = self.owed = 0
        self.queue: memoryview | None = None
        self.last = self.sent = self.ended = False

    # --- for whoever made it --------------------------------------------------------------------------------------

    def send(self, data: bytes, *, end: bool = False) -> None:
        """More of the body. Where the windows don't take it at once, `queue` holds it until `flushed`."""
        if self.http is not None:
            self.http.send(self, data, end=end)

    def credit(self, size: int) -> None:
        """`size` more bytes of what came were used up."""
        if self.http is not None:
            self.http.credit(self, size)

    def give_back(self) -> None:
        """It is of no more use (RST_STREAM with CANCEL, where it isn't closed)."""
        if self.http is not None:
            self.http.cancel(self)

    @property
    def farewell(self) -> str:
        """Why the other side gives the connection up, once it has said so."""
        return self.http.farewell if self.http is not None else ""

    # --- for the connection ---------------------------------------------------------------------------------------

    def headers(self, fields: Fields, *, ended: bool) -> None:
        """A header section: informational, the response's, or the trailers."""
        raise NotImplementedError

    def data(self, payload: bytes, *, ended: bool) -> None:
        """A piece of the body."""
        raise NotImplementedError

    def flushed(self) -> None:
        """The queue is empty."""

    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        """It was reset, by the other side with `code` (section 6.4), or by us (`local`) for a rule that was broken."""
        raise NotImplementedError

    def lost(self, cause: str, *, untouched: bool) -> None:
        """The connection is gone, or won't have it. `untouched`: the other side has not seen it, or says that it did
        nothing about it (sections 6.8, 8.7), so that it may be sent again whatever it was."""
        raise NotImplementedError
