"""gRPC upstreams over grpc.aio: serialised messages in and out, a channel for each address.

What the service itself says comes back as a `GrpcReply`, whatever its code. What happens on the way to it (no
connection, a connection lost, our deadline, an answer that is too large or not gRPC) is raised as the house's errors;
``grpc_status`` tells them apart.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

# gRPC's core would write its own lines, with addresses in them, to standard error; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from bridge.errors import Timeout, Unavailable
from bridge.messages import GrpcReply, GrpcRequest
from bridge.spec import Connection
from bridge.tls import Tls
from bridge.upstream.grpc_peer import CONNECT, Address, Peer
from bridge.upstream.grpc_status import Ended, Metadata, pairs
from bridge.upstream.grpc_stream import GrpcStream
from bridge.upstream.retry import Throttle, attempts

KEEPALIVE = 330.0  #: seconds between pings on a connection that has calls
ANSWER = 20.0  #: seconds that the answer to a ping may take
ADDRESSES = 8  #: addresses tried for one request
WINDOW = 512 * 1024  #: bytes of one call that a service may send before they are read

UNAVAILABLE = 14
_COMPRESSION = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


class GrpcUpstream:
    """One mesh name and port, spoken to over gRPC.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param tls: ``grpcs``; the certificate must bear `name` (the address where there is no name).
    :param max_reply: bytes of a reply's message.
    :param name: the mesh name, which goes into ``:authority`` too, so that no address is ever sent.
    :param failed: told of each address that took no connection.
    :param trust: whom TLS trusts, and how it shows who the gateway is.
    :param connection: keep-alive, compression, health and limits.
    """

    def __init__(
        self,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        *,
        tls: bool,
        max_reply: int,
        name: str = "",
        failed: Callable[[Address], None] | None = None,
        trust: Tls | None = None,
        connection: Connection | None = None,
    ) -> None:
        trust, connection = trust or Tls(), connection or Connection()
        self._addresses = addresses
        self._failed = failed
        self._credentials = (
            grpc.ssl_channel_credentials(trust.authorities(), trust.key, trust.certificate) if tls else None
        )
        if connection.max_message is not None:
            max_reply = min(max_reply, connection.max_message)
        self._options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", max_reply),
            ("grpc.max_send_message_length", connection.max_message or -1),  # the gateway bounds request bodies itself
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
            # A channel that is made anew must not inherit the back-off of the one before it.
            ("grpc.use_local_subchannel_pool", 1),
            # The core would widen the window to what the network can hold, and keep all of that for a slow client.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", WINDOW),
        ]
        self._options += _options(connection)
        if name:
            self._options.append(("grpc.default_authority", name))
            if tls:
                self._options.append(("grpc.ssl_target_name_override", trust.server_name or name))
        self._compression = _COMPRESSION[connection.compression]
        self._health: str | Literal[False] = "" if connection.health is True else connection.health or False
        self._throttle = Throttle()
        self._peers: dict[Address, Peer] = {}
        self._leaving: dict[asyncio.Task[None], Peer] = {}

    async def send(self, request: GrpcRequest, *, deadline: float, trace: Sequence[tuple[str, str]] = ()) -> GrpcReply:
        """Send `request` and wait for its answer; once, unless it brings a policy for more.

        :param deadline: in the running loop's `time()`; covers lookup, connecting, the call and all its attempts.
        :param trace: metadata to add.
        :raises bridge.errors.Unavailable: no address takes a connection, or the connection was lost in the call.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the answer is not gRPC, or larger than allowed.
        :raises bridge.errors.TooLarge: the message is larger than the route allows.
        """
        loop = asyncio.get_running_loop()
        if request.timeout is not None:
            deadline = min(deadline, loop.time() + request.timeout)
        if request.retry is None:
            return (await self._once(request, (*request.metadata, *trace), deadline)).settle()

        async def once(before: int) -> Ended:
            told = (("grpc-previous-rpc-attempts", str(before)),) if before else ()
            return await self._once(request, (*request.metadata, *trace, *told), deadline, again=before > 0)

        return await attempts(request.retry, self._throttle, deadline, once)

    async def _once(self, request: GrpcRequest, metadata: Metadata, deadline: float, *, again: bool = False) -> Ended:
        """:raises bridge.errors.Timeout: the deadline passed before anything was sent."""
        loop = asyncio.get_running_loop()
        try:
            peer = await self._peer(loop, deadline)
        except Unavailable as error:
            return Ended(error, UNAVAILABLE)
        method = peer.unary_again(request.path) if again else peer.unary(request.path)
        call = method(request.message, timeout=_left(loop, deadline), metadata=metadata)
        try:
            message = await call
        except grpc.aio.AioRpcError as error:
            return Ended.refused(error, connected=peer.connected, late=loop.time() >= deadline - 0.001)
        metadata, trailers = pairs(await call.initial_metadata()), pairs(await call.trailing_metadata())
        return Ended(GrpcReply(0, message, metadata=metadata, trailers=trailers))

    async def stream(
        self,
        request: GrpcRequest,
        *,
        deadline: float | None,
        connect_by: float,
        trace: Sequence[tuple[str, str]] = (),
    ) -> GrpcStream:
        """Open a call of any cardinality. The message of `request` is not sent: write it, then end.

        :param deadline: in the running loop's `time()`, for the call as a whole; None where it may last.
        :param connect_by: likewise, for lookup and connecting.
        :param trace: metadata to add.
        :raises bridge.errors.Unavailable: no address takes a connection.
        :raises bridge.errors.Timeout: `deadline` or `connect_by` passed.
        """
        loop = asyncio.get_running_loop()
        if request.timeout is not None:
            deadline = min(deadline or math.inf, loop.time() + request.timeout)
        peer = await self._peer(loop, connect_by if deadline is None else min(connect_by, deadline))
        left = None if deadline is None else _left(loop, deadline)
        call = peer.stream(request.path, timeout=left, metadata=(*request.metadata, *trace))
        return GrpcStream(call, peer, deadline)

    async def aclose(self) -> None:
        """Close every channel; calls under way end as cancelled."""
        peers, self._peers = [*self._peers.values(), *self._leaving.values()], {}
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*(peer.aclose() for peer in peers))

    # --- connections -----------------------------------------------------------------------------------------------

    async def _peer(self, loop: asyncio.AbstractEventLoop, deadline: float) -> Peer:
        """A connected peer: the preferred one, else the next that takes a connection. Nothing has been sent yet."""
        try:
            async with asyncio.timeout_at(deadline):
                live = await self._addresses()
        except TimeoutError:
            raise Timeout(cause="the deadline passed while the upstream was looked up") from None
        if gone := self._peers.keys() - set(live):
            self._forget(gone)
        # Those that are known not to serve take no place among the ones that are tried.
        resting = [address for address in live if (known := self._peers.get(address)) and known.resting]
        addresses = [address for address in live if address not in resting][:ADDRESSES]
        for at, address in enumerate(addresses):
            peer = self._at(address)
            share = min(CONNECT, (deadline - loop.time()) / (len(addresses) - at))
            by = loop.time() + share
            if peer.connected or await peer.connect(share):
                if await peer.serves(by - loop.time()):
                    return peer
                resting.append(address)
                continue
            if self._peers.get(address) is peer:
                self._forget({address})
            if self._failed is not None:
                self._failed(address)
        if addresses and loop.time() >= deadline:
            raise Timeout(cause=f"none of {_shown(addresses)} took a connection before the deadline")
        cause = f"none of {_shown(addresses)} took a connection" if addresses else "there is no live address"
        if resting:
            cause = f"{_shown(resting)} say that they don't serve"
        raise Unavailable(cause=cause, headers=[("retry-after", "1")])

    def _at(self, address: Address) -> Peer:
        peer = self._peers.get(address)
        if peer is not None and peer.lost:
            self._forget({address})
            peer = None
        if peer is None:
            peer = self._peers[address] = Peer(
                address, self._credentials, self._options, self._compression, self._health
            )
        return peer

    def _forget(self, addresses: set[Address]) -> None:
        """Addresses that left the mesh, or took no connection; calls under way there are let finish."""
        for address in addresses:
            peer = self._peers.pop(address)
            task = asyncio.get_running_loop().create_task(peer.leave())
            self._leaving[task] = peer
            task.add_done_callback(self._leaving.pop)


def _options(connection: Connection) -> list[tuple[str, Any]]:
    # Servers answer pings that come more often than every five minutes with GOAWAY, unless they say otherwise.
    keepalive = connection.keepalive or KEEPALIVE
    answer = int(min(ANSWER, keepalive) * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.keepalive_time_ms", int(keepalive * 1000)),
        # How long the core waits for the answer is the last of these, which would be a minute.
        ("grpc.keepalive_timeout_ms", answer),
        ("grpc.http2.ping_timeout_ms", answer),
        # A stream may be silent for as long as it likes.
        ("grpc.http2.max_pings_without_data", 0),
    ]
    if connection.max_metadata is not None:
        options += [("grpc.max_metadata_size", connection.max_metadata)]
        options += [("grpc.absolute_max_metadata_size", connection.max_metadata)]
    return options


def _left(loop: asyncio.AbstractEventLoop, deadline: float) -> float:
    """Seconds until then.

    :raises bridge.errors.Timeout: there are none; grpc.aio would take 0 for no timeout at all.
    """
    left = deadline - loop.time()
    if left <= 0:
        raise Timeout(cause="the deadline had passed before anything was sent")
    return left


def _shown(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses)
