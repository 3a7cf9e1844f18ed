"""The capability of operations that stream: what a transformer gives, and what it is lent.

A stream can't change its status at the end, so it has Protocols of its own. They are sans-IO like the unary ones:
bytes of the client in, serialised messages out, and the other way round. The gateway does all reading, sending, waiting
and cancelling between the two::

    Call ── StreamCodec.open ──> Exchange                 once a call, after the guards
      client's bytes ── feed, finish ──> messages ──> the service
      client <── head, message, end ── messages <── the service

The head is sent with the first message (or when none has come for a while), so a service that refuses at once still
decides the status: what ends before the head goes through `Exchange.reply`, as a unary answer does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from bridge.api.call import Call, GrpcReply, GrpcRequest, Reply

#: The method under which a WebSocket (RFC 6455) is published. Its handshake is a GET; no HTTP request has this method.
WEBSOCKET = "WEBSOCKET"


class Exchange(Protocol):
    """One call of a streaming operation, from its opening to its end. Made anew for each call.

    :ivar request: path, metadata and, where nothing is fed, the one message.
    :ivar sends: whether more of the client's is to be fed. False from the beginning where `request` holds the one
        message; a WebSocket's exchange becomes False by itself when its call takes no second message.
    :ivar answers_once: the service answers with one message (a client stream): the gateway waits for it and its
        status, and gives both to `reply`.
    :ivar heartbeat: what may be sent while the service is silent; ``b""`` where the form has no such thing.
    :ivar pending: bytes of a message that is not complete yet; the gateway bounds them.
    """

    request: GrpcRequest
    sends: bool
    answers_once: bool
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


class StreamCodec(Protocol):
    """One streaming operation over gRPC.

    :ivar streams_up: the client sends a stream: the body of a request goes to `Exchange.feed` piece by piece. Otherwise
        `Call.body` holds all of it when `open` is called, and `Exchange.request` the one message.
    """

    streams_up: bool

    def open(self, call: Call) -> Exchange:
        """Judge all that the call says before its body: media types, parameters. With ``call.method`` `WEBSOCKET`,
        each side's messages are frames: what the client says always goes to `feed`, but for a call that needs no body.

        :raises bridge.api.ClientError: it can't be translated; nothing is sent.
        """
        ...


class Refusing(Protocol):
    """A codec whose clients want refusals in their own protocol's words instead of problem+json."""

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        """`reply`, which holds `problem` as problem+json, as this `call`'s client reads it. Never raises."""
        ...


class UpstreamStream(Protocol):
    """One streaming call to a service, as the upstream room gives it."""

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
