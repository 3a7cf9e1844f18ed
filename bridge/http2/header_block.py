"""A header block that comes in several frames: HEADERS and its CONTINUATIONs (RFC 9113, section 6.10)."""

from __future__ import annotations

from bridge.http2 import frames
from bridge.http2.frames import Http2Error

BLOCK = 1024 * 1024  #: bytes of one block, including those that are dropped


class HeaderBlock:
    """:param flags: of its HEADERS.
    :param max_size: bytes that are kept: a block is never longer than the counted size of its section (section 6.5.2).
    :ivar size: all of its bytes.
    """

    __slots__ = ("_kept", "_max_size", "flags", "size", "stream")

    def __init__(self, stream: int, flags: int, payload: bytes, max_size: int) -> None:
        self.stream, self.flags, self.size = stream, flags, len(payload)
        self._kept, self._max_size = bytearray(payload), max_size

    def more(self, flags: int, stream: int, payload: bytes) -> bytes | None:
        """One CONTINUATION; returns the whole block after the last one.

        :raises Http2Error: it is of another stream, or the block has no end.
        """
        if stream != self.stream:
            raise Http2Error(frames.PROTOCOL_ERROR, "a CONTINUATION of another stream")
        last = flags & frames.END_HEADERS
        self.size += len(payload)
        if self.size > BLOCK or not (payload or last):
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "a header block without end")
        if self.size <= self._max_size:
            self._kept += payload
        return bytes(self._kept) if last else None
