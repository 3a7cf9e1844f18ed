"""gRPC-Web (grpc/doc/PROTOCOL-WEB.md): envelopes as gRPC's own, trailers as the last one; binary, or base64 as text.

Binary metadata is base64 in the text form too, as all implementations have it; the clause that would skip it there
can't be followed by a client that reads trailers as text.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.api import Call, Exchange, GrpcReply, GrpcRequest, Reply
from bridge_grpc.dialect.exchange import EnvelopedExchange
from bridge_grpc.dialect.fields import lawful, percent, unpadded
from bridge_grpc.dialect.framing import envelope
from bridge_grpc.dialect.interface import Metadata, Rpc
from bridge_grpc.dialect.refusals import as_status, kept

TRAILERS = 0x80  #: this envelope holds the trailers

#: Proxies on the way must not gather a stream.
_LIVE = [("x-accel-buffering", "no")]
_RESERVED = ("grpc-",)
_IN_HEADERS = 4096  # bytes of trailers that go into the response's head; servers and clients bound heads at 8 or 16 KiB


@dataclass(frozen=True, slots=True)
class GrpcWeb:
    """:ivar text: bodies are base64. :ivar json: messages are JSON, not protobuf."""

    text: bool = False
    json: bool = False

    @property
    def media_type(self) -> str:
        return f"application/grpc-web{'-text' if self.text else ''}+{'json' if self.json else 'proto'}"

    def request(self, call: Call, rpc: Rpc) -> GrpcRequest:
        return self.exchange(call, rpc).request

    def reply(self, call: Call, rpc: Rpc, inbound: GrpcReply) -> Reply:
        return _Answer(self.answering(call), rpc).reply(inbound)

    def exchange(self, call: Call, rpc: Rpc) -> Exchange:
        answer = _Answer(self.answering(call), rpc)
        read = rpc.read_json if self.json else bytes
        return EnvelopedExchange(call, rpc, answer, coding="grpc-encoding", read=read, text=self.text)

    def refusal(self, call: Call, rpc: Rpc, problem: Mapping[str, Any], reply: Reply) -> Reply:
        refused = _Answer(self.answering(call), rpc).reply(as_status(problem, reply.headers))
        return Reply(refused.status, [*refused.headers, *kept(reply)], refused.body)

    def answering(self, call: Call) -> GrpcWeb:
        """The form of the answer: the first of this protocol's that ``Accept`` names, else the request's own.

        A bare ``application/grpc-web-text`` says nothing of the messages' format, so that stays the request's.
        """
        for part in call.header("accept").split(","):
            name = part.partition(";")[0].strip().lower()
            found = FORMS.get(name)
            if found is not None:
                return found if "+" in name else GrpcWeb(found.text, self.json)
        return self


#: Every name of the protocol's forms. "Text encoding may be specified … as application/grpc-web-text-base64".
FORMS = {
    "application/grpc-web": GrpcWeb(),
    "application/grpc-web+proto": GrpcWeb(),
    "application/grpc-web+json": GrpcWeb(json=True),
    "application/grpc-web-text": GrpcWeb(text=True),
    "application/grpc-web-text+proto": GrpcWeb(text=True),
    "application/grpc-web-text+json": GrpcWeb(text=True, json=True),
    "application/grpc-web-text-base64": GrpcWeb(text=True),
}


class _Answer:
    """One call's answer; `bridge_grpc.dialect.exchange.Answer`."""

    def __init__(self, form: GrpcWeb, rpc: Rpc) -> None:
        self._form, self._rpc = form, rpc
        self._write = rpc.write_json if form.json else bytes

    def head(self, metadata: Metadata) -> Reply:
        return Reply(200, [*self._head(metadata), *_LIVE])

    def message(self, message: bytes) -> bytes:
        return self._encoded(envelope(0, self._write(message)))

    def end(self, inbound: GrpcReply) -> bytes:
        return self._encoded(_block(self._trailers(inbound)))

    def fail(self, problem: Mapping[str, Any]) -> bytes:
        return self.end(as_status(problem))

    def reply(self, inbound: GrpcReply) -> Reply:
        headers, trailers = self._head(inbound.metadata), self._trailers(inbound)
        if not inbound.code:
            body = envelope(0, self._write(inbound.message)) + _block(trailers)
            return Reply(200, headers, self._encoded(body))
        # Trailers-only: "may be sent together with response headers, with no message in the body".
        if sum(len(name) + len(value) for name, value in trailers) <= _IN_HEADERS:
            return Reply(200, [*headers, *trailers])
        return Reply(200, headers, self._encoded(_block(trailers)))

    def _head(self, metadata: Metadata) -> list[tuple[str, str]]:
        returned = lawful(self._rpc.returned(metadata, ()), (*_RESERVED, "content-"))
        return [("content-type", self._form.media_type), *returned]

    def _trailers(self, inbound: GrpcReply) -> list[tuple[str, str]]:
        trailers = [("grpc-status", str(inbound.code))]
        if inbound.detail:
            trailers.append(("grpc-message", percent(inbound.detail)))
        if inbound.status_details:
            trailers.append(("grpc-status-details-bin", unpadded(inbound.status_details)))
        return [*trailers, *lawful(self._rpc.returned((), inbound.trailers), _RESERVED)]

    def _encoded(self, body: bytes) -> bytes:
        return binascii.b2a_base64(body, newline=False) if self._form.text else body


def _block(trailers: list[tuple[str, str]]) -> bytes:
    """ "An HTTP/1 headers block (without the terminating newline)", in its envelope."""
    return envelope(TRAILERS, "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("ascii"))
