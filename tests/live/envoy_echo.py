"""``same.Same``, the service behind Envoy and the gateway: it answers with what it got, and fails as it is told."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from bridge_grpc.schema.pool import Schema

#: What it says as metadata: a digest of the request's message, the same whatever the order of its fields on the wire,
#: and the metadata that it got.
RECEIVED, TOLD, TOLD_BYTES, TRAILED = "x-received", "x-told", "x-told-bin", "x-trailed"


class Echo:
    """Methods from `Thing` answer with it; those from and to ``google.api.HttpBody`` change their shape.

    ``Thing.fail`` is the status that a call fails with, ``Thing.text`` says with what details.
    """

    def __init__(self, made: Schema) -> None:
        self.thing = GetMessageClass(made.pool.FindMessageTypeByName("same.Thing"))
        self.body = GetMessageClass(made.pool.FindMessageTypeByName("google.api.HttpBody"))
        self.file = GetMessageClass(made.pool.FindMessageTypeByName("same.File"))
        self.server = grpc.aio.server()
        handlers = {}
        for method in made.services["same.Same"]:
            take = GetMessageClass(method.input).FromString
            raw = method.output.name == "HttpBody"
            if method.client_streaming and method.server_streaming:
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(self._both, take, _bytes)
            elif method.client_streaming:
                handlers[method.name] = grpc.stream_unary_rpc_method_handler(self._up, take, _bytes)
            elif method.server_streaming:
                stream = self._pieces if raw else self._down
                handlers[method.name] = grpc.unary_stream_rpc_method_handler(stream, take, _bytes)
            else:
                answer = self._raw if raw else self._same
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(answer, take, _bytes)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("same.Same", handlers),))
        self.port: int = self.server.add_insecure_port("127.0.0.1:0")

    async def _same(self, asked: Any, context: Any) -> Any:
        await _tell(context, asked)
        if getattr(asked, "fail", 0):
            await _fail(asked, context)
        if isinstance(asked, self.body):
            octets: Any = asked
            return self.thing(name=octets.content_type, data=octets.data)
        if isinstance(asked, self.file) and not asked.HasField("file"):
            file: Any = asked
            return self.file(name=file.name, file=self.body(content_type="text/css", data=file.name.encode()))
        return asked

    async def _raw(self, asked: Any, context: Any) -> Any:
        await _tell(context, asked)
        return self.body(content_type=asked.text or "text/plain", data=asked.name.encode())

    async def _down(self, asked: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(asked.i32):
            yield self.thing(name=asked.name, i32=number)
        if asked.fail:
            await _fail(asked, context)

    async def _pieces(self, asked: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(asked.i32):
            yield self.body(content_type="text/csv", data=f"{asked.name},{number}\n".encode())

    async def _up(self, parts: AsyncIterator[Any], context: Any) -> Any:
        made: Any = self.thing()
        got = []
        async for part in parts:
            got.append(part)
            made.texts.append(part.name)
            made.i32 += part.i32
        await _tell(context, *got)
        if made.i32 < 0:
            made.fail = 9
            await _fail(made, context)
        return made

    async def _both(self, parts: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for part in parts:
            yield part


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


async def _tell(context: Any, *got: Any) -> None:
    asked = dict(context.invocation_metadata())
    digest = hashlib.sha256(b"|".join(each.SerializeToString(deterministic=True) for each in got)).hexdigest()
    told = [
        (name, asked[asking]) for name, asking in ((TOLD, "x-asked"), (TOLD_BYTES, "x-asked-bin")) if asking in asked
    ]
    await context.send_initial_metadata([(RECEIVED, digest[:16]), *told])
    if "x-trail" in asked:
        context.set_trailing_metadata([(TRAILED, asked["x-trail"])])


async def _fail(asked: Any, context: Any) -> None:
    details = []
    if asked.text == "typed":
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.ErrorInfo(reason="NO", domain="same"))
        details.append(packed)
    if asked.text == "unknown":
        details.append(any_pb2.Any(type_url="example.org/of.nobody.Knows", value=b"\x01"))
    status = status_pb2.Status(code=asked.fail, message="it is so", details=details)
    if asked.text != "bare":
        context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    sentence = "100% so: ä" if asked.text == "bare" else "it is so"
    await context.abort(next(code for code in grpc.StatusCode if code.value[0] == asked.fail), sentence)
