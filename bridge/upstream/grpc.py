"""gRPC upstreams: serialised messages in and out, to whichever address of a name takes them, within the deadline.

What the service itself says comes back as a `GrpcReply`, whatever its code. What happens on the way to it (no
connection, a connection lost, our deadline, an answer that is too large or not gRPC) is raised as the house's errors.
Which client speaks to an address is `bridge.upstream.peer.Peer`'s: ``rpc`` is the house's own, ``grpcio`` the general
one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

from bridge.errors import Timeout, Unavailable
from bridge.messages import GrpcReply, GrpcRequest
from bridge.spec import Connection
from bridge.stream import UpstreamStream
from bridge.tls import Tls
from bridge.upstream.deadline import TICK
from bridge.upstream.ended import Ended, Metadata
from bridge.upstream.peer import CONNECT, Address, Peer
from bridge.upstream.retry import Throttle, attempts
from bridge.upstream.rpc.peer import MAX_METADATA, Http2Peer, Terms

KEEPALIVE = 330.0  #: seconds between pings on a connection that has calls; servers refuse those of under five minutes
ANSWER = 20.0  #: seconds that the answer to a ping may take
ADDRESSES = 8  #: addresses tried for one request
TRANSPARENT = 2  #: further attempts for a call that no service has looked at (gRFC A6, "Transparent Retries")

UNAVAILABLE = 14


class GrpcUpstream:
    """One mesh name and port, spoken to over gRPC.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param known: the same without waiting, None where it must be waited for.
    :param tls: ``grpcs``; the certificate must bear `name` (the address where there is no name).
    :param max_reply: bytes of a reply's message.
    :param name: the mesh name, which goes into ``:authority`` too, so that no address is ever sent.
    :param failed: told of each address that took no connection.
    :param trust: whom TLS trusts, and how it shows who the gateway is.
    :param connection: keep-alive, compression, health and limits.
    :param clients: the house's own client, or the general one.
    """

    def __init__(
        self,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        *,
        tls: bool,
        max_reply: int,
        name: str = "",
        known: Callable[[], Sequence[Address] | None] | None = None,
        failed: Callable[[Address], None] | None = None,
        trust: Tls | None = None,
        connection: Connection | None = None,
        clients: Literal["lean", "general"] = "lean",
    ) -> None:
        connection = connection or Connection()
        self._addresses, self._known, self._failed = addresses, known or _unknown, failed
        if connection.max_message is not None:
            max_reply = min(max_reply, connection.max_message)
        health: str | Literal[False] = "" if connection.health is True else connection.health or False
        self._make = _maker(
            connection, trust or Tls(), health, tls=tls, name=name, max_reply=max_reply, clients=clients
        )
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
        if request.timeout is not None:
            deadline = min(deadline, asyncio.get_running_loop().time() + request.timeout)
        if request.retry is None:
            return (await self._once(request, (*request.metadata, *trace), deadline)).settle()

        async def once(before: int) -> Ended:
            told = (("grpc-previous-rpc-attempts", str(before)),) if before else ()
            return await self._once(request, (*request.metadata, *trace, *told), deadline, again=before > 0)

        return await attempts(request.retry, self._throttle, deadline, once)

    async def _once(self, request: GrpcRequest, metadata: Metadata, deadline: float, *, again: bool = False) -> Ended:
        """:raises bridge.errors.Timeout: the deadline passed before anything was sent."""
        left = TRANSPARENT
        while True:
            peer = self._at_once(deadline)
            if peer is None:
                try:
                    peer = await self._peer(deadline)
                except Unavailable as error:
                    return Ended(error, UNAVAILABLE)
            ended = await peer.unary(request.path, request.message, metadata, deadline, again=again)
            if not ended.untouched or not left:
                return ended
            left -= 1

    async def stream(
        self,
        request: GrpcRequest,
        *,
        deadline: float | None,
        connect_by: float,
        trace: Sequence[tuple[str, str]] = (),
    ) -> UpstreamStream:
        """Open a call of any cardinality. The message of `request` is not sent: write it, then end.

        :param deadline: in the running loop's `time()`, for the call as a whole; None where it may last.
        :param connect_by: likewise, for lookup and connecting.
        :param trace: metadata to add.
        :raises bridge.errors.Unavailable: no address takes a connection.
        :raises bridge.errors.Timeout: `deadline` or `connect_by` passed.
        """
        if request.timeout is not None:
            deadline = min(deadline or math.inf, asyncio.get_running_loop().time() + request.timeout)
        by = connect_by if deadline is None else min(connect_by, deadline)
        peer = self._at_once(by) or await self._peer(by)
        return peer.stream(request.path, (*request.metadata, *trace), deadline)

    async def aclose(self) -> None:
        """Close every connection; calls under way end as cancelled."""
        peers, self._peers = [*self._peers.values(), *self._leaving.values()], {}
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*(peer.aclose() for peer in peers))

    # --- connections -----------------------------------------------------------------------------------------------

    def _at_once(self, deadline: float) -> Peer | None:
        """The preferred peer, where nothing need be waited for to know it and use it."""
        live = self._known()
        if not live or len(self._peers) > len(live):
            return None
        peer = self._peers.get(live[0])
        return peer if peer is not None and peer.serving and asyncio.get_running_loop().time() < deadline else None

    async def _peer(self, deadline: float) -> Peer:
        """A connected peer: the preferred one, else the next that takes a connection. Nothing has been sent yet."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                live = await self._addresses()
        except TimeoutError:
            raise Timeout(cause="the deadline passed while the upstream was looked up") from None
        if loop.time() >= deadline:
            raise Timeout(cause="the deadline had passed before anything was sent")
        if gone := self._peers.keys() - set(live):
            self._forget(gone)
        # Those that are known not to serve take no place among the ones that are tried.
        resting = [address for address in live if (known := self._peers.get(address)) and known.resting]
        addresses = [address for address in live if address not in resting][:ADDRESSES]
        causes = []
        for at, address in enumerate(addresses):
            peer = self._at(address)
            share = min(CONNECT, (deadline - loop.time()) / (len(addresses) - at))
            by = loop.time() + share
            if peer.connected or await peer.connect(share):
                if await peer.serves(by - loop.time()):
                    return peer
                resting.append(address)
                continue
            causes.append(peer.cause)
            # An attempt that is still under way is everybody's. To end it with this caller's share of a short deadline
            # would let a client that asks for little time keep all others from connecting.
            if not peer.connecting and self._peers.get(address) is peer:
                self._forget({address})
            if self._failed is not None:
                self._failed(address)
        if addresses and loop.time() >= deadline - TICK:
            raise Timeout(cause=f"none of {_shown(addresses)} took a connection before the deadline")
        cause = f"none of {_shown(addresses)} took a connection" if addresses else "there is no live address"
        if resting:
            cause = f"{_shown(resting)} say that they don't serve"
        elif why := next(filter(None, causes), ""):
            cause += f": {why}"
        raise Unavailable(cause=cause, headers=[("retry-after", "1")])

    def _at(self, address: Address) -> Peer:
        peer = self._peers.get(address)
        if peer is not None and peer.lost:
            self._forget({address})
            peer = None
        if peer is None:
            peer = self._peers[address] = self._make(address)
        return peer

    def _forget(self, addresses: set[Address]) -> None:
        """Addresses that left the mesh, or took no connection; calls under way there are let finish."""
        for address in addresses:
            peer = self._peers.pop(address)
            task = asyncio.get_running_loop().create_task(peer.leave())
            self._leaving[task] = peer
            task.add_done_callback(self._leaving.pop)


def _maker(
    connection: Connection,
    trust: Tls,
    health: str | Literal[False],
    *,
    tls: bool,
    name: str,
    max_reply: int,
    clients: Literal["lean", "general"],
) -> Callable[[Address], Peer]:
    """What makes the peer of an address; all that can be decided for all of them is decided now."""
    keepalive = connection.keepalive or KEEPALIVE
    answer = min(ANSWER, keepalive)
    if clients == "general":
        from bridge.upstream.grpcio.peer import GrpcPeer, terms_of  # its library is heavy

        general = terms_of(
            connection, trust, tls=tls, name=name, max_reply=max_reply, keepalive=keepalive, answer=answer
        )
        return partial(GrpcPeer, terms=general, health=health)
    terms = Terms(
        trust=trust.context("h2") if tls else None,
        server_name=trust.server_name or name or None,
        authority=name,
        max_reply=max_reply,
        max_message=connection.max_message,
        max_metadata=connection.max_metadata or MAX_METADATA,
        coding=connection.compression,
        keepalive=keepalive,
        answer=answer,
    )
    return partial(Http2Peer, terms=terms, health=health)


def _unknown() -> None:
    """Nothing is known without waiting."""


def _shown(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses)
