"""One published operation's codec: a `Call` to a gRPC request, a gRPC reply to JSON. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from bridge import Call, GrpcReply, GrpcRequest, Reply
from bridge_grpc.answer import Answer
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.status import fault

Metadata = Sequence[tuple[str, str | bytes]]


class UnaryCodec:
    """What the gateway calls for each request; everything is compiled when it is made.

    :param path: ``/package.Service/Method``.
    :param response_body: the field of the answer that is the HTTP body; ``""`` for the whole answer.
    :raises ValueError: `response_body` is not a field of `output`; the message says so.
    """

    __slots__ = ("_answer", "_metadata", "_path", "_serialise", "_write_any", "binding")

    def __init__(
        self,
        path: str,
        binding: Binding,
        output: Descriptor,
        encoders: Encoders,
        *,
        response_body: str = "",
        metadata: Metadata = (),
    ) -> None:
        self.binding = binding
        self._path = path
        self._metadata = list(metadata)
        self._serialise = binding.serialise
        self._answer = Answer(output, response_body, encoders)
        self._write_any = encoders.any

    def request(self, call: Call) -> GrpcRequest:
        return GrpcRequest(self._path, self._serialise(call), list(self._metadata))

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        if inbound.code:
            raise fault(inbound, self._write_any)
        return self._answer.reply(inbound.message)

    def show(self, outbound: GrpcRequest) -> str:
        """The message as text, for ``explain``."""
        return shown(self.binding.message, outbound.message)


def shown(descriptor: Descriptor, wire: bytes) -> str:
    """A message in protobuf's text format, under its name."""
    message = GetMessageClass(descriptor).FromString(wire)
    return f"{descriptor.full_name}\n{text_format.MessageToString(message, as_utf8=True, indent=2)}"
