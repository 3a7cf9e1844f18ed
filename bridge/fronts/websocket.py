"""WebSockets (RFC 6455) in front of streams: a message of JSON in each frame. An empty frame of the client ends its
side. WebSocket's own pings serve as heartbeats."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from bridge.api.call import Call
from bridge.api.front import Front, StreamFormat
from bridge.api.service import Service
from bridge.api.stream import WEBSOCKET, StreamTranslation
from bridge.api.transformer import Operation
from bridge.fronts.json_stream import JsonStream, Raw
from bridge.fronts.json_texts import Pieces


class WebSocketCodec:
    """`bridge.api.stream.StreamCodec`. All that the client says comes in frames, the one message of a server stream
    too where it has a body."""

    streams_up = True

    def __init__(self, service: Service) -> None:
        self._service = service
        self.show = service.show

    @property
    def secrets(self) -> Collection[str]:
        return self._service.secrets

    def open(self, call: Call) -> StreamTranslation:
        service = self._service
        request = service.outgoing(call)
        read = service.reader(call, frames=service.client_streaming)
        fed = service.client_streaming or service.takes_body
        if not fed:
            request.message = read(b"", first=True)
        return JsonStream(
            service,
            request,
            Raw() if service.raw_reply else StreamFormat(),
            texts=Pieces() if fed else None,
            read=read,
            once=not service.client_streaming,
            head_first=True,
        )


class WebSocketFront(Front):
    name = "websocket"

    def operations(self, operation: Operation, service: Service) -> Iterator[Operation]:
        if service.client_streaming or service.server_streaming:
            yield replace(operation, name=f"{operation.name}.ws", method=WEBSOCKET, codec=WebSocketCodec(service))
