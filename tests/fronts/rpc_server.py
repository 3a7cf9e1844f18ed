"""The fronts' codecs on a socket, before a service that is a few lines of Python."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from typing import Any

import orjson
import uvicorn
from google.rpc import error_details_pb2, status_pb2

from bridge.api import Call, GrpcReply, Operation, OperationDoc, Reply, RouteSpec, StreamTranslation
from bridge.api.problem import problem
from bridge.errors import RateLimited
from bridge.fronts.publish import Fronts
from bridge_grpc.schema.pool import Schema
from tests.fronts.rpc_service import service_of

LIMITED = "limited"  #: a county whose calls the gateway itself refuses


def no_doc() -> OperationDoc:
    raise AssertionError("no document is asked for")


class RpcServer:
    """`seen`: the content types of the requests."""

    def __init__(self, schema: Schema) -> None:
        self._ask = schema.message_class(schema.pool.FindMessageTypeByName("tally.v1.Ask"))
        self._count = schema.message_class(schema.pool.FindMessageTypeByName("tally.v1.Count"))
        self.seen: list[str] = []
        route = RouteSpec.model_validate({
            "route": "/", "upstream": "svc:1", "auth": {"type": "none"}, "transform": {"request": "grpc"},
        })  # fmt: skip
        operations = []
        for method in schema.services["tally.v1.Tally"]:
            service = service_of(schema, method.name)
            codec = None if method.streaming else service
            operations.append(Operation(method.name, "POST", method.path, codec, no_doc, method.path, service))
        self._codecs: dict[tuple[str, str], Any] = {
            (operation.method, operation.path): operation.codec for operation in Fronts().publish(route, operations)
        }

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
            reply = codec.refusal(call, orjson.loads(refused.content), refused)
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
    def _fed(exchange: StreamTranslation, parts: Sequence[bytes]) -> list[bytes]:
        made = [message for part in parts for message in exchange.feed(part)]
        return [*made, *exchange.finish()]

    def _streamed(self, exchange: StreamTranslation, messages: list[bytes]) -> tuple[Reply, list[bytes]]:
        self._limit(*messages)
        answers, end = self.serve(exchange.request.path, messages)
        if exchange.answers_once or not answers:
            end.message = answers[0] if answers else b""
            reply = exchange.reply(end)
            return reply, [reply.content]
        head, last = exchange.head(end.metadata), exchange.end(end)
        assert isinstance(last, bytes)
        return head, [head.content, *map(exchange.message, answers), last]

    def _limit(self, *messages: bytes) -> None:
        if any(self._ask.FromString(message).county == LIMITED for message in messages):
            raise RateLimited("Try again.", headers=[("retry-after", "3")])


@contextlib.contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


@contextlib.asynccontextmanager
async def serving(app: RpcServer) -> AsyncIterator[int]:
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
