"""gRPC upstreams over grpc.aio: serialised messages in and out, a channel for each address, nothing retried.

What the service itself says comes back as a `GrpcReply`, whatever its code. What happens on the way to it (no
connection, a connection lost, our deadline, an answer that is too large or not gRPC) is raised as the house's errors.
grpc.aio reports both alike, so they are told apart by the connection's state and by the few sentences that gRPC's
core makes up itself; the addresses in those go into `cause`, never into `detail`.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

# gRPC's core would write its own lines, with addresses in them, to standard error; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from bridge.errors import BadReply, Timeout, Unavailable, UpstreamError
from bridge.transformer import GrpcReply, GrpcRequest
from bridge.upstream.grpc_stream import GrpcStream

Address = tuple[str, int]

CONNECT = 3.0  #: seconds for one address to take a connection, at most; the deadline is shared between addresses
ADDRESSES = 8  #: addresses tried for one request

_READY = grpc.ChannelConnectivity.READY
_GONE = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)

# What gRPC's core says for itself; a service has no reason to use these words.
_TOO_LARGE = re.compile(r"CLIENT: (Received|Sent|Decompressed)\b.* larger than max")
_NOT_GRPC = re.compile(r"Received http2 header with status: \d+|Failed parsing HTTP/2|content-type")
_ON_THE_WAY = re.compile(
    r"failed to connect to all addresses|\bipv[46]:|Socket closed|Connection reset|Broken pipe|Endpoint closing"
    r"|Cancelling all calls|GOAWAY|keepalive watchdog|Stream removed|Transport closed|too_many_pings"
)


class GrpcUpstream:
    """One mesh name and port, spoken to over gRPC.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param tls: ``grpcs``; the certificate must bear `name` (the address where there is no name).
    :param max_reply: bytes of a reply's message.
    :param name: the mesh name, which goes into ``:authority`` too, so that no address is ever sent.
    :param failed: told of each address that took no connection.
    :param roots: PEM of the authorities that are trusted; the system's where it is None.
    """

    def __init__(
        self,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        *,
        tls: bool,
        max_reply: int,
        name: str = "",
        failed: Callable[[Address], None] | None = None,
        roots: bytes | None = None,
    ) -> None:
        self._addresses = addresses
        self._failed = failed
        self._credentials = grpc.ssl_channel_credentials(roots or _system_roots()) if tls else None
        self._options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", max_reply),
            ("grpc.max_send_message_length", -1),  # the gateway bounds request bodies itself
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
            # A channel that is made anew must not inherit the back-off of the one before it.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if name:
            self._options.append(("grpc.default_authority", name))
            if tls:
                self._options.append(("grpc.ssl_target_name_override", name))
        self._peers: dict[Address, _Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, request: GrpcRequest, *, deadline: float, trace: Sequence[tuple[str, str]] = ()) -> GrpcReply:
        """Send `request` once and wait for its answer.

        :param deadline: in the running loop's `time()`; covers lookup, connecting and the call.
        :param trace: metadata to add.
        :raises bridge.errors.Unavailable: no address takes a connection, or the connection was lost in the call.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the answer is not gRPC, or larger than allowed.
        """
        loop = asyncio.get_running_loop()
        peer = await self._peer(loop, deadline)
        left = deadline - loop.time()
        if left <= 0:  # grpc.aio takes a timeout of 0 for none
            raise Timeout(cause="the deadline had passed before anything was sent")
        call = peer.method(request.path)(request.message, timeout=left, metadata=(*request.metadata, *trace))
        try:
            message = await call
        except grpc.aio.AioRpcError as error:
            return self._refused(error, peer, loop.time() >= deadline - 0.001)
        return GrpcReply(
            0,
            message,
            metadata=_pairs(await call.initial_metadata()),
            trailers=_pairs(await call.trailing_metadata()),
        )

    async def stream(
        self,
        request: GrpcRequest,
        *,
        deadline: float | None,
        connect_by: float,
        trace: Sequence[tuple[str, str]] = (),
    ) -> GrpcStream:
        """Open a streaming call; nothing but its head is sent yet.

        :param deadline: in the running loop's `time()`; None for a call that may last as long as it likes.
        :param connect_by: covers lookup and connecting.
        :raises bridge.errors.Unavailable: no address takes a connection.
        :raises bridge.errors.Timeout: `connect_by` passed.
        """
        loop = asyncio.get_running_loop()
        peer = await self._peer(loop, connect_by)
        left = None if deadline is None else deadline - loop.time()
        if left is not None and left <= 0:
            raise Timeout(cause="the deadline had passed before anything was sent")
        call = peer.stream(request.path)(timeout=left, metadata=(*request.metadata, *trace))

        def refused(error: grpc.aio.AioRpcError) -> GrpcReply:
            return self._refused(error, peer, deadline is not None and loop.time() >= deadline - 0.001)

        return GrpcStream(call, refused)

    async def aclose(self) -> None:
        """Close every channel; calls under way end as cancelled."""
        peers, self._peers = list(self._peers.values()), {}
        await asyncio.gather(*(peer.aclose() for peer in peers), *self._closing)

    # --- connections -----------------------------------------------------------------------------------------------

    async def _peer(self, loop: asyncio.AbstractEventLoop, deadline: float) -> _Peer:
        """A connected peer: the preferred one, else the next that takes a connection. Nothing has been sent yet."""
        try:
            async with asyncio.timeout_at(deadline):
                addresses = (await self._addresses())[:ADDRESSES]
        except TimeoutError:
            raise Timeout(cause="the deadline passed while the upstream was looked up") from None
        if self._peers.keys() - set(addresses):
            self._forget(self._peers.keys() - set(addresses))
        for at, address in enumerate(addresses):
            peer = self._peers.get(address)
            if peer is None:
                peer = self._peers[address] = _Peer(address, self._credentials, self._options)
            if peer.channel.get_state() is _READY:
                return peer
            share = (deadline - loop.time()) / (len(addresses) - at)
            if await peer.connect(min(CONNECT, share)):
                return peer
            if self._peers.get(address) is peer:
                self._forget({address})
            if self._failed is not None:
                self._failed(address)
        if addresses and loop.time() >= deadline:
            raise Timeout(cause=f"none of {_shown(addresses)} took a connection before the deadline")
        cause = f"none of {_shown(addresses)} took a connection" if addresses else "there is no live address"
        raise Unavailable(cause=cause, headers=[("retry-after", "1")])

    def _forget(self, addresses: set[Address]) -> None:
        """Addresses that left the mesh, or took no connection; calls under way there are let finish."""
        for address in addresses:
            task = asyncio.get_running_loop().create_task(self._peers.pop(address).aclose(grace=30.0))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _refused(self, error: grpc.aio.AioRpcError, peer: _Peer, late: bool) -> GrpcReply:
        """The service's own status, or what went wrong on the way.

        :raises bridge.errors.UpstreamError: one of those that `send` names.
        """
        code, detail = error.code(), error.details() or ""
        cause = f"{code.name}: {detail}"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and late:
            raise Timeout(cause=cause)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE.search(detail):
            raise BadReply("The service's answer is larger than the gateway takes.", cause=cause)
        if _NOT_GRPC.match(detail):
            raise BadReply("The service behind this route does not answer in gRPC.", cause=cause)
        if code is grpc.StatusCode.UNAVAILABLE and (
            peer.channel.get_state() is not _READY or _ON_THE_WAY.search(detail)
        ):
            raise Unavailable(cause=cause, headers=[("retry-after", "1")])
        if _ON_THE_WAY.search(detail):
            raise UpstreamError("The connection to the service behind this route failed.", cause=cause)
        trailers = _pairs(error.trailing_metadata())
        details = next((value for key, value in trailers if key == "grpc-status-details-bin"), b"")
        return GrpcReply(
            code.value[0],
            detail=detail,
            status_details=details if isinstance(details, bytes) else b"",
            metadata=_pairs(error.initial_metadata()),
            trailers=trailers,
        )


class _Peer:
    """One address: its channel, and the raw-bytes callables of the methods that were called there."""

    def __init__(
        self, address: Address, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
    ) -> None:
        host, port = address
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.channel = (
            grpc.aio.secure_channel(target, credentials, options)
            if credentials is not None
            else grpc.aio.insecure_channel(target, options)
        )
        self._methods: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}
        self._connecting: asyncio.Task[bool] | None = None

    def method(self, path: str) -> Any:
        found = self._methods.get(path)
        if found is None:
            found = self._methods[path] = self.channel.unary_unary(path)
        return found

    def stream(self, path: str) -> Any:
        found = self._streams.get(path)
        if found is None:
            found = self._streams[path] = self.channel.stream_stream(path)
        return found

    async def connect(self, seconds: float) -> bool:
        """Whether the address takes a connection within `seconds`; callers at one time share one attempt."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            return False

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
        if self._connecting is not None:
            self._connecting.cancel()
        await self.channel.close(grace)


def _pairs(metadata: Any) -> Sequence[tuple[str, str | bytes]]:
    return tuple(metadata) if metadata else ()


def _shown(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses)


def _system_roots() -> bytes | None:
    """The system's trusted authorities; None for those that come with gRPC."""
    paths = ssl.get_default_verify_paths()
    for path in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return None
