"""Responses, one after the other: bytes in, replies out, without I/O (RFC 9112, section 6).

Interim responses (RFC 9110, section 15.2) are read and dropped, but that a 100 came is known; 101, which was not
requested, is refused. A body is collected, or its pieces go to a sink as they arrive (`Response.divert`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bridge.api.body import UNLIMITED, WHOLE
from bridge.errors import BadReply
from bridge.http.pieces import Pieces, keep
from bridge.transport.http1.chunked import Chunked
from bridge.transport.http1.exchange import reply_truncated, too_long
from bridge.transport.http1.head import CHUNKED, MAX_HEAD, UNTIL_CLOSE, Head, Heads, check_length, tidy

#: Bytes of a body from which its pieces are not joined here: that takes a millisecond.
LARGE = 1024 * 1024
MAX_INTERIM = 100  #: interim responses before one reply; more are a flood

_EMPTY_LINE = re.compile(rb"\n\r?\n")


class Response:
    """Reads one response at a time: `start`, then `feed` or `eof` until they return that it is complete.

    :ivar head: of the final response, once it has arrived.
    :ivar body: all of it, once the response is complete: its pieces if it is large; empty if it was diverted.
    :ivar trailers: the fields after it, once it is complete.
    :ivar continued: the service has sent ``100 Continue``.
    :ivar flows: the head has arrived, and the body may be diverted: it is long or of unknown length, and the request
        wants that.
    :ivar begun: a byte has arrived.
    :ivar more: not all input is processed yet: call `feed` without data to continue.
    :ivar excess: bytes arrived after the response. They belong to no request, so the connection must not be used again.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_heads",
        "_interim",
        "_limit",
        "_memo",
        "_missing",
        "_parts",
        "_sink",
        "_streams",
        "_without_body",
        "begun",
        "body",
        "continued",
        "excess",
        "flows",
        "head",
        "more",
        "trailers",
    )

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._memo = heads.known
        self._buffer: bytearray | None = None  # an incomplete head
        self._interim = 0
        self._parts: Pieces | None = None  # of an incomplete body …
        self._missing = 0  # … and the bytes that it lacks, or that are still accepted
        self._chunked: Chunked | None = None
        self._sink: Callable[[bytes], None] | None = None
        self.body: bytes | Pieces = b""
        self.trailers: list[tuple[str, str]] = []
        self.start(without_body=False, limit=0)

    def start(self, *, without_body: bool, limit: int, streams: bool = False) -> None:
        """To be called before the first response, and after a complete one.

        :param without_body: the request was HEAD (section 6.3, item 1).
        :param limit: bytes of a body that is collected.
        :param streams: the body may be diverted, unless the status is 400 or more: an error is taken whole.
        """
        self.head: Head | None = None
        self.begun = self.excess = self.more = self.continued = self.flows = False
        self._streams = streams
        self._without_body = without_body
        self._limit = limit

    def feed(self, data: bytes) -> bool:
        """Whether the response is complete now.

        :raises BadReply: it breaks HTTP, or is too long.
        """
        self.begun = True
        head = self.head
        if head is None and self._buffer is None:
            end = data.find(b"\r\n\r\n") + 4
            head = self._memo.get(data[:end])  # an end of 3 finds nothing
            if head is not None:
                self.head = head
                data = data[end:]
        while head is None:
            rest = self._read_head(data)
            if rest is None:
                return False
            data, head = rest, self.head
        return self._read_body(head, data)

    def divert(self, sink: Callable[[bytes], None]) -> None:
        """From now on the body goes to `sink`, with what has arrived of it. Allowed once `flows` is true."""
        assert self._parts is not None
        parts = self._parts[:]
        self._parts.clear()
        if self._chunked is not None:
            self._chunked.sink = sink
        self._sink = sink
        for part in parts:
            sink(bytes(part))

    def take_body(self) -> bytes | Pieces:
        """The body; it is released here."""
        body, self.body = self.body, b""
        return body

    def eof(self) -> bool:
        """The connection was closed properly. Whether the response is complete.

        :raises BadReply: it is incomplete.
        """
        if self.head is None:
            raise BadReply(cause="the connection ended within the reply's head")
        if self.head.length != UNTIL_CLOSE or self._parts is None:
            raise reply_truncated("the connection ended within the reply's body")
        return self._complete(b"")

    def _read_head(self, data: bytes) -> bytes | None:
        """The bytes after the head in `data`, or None if it is incomplete. `head` stays None after an interim one."""
        if self._buffer is not None:
            self._buffer += data
            # The end may begin in the previous part, so its last bytes are searched again; a head may arrive byte by
            # byte.
            match = _EMPTY_LINE.search(self._buffer, max(0, len(self._buffer) - len(data) - 3))
            if match is None:
                self._check_size(len(self._buffer))
                return None
            data, self._buffer = bytes(self._buffer), None
            end = match.end()
        else:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 and (match := _EMPTY_LINE.search(data)) is not None:
                end = match.end()
            if end < 4:
                self._check_size(len(data))
                self._buffer = bytearray(data)
                return None
        return self._take_head(data, end)

    def _take_head(self, data: bytes, end: int) -> bytes | None:
        raw = data[:end]
        if raw.count(b"\n") != raw.count(b"\r\n") or not raw.startswith(b"HTTP/"):
            # A head with bare LFs, which may end before the first CRLF CRLF; or empty lines before it.
            plain = data.lstrip(b"\r\n")
            match = _EMPTY_LINE.search(plain)
            if match is None:
                self._check_size(len(data))
                self._buffer = bytearray(plain)
                return None
            data, end = plain, match.end()
            raw = tidy(data[:end])
        self._check_size(end)
        head = self._heads.read(raw)
        if head.status >= 200:
            self.head = head
        elif head.status == 101:
            raise BadReply(cause="status 101, and nobody asked for another protocol")
        else:
            self.continued = self.continued or head.status == 100
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadReply(cause=f"more than {MAX_INTERIM} interim responses")
        return data[end:]

    def _read_body(self, head: Head, data: bytes) -> bool:
        length = 0 if self._without_body else head.length
        parts = self._parts
        if parts is None:
            if len(data) == length <= self._limit:  # it arrived in one piece
                self.body = data
                self._interim = 0
                return True
            limit = self._limit
            if self._streams and head.status < 400 and not 0 <= length <= WHOLE:
                self.flows, limit = True, UNLIMITED
            if length >= 0:
                check_length(length, limit)
            parts = self._parts = []
            self._missing = length if length >= 0 else limit
            if length == CHUNKED:
                self._chunked = Chunked(limit)
                self._parts = self._chunked.parts
        chunked = self._chunked
        if chunked is not None:
            complete = chunked.feed(data)
            self.more = chunked.more
            return complete and self._complete(chunked.rest)
        self._missing -= len(data)
        if length == UNTIL_CLOSE and self._missing < 0:
            raise too_long(f"more than {self._limit} bytes")
        if length == UNTIL_CLOSE or self._missing > 0:
            if data:
                self._take(parts, data)
            return False
        end = len(data) + self._missing
        self._take(parts, data[:end] if self._missing else data)
        return self._complete(data[end:])

    def _take(self, parts: Pieces, data: bytes) -> None:
        if self._sink is None:
            keep(parts, data)
        else:
            self._sink(data)

    def _complete(self, rest: bytes) -> bool:
        """:raises BadReply: `rest`, which arrived with the end of the response, is not an empty line.

        Old services send one after bodies; anything else shows that the head is wrong.
        """
        if rest:
            if rest.strip(b"\r\n"):
                raise BadReply(cause=f"something follows the reply: {rest[:40]!r}")
            self.excess = True
        assert self._parts is not None
        parts = self._parts or [b""]
        if len(parts) == 1:
            self.body = bytes(parts[0])
        elif sum(map(len, parts)) > LARGE:
            self.body = parts
        else:
            self.body = b"".join(parts)
        self.trailers = self._chunked.trailers if self._chunked is not None else []
        self._parts = self._chunked = self._sink = None
        self._interim = 0
        return True

    @staticmethod
    def _check_size(size: int) -> None:
        if size > MAX_HEAD:
            raise BadReply(cause=f"the reply's head has more than {MAX_HEAD} bytes")
