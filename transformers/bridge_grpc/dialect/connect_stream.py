"""Connect's streams (connectrpc.com, "Streaming RPCs"): envelopes; the last one holds the error and the trailers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.api import Call, ClientError, Exchange, GrpcReply, GrpcRequest, Reply, UnsupportedMediaType
from bridge_grpc.dialect.connect_error import error_of
from bridge_grpc.dialect.exchange import EnvelopedExchange
from bridge_grpc.dialect.fields import lawful
from bridge_grpc.dialect.framing import envelope
from bridge_grpc.dialect.interface import Metadata, Rpc
from bridge_grpc.dialect.refusals import as_status, kept

END_STREAM = 0x02  #: this envelope holds the EndStreamResponse
VERSION = ("connect-protocol-version", "1")

_LIVE = [("x-accel-buffering", "no")]
_RESERVED = ("connect-",)


@dataclass(frozen=True, slots=True)
class ConnectStream:
    """:ivar json: messages are JSON, not protobuf."""

    json: bool = False

    @property
    def media_type(self) -> str:
        return f"application/connect+{'json' if self.json else 'proto'}"

    def request(self, call: Call, rpc: Rpc) -> GrpcRequest:
        """:raises bridge.api.UnsupportedMediaType: always; "Unary-Content-Type" is another."""
        raise UnsupportedMediaType("This method is unary; Connect calls it with application/json or application/proto.")

    def reply(self, call: Call, rpc: Rpc, inbound: GrpcReply) -> Reply:
        return _Answer(self, rpc).reply(inbound)

    def exchange(self, call: Call, rpc: Rpc) -> Exchange:
        check_version(call)
        read = rpc.read_json if self.json else bytes
        return EnvelopedExchange(call, rpc, _Answer(self, rpc), coding="connect-content-encoding", read=read)

    def refusal(self, call: Call, rpc: Rpc, problem: Mapping[str, Any], reply: Reply) -> Reply:
        refused = _Answer(self, rpc).reply(as_status(problem, reply.headers))
        return Reply(refused.status, [*refused.headers, *kept(reply)], refused.body)


class _Answer:
    """One call's answer; `bridge_grpc.dialect.exchange.Answer`. "Streaming responses always have … 200 OK"."""

    def __init__(self, form: ConnectStream, rpc: Rpc) -> None:
        self._form, self._rpc = form, rpc
        self._write = rpc.write_json if form.json else bytes

    def head(self, metadata: Metadata) -> Reply:
        returned = lawful(self._rpc.returned(metadata, ()), (*_RESERVED, "content-"))
        return Reply(200, [("content-type", self._form.media_type), *returned, *_LIVE])

    def message(self, message: bytes) -> bytes:
        return envelope(0, self._write(message))

    def end(self, inbound: GrpcReply) -> bytes:
        last: dict[str, Any] = {"error": error_of(inbound, self._rpc.write_any)} if inbound.code else {}
        metadata: dict[str, list[str]] = {}
        for name, value in lawful(self._rpc.returned((), inbound.trailers), _RESERVED):
            metadata.setdefault(name, []).append(value)
        if metadata:
            last["metadata"] = metadata
        return envelope(END_STREAM, orjson.dumps(last))

    def fail(self, problem: Mapping[str, Any]) -> bytes:
        return self.end(as_status(problem))

    def reply(self, inbound: GrpcReply) -> Reply:
        reply = self.head(inbound.metadata)
        reply.body = (b"" if inbound.code else self.message(inbound.message)) + self.end(inbound)
        return reply


def check_version(call: Call) -> None:
    """:raises bridge.api.ClientError: it names another version of the protocol than ours."""
    name, ours = VERSION
    asked = call.header(name, ours)
    if asked != ours:
        raise ClientError(f'Connect-Protocol-Version must be "{ours}", not {asked[:20]!r}.')
