"""One address of a gRPC upstream, whichever client speaks to it: connecting once for all who wait, health, leaving."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from bridge.api.stream import UpstreamStream
from bridge.transport.attempt import Ended, Metadata
from bridge.transport.grpc.health import WATCH, Health

Address = tuple[str, int]

CONNECT = 3.0  #: seconds for one address to take a connection, at most; the deadline is shared between addresses
GRACE = 30.0  #: seconds that unary calls get at an address that is let go; streams there end by themselves


class Peer(ABC):
    """:param health: the service whose health is watched, ``""`` for the server's; False: none is.
    :ivar cause: why it took no connection the last time; may name addresses, so it is for the log alone.
    :ivar shortage: … and that this was for want of sockets of our own, which is not the address's fault.
    """

    def __init__(self, address: Address, health: str | Literal[False] = False) -> None:
        self.address = address
        self.cause = ""
        self.shortage = False
        self._connecting: asyncio.Task[bool] | None = None
        self._health = None if health is False else Health(self._watch, self.disconnected, health)

    # --- what a client has to give ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether a call may begin at once."""

    @abstractmethod
    async def _connect(self) -> bool:
        """Whether it takes a connection within `CONNECT`."""

    @abstractmethod
    async def disconnected(self) -> None:
        """Until `connected` is no longer true of the connection that is there now."""

    @abstractmethod
    async def unary(
        self, path: str, message: bytes, metadata: Metadata, deadline: float, *, again: bool = False
    ) -> Ended:
        """One call of one message each way.

        :param deadline: in the running loop's `time()`.
        :param again: it is a further attempt.
        :raises bridge.errors.ClientError: metadata that can't be sent.
        :raises bridge.errors.Timeout: the deadline had passed before anything was sent.
        """

    @abstractmethod
    def stream(
        self,
        path: str,
        metadata: Metadata,
        deadline: float | None,
        *,
        counts: bool = True,
        report: Callable[[Ended], None] | None = None,
    ) -> UpstreamStream:
        """A call that streams both ways; the address isn't let go before it ends.

        :param deadline: in the running loop's `time()`; None where there is none.
        :param counts: leaving waits for it.
        :param report: told how it ended.
        """

    @abstractmethod
    async def leave(self) -> None:
        """Close when the calls under way have ended: streams whenever they do, the others within `GRACE`."""

    @abstractmethod
    async def aclose(self, grace: float | None = None) -> None:
        """:param grace: seconds that calls under way get; None ends them now."""

    # --- what all have ------------------------------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        """Whether it is connected, and has said that it doesn't serve."""
        return self._health is not None and self._health.serving is False and self.connected

    @property
    def serving(self) -> bool:
        """Whether it is connected and known to serve, so that nothing need be waited for."""
        return self.connected and (self._health is None or bool(self._health.serving))

    @property
    def lost(self) -> bool:
        """Whether only a new peer can tell if the address takes a connection."""
        return False

    async def serves(self, seconds: float) -> bool:
        """Whether it says that it does (True where nobody asks); waits for its word for `seconds` at most."""
        return self._health is None or self._health.serving or await self._health.heard(seconds)

    @property
    def connecting(self) -> bool:
        """Whether an attempt to connect is under way."""
        return self._connecting is not None and not self._connecting.done()

    async def connect(self, seconds: float) -> bool:
        """Whether the address takes a connection within `seconds`; callers at one time share one attempt. It goes on
        when a caller's time is over: others may have more, and the next one finds its result."""
        attempt = self._connecting
        if attempt is None or attempt.done():
            attempt = self._connecting = asyncio.get_running_loop().create_task(self._connect())
        # It is waited for and not awaited: another caller may give the address up meanwhile, which ends the attempt,
        # and that must not look as if this caller had been cancelled.
        await asyncio.wait([attempt], timeout=max(seconds, 0.001))
        return attempt.done() and not attempt.cancelled() and attempt.result()

    def _rest(self) -> None:
        """Nothing is asked any more."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._health is not None:
            self._health.cancel()

    def _watch(self) -> UpstreamStream:
        return self.stream(WATCH, (), None, counts=False)
