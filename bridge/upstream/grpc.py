"""gRPC upstreams over grpc.aio: serialised messages in and out, a channel for each address.

Nothing is sent twice but where the request says when (`bridge.RetryPolicy`).

What the service itself says comes back as a `GrpcReply`, whatever its code. What happens on the way to it (no
connection, a connection lost, our deadline, an answer that is too large or not gRPC) is raised as the house's errors;
``grpc_status`` tells them apart.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import overload

# gRPC's core would write its own lines, with addresses in them, to standard error; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from bridge.errors import Timeout, Unavailable
from bridge.spec import PLAIN, Connection
from bridge.transformer import GrpcReply, GrpcRequest
from bridge.upstream.grpc_options import COMPRESSION, channel_options
from bridge.upstream.grpc_peer import CONNECT, Address, Peer, system_roots
from bridge.upstream.grpc_retry import Attempts, Throttle
from bridge.upstream.grpc_status import Ended, pairs
from bridge.upstream.grpc_stream import GrpcStream
from bridge.upstream.tls import Tls

ADDRESSES = 8  #: addresses tried for one request

_UNAVAILABLE = 14


class GrpcUpstream:
    """One mesh name and port, spoken to over gRPC.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param tls: ``grpcs``: whom to trust and what to show; None for plain TCP. The certificate must bear the name.
    :param max_reply: bytes of a reply's message.
    :param name: the mesh name, which goes into ``:authority`` too, so that no address is ever sent; `connection` may
        give another.
    :param failed: told of each address that took no connection.
    :param connection: what the route says of it.
    """

    def __init__(
        self,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        *,
        tls: Tls | None,
        max_reply: int,
        name: str = "",
        failed: Callable[[Address], None] | None = None,
        connection: Connection = PLAIN,
    ) -> None:
        self._addresses = addresses
        self._failed = failed
        name = connection.server_name or name
        self._make = partial(
            Peer,
            credentials=None
            if tls is None
            else grpc.ssl_channel_credentials(tls.ca or system_roots(), tls.key, tls.certificate),
            options=channel_options(connection, name, secure=tls is not None, max_reply=max_reply),
            compression=COMPRESSION[connection.compression],
            health=connection.watched,
        )
        self._throttle = Throttle()
        self._peers: dict[Address, Peer] = {}
        self._leaving: dict[asyncio.Task[None], Peer] = {}

    async def send(self, request: GrpcRequest, *, deadline: float, trace: Sequence[tuple[str, str]] = ()) -> GrpcReply:
        """Send `request` and wait for its answer; again only where its `GrpcRequest.retry` says so.

        :param deadline: in the running loop's `time()`; covers lookup, connecting, and all attempts.
        :param trace: metadata to add.
        :raises bridge.errors.Unavailable: no address takes a connection, or the connection was lost in the call.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the answer is not gRPC, or larger than allowed.
        :raises bridge.errors.TooLarge: the message is larger than the route allows.
        """
        loop = asyncio.get_running_loop()
        deadline = _lower(loop, deadline, request)
        metadata = (*request.metadata, *trace)
        if request.retry is None:
            return (await self._attempt(request, metadata, deadline)).settle()
        attempts = Attempts(request.retry, self._throttle)
        while True:
            ended = await self._attempt(request, (*metadata, *attempts.metadata), deadline, again=attempts.made > 0)
            pause = attempts.ended(ended.code, ended.trailers, committed=ended.committed)
            if pause is None or loop.time() + pause >= deadline:
                return ended.settle()
            await asyncio.sleep(pause)

    async def _attempt(
        self, request: GrpcRequest, metadata: Sequence[tuple[str, str | bytes]], deadline: float, *, again: bool = False
    ) -> Ended:
        """:raises bridge.errors.Timeout: the deadline passed before anything was sent."""
        loop = asyncio.get_running_loop()
        try:
            peer = await self._peer(loop, deadline)
        except Unavailable as error:
            return Ended(error, _UNAVAILABLE)
        method = peer.unary_again(request.path) if again else peer.unary(request.path)
        call = method(request.message, timeout=_left(loop, deadline), metadata=metadata)
        try:
            message = await call
        except grpc.aio.AioRpcError as error:
            return Ended.refused(error, connected=peer.connected, late=loop.time() >= deadline - 0.001)
        return Ended(
            GrpcReply(
                0,
                message,
                metadata=pairs(await call.initial_metadata()),
                trailers=pairs(await call.trailing_metadata()),
            )
        )

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
        deadline = _lower(loop, deadline, request)
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
        # Those that are known not to serve are passed over, and take no place among those that are tried.
        fit = [
            address for address in live if not ((peer := self._peers.get(address)) and peer.connected and peer.unfit)
        ]
        addresses = fit[:ADDRESSES]
        silent = len(fit) < len(live)
        for at, address in enumerate(addresses):
            peer = self._peers.get(address)
            if peer is None:
                peer = self._peers[address] = self._make(address)
            share = min(CONNECT, (deadline - loop.time()) / (len(addresses) - at))
            by = loop.time() + share
            if peer.connected or await peer.connect(share):
                if await peer.fit(by - loop.time()):
                    return peer
                silent = True
                continue
            if self._peers.get(address) is peer:
                self._forget({address})
            if self._failed is not None:
                self._failed(address)
        if addresses and loop.time() >= deadline:
            raise Timeout(cause=f"none of {_shown(addresses)} took a connection before the deadline")
        if silent:
            raise Unavailable(
                "No instance of the service behind this route says that it serves.",
                cause=f"none of {_shown(live)} is healthy",
                headers=[("retry-after", "1")],
            )
        cause = f"none of {_shown(addresses)} took a connection" if addresses else "there is no live address"
        raise Unavailable(cause=cause, headers=[("retry-after", "1")])

    def _forget(self, addresses: set[Address]) -> None:
        """Addresses that left the mesh, or took no connection; calls under way there are let finish."""
        for address in addresses:
            peer = self._peers.pop(address)
            task = asyncio.get_running_loop().create_task(peer.leave())
            self._leaving[task] = peer
            task.add_done_callback(self._leaving.pop)


@overload
def _lower(loop: asyncio.AbstractEventLoop, deadline: float, request: GrpcRequest) -> float: ...
@overload
def _lower(loop: asyncio.AbstractEventLoop, deadline: float | None, request: GrpcRequest) -> float | None: ...
def _lower(loop: asyncio.AbstractEventLoop, deadline: float | None, request: GrpcRequest) -> float | None:
    """The lower of the call's deadline and the method's own bound."""
    if request.timeout is None:
        return deadline
    own = loop.time() + request.timeout
    return own if deadline is None else min(own, deadline)


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
