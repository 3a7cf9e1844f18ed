"""Operations that stream: the codec, the translation of one call, and the streaming call to the upstream.

A stream can't change its status at the end, so its codec differs from a unary one. Both are sans-IO: bytes of the
client in, serialised messages out, and the reverse. The gateway reads, sends, waits and cancels::

    Call ── StreamCodec.open ──> StreamTranslation        once for each call
      client's bytes ── feed, finish ──> messages ──> the service
      client <── head, message, end ── messages <── the service

The head is sent with the first message, or after a time without one. So a service that refuses at once still
determines the status: a call that ends before its head goes through `StreamTranslation.reply`, as a unary one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bridge.api.call import Call, GrpcReply, GrpcRequest, Reply, Trailers

#: The method under which a WebSocket (RFC 6455) is published. Its handshake is a GET; no HTTP request has this method.
WEBSOCKET = "WEBSOCKET"


class StreamTranslation(Protocol):
    """One call of a streaming operation, from its opening to its end. One object per call.

    :ivar request: path, metadata and, if nothing is fed, the one message.
    :ivar sends: whether bytes of the client are still to be fed. False from the beginning if `request` has the one
        message; False as soon as the call accepts no second message.
    :ivar answers_once: the service answers with one message (a client stream): the gateway waits for it and its
        status, and gives both to `reply`.
    :ivar head_first: the client sends nothing before it has the head (a WebSocket).
    :ivar heartbeat: the bytes to send while the service is silent; ``b""``: none.
    :ivar pending: bytes of an incomplete message; the gateway limits them.
    """

    request: GrpcRequest
    sends: bool
    answers_once: bool
    head_first: bool
    heartbeat: bytes

    @property
    def pending(self) -> int: ...

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The messages that `data`, the next bytes of the client's body (or one frame of its WebSocket), completes.
        Best implemented as a generator, since a few bytes may contain very many messages.

        :raises bridge.api.ClientError: it can't be parsed; the call ends.
        """
        ...

    def finish(self) -> Iterable[bytes]:
        """The messages that the end of the client's body completes.

        :raises bridge.api.ClientError: it ends within a message.
        """
        ...

    def head(self, metadata: Sequence[tuple[str, str | bytes]]) -> Reply:
        """Status and fields of the answer; its body is sent before the first message."""
        ...

    def message(self, message: bytes) -> bytes:
        """One answer of the service as the client gets it: bytes of the body, or the payload of one frame.

        :raises bridge.api.BadReply: it can't be read.
        """
        ...

    def end(self, inbound: GrpcReply) -> bytes | Trailers:
        """The bytes, or the fields, after the last message. A status other than OK must be visible in them; its details
        are typed."""
        ...

    def fail(self, problem: Mapping[str, Any]) -> bytes | Trailers:
        """The bytes, or the fields, after the last message when the gateway ended the call: `problem` is the
        problem+json object."""
        ...

    def reply(self, inbound: GrpcReply) -> Reply:
        """The whole answer, if it is one message, or if the call ended before its head was sent.

        :raises bridge.api.UpstreamFault: the service refused.
        """
        ...


@runtime_checkable
class StreamCodec(Protocol):
    """One streaming operation over gRPC.

    :ivar streams_up: the client's bytes go to `StreamTranslation.feed` as they arrive. Otherwise `Call.body` is the
        whole body when `open` is called, and `StreamTranslation.request` the one message.
    """

    streams_up: bool

    def open(self, call: Call) -> StreamTranslation:
        """Check everything before the body: media types, parameters.

        :raises bridge.api.ClientError: it can't be translated; nothing is sent.
        """
        ...


class UpstreamStream(Protocol):
    """One streaming call to a service, as a transport opens it."""

    async def write(self, message: bytes) -> None:
        """Send one message; waits while the service doesn't read."""
        ...

    async def end(self) -> None:
        """No more messages will be written."""
        ...

    async def read(self) -> bytes | None:
        """The next message; None after the last one, when `status` is known."""
        ...

    async def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The metadata before the first message."""
        ...

    async def status(self) -> GrpcReply:
        """How it ended, without a message.

        :raises bridge.api.UpstreamError: it failed in transit, without a status from the service.
        """
        ...

    def cancel(self) -> None:
        """Cancel the call; allowed at any time."""
        ...
