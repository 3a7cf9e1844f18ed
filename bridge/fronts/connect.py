"""Connect (connectrpc.com, docs/protocol.md): unary calls as bare messages, by POST or by GET from the query; streams
in envelopes, whose last one holds the error and the trailers."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

import orjson

from bridge.api.call import JSON_TYPE, Call, GrpcReply, GrpcRequest, Reply
from bridge.api.front import Form, Front
from bridge.api.service import Service
from bridge.api.stream import StreamTranslation
from bridge.api.transformer import Operation, OperationDoc
from bridge.errors import ClientError, InvalidParameter, UnsupportedMediaType
from bridge.fronts.envelopes import MAX_MESSAGE, EnvelopeStream, EnvelopeWriter, decompressor, envelope, whole_body
from bridge.fronts.rpc import as_status, kept, lawful, unpadded

VERSION = ("connect-protocol-version", "1")
END_STREAM = 0x02  #: this envelope holds the EndStreamResponse

#: "Error Codes": number -> name and HTTP status.
ERRORS = {
    1: ("canceled", 499), 2: ("unknown", 500), 3: ("invalid_argument", 400), 4: ("deadline_exceeded", 504),
    5: ("not_found", 404), 6: ("already_exists", 409), 7: ("permission_denied", 403), 8: ("resource_exhausted", 429),
    9: ("failed_precondition", 400), 10: ("aborted", 409), 11: ("out_of_range", 400), 12: ("unimplemented", 501),
    13: ("internal", 500), 14: ("unavailable", 503), 15: ("data_loss", 500), 16: ("unauthenticated", 401),
}  # fmt: skip
_RESERVED_UNARY = ("connect-", "content-", "trailer-")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5


@dataclass(frozen=True, slots=True)
class ConnectUnary:
    """By POST. :ivar json: messages are JSON, not protobuf."""

    json: bool = False

    def request(self, call: Call, service: Service) -> GrpcRequest:
        _check_version(call)
        return _request(call, service, whole_body(call), json=self.json)

    def reply(self, call: Call, service: Service, inbound: GrpcReply) -> Reply:
        return _reply(service, inbound, json=self.json)

    def open(self, call: Call, service: Service) -> StreamTranslation:
        """:raises bridge.api.UnsupportedMediaType: always; streams' types begin with application/connect+."""
        raise UnsupportedMediaType("This method streams; Connect calls it with application/connect+json or +proto.")

    def refusal(self, call: Call, service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return _refusal(service, problem, reply)


@dataclass(frozen=True, slots=True)
class ConnectStream:
    """:ivar json: messages are JSON, not protobuf."""

    json: bool = False

    def request(self, call: Call, service: Service) -> GrpcRequest:
        """:raises bridge.api.UnsupportedMediaType: always; "Unary-Content-Type" is another."""
        raise UnsupportedMediaType("This method is unary; Connect calls it with application/json or application/proto.")

    def reply(self, call: Call, service: Service, inbound: GrpcReply) -> Reply:
        return self._writer(service).reply(inbound)

    def open(self, call: Call, service: Service) -> StreamTranslation:
        _check_version(call)
        writer = self._writer(service)
        return EnvelopeStream(call, service, writer, coding="connect-content-encoding", json=self.json)

    def refusal(self, call: Call, service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return self._writer(service).refusal(problem, reply)

    def _writer(self, service: Service) -> EnvelopeWriter:
        return _StreamWriter(service, f"application/connect+{'json' if self.json else 'proto'}", json=self.json)


class ConnectGetCodec:
    """`bridge.api.GrpcCodec` of a unary method that only reads, called by GET ("Unary-Get-Request")."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.show = service.show

    @property
    def secrets(self) -> Collection[str]:
        return self._service.secrets

    def request(self, call: Call) -> GrpcRequest:
        """:raises bridge.api.InvalidParameter: of the query.
        :raises bridge.api.UnsupportedMediaType: an ``encoding`` that is none of the two."""
        query = _query(call)
        if query.get("connect") != b"v1":
            raise ClientError("This path takes GET from Connect's clients alone, which say connect=v1.")
        encoding, message = query.get("encoding"), query.get("message")
        if encoding is None or message is None:
            absent = [name for name in ("encoding", "message") if name not in query]
            raise InvalidParameter([(name, "it must be given") for name in absent])
        json = _is_json(encoding)
        if query.get("base64") == b"1":  # "other values … will simply be ignored"
            message = _url_safe(message)
        inflate = decompressor(query.get("compression", b"").decode("utf-8", "replace"), MAX_MESSAGE)
        return _request(call, self._service, inflate(message) if inflate and message else message, json=json)

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        reply = _reply(self._service, inbound, json=_is_json(_query(call).get("encoding", b"")))
        reply.headers += self._service.caching
        return reply

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        """`bridge.api.capabilities.Refusing`."""
        return _refusal(self._service, problem, reply) if _query(call).get("connect") == b"v1" else reply


def read_timeout(text: str) -> float:
    """Seconds of ``Connect-Timeout-Ms`` (the Connect protocol: at most ten digits).

    :raises bridge.api.ClientError: it is not written so.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ClientError("Connect-Timeout-Ms is written as at most ten digits, a number of milliseconds.")
    return int(text) / 1000


class Connect(Front):
    name = "connect"
    timeouts: ClassVar[Mapping[str, Callable[[str], float]]] = {"connect-timeout-ms": read_timeout}
    marks: ClassVar[Mapping[tuple[str, str], Form]] = {VERSION: ConnectUnary(json=True)}
    forms: ClassVar[Mapping[str, Form]] = {
        "application/proto": ConnectUnary(),
        "application/connect+proto": ConnectStream(),
        "application/connect+json": ConnectStream(json=True),
    }

    def operations(self, operation: Operation, service: Service) -> Iterator[Operation]:
        """GET of a method with ``idempotency_level = NO_SIDE_EFFECTS``."""
        if not (service.own_path and service.safe) or service.client_streaming or service.server_streaming:
            return

        def describe() -> OperationDoc:
            doc = operation.describe()
            described = {key: value for key, value in doc.operation.items() if key != "requestBody"}
            described["parameters"] = [*described.get("parameters", []), *_QUERY_PARAMETERS]
            return OperationDoc(described, doc.schemas)

        yield replace(operation, method="GET", codec=ConnectGetCodec(service), describe=describe)


# --- unary calls -----------------------------------------------------------------------------------------------------


def _check_version(call: Call) -> None:
    """:raises bridge.api.ClientError: it names another version of the protocol than ours."""
    name, ours = VERSION
    version = call.header(name, ours)
    if version != ours:
        raise ClientError(f'Connect-Protocol-Version must be "{ours}", not {version[:20]!r}.')


def _request(call: Call, service: Service, message: bytes, *, json: bool) -> GrpcRequest:
    if json:
        message = service.read_json(message)
    return service.outgoing(call, service.completing(call)(message))


def _reply(service: Service, inbound: GrpcReply, *, json: bool) -> Reply:
    """ "Unary-Response": trailing metadata are header fields whose names begin with ``trailer-``."""
    returned = list(lawful(service.returned(inbound.metadata, ()), _RESERVED_UNARY))
    trailers = lawful(service.returned((), inbound.trailers), _RESERVED_UNARY)
    returned += [(f"trailer-{name}", value) for name, value in trailers]
    if inbound.code:
        waits = service.fault(inbound).headers
        return Reply(_status_of(inbound.code), [JSON_TYPE, *waits, *returned], orjson.dumps(_error(service, inbound)))
    if json:
        return Reply(200, [JSON_TYPE, *returned], service.write_json(inbound.message))
    return Reply(200, [("content-type", "application/proto"), *returned], inbound.message)


def _refusal(service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
    inbound = as_status(service, problem, reply.headers)
    # "If the server doesn't support the specified Message-Codec, it must respond with … 415".
    status = 415 if reply.status == 415 else _status_of(inbound.code)
    return Reply(status, [JSON_TYPE, *kept(reply)], orjson.dumps(_error(service, inbound)))


def _status_of(code: int) -> int:
    return ERRORS.get(code, ERRORS[2])[1]


def _error(service: Service, inbound: GrpcReply) -> dict[str, Any]:
    """The ``Error`` for a status that isn't OK ("Error and EndStreamResponse"). "There are no user-defined codes": an
    unknown one is ``unknown``."""
    error: dict[str, Any] = {"code": ERRORS.get(inbound.code, ERRORS[2])[0]}
    if inbound.detail:
        error["message"] = inbound.detail.encode("utf-8", "replace").decode("utf-8")
    details = [
        {"type": detail.type, "value": unpadded(detail.value)} | ({} if detail.json is None else {"debug": detail.json})
        for detail in service.details(inbound)
    ]
    if details:
        error["details"] = details
    return error


# --- GET -------------------------------------------------------------------------------------------------------------


def _query(call: Call) -> dict[str, bytes]:
    """The query's parameters as bytes, the first of each name; unknown ones are allowed, in any order."""
    query: dict[str, bytes] = {}
    for part in call.query.split("&"):
        name, _, value = part.partition("=")
        query.setdefault(name, unquote_to_bytes(value.replace("+", " ")))
    return query


def _is_json(encoding: bytes) -> bool:
    if encoding not in (b"json", b"proto"):
        raise UnsupportedMediaType("The encoding of this operation is json or proto.")
    return encoding == b"json"


def _url_safe(text: bytes) -> bytes:
    """URL-safe base64, padded or not."""
    text = text.translate(_URL_SAFE).rstrip(b"=")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        raise InvalidParameter([("message", "it is not URL-safe base64")]) from None


def _parameter(name: str, description: str, *values: str, required: bool = True) -> dict[str, Any]:
    schema = {"type": "string", "enum": list(values)} if values else {"type": "string"}
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


#: "Query-Get".
_QUERY_PARAMETERS = (
    _parameter("connect", "Tells a call of the Connect protocol.", "v1"),
    _parameter("encoding", "How `message` is written.", "json", "proto"),
    _parameter("message", "The request message."),
    _parameter("base64", "Whether `message` is URL-safe base64.", "1", required=False),
    _parameter("compression", "How `message` is compressed.", "identity", "gzip", required=False),
)


# --- streams ---------------------------------------------------------------------------------------------------------


class _StreamWriter(EnvelopeWriter):
    """ "Streaming responses always have … 200 OK"."""

    reserved = ("connect-",)

    def end(self, inbound: GrpcReply) -> bytes:
        last: dict[str, Any] = {"error": _error(self.service, inbound)} if inbound.code else {}
        metadata: dict[str, list[str]] = {}
        for name, value in lawful(self.service.returned((), inbound.trailers), self.reserved):
            metadata.setdefault(name, []).append(value)
        if metadata:
            last["metadata"] = metadata
        return envelope(END_STREAM, orjson.dumps(last))

    def reply(self, inbound: GrpcReply) -> Reply:
        reply = self.head(inbound.metadata)
        reply.body = (b"" if inbound.code else self.message(inbound.message)) + self.end(inbound)
        return reply
