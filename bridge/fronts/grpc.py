"""gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md) for clients that speak it themselves: messages in envelopes, and the
call's status in trailers. Messages of protobuf pass as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.api.call import Call, GrpcReply, GrpcRequest, Reply, Trailers
from bridge.api.front import Form, Front
from bridge.api.service import Metadata, Service
from bridge.api.stream import StreamTranslation
from bridge.fronts.envelopes import CODINGS, EnvelopeStream
from bridge.fronts.grpc_status import GrpcStatusWriter, read_timeout

_ACCEPTED = ("grpc-accept-encoding", CODINGS.replace(" ", ""))  # how requests may be compressed


@dataclass(frozen=True, slots=True)
class GrpcForm:
    """:ivar media_type: of request and response.
    :ivar json: messages are JSON, not protobuf.
    """

    media_type: str
    json: bool = False

    def request(self, call: Call, service: Service) -> GrpcRequest:
        return self.open(call, service).request

    def reply(self, call: Call, service: Service, inbound: GrpcReply) -> Reply:
        return self._writer(service).reply(inbound)

    def open(self, call: Call, service: Service) -> StreamTranslation:
        return EnvelopeStream(call, service, self._writer(service), coding="grpc-encoding", json=self.json)

    def refusal(self, call: Call, service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return self._writer(service).refusal(problem, reply)

    def _writer(self, service: Service) -> _Writer:
        return _Writer(service, self.media_type, json=self.json)


class Grpc(Front):
    name = "grpc"
    forms: ClassVar[Mapping[str, Form]] = {
        "application/grpc": GrpcForm("application/grpc"),
        "application/grpc+proto": GrpcForm("application/grpc+proto"),
        "application/grpc+json": GrpcForm("application/grpc+json", json=True),
    }
    own_statuses: ClassVar[bool] = True
    timeouts: ClassVar[Mapping[str, Callable[[str], float]]] = {"grpc-timeout": read_timeout}


class _Writer(GrpcStatusWriter):
    def fields(self, metadata: Metadata) -> list[tuple[str, str]]:
        return [*super().fields(metadata), _ACCEPTED]

    def head(self, metadata: Metadata) -> Reply:
        return Reply(200, self.fields(metadata))

    def end(self, inbound: GrpcReply) -> Trailers:
        return Trailers(self.trailers(inbound))

    def reply(self, inbound: GrpcReply) -> Reply:
        headers, trailers = self.fields(inbound.metadata), self.trailers(inbound)
        if inbound.code:  # "Trailers-Only": one header section, which ends the stream
            return Reply(200, [*headers, *trailers])
        return Reply(200, headers, self.message(inbound.message), Trailers(trailers))
