"""The health of one address, as its server tells it: ``grpc.health.v1.Health/Watch`` (gRFC A17).

The watch is one call that stays open, so a server that stops serving is passed over from the next call on.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

WATCH = "/grpc.health.v1.Health/Watch"
FIRST, MOST = 1.0, 120.0  #: seconds between attempts to watch a server that breaks off; doubled up to the second

_READY = grpc.ChannelConnectivity.READY
_SERVING = 1  # HealthCheckResponse.ServingStatus


class HealthWatch:
    """What one channel's server says of `service`.

    :ivar serving: None while it has not said anything on this connection.
    """

    def __init__(self, channel: Any, service: str) -> None:
        self._channel = channel
        self._method = channel.unary_stream(WATCH)
        self._request = _Request(service=service).SerializeToString()
        self._said = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.serving: bool | None = None

    async def heard(self, seconds: float) -> bool:
        """Whether it serves; waits for its word, but no longer than `seconds`. The channel must be connected."""
        if self._task is None or self._task.done():
            self._say(None)
            self._task = asyncio.get_running_loop().create_task(self._follow())
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._said.wait()
        except TimeoutError:
            return False
        return bool(self.serving)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _say(self, serving: bool | None) -> None:
        self.serving = serving
        if serving is None:
            self._said.clear()
        else:
            self._said.set()

    async def _follow(self) -> None:
        """Ends with the connection; the next call that looks here starts anew."""
        pause = FIRST
        while True:
            try:
                async for reply in self._method(self._request):
                    self._say(_Response.FromString(reply).status == _SERVING)
                    pause = FIRST
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    # A server without the service counts as healthy, as long as it is the same server.
                    self._say(True)
                    await self._channel.wait_for_state_change(_READY)
            except DecodeError:
                self._say(False)
            if self._channel.get_state() is not _READY:
                self._say(None)
                return
            self._say(False)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # no secret
            pause = min(pause * 2, MOST)


def _messages() -> tuple[Any, Any]:
    """``HealthCheckRequest`` and ``HealthCheckResponse`` of ``grpc/health/v1/health.proto``, in a pool of their own: a
    schema of a route may hold that file, too. The enum is read as a number, which is the same on the wire."""
    file = descriptor_pb2.FileDescriptorProto(name="health.proto", package="grpc.health.v1", syntax="proto3")
    for message, field, kind in (
        ("HealthCheckRequest", "service", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
        ("HealthCheckResponse", "status", descriptor_pb2.FieldDescriptorProto.TYPE_INT32),
    ):
        file.message_type.add(name=message).field.add(
            name=field, number=1, type=kind, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    request, response = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.HealthCheck{name}"))
        for name in ("Request", "Response")
    )
    return request, response


_Request, _Response = _messages()
