"""One published operation's codec: a `Call` to a gRPC request, a gRPC reply to JSON. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import orjson
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge import JSON_TYPE, BadReply, Call, GrpcReply, GrpcRequest, Reply
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.scalars import Wrong
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.mapping.forms import HTTP_BODY
from bridge_grpc.metadata import Outgoing, Returned
from bridge_grpc.status import fault


class UnaryCodec:
    """What the gateway calls for each request; everything is compiled when it is made.

    :param path: ``/package.Service/Method``.
    :param response_body: the field of the answer that is the HTTP body; ``""`` for the whole answer.
    :param outgoing: the metadata that goes up.
    :param returned: the metadata of the answer that goes down as header fields, with an error too.
    :raises ValueError: `response_body` is not a field of `output`; the message says so.
    """

    __slots__ = (
        "_caching",
        "_outgoing",
        "_parse",
        "_path",
        "_raw",
        "_returned",
        "_serialise",
        "_write",
        "_write_any",
        "binding",
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
    ) -> None:
        self.binding = binding
        self._path = path
        self._outgoing = outgoing
        self._returned = returned
        own = outgoing.caching
        self._caching = [*own, *(field for field in binding.fills.caching if field not in own)]
        self._serialise = binding.serialise
        self._parse: Callable[[bytes], Any] = GetMessageClass(output).FromString
        self._write, self._raw = _writer(output, response_body, encoders)
        self._write_any = encoders.any

    def request(self, call: Call) -> GrpcRequest:
        return GrpcRequest(self._path, self._serialise(call), self._outgoing.outgoing(call))

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        fields = self._returned.returned(inbound.metadata, inbound.trailers)
        if inbound.code:
            raise fault(inbound, self._write_any, fields)
        try:
            message = self._parse(inbound.message)
            if self._raw is not None:
                reply = self._raw(message)
            else:
                reply = Reply(200, [JSON_TYPE], orjson.dumps(self._write(message)))
        except DecodeError as error:
            raise BadReply("The service's answer is not the message that its schema says.", cause=str(error)) from None
        except (Wrong, orjson.JSONEncodeError, RecursionError) as error:
            raise BadReply(f"The service's answer can't be written as JSON: {error}.", cause=str(error)) from None
        reply.headers += self._caching
        reply.headers += fields
        return reply

    @property
    def secrets(self) -> Collection[str]:
        """Texts of the metadata that ``explain`` may not show."""
        return self._outgoing.secrets

    def show(self, outbound: GrpcRequest) -> str:
        """The message in protobuf's text format, for ``explain``; secrets masked."""
        message = self.binding.fills.masked(GetMessageClass(self.binding.message).FromString(outbound.message))
        return f"{self.binding.message.full_name}\n{text_format.MessageToString(message, as_utf8=True, indent=2)}"


def _writer(
    output: Descriptor, response_body: str, encoders: Encoders
) -> tuple[Callable[[Any], Any], Callable[[Any], Reply] | None]:
    """The JSON writer, and the writer of a raw reply where the body is a ``google.api.HttpBody``."""
    if not response_body:
        return encoders.writer(output), _http_body if output.full_name == HTTP_BODY else None
    field = output.fields_by_name.get(response_body)
    if field is None:
        raise ValueError(f"response_body names {response_body!r}, which is not a field of {output.full_name}")
    raw = field.message_type is not None and field.message_type.full_name == HTTP_BODY and not field.is_repeated
    return encoders.field(field), (lambda message: _http_body(getattr(message, response_body))) if raw else None


def _http_body(message: Any) -> Reply:
    """``google/api/httpbody.proto``: the bytes are the body, as they are."""
    content_type = message.content_type or "application/octet-stream"
    safe = content_type.isascii() and content_type.isprintable()
    return Reply(200, [("content-type", content_type if safe else "application/octet-stream")], message.data)
