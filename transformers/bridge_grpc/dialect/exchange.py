"""A streaming call in envelopes, of either protocol: this side reads, an `Answer` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

from bridge.api import Call, ClientError, GrpcReply, GrpcRequest, Reply
from bridge_grpc.dialect.base64_text import Base64Text
from bridge_grpc.dialect.framing import Envelopes, decompressor
from bridge_grpc.dialect.interface import Metadata, Rpc


class Answer(Protocol):
    """How one call is answered; the methods are those of `bridge.api.stream.Exchange`."""

    def head(self, metadata: Metadata) -> Reply: ...

    def message(self, message: bytes) -> bytes: ...

    def end(self, inbound: GrpcReply) -> bytes: ...

    def fail(self, problem: Mapping[str, Any]) -> bytes: ...

    def reply(self, inbound: GrpcReply) -> Reply: ...


class EnvelopedExchange:
    """`bridge.api.stream.Exchange` for both.

    :param coding: the header field that names the compression of single messages.
    :param read: one message of the client's -> the serialised request.
    :param text: the client's bytes are base64.
    :raises bridge.api.ClientError: the one message of a call that takes no stream can't be read.
    """

    heartbeat = b""  # neither protocol has bytes that say nothing

    def __init__(
        self,
        call: Call,
        rpc: Rpc,
        answer: Answer,
        *,
        coding: str,
        read: Callable[[bytes], bytes],
        text: bool = False,
    ) -> None:
        self.sends = rpc.client_streaming
        self.answers_once = rpc.client_streaming and not rpc.server_streaming
        self._read, self._complete = read, rpc.completing(call)
        self._envelopes = Envelopes(decompressor(call.header(coding), rpc.max_message))
        self._text = Base64Text() if text else None
        message = b"" if self.sends else self._only(call, rpc)
        if self.sends and decompressor(call.header("content-encoding"), 0) is not None:
            reason = "The body of a stream can't be encoded as a whole; its messages may be."
            raise ClientError(reason, status=501)
        self.request = GrpcRequest(rpc.path, message, rpc.metadata(call), *rpc.settings)
        self.head, self.message, self.end = answer.head, answer.message, answer.end
        self.fail, self.reply = answer.fail, answer.reply

    @property
    def pending(self) -> int:
        return self._envelopes.pending + (self._text.pending if self._text else 0)

    def feed(self, data: bytes) -> Iterable[bytes]:
        return self._messages(data)

    def finish(self) -> Iterable[bytes]:
        if self._text:
            self._text.finish()
        self._envelopes.finish()
        return ()

    def _messages(self, data: bytes) -> Iterable[bytes]:
        if self._text:
            data = self._text.feed(data)
        return (self._complete(self._read(message)) for message in self._envelopes.feed(data))

    def _only(self, call: Call, rpc: Rpc) -> bytes:
        """The one message of the body. gRPC, "Status codes": another number of them is UNIMPLEMENTED."""
        messages = list(islice(self._messages(whole_body(call, rpc)), 2))
        if len(messages) > 1:
            raise ClientError("This method takes one message; there are more in the body.", status=501)
        self.finish()
        if not messages:
            raise ClientError("This method takes one message; there is none in the body.", status=501)
        return messages[0]


def whole_body(call: Call, rpc: Rpc) -> bytes:
    """The body without its ``Content-Encoding``. Connect: zero-length content is never decompressed.

    :raises bridge.api.ClientError: the coding is not known, or the body isn't what it says.
    """
    inflate = decompressor(call.header("content-encoding"), rpc.max_message)
    return inflate(call.body) if inflate and call.body else call.body
