"""One address of a gRPC upstream: its channel, whether it is connected, and the calls that are under way there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import grpc
import grpc.aio

from bridge.upstream.health import Health

Address = tuple[str, int]
Options = Sequence[tuple[str, Any]]

CONNECT = 3.0  #: seconds for one address to take a connection, at most; the deadline is shared between addresses
GRACE = 30.0  #: seconds that unary calls get at an address that is let go; streams there end by themselves

_READY = grpc.ChannelConnectivity.READY
_GONE = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class Peer:
    """One address: its channel, and the raw-bytes callables of the methods that were called there.

    :param health: the service whose health is watched, ``""`` for the server's; False: none is.
    """

    def __init__(
        self,
        address: Address,
        credentials: grpc.ChannelCredentials | None,
        options: Options,
        compression: grpc.Compression | None = None,
        health: str | Literal[False] = False,
    ) -> None:
        host, port = address
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._credentials, self._options, self._compression = credentials, options, compression
        self.channel = self._channel(options)
        self._retrying: Any = None
        self._unary: dict[str, Any] = {}
        self._streaming: dict[str, Any] = {}
        self._streams = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._connecting: asyncio.Task[bool] | None = None
        self._health = None if health is False else Health(self.channel, health)

    def _channel(self, options: Options) -> Any:
        if self._credentials is not None:
            return grpc.aio.secure_channel(self._target, self._credentials, options, self._compression)
        return grpc.aio.insecure_channel(self._target, options, self._compression)

    @property
    def resting(self) -> bool:
        """Whether it is connected, and has said that it doesn't serve."""
        return self._health is not None and self._health.serving is False and self.connected

    async def serves(self, seconds: float) -> bool:
        """Whether it says that it does (True where nobody asks); waits for its word for `seconds` at most."""
        return self._health is None or self._health.serving or await self._health.heard(seconds)

    @property
    def connected(self) -> bool:
        return self.channel.get_state() is _READY

    @property
    def lost(self) -> bool:
        """Whether the core waits before it tries again, after an attempt of its own: it makes them for calls that met a
        lost connection. Whether the address takes one now isn't known, and only a new peer can tell."""
        trying = self._connecting is not None and not self._connecting.done()
        return not trying and self.channel.get_state() in _GONE

    def unary(self, path: str) -> Any:
        found = self._unary.get(path)
        if found is None:
            found = self._unary[path] = self.channel.unary_unary(path)
        return found

    def unary_again(self, path: str) -> Any:
        """For further attempts of a call. They have a channel of their own: the core takes
        ``grpc-previous-rpc-attempts`` away where it may itself send again what a server has not looked at, as it may
        in the other one."""
        if self._retrying is None:
            self._retrying = self._channel([*self._options, ("grpc.enable_retries", 0)])
        return self._retrying.unary_unary(path)

    def stream(
        self, path: str, *, timeout: float | None, metadata: Sequence[tuple[str, str | bytes]]
    ) -> Any:  # gRPC's own word
        """A call that streams both ways; the address isn't let go before it ends.

        :param timeout: seconds.
        """
        found = self._streaming.get(path)
        if found is None:
            found = self._streaming[path] = self.channel.stream_stream(path)
        call = found(timeout=timeout, metadata=metadata)
        self._streams += 1
        self._idle.clear()
        call.add_done_callback(self._ended)
        return call

    def _ended(self, _: Any) -> None:
        self._streams -= 1
        if not self._streams:
            self._idle.set()

    async def connect(self, seconds: float) -> bool:
        """Whether the address takes a connection within `seconds`; callers at one time share one attempt."""
        attempt = self._connecting
        if attempt is None or attempt.done():
            attempt = self._connecting = asyncio.get_running_loop().create_task(self._connect())
        # It is waited for and not awaited: another caller may give the address up meanwhile, which ends the attempt,
        # and that must not look as if this caller had been cancelled.
        await asyncio.wait([attempt], timeout=max(seconds, 0.001))
        return attempt.done() and not attempt.cancelled() and attempt.result()

    async def _connect(self) -> bool:
        state = self.channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(CONNECT):
                while state is not _READY:
                    if state in _GONE:
                        return False
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        except (TimeoutError, grpc.aio.UsageError):  # closed while it was connecting
            return False
        return True

    async def leave(self) -> None:
        """Close when the calls under way have ended: streams whenever they do, the others within `GRACE`."""
        if self._health is not None:
            self._health.cancel()
        await self._idle.wait()
        await self.aclose(GRACE)

    async def aclose(self, grace: float | None = None) -> None:
        """:param grace: seconds that calls under way get; None ends them now."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._health is not None:
            self._health.cancel()
        await asyncio.gather(*(one.close(grace) for one in (self.channel, self._retrying) if one is not None))
