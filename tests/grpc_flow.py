"""A real gRPC service of every cardinality, for tests of streams: it counts, sums, echoes, and tells what it saw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema

PROTO = """
syntax = "proto3";
package flow;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
service Flow {
  // Counts up. Then it stops.
  rpc Count(CountRequest) returns (stream Tick) { option (google.api.http) = { get: "/count/{upto}" }; }
  rpc Follow(CountRequest) returns (stream Tick) { option (google.api.http) = { post: "/follow" body: "*" }; }
  rpc Sum(stream Tick) returns (Total) { option (google.api.http) = { post: "/sum" body: "*" }; }
  rpc Echo(stream Tick) returns (stream Tick) {
    option (google.api.http) = { post: "/rooms/{room}/echo" body: "*" additional_bindings { get: "/rooms/{room}" } };
  }
  rpc Download(CountRequest) returns (stream google.api.HttpBody) {
    option (google.api.http) = { get: "/files/{upto}" };
  }
  rpc Upload(stream UploadRequest) returns (Total) {
    option (google.api.http) = { post: "/files/{name}" body: "file" };
  }
  rpc Once(CountRequest) returns (Tick);
}
message CountRequest {
  int32 upto = 1;
  int32 fail_after = 2;  // 0: never
  int32 hang_after = 3;  // 0: never
  int32 size = 4;        // bytes of text in each tick
  int32 since = 5;
  bool fail_at_once = 6;
  bool wait = 7;         // before anything is said
  string text = 8;
}
message Tick { int32 n = 1; string text = 2; string room = 3; }
message Total { int64 sum = 1; int32 count = 2; repeated string names = 3; repeated string types = 4; int64 bytes = 5; }
message UploadRequest { string name = 1; google.api.HttpBody file = 2; }
"""


class Flow:
    """:ivar sent: answers that the service could write.
    :ivar cancelled: set when a call was given up by its client.
    :ivar called: set by the first call.
    :ivar calls: name of the rpc and its metadata.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "flow.proto").write_text(PROTO)
        made = schema(compile_protos(["flow.proto"], folder))
        names = ("CountRequest", "Tick", "Total", "UploadRequest")
        self.request, self.tick, self.total, self.upload = (
            GetMessageClass(made.pool.FindMessageTypeByName(f"flow.{name}")) for name in names
        )
        self.body = GetMessageClass(made.pool.FindMessageTypeByName("google.api.HttpBody"))
        self.sent = 0
        self.received = 0
        self.unavailable = 0  # calls of Once that are refused so before one is answered
        self.hold = asyncio.Event()
        self.hold.set()
        self.called = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.server = grpc.aio.server()
        handlers = {
            "Count": grpc.unary_stream_rpc_method_handler(self._count, self.request.FromString, _bytes),
            "Follow": grpc.unary_stream_rpc_method_handler(self._count, self.request.FromString, _bytes),
            "Sum": grpc.stream_unary_rpc_method_handler(self._sum, self.tick.FromString, _bytes),
            "Echo": grpc.stream_stream_rpc_method_handler(self._echo, self.tick.FromString, _bytes),
            "Download": grpc.unary_stream_rpc_method_handler(self._download, self.request.FromString, _bytes),
            "Upload": grpc.stream_unary_rpc_method_handler(self._upload, self.upload.FromString, _bytes),
            "Once": grpc.unary_unary_rpc_method_handler(self._once, self.request.FromString, _bytes),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("flow.Flow", handlers),))
        self.port: int = self.server.add_insecure_port("127.0.0.1:0")

    @contextlib.contextmanager
    def _called(self, name: str, context: Any) -> Iterator[None]:
        self.calls.append((name, dict(context.invocation_metadata())))
        self.called.set()
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def _count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        with self._called("Count", context):
            if request.fail_at_once:
                await refuse(context)
            if request.wait:
                await asyncio.Event().wait()
            await context.send_initial_metadata((("x-since", str(request.since)),))
            for n in range(request.since + 1, request.upto + 1):
                yield self.tick(n=n, text=request.text or "x" * request.size)
                self.sent += 1
                if n == request.fail_after:
                    await refuse(context)
                if n == request.hang_after:
                    await asyncio.Event().wait()
            context.set_trailing_metadata((("x-count", str(self.sent)),))

    async def _sum(self, ticks: Any, context: Any) -> Any:
        with self._called("Sum", context):
            total = count = 0
            async for tick in ticks:
                await self.hold.wait()
                total += tick.n
                count += 1
                self.received += 1
                if tick.n == 13:
                    await refuse(context)
            return self.total(sum=total, count=count)

    async def _echo(self, ticks: Any, context: Any) -> AsyncIterator[Any]:
        with self._called("Echo", context):
            async for tick in ticks:
                if tick.n == 13:
                    await refuse(context)
                while tick.n == 99:  # and reads no more
                    yield tick
                yield tick

    async def _download(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for n in range(request.upto):
            yield self.body(content_type="text/csv" if not n else "", data=f"{n};".encode())
            if n + 1 == request.fail_after:
                await refuse(context)

    async def _upload(self, parts: Any, context: Any) -> Any:
        made: Any = self.total()
        async for part in parts:
            made.count += 1
            made.bytes += len(part.file.data)
            made.names.append(part.name)
            made.types.append(part.file.content_type)
        return made

    async def _once(self, request: Any, context: Any) -> Any:
        with self._called("Once", context):
            if self.unavailable:
                self.unavailable -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "in a moment")
            if request.hang_after:
                await asyncio.Event().wait()
            if request.fail_at_once:
                await refuse(context)
            return self.tick(n=request.upto, text="x" * request.size)


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


async def refuse(context: Any) -> None:
    """RESOURCE_EXHAUSTED with a typed detail."""
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="ENOUGH", domain="flow"))
    status = status_pb2.Status(code=8, message="enough", details=[packed])
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
