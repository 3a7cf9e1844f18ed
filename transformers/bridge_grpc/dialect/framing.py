"""What gRPC-Web and Connect's streams share: envelopes, a byte of flags and four of length before each message.

gRPC over HTTP/2, "Length-Prefixed-Message"; Connect, "Streaming-Request". Compression is gzip or none.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from bridge.api import ClientError

COMPRESSED = 0x01  #: this message is compressed
CODINGS = "identity, gzip"  #: what a client may compress with, as refusals list it

_HEADER = struct.Struct(">BI")
_GZIP = 16 + zlib.MAX_WBITS


def envelope(flags: int, message: bytes) -> bytes:
    return _HEADER.pack(flags, len(message)) + message


class Envelopes:
    """Cuts a client's bytes into messages, however they are split on their way.

    :param inflate: undoes the compression that the call declares; None where it declares none.
    """

    def __init__(self, inflate: Callable[[bytes], bytes] | None = None) -> None:
        self._inflate = inflate
        self._data = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of an envelope that is not complete yet."""
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that `data` completes.

        :raises bridge.api.ClientError: flags that a request can't have, or a message that can't be decompressed.
        """
        self._data += data
        at = 0
        try:
            while len(self._data) - at >= _HEADER.size:
                flags, length = _HEADER.unpack_from(self._data, at)
                self._check(flags)
                end = at + _HEADER.size + length
                if end > len(self._data):
                    return
                message = bytes(self._data[at + _HEADER.size : end])
                at = end
                # A zero-length message is not compressed, whatever its flag says.
                yield self._inflate(message) if flags and self._inflate and message else message
        finally:
            del self._data[:at]

    def finish(self) -> None:
        """:raises bridge.api.ClientError: the bytes end within an envelope."""
        if self._data:
            raise ClientError("The body ends within a message.")

    def _check(self, flags: int) -> None:
        if flags & ~COMPRESSED:
            raise ClientError(f"A message has the flags {flags:#04x}, which a request can't have.")
        if flags and self._inflate is None:
            raise ClientError("A message is marked as compressed, but the request declares no compression.")


def decompressor(coding: str, limit: int) -> Callable[[bytes], bytes] | None:
    """What undoes `coding`, the value of one of the protocols' header fields; None where there is nothing to undo.

    :param limit: bytes of one message at most.
    :raises bridge.api.ClientError: (501) it is not one of `CODINGS`.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return None
    if name != "gzip":
        # Connect: "unimplemented", with a message that lists the supported encodings. gRPC, "Compression": the same.
        accepted = [("grpc-accept-encoding", CODINGS.replace(" ", ""))]
        raise ClientError(f"Requests may be encoded as {CODINGS}, not {name[:40]}.", status=501, headers=accepted)
    return lambda data: gunzip(data, limit)


def gunzip(data: bytes, limit: int) -> bytes:
    """One gzip member (RFC 1952). More than one would have to be looked at in turn; no client sends that.

    :raises bridge.api.ClientError: it is none, is cut short, is followed by something, or (413) exceeds `limit`.
    """
    stream = zlib.decompressobj(wbits=_GZIP)
    try:
        made = stream.decompress(data, limit + 1)
        if len(made) <= limit and not stream.eof:
            made += stream.decompress(stream.unconsumed_tail, limit + 1 - len(made))
    except zlib.error:
        raise ClientError("A part that is declared as gzip is something else.") from None
    if len(made) > limit:
        raise ClientError(f"One message may have at most {limit} bytes once it is decompressed.", status=413)
    if not stream.eof or stream.unused_data:
        raise ClientError("A part that is declared as gzip does not end where its compression does.")
    return made
