"""The codecs of an automatic path: plain JSON as ever, gRPC-Web and Connect beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from bridge.api import Call, ClientError, Exchange, GrpcReply, GrpcRequest, Reply, StreamCodec
from bridge_grpc.dialect.choose import dialect_of
from bridge_grpc.dialect.interface import Dialect, Rpc
from bridge_grpc.operation import UnaryCodec


class _Refusing:
    """`bridge.api.stream.Refusing`."""

    __slots__ = ("_rpc",)
    _rpc: Rpc

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        dialect = dialect_of(call)
        if dialect is None:
            return reply
        return dialect.refusal(call, self._rpc, problem, reply)


class DialectCodec(_Refusing):
    """`bridge.api.GrpcCodec`. `request` leaves the dialect with the call, so that `reply` need not find it again; the
    codec serves many calls at once, and can keep nothing of any.

    :param plain: what reads and writes calls that speak no dialect.
    """

    __slots__ = ("_caching", "_plain_reply", "_plain_request", "binding", "secrets", "show")

    def __init__(self, plain: UnaryCodec, rpc: Rpc) -> None:
        self.binding, self.show, self.secrets = plain.binding, plain.show, plain.secrets
        self._caching = plain.caching
        self._plain_request, self._plain_reply = plain.request, plain.reply
        self._rpc = rpc

    def request(self, call: Call) -> GrpcRequest:
        asked: Any = call
        asked.dialect = dialect = dialect_of(call)
        if dialect is None:
            return self._plain_request(call)
        return dialect.request(call, self._rpc)

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        asked: Any = call
        try:
            dialect: Dialect | None = asked.dialect
        except AttributeError:  # who calls has not shown the request
            dialect = dialect_of(call)
        if dialect is None:
            return self._plain_reply(call, inbound)
        reply = dialect.reply(call, self._rpc, inbound)
        reply.headers += self._caching
        return reply


class ConnectGetCodec(DialectCodec):
    """The same path by GET, where nothing but Connect is published."""

    __slots__ = ()

    def request(self, call: Call) -> GrpcRequest:
        asked: Any = call
        asked.dialect = dialect = dialect_of(call)
        if dialect is None:
            raise ClientError("This path takes GET from Connect's clients alone, which say connect=v1.")
        return dialect.request(call, self._rpc)


class Plain(StreamCodec, Protocol):
    """JSON's own codec of a streaming method."""

    def show(self, outbound: GrpcRequest) -> str: ...

    @property
    def secrets(self) -> Collection[str]: ...


class DialectStreamCodec(_Refusing):
    """`bridge.api.StreamCodec`.

    :param plain: what opens calls that speak no dialect; feeds on the body, or not, as `rpc` does.
    """

    __slots__ = ("_plain", "secrets", "show", "streams_up")

    def __init__(self, plain: Plain, rpc: Rpc) -> None:
        self._plain, self._rpc, self.show, self.secrets = plain, rpc, plain.show, plain.secrets
        self.streams_up = plain.streams_up

    def open(self, call: Call) -> Exchange:
        dialect = dialect_of(call)
        if dialect is None:
            return self._plain.open(call)
        return dialect.exchange(call, self._rpc)
