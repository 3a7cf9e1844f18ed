"""The dialects' codecs on a socket, in front of a service that is a few lines of Python."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from typing import Any

import orjson
import uvicorn
from google.rpc import error_details_pb2, status_pb2

from bridge.api import Call, Exchange, GrpcReply, GrpcRequest, Reply
from bridge.api.problem import problem
from bridge.errors import RateLimited
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.dialect.codec import ConnectGetCodec, DialectCodec, DialectStreamCodec
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.metadata import Outgoing, Returned
from bridge_grpc.operation import UnaryCodec
from bridge_grpc.options import Print
from bridge_grpc.schema.pool import Schema
from bridge_grpc.transformer import finder
from tests.bridge_grpc.dialects import rpc_of

LIMITED = "limited"  #: a county whose calls the gateway itself refuses


class PlainStream:
    """Stands where JSON's own codec stands."""

    secrets: frozenset[str] = frozenset()

    def __init__(self, streams_up: bool) -> None:
        self.streams_up = streams_up

    def open(self, call: Call) -> Exchange:
        raise AssertionError("this call speaks a dialect")

    def show(self, outbound: GrpcRequest) -> str:
        raise AssertionError("nobody asks for it")


class DialectServer:
    """`seen`: the content types of the requests."""

    def __init__(self, schema: Schema) -> None:
        self._ask = schema.message_class(schema.pool.FindMessageTypeByName("tally.v1.Ask"))
        self._count = schema.message_class(schema.pool.FindMessageTypeByName("tally.v1.Count"))
        find = finder(schema)
        self._codecs: dict[tuple[str, str], Any] = {}
        self.seen: list[str] = []
        for method in schema.services["tally.v1.Tally"]:
            rpc = rpc_of(schema, method.name)
            if method.streaming:
                self._codecs["POST", method.path] = DialectStreamCodec(PlainStream(method.client_streaming), rpc)
                continue
            binding = Binding(method.input, (), "*", Decoders(find))
            plain = UnaryCodec(method.path, binding, method.output, Encoders(find, Print()), Outgoing(), Returned())
            self._codecs["POST", method.path] = DialectCodec(plain, rpc)
            if method.safe:
                self._codecs["GET", method.path] = ConnectGetCodec(plain, rpc)

    # --- the service -------------------------------------------------------------------------------------------------

    def serve(self, path: str, messages: Sequence[bytes]) -> tuple[list[bytes], GrpcReply]:
        """Answers and the status. ``nowhere`` is refused; what comes before it is answered."""
        end = GrpcReply(0, metadata=[("shard", "4")], trailers=[("cost", "7")])
        asked = [self._ask.FromString(message) for message in messages]
        answers = []
        for ask in asked:
            if ask.county == "nowhere":
                status = status_pb2.Status(code=5, message="no such county: 100% é")
                status.details.add().Pack(error_details_pb2.ErrorInfo(reason="NO_COUNTY", domain="tally"))
                end.code, end.detail, end.status_details = 5, status.message, status.SerializeToString()
                break
            answers.append(self._count(county=ask.county, ballots=ask.ballots).SerializeToString())
        if path.endswith("/Watch"):
            answers *= 3
        if path.endswith("/Sum"):
            total = sum(ask.ballots for ask in asked)
            answers = [] if end.code else [self._count(ballots=total).SerializeToString()]
        return answers, end

    # --- the gateway's part ------------------------------------------------------------------------------------------

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        call = Call(scope["method"], scope["path"], query=scope["query_string"].decode(), headers=headers, peer="peer")
        self.seen.append(call.header("content-type"))
        parts, more = [], True
        while more:
            event = await receive()
            parts.append(event.get("body", b""))
            more = event.get("more_body", False)
        codec = self._codecs[call.method, call.path]
        try:
            reply, body = self._answered(codec, call, parts)
        except Exception as error:
            refused = problem(error, "0" * 32)
            reply = codec.refusal(call, orjson.loads(refused.body), refused)
            body = [reply.body]
        fields = [(name.encode(), value.encode()) for name, value in reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": fields})
        for part in body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _answered(self, codec: Any, call: Call, parts: Sequence[bytes]) -> tuple[Reply, list[bytes]]:
        if not hasattr(codec, "open"):
            call.body = b"".join(parts)
            request = codec.request(call)
            self._limit(request.message)
            answers, end = self.serve(request.path, [request.message])
            end.message = answers[0] if answers else b""
            reply = codec.reply(call, end)
            return reply, [reply.body]
        call.body = b"" if codec.streams_up else b"".join(parts)
        exchange = codec.open(call)
        return self._streamed(exchange, self._fed(exchange, parts) if exchange.sends else [exchange.request.message])

    @staticmethod
    def _fed(exchange: Exchange, parts: Sequence[bytes]) -> list[bytes]:
        made = [message for part in parts for message in exchange.feed(part)]
        return [*made, *exchange.finish()]

    def _streamed(self, exchange: Exchange, messages: list[bytes]) -> tuple[Reply, list[bytes]]:
        self._limit(*messages)
        answers, end = self.serve(exchange.request.path, messages)
        if exchange.answers_once or not answers:
            end.message = answers[0] if answers else b""
            reply = exchange.reply(end)
            return reply, [reply.body]
        head = exchange.head(end.metadata)
        return head, [head.body, *map(exchange.message, answers), exchange.end(end)]

    def _limit(self, *messages: bytes) -> None:
        if any(self._ask.FromString(message).county == LIMITED for message in messages):
            raise RateLimited("Try again.", headers=[("retry-after", "3")])


@contextlib.contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


@contextlib.asynccontextmanager
async def serving(app: DialectServer) -> AsyncIterator[int]:
    """`app` over HTTP/1.1; its port."""
    with _listening() as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined, unused-ignore]  # the tests' own
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await running
