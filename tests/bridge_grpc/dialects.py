"""A service of all four kinds of method, and what its dialects need to know of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bridge.api import Call, GrpcReply
from bridge_grpc.answer import Answer
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.dialect.interface import Metadata, Rpc
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema
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


def rpc_of(schema: Schema, name: str, **changes: Any) -> Rpc:
    """What the dialects know of the method `name`."""
    method = next(method for method in schema.services["tally.v1.Tally"] if method.name == name)
    find = finder(schema)
    encoders = Encoders(find, Print())
    made = Rpc(
        method.path,
        method.client_streaming,
        method.server_streaming,
        Binding(method.input, (), "*", Decoders(find)).of_json,
        Answer(method.output, "", encoders).text,
        encoders.any,
        lambda call: [("from", call.peer)],
        returned,
    )
    return replace(made, **changes)


def post(content_type: str, body: bytes = b"", *headers: tuple[str, str]) -> Call:
    return Call("POST", "/x", headers=[("content-type", content_type), *headers], body=body, peer="peer")


def framed(*messages: bytes, flags: int = 0) -> bytes:
    """The envelopes as the specifications write them, not as our code does."""
    return b"".join(bytes([flags]) + struct.pack(">I", len(message)) + message for message in messages)


def opened(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The envelopes of an answer."""
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
Make = Callable[..., Rpc]
