"""One stream of an HTTP/2 connection (RFC 9113, section 5): what the connection keeps of it, and tells it."""

from __future__ import annotations

from bridge.upstream.http2.fields import Fields


class Stream:
    """What a request is to the connection. Whoever makes requests derives from it; the methods are called by the
    connection as frames come in, and must not raise.

    :ivar id: 0 until it is sent.
    :ivar window: bytes that may be sent before the other side gives more (section 5.2).
    :ivar room: bytes that it may still send us.
    :ivar owed: bytes received that `Connection.credit` has not given back yet.
    :ivar queue: what is to be sent once windows allow; `last` says that nothing follows.
    :ivar sent: our side has ended. `ended`: theirs has.
    """

    __slots__ = ("ended", "id", "last", "owed", "queue", "room", "sent", "window")

    def __init__(self) -> None:
        self.id = 0
        self.window = self.room = self.owed = 0
        self.queue: memoryview | None = None
        self.last = self.sent = self.ended = False

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
