"""The envelopes of gRPC, of gRPC-Web and of Connect's streams: a byte of flags and four of length before each message.

gRPC over HTTP/2, "Length-Prefixed-Message"; Connect, "Streaming-Request". Compression is gzip or none.
"""

from __future__ import annotations

import binascii
import re
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from bridge.api.call import Call, GrpcReply, Reply, Trailers
from bridge.api.service import Metadata, Service
from bridge.errors import ClientError, Unsupported
from bridge.fronts.rpc import as_status, kept, lawful

MAX_MESSAGE = 8 * 1024**2  #: bytes of one message of a client's once it is decompressed
COMPRESSED = 0x01  #: this message is compressed
CODINGS = "identity, gzip"  #: what a client may compress with, as refusals list it

#: One chunk: up to its padding, or to the end.
_CHUNK = re.compile(rb"[^=]*={1,2}|[^=]+")
_HEADER = struct.Struct(">BI")
_GZIP = 16 + zlib.MAX_WBITS


def envelope(flags: int, message: bytes) -> bytes:
    return _HEADER.pack(flags, len(message)) + message


class Envelopes:
    """Cuts a client's bytes into messages, at whatever places they are split.

    :param inflate: decompresses as the call declares; None where it declares no compression.
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
    """What decompresses by `coding`, the value of one of the protocols' header fields; None for no compression.

    :param limit: bytes of one message at most.
    :raises bridge.api.ClientError: (501) it is not one of `CODINGS`.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return None
    if name != "gzip":
        # Connect: "unimplemented", with a message that lists the supported encodings. gRPC, "Compression": the same.
        accepted = [("grpc-accept-encoding", CODINGS.replace(" ", ""))]
        raise Unsupported(f"Requests may be encoded as {CODINGS}, not {name[:40]}.", headers=accepted)
    return lambda data: gunzip(data, limit)


def gunzip(data: bytes, limit: int) -> bytes:
    """One gzip member (RFC 1952). No client sends several members, so they are refused.

    :raises bridge.api.ClientError: it is not one, is cut short, is followed by other bytes, or (413) exceeds `limit`.
    """
    stream = zlib.decompressobj(wbits=_GZIP)
    try:
        message = stream.decompress(data, limit + 1)
        if len(message) <= limit and not stream.eof:
            message += stream.decompress(stream.unconsumed_tail, limit + 1 - len(message))
    except zlib.error:
        raise ClientError("A part that is declared as gzip is something else.") from None
    if len(message) > limit:
        raise ClientError(f"One message may have at most {limit} bytes once it is decompressed.", status=413)
    if not stream.eof or stream.unused_data:
        raise ClientError("A part that is declared as gzip does not end where its compression does.")
    return message


class Base64Text:
    """The text form of gRPC-Web: base64, in chunks that may each be padded (PROTOCOL-WEB, "Text-encoded streams").

    Decodes a client's bytes, at whatever places they are split; padding may come after any group of four."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of a group of four that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> bytes:
        """:raises bridge.api.ClientError: `data` isn't base64."""
        data = self._rest + data
        whole = len(data) // 4 * 4
        self._rest = data[whole:]
        groups = data[:whole]
        try:
            if b"=" not in groups:
                return binascii.a2b_base64(groups, strict_mode=True)
            return b"".join(binascii.a2b_base64(chunk, strict_mode=True) for chunk in _CHUNK.findall(groups))
        except binascii.Error:
            raise ClientError("The body is not base64, though declared as grpc-web-text.") from None

    def finish(self) -> None:
        """:raises bridge.api.ClientError: the bytes end within a group of four."""
        if self._rest:
            raise ClientError("The body ends within a group of four characters of its base64.")


