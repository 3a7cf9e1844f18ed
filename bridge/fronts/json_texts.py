"""Cuts what a client sends into the texts of messages: items of an array, texts in sequence, frames, or raw pieces.

Texts are not parsed here; each is judged by its reader. Each byte is scanned once, by a pattern that runs in C from one
bracket, comma or quote to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from bridge.errors import InvalidBody

_SPACE = b" \t\r\n"
_CLOSING = ord("]")
_SPACES = re.compile(rb"[ \t\r\n]*")
_BOM = b"\xef\xbb\xbf"
#: From the outside of a string: the next thing that matters. From the inside: all but its end.
_MARK = re.compile(rb'["\[\]{},]')
_MARK_OR_SPACE = re.compile(rb'["\[\]{}]|[ \t\r\n]+')
_WITHIN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class Cutter(Protocol):
    """Cuts bytes into the texts of messages."""

    @property
    def pending(self) -> int:
        """Bytes of a text that is not complete yet."""
        ...

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> Iterator[bytes]:
        """:raises bridge.api.InvalidBody: the bytes end within a message."""
        ...


class Pieces:
    """Each piece is a message: a frame of a WebSocket, or a part of a raw body as it came."""

    pending = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data

    def finish(self) -> Iterator[bytes]:
        return iter(())


class Texts:
    """JSON texts: the items of one array, or a sequence with white space between (NDJSON, or a single object). The
    first character tells which."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # where the search continues
        self._depth = 0
        self._quoted = False  # whether that is within a string
        self._begun = -1  # where the current message begins; -1: between two
        self._array: bool | None = None
        self._comma = False  # an item must follow
        self._count = 0
        self._closed = False

    @property
    def pending(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._data += data
        if self._array is None and not self._opened():
            return
        yield from self._cut()
        self._drop()

    def finish(self) -> Iterator[bytes]:
        if self._array is None and not self._data.strip(_SPACE):
            return
        if not self._array:
            # Nothing follows a number, word or string at the very end that would complete it.
            if self._begun >= 0 and self._depth == 0 and not self._quoted:
                yield self._take(len(self._data))
            if self._begun < 0:
                return
        elif self._closed:
            return
        raise self._wrong("the body ends within it" if self._begun >= 0 else "the array is not closed")

    def _opened(self) -> bool:
        """Whether the first character is there; it tells an array from a sequence."""
        if len(self._data) < len(_BOM) and _BOM.startswith(self._data) and self._data:
            return False
        if self._data.startswith(_BOM):
            del self._data[:3]
        bare = self._data.lstrip(_SPACE)
        if not bare:
            self._data.clear()
            return False
        self._at = len(self._data) - len(bare)
        self._array = bare[:1] == b"["
        if self._array:
            self._at += 1
        return True

    def _drop(self) -> None:
        """Forgets what has been cut off."""
        done = self._at if self._begun < 0 else self._begun
        if done:
            del self._data[:done]
            self._at -= done
            self._begun = min(0, self._begun)

    def _take(self, end: int) -> bytes:
        text = bytes(self._data[self._begun : end])
        self._begun = -1
        self._count += 1
        return text

    def _cut(self) -> Iterator[bytes]:
        data, array = self._data, self._array
        marks = _MARK if array else _MARK_OR_SPACE
        while True:
            if self._begun < 0:
                self._at = _after_space(data, self._at)
                if self._at >= len(data):
                    return
                if array and self._closed:
                    raise self._wrong("something follows the array")
                if array and not self._comma and data[self._at] == _CLOSING:
                    self._closed = True
                    self._at += 1
                    continue
                self._begun = self._at
            if self._quoted and not self._unquoted():
                return
            match = marks.search(data, self._at)
            if match is None:
                self._at = len(data)
                return
            mark, self._at = match[0], match.end()
            if mark == b'"':
                self._quoted = True
            elif mark in b"[{":
                self._depth += 1
            elif self._depth:
                self._depth -= mark in b"]}"
                if not self._depth and not array:
                    yield self._take(self._at)
            elif mark == b"}" or (mark == b"]" and not array):
                raise self._wrong("a bracket closes what was not opened")
            else:
                if array:
                    self._comma, self._closed = mark == b",", mark == b"]"
                    if not data[self._begun : match.start()].strip(_SPACE):
                        raise self._wrong("it is empty")
                yield self._take(match.start())

    def _unquoted(self) -> bool:
        """Moves to the string's end; whether that has come. A backslash at the very end waits for the next byte."""
        within = _WITHIN.match(self._data, self._at)
        assert within is not None
        self._at = within.end()
        if self._data[self._at : self._at + 1] != b'"':
            return False
        self._at += 1
        self._quoted = False
        return True

    def _wrong(self, reason: str) -> InvalidBody:
        return InvalidBody([(f"/{self._count}", reason)], f"Message {self._count + 1} can't be read: {reason}.")


def _after_space(data: bytearray, at: int) -> int:
    spaces = _SPACES.match(data, at)
    assert spaces is not None
    return spaces.end()
