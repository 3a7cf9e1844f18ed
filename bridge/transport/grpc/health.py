"""gRPC's health protocol (grpc/doc/health-checking.md, gRFC A17): whether one address says that a service is serving.

The watch is one call that stays open, so a server that stops serving is passed over from the next call on.
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
FIRST_PAUSE, MAX_PAUSE = 1.0, 120.0  #: seconds before a watch that broke off is repeated; doubled each time

_UNIMPLEMENTED = 12


class Health:
    """Watches one address from the first `heard` to the end of its connection, and likewise on each later connection. A
    server without the protocol counts as serving. One whose watch breaks off does not, until it says so again.

    :param watch: opens the call. :param disconnected: returns when the connection that is there now is gone.
    :param service: whose health; ``""`` for the server's as a whole.
    :ivar serving: None while it has not said anything on this connection.
    """

    def __init__(
        self, watch: Callable[[], UpstreamStream], disconnected: Callable[[], Awaitable[None]], service: str
    ) -> None:
        self._watch, self._disconnected = watch, disconnected
        self._question = HealthCheckRequest(service=service).SerializeToString()
        self._said = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.serving: bool | None = None

    async def heard(self, seconds: float) -> bool:
        """Whether it serves; waits for its word for `seconds` at most. It must be connected."""
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
        gone = asyncio.ensure_future(self._disconnected())
        try:
            asking = asyncio.ensure_future(self._ask())
            await asyncio.wait((gone, asking), return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()
        finally:
            gone.cancel()
        self._say(None)

    async def _ask(self) -> None:
        """The watch, repeated whenever it breaks off."""
        pause = FIRST_PAUSE
        while True:
            call = self._watch()
            try:
                await call.write(self._question)
                await call.end()
                while (answer := await call.read()) is not None:
                    self._say(HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING)
                    pause = FIRST_PAUSE
                if (await call.status()).code == _UNIMPLEMENTED:
                    self._say(True)  # as long as it is the same server
                    await self._disconnected()
            except (UpstreamError, DecodeError):
                pass
            finally:
                call.cancel()
            self._say(False)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # spreads callers, guards nothing
            pause = min(pause * 2, MAX_PAUSE)