class EnvelopeWriter(ABC):
    """How one call is answered: the half of a `bridge.api.stream.StreamTranslation` that goes down.

    :cvar reserved: names of metadata that begin so belong to the protocol.
    :param json: messages are JSON.
    """

    reserved: ClassVar[tuple[str, ...]]

    def __init__(self, service: Service, media_type: str, *, json: bool) -> None:
        self.service, self.media_type = service, media_type
        self._write = service.write_json if json else bytes

    def fields(self, metadata: Metadata) -> list[tuple[str, str]]:
        returned = lawful(self.service.returned(metadata, ()), (*self.reserved, "content-"))
        return [("content-type", self.media_type), *returned]

    def head(self, metadata: Metadata) -> Reply:
        return Reply(200, [*self.fields(metadata), ("x-accel-buffering", "no")])  # proxies must not buffer a stream

    def message(self, message: bytes) -> bytes:
        return envelope(0, self._write(message))

    @abstractmethod
    def end(self, inbound: GrpcReply) -> bytes | Trailers:
        """The end of a stream's answer, with the call's status."""

    def fail(self, problem: Mapping[str, Any]) -> bytes | Trailers:
        return self.end(as_status(self.service, problem))

    @abstractmethod
    def reply(self, inbound: GrpcReply) -> Reply:
        """The whole answer to a call of one message."""

    def refusal(self, problem: Mapping[str, Any], reply: Reply) -> Reply:
        refused = self.reply(as_status(self.service, problem, reply.headers))
        return Reply(refused.status, [*refused.headers, *kept(reply)], refused.body)


class EnvelopeStream:
    """`bridge.api.stream.StreamTranslation` of a call in envelopes: this side reads, `writer` answers.

    :param coding: the header field that names the compression of single messages.
    :param json: messages are JSON. :param text: the client's bytes are base64.
    :raises bridge.api.ClientError: the one message of a call that takes no stream can't be read.
    """

    heartbeat = b""  # none of the protocols has bytes that say nothing
    head_first = False

    def __init__(
        self, call: Call, service: Service, writer: EnvelopeWriter, *, coding: str, json: bool, text: bool = False
    ) -> None:
        self.sends = service.client_streaming
        self.answers_once = service.client_streaming and not service.server_streaming
        self._read = service.read_json if json else bytes
        self._complete = service.completing(call)
        self._envelopes = Envelopes(decompressor(call.header(coding), MAX_MESSAGE))
        self._text = Base64Text() if text else None
        message = b"" if self.sends else self._only(call)
        if self.sends and decompressor(call.header("content-encoding"), 0) is not None:
            reason = "The body of a stream can't be encoded as a whole; its messages may be."
            raise Unsupported(reason)
        self.request = service.outgoing(call, message)
        self.head, self.message, self.end = writer.head, writer.message, writer.end
        self.fail, self.reply = writer.fail, writer.reply

    @property
    def pending(self) -> int:
        return self._envelopes.pending + (self._text.pending if self._text else 0)

    def feed(self, data: bytes) -> Iterable[bytes]:
        if self._text:
            data = self._text.feed(data)
        return (self._complete(self._read(message)) for message in self._envelopes.feed(data))

    def finish(self) -> Iterable[bytes]:
        if self._text:
            self._text.finish()
        self._envelopes.finish()
        return ()

    def _only(self, call: Call) -> bytes:
        """The one message of the body. gRPC, "Status codes": another number of them is UNIMPLEMENTED."""
        messages = list(islice(self.feed(whole_body(call)), 2))
        if len(messages) > 1:
            raise Unsupported("This method takes one message; there are more in the body.")
        self.finish()
        if not messages:
            raise Unsupported("This method takes one message; there is none in the body.")
        return messages[0]


def whole_body(call: Call) -> bytes:
    """The body without its ``Content-Encoding``. Connect: zero-length content is never decompressed.

    :raises bridge.api.ClientError: the coding is not known, or the body isn't what it says.
    """
    inflate = decompressor(call.header("content-encoding"), MAX_MESSAGE)
    return inflate(call.body) if inflate and call.body else call.body
