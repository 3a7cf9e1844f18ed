"""Operations that stream: the codec, the translation of one call, and the streaming call to the upstream.

A stream can't change its status at the end, so its codec is not a unary one. Both are sans-IO: bytes of the client in,
serialised messages out, and the other way round. The gateway reads, sends, waits and cancels::

    Call ── StreamCodec.open ──> StreamTranslation        once for each call
      client's bytes ── feed, finish ──> messages ──> the service
      client <── head, message, end ── messages <── the service

The head is sent with the first message, or when none has come for a while. So a service that refuses at once still
decides the status: a call that ends before its head goes through `StreamTranslation.reply`, as a unary one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bridge.api.call import Call, GrpcReply, GrpcRequest, Reply

#: The method under which a WebSocket (RFC 6455) is published. Its handshake is a GET; no HTTP request has this method.
WEBSOCKET = "WEBSOCKET"


class StreamTranslation(Protocol):
    """One call of a streaming operation, from its opening to its end. Made anew for each call.

    :ivar request: path, metadata and, where nothing is fed, the one message.
    :ivar sends: whether bytes of the client are still to be fed. False from the beginning where `request` holds the one
        message; False as soon as the call takes no second message.
    :ivar answers_once: the service answers with one message (a client stream): the gateway waits for it and its
        status, and gives both to `reply`.
    :ivar head_first: the client sends nothing before it has the head (a WebSocket).
    :ivar heartbeat: what may be sent while the service is silent; ``b""``: nothing may.
    :ivar pending: bytes of a message that is not complete yet; the gateway bounds them.
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
        Each is best made when it is asked for: few bytes may hold a great many.

        :raises bridge.api.ClientError: it can't be read; the call ends.
        """
        ...

    def finish(self) -> Iterable[bytes]:
        """What the end of the client's body completes.

        :raises bridge.api.ClientError: it ends within a message.
        """
        ...

    def head(self, metadata: Sequence[tuple[str, str | bytes]]) -> Reply:
        """Status and fields of the answer; its body is what comes before the first message."""
        ...

    def message(self, message: bytes) -> bytes:
        """One answer of the service as the client gets it: bytes of the body, or the payload of one frame.

        :raises bridge.api.BadReply: it can't be read.
        """
        ...

    def end(self, inbound: GrpcReply) -> bytes:
        """What follows the last message. A status other than OK must be visible in it; its details come typed."""
        ...

    def fail(self, problem: Mapping[str, Any]) -> bytes:
        """What follows the last message when the call failed on its way: `problem` is the problem+json object."""
        ...

    def reply(self, inbound: GrpcReply) -> Reply:
        """The whole answer, where it is one message, or where the call ended before its head was sent.

        :raises bridge.api.UpstreamFault: the service refused.
        """
        ...


@runtime_checkable
class StreamCodec(Protocol):
    """One streaming operation over gRPC.

    :ivar streams_up: the client's bytes go to `StreamTranslation.feed` as they come. Otherwise `Call.body` holds the
        whole body when `open` is called, and `StreamTranslation.request` the one message.
    """

    streams_up: bool

    def open(self, call: Call) -> StreamTranslation:
        """Judge all that comes before the body: media types, parameters.

        :raises bridge.api.ClientError: it can't be translated; nothing is sent.
        """
        ...


class UpstreamStream(Protocol):
    """One streaming call to a service, as a transport opens it."""

    async def write(self, message: bytes) -> None:
        """Send one message; waits while the service doesn't read."""
        ...

    async def end(self) -> None:
        """Nothing more will be written."""
        ...

    async def read(self) -> bytes | None:
        """The next message; None when there are no more, and `status` is known."""
        ...

    async def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came before the first message."""
        ...

    async def status(self) -> GrpcReply:
        """How it ended, without a message.

        :raises bridge.api.UpstreamError: on the way, not by the service's word.
        """
        ...

    def cancel(self) -> None:
        """Give it up; may be called at any time."""
        ...
