"""gRPC's health protocol (grpc/doc/health-checking.md, gRFC A17): whether an address reports that it serves.

The watch is a call that stays open, so a server that stops serving gets no further calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from bridge.api.stream import UpstreamStream
from bridge.errors import UpstreamError

WATCH = "/grpc.health.v1.Health/Watch"
FIRST_PAUSE, MAX_PAUSE = 1.0, 120.0  #: seconds before a failed watch is repeated; doubled each time

_UNIMPLEMENTED = 12


class Health:
    """Watches one address from the first `wait_serving` to the end of its connection, and likewise on later
    connections. A server without the protocol counts as serving. After a watch fails, the server counts as not
    serving until it reports again.

    :param watch: opens the call. :param disconnected: returns when the current connection is closed.
    :param service: the service's name; ``""`` for the whole server.
    :ivar serving: None until the server has reported on this connection.
    """

    def __init__(
        self, watch: Callable[[], UpstreamStream], disconnected: Callable[[], Awaitable[None]], service: str
    ) -> None:
        self._watch, self._disconnected = watch, disconnected
        self._request = HealthCheckRequest(service=service).SerializeToString()
        self._status_known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.serving: bool | None = None

    async def wait_serving(self, seconds: float) -> bool:
        """Whether it serves; waits at most `seconds` for its report. It must be connected."""
        if self._task is None or self._task.done():
            self._report(None)
            self._task = asyncio.get_running_loop().create_task(self._follow())
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._status_known.wait()
        except TimeoutError:
            return False
        return bool(self.serving)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _report(self, serving: bool | None) -> None:
        self.serving = serving
        if serving is None:
            self._status_known.clear()
        else:
            self._status_known.set()

    async def _follow(self) -> None:
        disconnect = asyncio.ensure_future(self._disconnected())
        try:
            watch = asyncio.ensure_future(self._watch_forever())
            await asyncio.wait((disconnect, watch), return_when=asyncio.FIRST_COMPLETED)
            watch.cancel()
        finally:
            disconnect.cancel()
        self._report(None)

    async def _watch_forever(self) -> None:
        """The watch, restarted whenever it fails."""
        pause = FIRST_PAUSE
        while True:
            call = self._watch()
            try:
                await call.write(self._request)
                await call.end()
                while (answer := await call.read()) is not None:
                    self._report(HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING)
                    pause = FIRST_PAUSE
                if (await call.status()).code == _UNIMPLEMENTED:
                    self._report(True)  # for the rest of this connection
                    await self._disconnected()
            except (UpstreamError, DecodeError):
                pass
            finally:
                call.cancel()
            self._report(False)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # spreads callers, guards nothing
            pause = min(pause * 2, MAX_PAUSE)
