"""Decoding of the chunked transfer coding (RFC 9112, section 7.1), without I/O.

Stricter than llhttp where two parsers could disagree: every line ends with CRLF, an extension (section 7.1.1) has no
control characters, and no trailer frames the message (RFC 9110, section 6.5.1). Blanks after a size are ignored, since
old services send them. Extensions are read and dropped.

Services that write single bytes send a chunk of six bytes for each. So many small chunks are read together
(`Chunked._read_small_chunks`), and input is processed in steps of `WORK`, between which other connections are served.
Bytes of a chunk's line beside its size are limited in the way of Go's ``net/http`` (`EXCESS`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from bridge.errors import BadReply
from bridge.http.field_value import CONTROLS
from bridge.http.pieces import Pieces, keep
from bridge.transport.http1.exchange import MAX_FIELD, too_long
from bridge.transport.http1.head import MAX_FIELDS, MAX_HEAD, read_field

MAX_LINE = 4096  #: bytes of a line with a chunk's size and its extensions
#: Bytes of framing that are accepted, beyond 16 and twice its size for each chunk.
EXCESS = 16 * 1024
WORK = 8000  #: units of work in one step; a small chunk among many counts 1
ONE = 6  #: units of any other chunk, by the time that it takes
_MIN_WINDOW, _MAX_WINDOW = 512, 16 * 1024  #: bytes that are tried as many small chunks
_SINGLES = 16, 1024  #: chunks that are read one by one after a try has failed: at first, and at most

# Fifteen digits after leading zeros are more than any limit. The content of extensions is ignored.
_SIZE = re.compile(rf"0{{0,16}}([0-9A-Fa-f]{{1,15}})[ \t]*(?:;[^{CONTROLS}]*)?".encode())

#: Small sizes as services usually write them.
_SMALL = {form % size: size for size in range(1, 1024) for form in (b"%x", b"%X")}

_FORBIDDEN = frozenset(("content-length", "transfer-encoding", "host"))

_AT_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILER, _DONE = range(5)


class Chunked:
    """One body. Call `feed` until it returns that the body is complete.

    :param limit: bytes of the body that are accepted.
    :ivar parts: its pieces, unless `sink` is set.
    :ivar sink: takes each piece; may be set at any time.
    :ivar trailers: the fields after the body, once it is complete.
    :ivar more: not all input is processed yet: call `feed` with no data to continue.
    """

    __slots__ = (
        "_buffer",
        "_excess",
        "_limit",
        "_missing",
        "_remaining",
        "_single",
        "_singles",
        "_state",
        "_trailer",
        "_window",
        "more",
        "parts",
        "rest",
        "sink",
        "trailers",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.parts: Pieces = []
        self.sink: Callable[[bytes], None] = partial(keep, self.parts)
        self.trailers: list[tuple[str, str]] = []
        self.more = False
        self._excess = 0
        self._window = _MIN_WINDOW  # bytes to look at for many chunks
        self._singles = _SINGLES[0]
        self._single = 1  # chunks to read before that is worth a try
        self.rest = b""  #: what follows the body
        self._buffer = b""  # a line that has not ended yet
        self._state = _AT_SIZE
        self._missing = 0  # bytes of this chunk still to come
        self._limit = self._remaining = limit
        self._trailer: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        """Whether the body is complete now.

        :raises BadReply: a broken coding, or too many bytes.
        """
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        self.more = False
        pieces: list[bytes] = []
        complete = self._parse(data, pieces)
        if pieces:  # joined, since chunks of one byte each would take forty times their size
            self.sink(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return complete

    def _parse(self, data: bytes, pieces: list[bytes]) -> bool:
        at, end, work = 0, len(data), WORK
        while at < end:
            state = self._state
            if state == _AT_SIZE:
                if work <= 0:
                    self._buffer, self.more = data[at:], True
                    return False
                work -= ONE
                self._single -= 1
                if self._single < 0 and end - at > _MIN_WINDOW:
                    count, at = self._read_small_chunks(data, at, pieces)
                    work -= count
                    if count:
                        continue
            if state == _IN_DATA:
                part = data[at : at + self._missing]
                pieces.append(part)
                at += len(part)
                self._missing -= len(part)
                if not self._missing:
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
                line_end = data.find(b"\r\n", at)
                if line_end < 0:
                    self._keep(data[at:])
                    return False
                line, at = data[at:line_end], line_end + 2
                if state == _AT_SIZE:
                    self._size(line)
                elif line:
                    self._trailing(line)
                else:
                    self._end()
                    self.rest = data[at:]
                    return True
        return False

    def _read_small_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> tuple[int, int]:
        """Read many small chunks with few calls into C.

        :return: how many, and the position of the next one. Only `_parse` reads chunks with an extension, with a line
            end in their data, or at the end of `data`.
        """
        parts = data[at : at + self._window].split(b"\r\n")
        count = (len(parts) - 1) // 2
        sizes, texts = parts[: 2 * count : 2], parts[1 : 2 * count : 2]
        expected, lengths = list(map(_SMALL.get, sizes)), list(map(len, texts))
        if expected == lengths:
            self._window = min(2 * self._window, _MAX_WINDOW)
        else:
            count = next(number for number, size in enumerate(expected) if size != lengths[number])
            self._window = _MIN_WINDOW
            sizes, texts, lengths = sizes[:count], texts[:count], lengths[:count]
        if count < _SINGLES[0]:
            self._single, self._singles = self._singles, min(2 * self._singles, _SINGLES[1])
        else:
            self._singles = _SINGLES[0]
        size = sum(lengths)
        self._remaining -= size
        if self._remaining < 0:
            raise too_long(f"more than {self._limit} bytes")
        if count:
            pieces.append(b"".join(texts))
        return count, at + size + sum(map(len, sizes)) + 4 * count

    def _keep(self, line: bytes) -> None:
        """Keep the beginning of a line. It is short, so joining it with the rest is cheap."""
        if len(line) > (MAX_LINE if self._state == _AT_SIZE else MAX_FIELD):
            raise BadReply(cause="a line between the chunks is too long")
        _check_end(line)
        self._buffer = line

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line) if len(line) <= MAX_LINE else None
        if match is None:
            _check_end(line)
            raise BadReply(cause=f"no chunk size: {line[:40]!r}")
        size = int(match[1], 16)
        self._excess = max(0, self._excess + len(line) - 16 - 2 * size)
        if self._excess > EXCESS:
            raise BadReply(cause="the chunks hold too much that is no data")
        self._remaining -= size
        if self._remaining < 0:
            raise too_long(f"more than {self._limit} bytes")
        self._missing = size
        self._state = _IN_DATA if size else _IN_TRAILER

    def _trailing(self, line: bytes) -> None:
        _check_end(line)
        self._trailer.append(line)
        if len(self._trailer) > MAX_FIELDS or len(line) > MAX_FIELD or sum(map(len, self._trailer)) > MAX_HEAD:
            raise BadReply(cause="the trailer section is too long")

    def _end(self) -> None:
        self._state = _DONE
        for line in self._trailer:
            field, _ = read_field(line)
            if field[0] in _FORBIDDEN:
                raise BadReply(cause=f"{field[0]} in a trailer")
            self.trailers.append(field)


def _check_end(line: bytes) -> None:
    """:raises BadReply: `line` contains a bare LF."""
    if b"\n" in line:
        raise BadReply(cause="a line between the chunks ends with a bare LF")
