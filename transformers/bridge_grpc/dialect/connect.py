"""Connect's unary calls (connectrpc.com, "Unary RPCs"): bare messages by POST, or by GET from the query."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from bridge.api import JSON_TYPE, Call, Exchange, GrpcReply, GrpcRequest, InvalidParameter, Reply, UnsupportedMediaType
from bridge_grpc.dialect.connect_error import error_of, status_of
from bridge_grpc.dialect.connect_stream import check_version
from bridge_grpc.dialect.exchange import whole_body
from bridge_grpc.dialect.fields import lawful
from bridge_grpc.dialect.framing import decompressor
from bridge_grpc.dialect.interface import Rpc
from bridge_grpc.dialect.refusals import as_status, kept
from bridge_grpc.status import fault

_RESERVED = ("connect-", "content-", "trailer-")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5


@dataclass(frozen=True, slots=True)
class ConnectUnary:
    """By POST. :ivar json: messages are JSON, not protobuf."""

    json: bool = False

    def request(self, call: Call, rpc: Rpc) -> GrpcRequest:
        check_version(call)
        return _request(call, rpc, whole_body(call, rpc), json=self.json)

    def reply(self, call: Call, rpc: Rpc, inbound: GrpcReply) -> Reply:
        return _reply(rpc, inbound, json=self.json)

    def exchange(self, call: Call, rpc: Rpc) -> Exchange:
        """:raises bridge.api.UnsupportedMediaType: always; "Streaming-Content-Type" begins with
        application/connect+."""
        raise UnsupportedMediaType("This method streams; Connect calls it with application/connect+json or +proto.")

    def refusal(self, call: Call, rpc: Rpc, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return _refusal(rpc, problem, reply)


@dataclass(frozen=True, slots=True)
class ConnectGet:
    """By GET, of a method with ``idempotency_level = NO_SIDE_EFFECTS`` ("Unary-Get-Request")."""

    def request(self, call: Call, rpc: Rpc) -> GrpcRequest:
        """:raises bridge.api.InvalidParameter: of the query.
        :raises bridge.api.UnsupportedMediaType: an ``encoding`` that is none of the two."""
        query = query_of(call)
        encoding, message = query.get("encoding"), query.get("message")
        if encoding is None or message is None:
            absent = [name for name in ("encoding", "message") if name not in query]
            raise InvalidParameter([(name, "it must be given") for name in absent])
        json = _is_json(encoding)
        if query.get("base64") == b"1":  # "other values … will simply be ignored"
            message = _url_safe(message)
        inflate = decompressor(query.get("compression", b"").decode("utf-8", "replace"), rpc.max_message)
        return _request(call, rpc, inflate(message) if inflate and message else message, json=json)

    def reply(self, call: Call, rpc: Rpc, inbound: GrpcReply) -> Reply:
        return _reply(rpc, inbound, json=_is_json(query_of(call).get("encoding", b"")))

    def exchange(self, call: Call, rpc: Rpc) -> Exchange:
        """:raises bridge.api.UnsupportedMediaType: always; GET is for unary calls alone."""
        raise UnsupportedMediaType("This method streams; Connect calls it by POST.")

    def refusal(self, call: Call, rpc: Rpc, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return _refusal(rpc, problem, reply)


def query_of(call: Call) -> dict[str, bytes]:
    """The query's parameters as bytes, the first of each name; unknown ones are allowed, in any order."""
    query: dict[str, bytes] = {}
    for part in call.query.split("&"):
        name, _, value = part.partition("=")
        query.setdefault(name, unquote_to_bytes(value.replace("+", " ")))
    return query


def _request(call: Call, rpc: Rpc, message: bytes, *, json: bool) -> GrpcRequest:
    read = rpc.read_json(message) if json else message
    return GrpcRequest(rpc.path, rpc.completing(call)(read), rpc.metadata(call), *rpc.settings)


def _reply(rpc: Rpc, inbound: GrpcReply, *, json: bool) -> Reply:
    """ "Unary-Response": trailing metadata are header fields whose names begin with ``trailer-``."""
    returned = list(lawful(rpc.returned(inbound.metadata, ()), _RESERVED))
    returned += [(f"trailer-{name}", value) for name, value in lawful(rpc.returned((), inbound.trailers), _RESERVED)]
    if inbound.code:
        waits = fault(inbound, rpc.write_any).headers
        body = orjson.dumps(error_of(inbound, rpc.write_any))
        return Reply(status_of(inbound.code), [JSON_TYPE, *waits, *returned], body)
    if json:
        return Reply(200, [JSON_TYPE, *returned], rpc.write_json(inbound.message))
    return Reply(200, [("content-type", "application/proto"), *returned], inbound.message)


def _refusal(rpc: Rpc, problem: Mapping[str, Any], reply: Reply) -> Reply:
    refused = as_status(problem, reply.headers)
    # "If the server doesn't support the specified Message-Codec, it must respond with … 415".
    status = 415 if reply.status == 415 else status_of(refused.code)
    return Reply(status, [JSON_TYPE, *kept(reply)], orjson.dumps(error_of(refused, rpc.write_any)))


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
