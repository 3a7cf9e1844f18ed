"""The gRPC service behind the gateways where there is no Go to build the quicker one (``peers/grpc-gateway/orders``).

python -m benchmarks.side_by_side.services.grpc PORT DESCRIPTORS
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from benchmarks.side_by_side import sample
from bridge_grpc.schema.pool import schema


async def serve(port: int, descriptors: bytes) -> None:
    made = schema(descriptor_pb2.FileDescriptorSet.FromString(descriptors))
    order, asked, tick = (
        GetMessageClass(made.pool.FindMessageTypeByName(f"bench.{name}")) for name in ("Order", "FeedRequest", "Tick")
    )
    ticks = [bytes(ParseDict(each, tick()).SerializeToString()) for each in sample.ticks()]

    async def place(message: Any, context: Any) -> bytes:
        if message.id != 4711 or len(message.lines) not in (2, 100):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is not what the bench sends")
        return bytes(message.SerializeToString())

    async def feed(message: Any, _: Any) -> AsyncIterator[bytes]:
        for each in ticks[: message.count]:
            yield each

    server = grpc.aio.server()
    methods = {
        "PlaceOrder": grpc.unary_unary_rpc_method_handler(place, order.FromString, bytes),
        "Feed": grpc.unary_stream_rpc_method_handler(feed, asked.FromString, bytes),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Orders", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
