"""One published operation of a rpc: `bridge.api.Service`, and the fused codec of its unary calls. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass

from bridge.api import (
    Call,
    GrpcReply,
    GrpcRequest,
    Headers,
    InvalidParameter,
    Reply,
    StatusDetail,
    TextReader,
    UpstreamFault,
)
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.scalars import FieldValueError
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.mapping.calls import DEFAULT, Settings
from bridge_grpc.mapping.success import Success
from bridge_grpc.metadata import RequestMetadata, ResponseMetadata
from bridge_grpc.reply_body import SUCCESS, ReplyBody
from bridge_grpc.resumption import COUNTED, Resumption
from bridge_grpc.schema.pool import Method
from bridge_grpc.status import details_of, fault, status_of


class GrpcService:
    """`bridge.api.Service` and `bridge.api.GrpcCodec`; everything is compiled in the constructor.

    :param response_body: the field of the reply that is the HTTP body; ``""`` for the whole reply.
    :param success: how a reply that succeeds is answered.
    :param frames: binds a WebSocket's frames if the rule has no body.
    :param own_path: the rule is ``POST /package.Service/Method``, with the message as body.
    :raises ValueError: `response_body` is not a field of the reply; the message says so.
    """

    def __init__(
        self,
        method: Method,
        binding: Binding,
        encoders: Encoders,
        request_metadata: RequestMetadata,
        response_metadata: ResponseMetadata,
        *,
        response_body: str = "",
        success: Success = SUCCESS,
        settings: Settings = DEFAULT,
        frames: Binding | None = None,
        resumption: Resumption = COUNTED,
        own_path: bool = False,
    ) -> None:
        self.path, self.safe, self.own_path = method.path, method.safe, own_path
        self.client_streaming, self.server_streaming = method.client_streaming, method.server_streaming
        self.binding = binding
        self._frames = frames or binding
        self._serialise = binding.serialise
        self._metadata, self._settings = request_metadata.outgoing, settings
        self._request_metadata, self._write_any, self._resumption = request_metadata, encoders.any, resumption
        caching = request_metadata.caching
        self.caching: Sequence[tuple[str, str]] = [
            *caching,
            *(field for field in binding.sources.caching if field not in caching),
        ]
        body = ReplyBody(method.output, response_body, encoders, success)
        self.write_json, self.octets = body.text, body.octets
        self._reply = body.reply if success.location is None else body.located
        self.takes_body, self.raw_request, self.raw_reply = bool(binding.body), binding.raw, body.raw
        self.read_json, self.completing = binding.from_json, binding.completing
        self.returned = response_metadata.returned
        self.resumable, self.reconnect_after = resumption.target is not None, resumption.retry

    # --- the fused unary codec -------------------------------------------------------------------------------------

    def request(self, call: Call) -> GrpcRequest:
        return GrpcRequest(self.path, self._serialise(call), self._metadata(call), *self._settings)

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        fields = self.returned(inbound.metadata, inbound.trailers)
        if inbound.code:
            raise fault(inbound, self._write_any, fields)
        reply = self._reply(inbound.message)
        reply.headers += self.caching
        reply.headers += fields
        return reply

    def forks(self, call: Call, inbound: object) -> bool:
        """`bridge.api.capabilities.Forkable`."""
        return True

    @property
    def secrets(self) -> Collection[str]:
        return self._request_metadata.secrets

    def show(self, outbound: GrpcRequest) -> str:
        message = self.binding.sources.mask_secrets(GetMessageClass(self.binding.message).FromString(outbound.message))
        text = text_format.MessageToString(message, as_utf8=True, indent=2)
        return f"{self.binding.message.full_name}\n{text}"

    # --- called by fronts ------------------------------------------------------------------------------------------

    def outgoing(self, call: Call, message: bytes = b"") -> GrpcRequest:
        return GrpcRequest(self.path, message, self._metadata(call), *self._settings)

    def message(self, call: Call, *, resume: tuple[str, str] | None = None) -> bytes:
        fields = self.binding.field_values(call)
        target = self._resumption.target
        if resume is not None and target is not None:
            name, text = resume
            try:
                fields.append((target, target.read(text)))
            except FieldValueError as error:
                raise InvalidParameter([(name, str(error))]) from None
        return self.binding.complete(call, fields)

    def reader(self, call: Call, *, frames: bool = False) -> TextReader:
        binding = self._frames if frames else self.binding
        binding.check_stream(call)
        return partial(binding.encode, parameters=binding.field_values(call), call=call)

    def event_id(self, message: bytes) -> str | None:
        event_id = self._resumption.event_id
        return event_id.of(message) if event_id else None

    def fault(self, inbound: GrpcReply, fields: Sequence[tuple[str, str]] = ()) -> UpstreamFault:
        return fault(inbound, self._write_any, fields)

    def details(self, inbound: GrpcReply) -> list[StatusDetail]:
        return details_of(inbound, self._write_any)

    def status(self, code: int, problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
        return status_of(code, problem, headers)
