"""Messages on the wire: a flag, a length, the message (PROTOCOL-HTTP2, "Length-Prefixed-Message")."""

from __future__ import annotations

import gzip
import zlib
from struct import Struct

from bridge.errors import BadReply, ReplyTooLarge

_prefix = Struct(">BL")
PREFIX = 5

INLINE = 512 * 1024  #: bytes of a compressed message that are decompressed in the event loop
BATCH, BATCH_BYTES = 64, 64 * 1024  #: messages, and their bytes on the wire, that are parsed at a time

#: The supported codings of a reply (``grpc-accept-encoding``), with zlib's parameter for each.
_BITS = {"gzip": 31, "deflate": 15}
ACCEPTED = ",".join(("identity", "deflate", "gzip"))


def encode_message(message: bytes, coding: str | None = None) -> bytes:
    """`message` with its prefix; compressed with `coding` (``gzip``, ``deflate``) if that makes it smaller."""
    if coding is not None:
        data = gzip.compress(message, 6, mtime=0) if coding == "gzip" else zlib.compress(message)
        if len(data) < len(message):
            return _prefix.pack(1, len(data)) + data
    return _prefix.pack(0, len(message)) + message


def decompress(message: bytes, coding: str, limit: int) -> bytes:
    """A message whose flag says that it is compressed.

    :param limit: bytes of the decompressed message.
    :raises bridge.errors.BadReply: it is invalid in its coding, or longer than `limit`.
    """
    plain = _inflate(message, coding, limit)
    if plain is None:
        raise too_large(f"more than {limit} bytes once it is decompressed")
    return plain


def _inflate(message: bytes, coding: str, limit: int) -> bytes | None:
    """As `decompress`; None if the result is longer than `limit`."""
    bits = _BITS.get(coding)
    if bits is None:
        raise BadReply(cause=f"a message compressed by {coding!r}")
    unpack = zlib.decompressobj(bits)
    try:
        plain = unpack.decompress(message, limit + 1)
    except zlib.error as error:
        raise BadReply(cause=f"a message that is no {coding}: {error}") from None
    if len(plain) > limit:
        return None
    if not unpack.eof or unpack.unused_data:
        raise BadReply(cause=f"a message that is no whole {coding}")
    return plain


class CompressedMessage:
    """A compressed message with a large result: decompressing it would block other calls."""

    __slots__ = ("_coding", "_limit", "_message", "size")

    def __init__(self, message: bytes, coding: str, limit: int) -> None:
        self._message, self._coding, self._limit = message, coding, limit
        self.size = min(limit, 8 * len(message))  #: estimated bytes of the result

    def unpack(self) -> bytes:
        """Raises as `decompress`."""
        return decompress(self._message, self._coding, self._limit)


def _decompress_small(message: bytes, coding: str, limit: int) -> bytes | CompressedMessage:
    """As `decompress`, for a small result."""
    if limit <= INLINE:
        return decompress(message, coding, limit)
    plain = _inflate(message, coding, INLINE)
    return plain if plain is not None else CompressedMessage(message, coding, limit)


def too_large(cause: str) -> ReplyTooLarge:
    return ReplyTooLarge("The service's answer is larger than the gateway takes.", cause=cause)


class MessageReader:
    """The messages of one call as they arrive, parsed on demand.

    :param limit: bytes of one message.
    """

    __slots__ = ("_buffer", "_limit", "_min_size", "coding")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._min_size = PREFIX  # the bytes that the next message needs at least
        self.coding = "identity"

    def __len__(self) -> int:
        """Bytes in the buffer."""
        return len(self._buffer)

    def feed(self, payload: bytes) -> None:
        self._buffer += payload

    def next_batch(self) -> list[bytes | CompressedMessage]:
        """The next complete messages, up to the size of a batch; none until one is complete.

        :raises bridge.errors.BadReply: the next one is larger than allowed, or invalid in its coding.
        """
        buffer, limit, unpack = self._buffer, self._limit, _prefix.unpack_from
        messages: list[bytes | CompressedMessage] = []
        at, size = 0, len(buffer)
        if size < self._min_size:
            return messages
        with memoryview(buffer) as view:
            while size - at >= PREFIX and at < BATCH_BYTES and len(messages) < BATCH:
                flag, length = unpack(buffer, at)
                end = at + PREFIX + length
                if flag or length > limit:
                    if messages:
                        break  # those before it are valid
                    check_prefix(flag, length, limit)
                if end > size:
                    self._min_size = end - at
                    break
                message = bytes(view[at + PREFIX : end])
                messages.append(_decompress_small(message, self.coding, limit) if flag else message)
                at = end
                self._min_size = PREFIX
        del buffer[:at]
        return messages


def check_prefix(flag: int, length: int, limit: int) -> None:
    """:raises bridge.errors.BadReply: it is not a prefix of a message, or the message is larger than allowed."""
    if flag > 1:
        raise BadReply(
            "The service behind this route does not answer in gRPC.", cause=f"a message with the flag {flag}"
        )
    if length > limit:
        raise too_large(f"a message of {length} bytes, the limit is {limit}")
