"""A streaming rpc as JSON: what one call says up and hears down, in the form that it asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor

from bridge.api import (
    WEBSOCKET,
    Call,
    Exchange,
    GrpcReply,
    GrpcRequest,
    InvalidBody,
    InvalidParameter,
    NotAcceptable,
    Reply,
    UnsupportedMediaType,
)
from bridge_grpc.answer import Answer
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.scalars import Wrong
from bridge_grpc.mapping.binding import JSON, Binding, Filled, check_media_type
from bridge_grpc.mapping.calls import DEFAULT, Settings
from bridge_grpc.mapping.forms import URLENCODED
from bridge_grpc.metadata import Outgoing as OutgoingMetadata
from bridge_grpc.metadata import Returned
from bridge_grpc.operation import shown
from bridge_grpc.status import fault
from bridge_grpc.stream.accept import preferred
from bridge_grpc.stream.incoming import Incoming, Pieces, Texts
from bridge_grpc.stream.outgoing import FORMS, Events, Frames, Outgoing, Raw, form_of
from bridge_grpc.stream.resumption import COUNTED, Resumption

Metadata = Sequence[tuple[str, str | bytes]]

_SEQUENCES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq"})


@dataclass(frozen=True, slots=True)
class Cardinality:
    """Who sends a stream."""

    up: bool
    down: bool


class JsonStreamCodec:
    """One rule of a streaming rpc; everything is compiled when it is made (`bridge.api.StreamCodec`).

    :param path: ``/package.Service/Method``.
    :param frames: the binding of a WebSocket's frames, where the rule has no body for what they hold.
    """

    def __init__(
        self,
        path: str,
        cardinality: Cardinality,
        binding: Binding,
        output: Descriptor,
        encoders: Encoders,
        sent: OutgoingMetadata,
        returned: Returned,
        *,
        response_body: str = "",
        settings: Settings = DEFAULT,
        frames: Binding | None = None,
        resumption: Resumption = COUNTED,
    ) -> None:
        self.path = path
        self.binding = binding
        self.down = cardinality.down
        self._up = cardinality.up
        #: Without a body in the rule, path and query make the one message that a request can hold.
        self.streams_up = cardinality.up and bool(binding.body)
        self._frames = frames or binding
        self.answer = Answer(output, response_body, encoders)
        self.write_any = encoders.any
        self._sent = sent
        self._settings = settings
        self.returned = returned
        self.resumption = resumption

    def open(self, call: Call) -> Exchange:
        if call.method == WEBSOCKET:
            return self._web_socket(call)
        form = self._form(call)
        if not self.streams_up:
            filled = self.binding.filled(call)
            self._resume(call, form, filled)
            message = self.binding.complete(call, filled)
            return _Exchange(self, GrpcRequest(self.path, message, self._sent.outgoing(call), *self._settings), form)
        doubt = None if self.binding.raw else _doubt(call)
        exchange = _Exchange(self, GrpcRequest(self.path, b"", self._sent.outgoing(call), *self._settings), form)
        incoming = Pieces() if self.binding.raw else Texts()
        exchange.takes(self.binding, incoming, self.binding.filled(call), call, doubt=doubt)
        return exchange

    def show(self, outbound: GrpcRequest) -> str:
        """One message as text, for ``explain``."""
        return shown(self.binding, outbound.message)

    @property
    def secrets(self) -> Collection[str]:
        """Texts of the metadata that ``explain`` may not show."""
        return self._sent.secrets

    def _web_socket(self, call: Call) -> Exchange:
        form = Raw() if self.answer.raw else Frames()
        exchange = _Exchange(
            self, GrpcRequest(self.path, b"", self._sent.outgoing(call), *self._settings), form, answers_once=False
        )
        binding = self._frames if self._up else self.binding
        filled = binding.filled(call)
        if self._up or binding.body:
            exchange.takes(binding, Pieces(), filled, call, once=not self._up)
        else:
            exchange.request.message = binding.encode(b"", filled, call)
        return exchange

    def _form(self, call: Call) -> Outgoing | None:
        """None for what is answered once.

        :raises bridge.api.NotAcceptable: the client wants none of the forms.
        """
        if not self.down:
            return None
        if self.answer.raw:
            return Raw()
        name = preferred(",".join(value for key, value in call.headers if key == "accept"), FORMS)
        if name is None:
            forms = "application/x-ndjson, text/event-stream and application/json (an array)"
            raise NotAcceptable(f"This operation answers in {forms}.")
        return form_of(name, self.resumption.retry)

    def _resume(self, call: Call, form: Outgoing | None, filled: Filled) -> None:
        last, target = call.header("last-event-id"), self.resumption.target
        if not last or target is None or not isinstance(form, Events):
            return
        try:
            # Browsers send it as UTF-8 (HTML, section 9.2.3), whatever fields are otherwise read as.
            filled.append((target, target.read(last.encode("latin-1").decode("utf-8"))))
        except UnicodeDecodeError:
            raise InvalidParameter([("Last-Event-ID", "it is not UTF-8")]) from None
        except Wrong as error:
            raise InvalidParameter([("Last-Event-ID", str(error))]) from None


def _doubt(call: Call) -> UnsupportedMediaType | None:
    """What the body's beginning must disprove: it is declared as a form, which is what curl says for want of another.

    :raises bridge.api.UnsupportedMediaType: it is declared to be neither JSON nor a sequence of it, by any name.
    """
    kind = call.header("content-type").partition(";")[0].strip().lower()
    if kind in _SEQUENCES:
        return None
    try:
        check_media_type(call, (*JSON, "application/x-ndjson"))
    except UnsupportedMediaType as error:
        if kind != URLENCODED:
            raise
        return error
    return None


@dataclass(slots=True)
class _Client:
    """What one client sends: how it is cut, and what each message is made with."""

    binding: Binding
    incoming: Incoming
    filled: Filled
    call: Call
    once: bool
    doubt: UnsupportedMediaType | None = None
    count: int = field(default=0)

    def begin(self, data: bytes) -> None:
        """:raises bridge.api.UnsupportedMediaType: the doubt was right; no form begins as these do."""
        if self.doubt is None or not (data := data.lstrip()):
            return
        if not data.startswith((b"{", b"[")):
            raise self.doubt
        self.doubt = None
        self.call.warnings.append("the body was read as JSON, though declared as a form")


class _Exchange:
    """One call (`bridge.api.Exchange`)."""

    __slots__ = ("_client", "_codec", "_count", "_form", "answers_once", "heartbeat", "request", "sends")

    def __init__(
        self,
        codec: JsonStreamCodec,
        request: GrpcRequest,
        form: Outgoing | None,
        *,
        answers_once: bool | None = None,
    ) -> None:
        self._codec = codec
        self._form = form or Frames()
        self._client: _Client | None = None
        self._count = 0
        self.request = request
        self.sends = False
        self.answers_once = form is None if answers_once is None else answers_once
        self.heartbeat = self._form.heartbeat

    def takes(
        self,
        binding: Binding,
        incoming: Incoming,
        filled: Filled,
        call: Call,
        *,
        once: bool = False,
        doubt: UnsupportedMediaType | None = None,
    ) -> None:
        """From now on what the client sends is fed. `once`: one message ends it. `doubt`: see `_doubt`."""
        self._client = _Client(binding, incoming, filled, call, once, doubt)
        self.sends = True

    # --- up ----------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        return self._client.incoming.pending if self._client else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        client = self._client
        assert client is not None
        client.begin(data)
        for text in client.incoming.feed(data):
            yield self._message(client, text)

    def finish(self) -> Iterator[bytes]:
        client = self._client
        assert client is not None
        for text in client.incoming.finish():
            yield self._message(client, text)
        if client.once and not client.count:
            yield self._message(client, b"")

    def _message(self, client: _Client, text: bytes) -> bytes:
        number, client.count = client.count, client.count + 1
        if client.once:
            self.sends = False
        try:
            return client.binding.encode(text, client.filled, client.call, first=not number)
        except InvalidBody as error:
            if client.once:
                raise
            raise InvalidBody([(f"/{number}{at}", reason) for at, reason in error.errors]) from None

    # --- down --------------------------------------------------------------------------------------------------------

    def head(self, metadata: Metadata) -> Reply:
        return Reply(200, [*self._form.headers, *self._codec.returned.returned(metadata, ())], self._form.opening)

    def message(self, message: bytes) -> bytes:
        answer, form = self._codec.answer, self._form
        if answer.raw:
            content_type, data = answer.octets(message)
            if not self._count:
                form.headers = [("content-type", content_type)]
            self._count += 1
            return data
        text = answer.text(message)
        self._count += 1
        if not isinstance(form, Events):
            return form.message(text)
        found = self._codec.resumption.event_id
        return form.message(text, found.of(message) if found else str(self._count))

    def end(self, inbound: GrpcReply) -> bytes:
        if inbound.code:
            raise fault(inbound, self._codec.write_any)
        return self._form.end()

    def fail(self, problem: Mapping[str, Any]) -> bytes:
        return self._form.error(problem)

    def reply(self, inbound: GrpcReply) -> Reply:
        fields = self._codec.returned.returned(inbound.metadata, inbound.trailers)
        if inbound.code:
            raise fault(inbound, self._codec.write_any, fields)
        reply = self._codec.answer.reply(inbound.message)
        reply.headers += fields
        return reply
