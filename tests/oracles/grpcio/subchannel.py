"""One instance of a gRPC upstream over gRPC's own library, grpc.aio: the judge of the gateway's own client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from bridge.api.call import GrpcReply
from bridge.api.transport import Address, Attempt, InstanceVerdict, Outcome, Target
from bridge.errors import Timeout, Unavailable
from bridge.transport.connecting import CONNECT, authority
from bridge.transport.grpc.answer import Metadata
from bridge.transport.grpc.subchannel import WINDOW, ConnectionOptions, Subchannel
from tests.oracles.grpcio.status import attempt_of, pairs
from tests.oracles.grpcio.stream import GrpcioStream

Options = Sequence[tuple[str, Any]]

_READY = grpc.ChannelConnectivity.READY
_GONE = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
_COMPRESSION = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What grpc.aio's channels are made with."""

    options: Options
    credentials: grpc.ChannelCredentials | None = None
    compression: grpc.Compression | None = None


def options_of(target: Target) -> ChannelOptions:
    connection, name, tls = target.connection, target.name, target.tls
    own = ConnectionOptions.of(target)
    keepalive, ping_timeout = int(own.keepalive * 1000), int(own.ping_timeout * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", own.max_reply),
        ("grpc.max_send_message_length", connection.max_message or -1),  # the gateway bounds request bodies itself
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # A channel that is made anew must not inherit the back-off of the one before it.
        ("grpc.use_local_subchannel_pool", 1),
        # The core would widen the window to what the network can hold, and keep all of that for a slow client.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW),
        ("grpc.keepalive_time_ms", keepalive),
        # How long the core waits for the answer is the last of these, which would be a minute.
        ("grpc.keepalive_timeout_ms", ping_timeout),
        ("grpc.http2.ping_timeout_ms", ping_timeout),
        # A stream may be silent for as long as it likes.
        ("grpc.http2.max_pings_without_data", 0),
    ]
    if connection.max_metadata is not None:
        options += [("grpc.max_metadata_size", connection.max_metadata)]
        options += [("grpc.absolute_max_metadata_size", connection.max_metadata)]
    if name:
        options.append(("grpc.default_authority", name))
        if tls is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name or name))
    credentials = grpc.ssl_channel_credentials(tls.authorities(), tls.key, tls.certificate) if tls else None
    return ChannelOptions(options, credentials, _COMPRESSION[connection.compression])


class GrpcioSubchannel(Subchannel):
    """Holds the raw-bytes callables of the methods that were called, too."""

    def __init__(self, address: Address, target: Target) -> None:
        super().__init__(address, ConnectionOptions.of(target))
        self._target = authority(address)
        self._terms = options_of(target)
        self.channel = self._channel(self._terms.options)
        self._retrying: Any = None
        self._unary: dict[str, Any] = {}
        self._streaming: dict[str, Any] = {}
        self._under_way = 0

    def _channel(self, options: Options) -> Any:
        if self._terms.credentials is not None:
            return grpc.aio.secure_channel(self._target, self._terms.credentials, options, self._terms.compression)
        return grpc.aio.insecure_channel(self._target, options, self._terms.compression)

    @property
    def connected(self) -> bool:
        return self.channel.get_state() is _READY

    @property
    def lost(self) -> bool:
        """Whether the core waits before it tries again, after an attempt of its own: it makes them for calls that met a
        lost connection. Whether the address takes one now isn't known."""
        return not self.connecting and self.channel.get_state() in _GONE

    async def disconnected(self) -> None:
        if self.connected:  # once it has changed it is another connection, even where it reads READY again by now
            await self.channel.wait_for_state_change(_READY)

    async def unary(self, path: str, message: bytes, metadata: Metadata, deadline: float, retries: int = 0) -> Attempt:
        loop = asyncio.get_running_loop()
        if retries:
            metadata = (*metadata, ("grpc-previous-rpc-attempts", str(retries)))
        call = self._method(path, again=retries > 0)(message, timeout=_left(loop, deadline), metadata=metadata)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return attempt_of(error, connected=self.connected, late=loop.time() >= deadline - 0.001)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The channel was closed: gRPC raises this in whoever waits, though nobody has cancelled the task.
            closed = Unavailable("The gateway is shutting down.", headers=[("retry-after", "1")])
            return Attempt(closed, grpc.StatusCode.UNAVAILABLE.value[0], Outcome.RETRIABLE, InstanceVerdict.BAD)
        metadata, trailers = pairs(await call.initial_metadata()), pairs(await call.trailing_metadata())
        return Attempt(GrpcReply(0, answer, metadata=metadata, trailers=trailers), verdict=InstanceVerdict.FINE)

    def _method(self, path: str, *, again: bool) -> Any:
        if again:
            # Further attempts have a channel of their own: the core takes ``grpc-previous-rpc-attempts`` away where it
            # may itself send again what a server has not looked at, as it may in the other one.
            if self._retrying is None:
                self._retrying = self._channel([*self._terms.options, ("grpc.enable_retries", 0)])
            return self._retrying.unary_unary(path)
        found = self._unary.get(path)
        if found is None:
            found = self._unary[path] = self.channel.unary_unary(path)
        return found

    def stream(
        self,
        path: str,
        metadata: Metadata,
        deadline: float | None,
        *,
        counts: bool = True,
        report: Callable[[Attempt], None] | None = None,
    ) -> GrpcioStream:
        timeout = None if deadline is None else _left(asyncio.get_running_loop(), deadline)
        found = self._streaming.get(path)
        if found is None:
            found = self._streaming[path] = self.channel.stream_stream(path)
        call = found(timeout=timeout, metadata=metadata)
        if counts:
            self._under_way += 1
            self._idle.clear()
            call.add_done_callback(self._done)
        return GrpcioStream(call, self, deadline, report)

    def _done(self, _: Any) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

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

    async def aclose(self, grace: float | None = None) -> None:
        self._stop()
        await asyncio.gather(*(one.close(grace) for one in (self.channel, self._retrying) if one is not None))


def _left(loop: asyncio.AbstractEventLoop, deadline: float) -> float:
    """Seconds until then.

    :raises bridge.errors.Timeout: there are none; grpc.aio would take 0 for no timeout at all.
    """
    left = deadline - loop.time()
    if left <= 0:
        raise Timeout(cause="the deadline had passed before anything was sent")
    return left
