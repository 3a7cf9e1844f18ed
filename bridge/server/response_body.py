"""A response's body that is written while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from bridge.http.forwarding import trailing
from bridge.server.head import encode_fields


class Writing(Protocol):
    """The connection."""

    write_paused: bool


class ResponseBody:
    """The `bridge.api.body.BodySink` of one response's body, whose head has been written.

    :param length: bytes of the body; None if it is chunked, or ends with the connection.
    :ivar done: the outcome; None, or the error that ended it.
    :ivar sent: bytes that were written.
    """

    __slots__ = ("_chunked", "_connection", "_length", "_transport", "done", "sent")

    def __init__(self, connection: Writing, transport: Any, *, chunked: bool, length: int | None) -> None:
        self._connection, self._transport, self._chunked, self._length = connection, transport, chunked, length
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent = 0

    @property
    def unsent(self) -> int:
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def write(self, piece: bytes) -> bool:
        if self.done.done():
            return False
        self.sent += len(piece)
        if self._chunked:
            self._transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
        elif self._length is None or self.sent <= self._length:
            self._transport.write(piece)
        else:
            self.fail(wrong_length())
        return not self._connection.write_paused

    def end(self, trailers: Sequence[tuple[str, str]]) -> None:
        if self._length is not None and self.sent < self._length:
            self.fail(wrong_length())
        elif not self.done.done():
            if self._chunked:
                # An empty chunk ends the body; the trailer section follows it (RFC 9112, section 7.1).
                self._transport.write(b"0\r\n" + encode_fields(trailing(trailers)) + b"\r\n")
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def wrong_length() -> RuntimeError:
    return RuntimeError("the answer's body has another length than its Content-Length says")
