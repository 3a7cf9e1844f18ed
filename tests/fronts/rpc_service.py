"""A service of all four kinds of method, with a gRPC contract."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from bridge.api import Call, GrpcReply, GrpcRequest, Trailers
from bridge.api.service import Metadata
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.metadata import RequestMetadata, ResponseMetadata
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema
from bridge_grpc.service import GrpcService
from bridge_grpc.transformer import finder

PROTO = """
syntax = "proto3";
package tally.v1;
service Tally {
  rpc Get(Ask) returns (Count) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Put(Ask) returns (Count);
  rpc Watch(Ask) returns (stream Count);
  rpc Sum(stream Ask) returns (Count);
  rpc Both(stream Ask) returns (stream Count);
}
message Ask { string county = 1; int64 ballots = 2; }
message Count { string county = 1; int64 ballots = 2; }
"""

MESSAGES = [b"", b"\n\x01a", b"\n\x02\xc3\xa9\x10\x07"]  # of Ask and of Count alike


def returned(metadata: Metadata, trailers: Metadata) -> list[tuple[str, str]]:
    """Everything, as text."""
    return [(name, value if isinstance(value, str) else value.hex()) for name, value in (*metadata, *trailers)]


def service_of(schema: Schema, name: str, **changes: Any) -> GrpcService:
    """The method `name` at its own path, which sends the caller's address and returns all metadata."""
    method = next(method for method in schema.services["tally.v1.Tally"] if method.name == name)
    find = finder(schema)
    service = GrpcService(
        method,
        Binding(method.input, (), "*", Decoders(find)),
        Encoders(find, Print()),
        RequestMetadata(),
        ResponseMetadata(),
        own_path=True,
    )

    def outgoing(call: Call, message: bytes = b"") -> GrpcRequest:
        return GrpcRequest(method.path, message, [("from", call.peer)])

    vars(service).update({"outgoing": outgoing, "returned": returned, **changes})
    return service


def post(content_type: str, body: bytes = b"", *headers: tuple[str, str]) -> Call:
    return Call("POST", "/x", headers=[("content-type", content_type), *headers], body=body, peer="peer")


def framed(*messages: bytes, flags: int = 0) -> bytes:
    """The envelopes as the specifications write them, not as our code does."""
    return b"".join(bytes([flags]) + struct.pack(">I", len(message)) + message for message in messages)


def opened(body: bytes | Trailers) -> Iterator[tuple[int, bytes]]:
    """The envelopes of an answer."""
    assert isinstance(body, bytes)
    while body:
        flags, size = body[0], int.from_bytes(body[1:5])
        assert len(body) >= 5 + size
        yield flags, body[5 : 5 + size]
        body = body[5 + size :]


def trailers_of(block: bytes) -> dict[str, str]:
    """A block of HTTP/1 fields."""
    assert block.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in block.decode("ascii").removesuffix("\r\n").split("\r\n"))


def splits(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


NOT_FOUND = GrpcReply(5, detail="no such county: 100% \u00e9\n", trailers=[("cost", "7")])
