"""gRPC's health protocol (grpc/doc/health-checking.md): whether a service at one address says that it serves."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

WATCH = "/grpc.health.v1.Health/Watch"
BACKOFF = 1.0  #: seconds until a watch that broke off is begun again


class Health:
    """Watches one channel until `cancel`. A server without the protocol counts as serving; one whose watch breaks off
    does not, until it says so again.

    :param service: whose health; ``""`` for the server's as a whole.
    """

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        self._watch = channel.stream_stream(WATCH)
        self._question = HealthCheckRequest(service=service).SerializeToString()
        self._known = asyncio.Event()
        self.serving = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def known(self, seconds: float) -> bool:
        """Whether it serves; waits for the first answer, `seconds` at most."""
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._known.wait()
        except TimeoutError:
            pass
        return self.serving

    def cancel(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            call = self._watch()
            try:
                await call.write(self._question)
                await call.done_writing()
                while isinstance(answer := await call.read(), bytes):
                    self._set(HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING)
                ended = await call.code()
            except grpc.aio.AioRpcError as error:
                ended = error.code()
            except (DecodeError, grpc.aio.BaseError, asyncio.InvalidStateError):
                ended = grpc.StatusCode.UNKNOWN
            finally:
                call.cancel()
            if ended is grpc.StatusCode.UNIMPLEMENTED:
                self._set(True)
                return
            self._set(False)
            await asyncio.sleep(BACKOFF)

    def _set(self, serving: bool) -> None:
        self.serving = serving
        self._known.set()
