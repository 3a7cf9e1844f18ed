"""gRPC-Web (grpc/doc/PROTOCOL-WEB.md): envelopes as gRPC's own, trailers as the last one; binary, or base64 as text.

Binary metadata is base64 in the text form too, as all implementations have it. A client that reads trailers as text
can't follow the clause that would skip it there.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.api.call import Call, GrpcReply, GrpcRequest, Reply
from bridge.api.front import Front
from bridge.api.service import Service
from bridge.api.stream import StreamTranslation
from bridge.fronts.envelopes import EnvelopeStream, envelope
from bridge.fronts.grpc_status import GrpcStatusWriter, read_timeout

TRAILERS = 0x80  #: this envelope holds the trailers

_IN_HEADERS = 4096  # bytes of trailers that go into the response's head; servers and clients bound heads at 8 or 16 KiB


@dataclass(frozen=True, slots=True)
class GrpcWebForm:
    """:ivar text: bodies are base64. :ivar json: messages are JSON, not protobuf."""

    text: bool = False
    json: bool = False

    @property
    def media_type(self) -> str:
        return f"application/grpc-web{'-text' if self.text else ''}+{'json' if self.json else 'proto'}"

    def request(self, call: Call, service: Service) -> GrpcRequest:
        return self.open(call, service).request

    def reply(self, call: Call, service: Service, inbound: GrpcReply) -> Reply:
        return _Writer(self.answering(call), service).reply(inbound)

    def open(self, call: Call, service: Service) -> StreamTranslation:
        writer = _Writer(self.answering(call), service)
        return EnvelopeStream(call, service, writer, coding="grpc-encoding", json=self.json, text=self.text)

    def refusal(self, call: Call, service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return _Writer(self.answering(call), service).refusal(problem, reply)

    def answering(self, call: Call) -> GrpcWebForm:
        """The form of the answer: the first of this protocol's that ``Accept`` names, else the request's own.

        A bare ``application/grpc-web-text`` says nothing of the messages' format, so that stays the request's.
        """
        for part in call.header("accept").split(","):
            name = part.partition(";")[0].strip().lower()
            form = FORMS.get(name)
            if form is not None:
                return form if "+" in name else GrpcWebForm(form.text, self.json)
        return self


#: Every name of the protocol's forms. "Text encoding may be specified … as application/grpc-web-text-base64".
FORMS = {
    "application/grpc-web": GrpcWebForm(),
    "application/grpc-web+proto": GrpcWebForm(),
    "application/grpc-web+json": GrpcWebForm(json=True),
    "application/grpc-web-text": GrpcWebForm(text=True),
    "application/grpc-web-text+proto": GrpcWebForm(text=True),
    "application/grpc-web-text+json": GrpcWebForm(text=True, json=True),
    "application/grpc-web-text-base64": GrpcWebForm(text=True),
}


class GrpcWeb(Front):
    name = "grpc_web"
    forms = FORMS
    timeouts: ClassVar[Mapping[str, Callable[[str], float]]] = {"grpc-timeout": read_timeout}


class _Writer(GrpcStatusWriter):
    def __init__(self, form: GrpcWebForm, service: Service) -> None:
        super().__init__(service, form.media_type, json=form.json)
        self._text = form.text

    def message(self, message: bytes) -> bytes:
        return self._encoded(super().message(message))

    def end(self, inbound: GrpcReply) -> bytes:
        return self._encoded(_block(self.trailers(inbound)))

    def reply(self, inbound: GrpcReply) -> Reply:
        headers, trailers = self.fields(inbound.metadata), self.trailers(inbound)
        if not inbound.code:
            body = envelope(0, self._write(inbound.message)) + _block(trailers)
            return Reply(200, headers, self._encoded(body))
        # Trailers-only: "may be sent together with response headers, with no message in the body".
        if sum(len(name) + len(value) for name, value in trailers) <= _IN_HEADERS:
            return Reply(200, [*headers, *trailers])
        return Reply(200, headers, self._encoded(_block(trailers)))

    def _encoded(self, body: bytes) -> bytes:
        return binascii.b2a_base64(body, newline=False) if self._text else body


def _block(trailers: list[tuple[str, str]]) -> bytes:
    """ "An HTTP/1 headers block (without the terminating newline)", in its envelope."""
    return envelope(TRAILERS, "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("ascii"))
