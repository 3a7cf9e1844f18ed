"""One published operation's codec: a `Call` to a gRPC request, a gRPC reply to JSON. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from bridge.api import Call, GrpcReply, GrpcRequest, Reply
from bridge_grpc.answer import Answer
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.mapping.calls import DEFAULT, Settings
from bridge_grpc.metadata import Outgoing, Returned
from bridge_grpc.status import fault


class UnaryCodec:
    """What the gateway calls for each request; everything is compiled when it is made.

    :param path: ``/package.Service/Method``.
    :param response_body: the field of the answer that is the HTTP body; ``""`` for the whole answer.
    :param outgoing: the metadata that goes up.
    :param returned: the metadata of the answer that goes down as header fields, with an error too.
    :param settings: timeout and retry.
    :ivar answer: writes the messages of answers.
    :ivar caching: fields that tell caches what an answer depends on.
    :raises ValueError: `response_body` is not a field of `output`; the message says so.
    """

    __slots__ = (
        "_outgoing",
        "_path",
        "_returned",
        "_serialise",
        "_settings",
        "_write_any",
        "answer",
        "binding",
        "caching",
    )

    def __init__(
        self,
        path: str,
        binding: Binding,
        output: Descriptor,
        encoders: Encoders,
        outgoing: Outgoing,
        returned: Returned,
        *,
        response_body: str = "",
        settings: Settings = DEFAULT,
    ) -> None:
        self.binding = binding
        self._path = path
        self._outgoing = outgoing
        self._returned = returned
        self._settings = settings
        own = outgoing.caching
        self.caching = [*own, *(field for field in binding.fills.caching if field not in own)]
        self._serialise = binding.serialise
        self.answer = Answer(output, response_body, encoders)
        self._write_any = encoders.any

    def request(self, call: Call) -> GrpcRequest:
        return GrpcRequest(self._path, self._serialise(call), self._outgoing.outgoing(call), *self._settings)

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        fields = self._returned.returned(inbound.metadata, inbound.trailers)
        if inbound.code:
            raise fault(inbound, self._write_any, fields)
        reply = self.answer.reply(inbound.message)
        reply.headers += self.caching
        reply.headers += fields
        return reply

    @property
    def secrets(self) -> Collection[str]:
        """Texts of the metadata that ``explain`` may not show."""
        return self._outgoing.secrets

    def show(self, outbound: GrpcRequest) -> str:
        """The message as text, for ``explain``; secrets masked."""
        return shown(self.binding, outbound.message)


def shown(binding: Binding, wire: bytes) -> str:
    """A request's message in protobuf's text format, under its name; secrets masked."""
    message = binding.fills.masked(GetMessageClass(binding.message).FromString(wire))
    return f"{binding.message.full_name}\n{text_format.MessageToString(message, as_utf8=True, indent=2)}"
