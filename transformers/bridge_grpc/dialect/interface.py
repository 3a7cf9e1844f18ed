"""What a dialect is, and what it must know of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.api import Call, Exchange, GrpcReply, GrpcRequest, Reply
from bridge_grpc.mapping.calls import DEFAULT, Settings

Metadata = Sequence[tuple[str, str | bytes]]
#: A service's initial metadata and its trailers -> the fields of them that clients get, values as text. A dialect asks
#: for each of the two apart, with the other one empty, since it has a place for each.
Returned = Callable[[Metadata, Metadata], list[tuple[str, str]]]

MAX_MESSAGE = 8 * 1024**2  #: bytes of one message once it is decompressed


def nothing_returned(metadata: Metadata, trailers: Metadata) -> list[tuple[str, str]]:
    return []


def no_metadata(call: Call) -> list[tuple[str, str | bytes]]:
    return []


def nothing_to_complete(call: Call) -> Callable[[bytes], bytes]:
    return bytes


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method, as its dialects see it.

    :ivar path: ``/package.Service/Method``.
    :ivar read_json: JSON text -> the serialised request; raises `bridge.api.InvalidBody`.
    :ivar write_json: a serialised answer -> JSON text; raises `bridge.api.BadReply`.
    :ivar write_any: a ``google.protobuf.Any`` -> its JSON value, for typed details.
    :ivar metadata: what is sent with the call.
    :ivar returned: what of the service's metadata and trailers clients get.
    :ivar completing: a call -> what puts the fields that path and gateway fill into each of the client's messages. They
        count more than what the client says. Raises `bridge.api.ClientError`, and so does what it gives.
    :ivar max_message: bytes of one message of the client's once it is decompressed.
    :ivar settings: timeout and retry.
    """

    path: str
    client_streaming: bool
    server_streaming: bool
    read_json: Callable[[bytes], bytes]
    write_json: Callable[[bytes], bytes]
    write_any: Callable[[Any], Any]
    metadata: Callable[[Call], list[tuple[str, str | bytes]]] = no_metadata
    returned: Returned = nothing_returned
    completing: Callable[[Call], Callable[[bytes], bytes]] = nothing_to_complete
    max_message: int = MAX_MESSAGE
    settings: Settings = DEFAULT


class Dialect(Protocol):
    """One protocol in one of its forms. Without state; `call` and `rpc` say all."""

    def request(self, call: Call, rpc: Rpc) -> GrpcRequest:
        """A unary call.

        :raises bridge.api.ClientError: it can't be read.
        """
        ...

    def reply(self, call: Call, rpc: Rpc, inbound: GrpcReply) -> Reply:
        """A unary call's answer, whatever its status.

        :raises bridge.api.BadReply: it can't be read.
        """
        ...

    def exchange(self, call: Call, rpc: Rpc) -> Exchange:
        """A streaming call.

        :raises bridge.api.ClientError: it can't be read.
        """
        ...

    def refusal(self, call: Call, rpc: Rpc, problem: Mapping[str, Any], reply: Reply) -> Reply:
        """`bridge.api.stream.Refusing.refusal`: `problem` in this dialect, with the fields of `reply`. Never raises."""
        ...
