"""The chunked transfer coding (RFC 9112, section 7.1), undone without I/O.

Stricter than llhttp in what could hide a second reading: every line ends with CRLF, an extension (section 7.1.1) holds
no control character, and no trailer frames the message (RFC 9110, section 6.5.1). Blanks after a size are passed over,
as old services send them. Extensions and trailers are read and dropped, as section 7.1.2 allows.
"""

from __future__ import annotations

import re

from bridge.errors import BadReply
from bridge.upstream.client import MAX_FIELD, too_long
from bridge.upstream.http11.head import MAX_FIELDS, MAX_HEAD, read_field

MAX_LINE = 4096  #: bytes of a line with a chunk's size and its extensions

# Fifteen digits with zeros before them are more than any limit. An extension's content is nobody's business here.
_SIZE = re.compile(rb"0{0,16}([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")

_UNFIT = frozenset(("content-length", "transfer-encoding", "host"))

_AT_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILER, _DONE = range(5)


class Chunked:
    """One body. `feed` it until it says that the body is whole; `parts` are its pieces.

    :param limit: bytes of the body that are taken.
    """

    __slots__ = ("_buffer", "_limit", "_needed", "_room", "_state", "_trailer", "parts", "rest")

    def __init__(self, limit: int) -> None:
        self.parts: list[bytes] = []
        self.rest = b""  #: what follows the body
        self._buffer = b""  # a line that has not ended yet
        self._state = _AT_SIZE
        self._needed = 0  # bytes of this chunk still to come
        self._limit = self._room = limit
        self._trailer: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        """Whether the body is whole now.

        :raises BadReply: a broken coding, or too many bytes.
        """
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        pieces: list[bytes] = []
        whole = self._walk(data, pieces)
        if pieces:  # joined, or chunks of a byte each would take forty times their room
            self.parts.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return whole

    def _walk(self, data: bytes, pieces: list[bytes]) -> bool:
        at, end = 0, len(data)
        while at < end:
            state = self._state
            if state == _IN_DATA:
                part = data[at : at + self._needed]
                pieces.append(part)
                at += len(part)
                self._needed -= len(part)
                if not self._needed:
                    self._state = _AFTER_DATA
            elif state == _AFTER_DATA:
                if end - at < 2 and data[at:] == b"\r":
                    self._buffer = b"\r"
                    return False
                if data[at : at + 2] != b"\r\n":
                    raise BadReply(cause="a chunk is longer than its size")
                at += 2
                self._state = _AT_SIZE
            else:
                found = data.find(b"\r\n", at)
                if found < 0:
                    self._keep(data[at:])
                    return False
                line, at = data[at:found], found + 2
                if state == _AT_SIZE:
                    self._size(line)
                elif line:
                    self._trailing(line)
                else:
                    self._end()
                    self.rest = data[at:]
                    return True
        return False

    def _keep(self, line: bytes) -> None:
        """A line that has not ended. It is short, so that to join it again and again costs little."""
        if len(line) > (MAX_LINE if self._state == _AT_SIZE else MAX_FIELD):
            raise BadReply(cause="a line between the chunks is too long")
        if b"\n" in line:
            raise BadReply(cause="a line between the chunks ends with a bare LF")
        self._buffer = line

    def _size(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line) if len(line) <= MAX_LINE else None
        if found is None:
            raise BadReply(cause=f"no chunk size: {line[:40]!r}")
        size = int(found[1], 16)
        self._room -= size
        if self._room < 0:
            raise too_long(f"more than {self._limit} bytes")
        self._needed = size
        self._state = _IN_DATA if size else _IN_TRAILER

    def _trailing(self, line: bytes) -> None:
        self._trailer.append(line)
        if len(self._trailer) > MAX_FIELDS or len(line) > MAX_FIELD or sum(map(len, self._trailer)) > MAX_HEAD:
            raise BadReply(cause="the trailer section is too long")

    def _end(self) -> None:
        self._state = _DONE
        for line in self._trailer:
            (name, _), _ = read_field(line)
            if name in _UNFIT:
                raise BadReply(cause=f"{name} in a trailer")
