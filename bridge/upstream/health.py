"""gRPC's health protocol (grpc/doc/health-checking.md, gRFC A17): whether a service at one address says that it serves.

The watch is one call that stays open, so a server that stops serving is passed over from the next call on.
"""

from __future__ import annotations

import asyncio
import random

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

WATCH = "/grpc.health.v1.Health/Watch"
FIRST, MOST = 1.0, 120.0  #: seconds until a watch that broke off is begun again; doubled up to the second

_READY = grpc.ChannelConnectivity.READY


class Health:
    """Watches one channel from the first `heard` to the end of its connection, and again from the next one on. A server
    without the protocol counts as serving; one whose watch breaks off does not, until it says so again.

    :param service: whose health; ``""`` for the server's as a whole.
    :ivar serving: None while it has not said anything on this connection.
    """

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        self._channel = channel
        self._watch = channel.unary_stream(WATCH)
        self._question = HealthCheckRequest(service=service).SerializeToString()
        self._said = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.serving: bool | None = None

    async def heard(self, seconds: float) -> bool:
        """Whether it serves; waits for its word for `seconds` at most. The channel must be connected."""
        if self._task is None or self._task.done():
            self._say(None)
            self._task = asyncio.get_running_loop().create_task(self._follow())
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._said.wait()
        except TimeoutError:
            return False
        return bool(self.serving)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _say(self, serving: bool | None) -> None:
        self.serving = serving
        if serving is None:
            self._said.clear()
        else:
            self._said.set()

    async def _follow(self) -> None:
        pause = FIRST
        while True:
            try:
                async for answer in self._watch(self._question):
                    self._say(HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING)
                    pause = FIRST
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    self._say(True)  # as long as it is the same server
                    await self._channel.wait_for_state_change(_READY)
            except DecodeError:
                self._say(False)
            if self._channel.get_state() is not _READY:
                self._say(None)
                return
            self._say(False)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # spreads callers, guards nothing
            pause = min(pause * 2, MOST)
