"""gRPC upstreams: serialised messages in and out, to whichever address of a name takes them, within the deadline.

What the service itself says comes back as a `GrpcReply`, whatever its code. What happens on the way to it (no
connection, a connection lost, our deadline, an answer that is too large or not gRPC) is raised as the house's errors.
Which client speaks to an address is `bridge.transport.subchannel.Peer`'s: ``rpc`` is the house's own, ``grpcio`` the
general one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.route_spec import Connection
from bridge.api.stream import UpstreamStream
from bridge.api.tls import Tls
from bridge.cluster.outlier import OutlierDetector, fair
from bridge.cluster.retry import Throttle, attempts
from bridge.errors import BadReply, RequestError, Timeout, Unavailable, UpstreamError
from bridge.transport.attempt import Ended, Metadata
from bridge.transport.deadline import TICK
from bridge.transport.grpc.peer import MAX_METADATA, Http2Peer, Terms
from bridge.transport.subchannel import CONNECT, Address, Peer

KEEPALIVE = 330.0  #: seconds between pings on a connection that has calls; servers refuse those of under five minutes
ANSWER = 20.0  #: seconds that the answer to a ping may take
ADDRESSES = 8  #: addresses tried for one request
TRANSPARENT = 2  #: further attempts for a call that no service has looked at (gRFC A6, "Transparent Retries")

DEADLINE_EXCEEDED, UNAVAILABLE = 4, 14

_RETRY_AFTER = (("retry-after", "1"),)


class GrpcUpstream:
    """One mesh name and port, spoken to over gRPC.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param known: the same without waiting, None where it must be waited for.
    :param tls: ``grpcs``; the certificate must bear `name` (the address where there is no name).
    :param max_reply: bytes of a reply's message.
    :param name: the mesh name, which goes into ``:authority`` too, so that no address is ever sent.
    :param outliers: told which instances fail; shared by all who ask for the same addresses.
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
        outliers: OutlierDetector | None = None,
        trust: Tls | None = None,
        connection: Connection | None = None,
        clients: Literal["lean", "general"] = "lean",
    ) -> None:
        connection = connection or Connection()
        self._addresses, self._known = addresses, known or _unknown
        self._outliers = outliers or OutlierDetector()
        if connection.max_message is not None:
            max_reply = min(max_reply, connection.max_message)
        health: str | Literal[False] = "" if connection.health is True else connection.health or False
        self._make = _maker(
            connection, trust or Tls(), health, tls=tls, name=name, max_reply=max_reply, clients=clients
        )
        self._throttle = Throttle()
        self._peers: dict[Address, Peer] = {}
        self._leaving: dict[asyncio.Task[None], Peer] = {}

    async def send(
        self,
        request: GrpcRequest,
        *,
        deadline: float,
        trace: Sequence[tuple[str, str]] = (),
        asked: float | None = None,
    ) -> GrpcReply:
        """Send `request` and wait for its answer; once, unless it brings a policy for more.

        :param deadline: in the running loop's `time()`; covers lookup, connecting, the call and all its attempts.
        :param trace: metadata to add.
        :param asked: seconds that the caller asked for, where that is less than the route gives.
        :raises bridge.errors.Unavailable: no address takes a connection, or the connection was lost in the call.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the answer is not gRPC, or larger than allowed.
        :raises bridge.errors.TooLarge: the message is larger than the route allows.
        """
        if request.timeout is not None:
            deadline = min(deadline, asyncio.get_running_loop().time() + request.timeout)
        if request.retry is None:
            return (await self._once(request, (*request.metadata, *trace), deadline, asked)).settle()

        async def once(before: int) -> Ended:
            told = (("grpc-previous-rpc-attempts", str(before)),) if before else ()
            return await self._once(request, (*request.metadata, *trace, *told), deadline, asked, again=before > 0)

        return await attempts(request.retry, self._throttle, deadline, once)

    async def _once(
        self, request: GrpcRequest, metadata: Metadata, deadline: float, asked: float | None, *, again: bool = False
    ) -> Ended:
        """:raises bridge.errors.Timeout: the deadline passed before anything was sent."""
        loop, outliers, left = asyncio.get_running_loop(), self._outliers, TRANSPARENT
        while True:
            live, began = self._known(), loop.time()
            peer = self._at_once(live) if began < deadline else None
            if peer is None:
                try:
                    peer = await self._peer(live, deadline, asked)
                except Unavailable as error:
                    return Ended(error, UNAVAILABLE)
                began = loop.time()
            epoch = outliers.epoch
            ended = await peer.unary(request.path, request.message, metadata, deadline, again=again)
            if ended.code or (outliers.suspects and peer.address in outliers.suspects):
                self._judge(peer, epoch, ended, fair(deadline - began, asked, loop.time() - deadline))
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
        asked: float | None = None,
    ) -> UpstreamStream:
        """Open a call of any cardinality. The message of `request` is not sent: write it, then end.

        :param deadline: in the running loop's `time()`, for the call as a whole; None where it may last.
        :param connect_by: likewise, for lookup and connecting.
        :param trace: metadata to add.
        :param asked: seconds that the caller asked for, where that is less than the route gives.
        :raises bridge.errors.Unavailable: no address takes a connection.
        :raises bridge.errors.Timeout: `deadline` or `connect_by` passed.
        """
        if request.timeout is not None:
            deadline = min(deadline or math.inf, asyncio.get_running_loop().time() + request.timeout)
        by = connect_by if deadline is None else min(connect_by, deadline)
        live, now = self._known(), asyncio.get_running_loop().time()
        peer = (self._at_once(live) if now < by else None) or await self._peer(live, by, asked)
        report = partial(self._judge_stream, peer, self._outliers.epoch)
        return peer.stream(request.path, (*request.metadata, *trace), deadline, report=report)

    async def aclose(self) -> None:
        """Close every connection; calls under way end as cancelled."""
        peers, self._peers = [*self._peers.values(), *self._leaving.values()], {}
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*(peer.aclose() for peer in peers))

    # --- what becomes of calls --------------------------------------------------------------------------------------

    def _judge(self, peer: Peer, epoch: int, ended: Ended, had_time: bool) -> None:
        """Report how a call ended. UNAVAILABLE is what a lost connection counts as, too.

        :param had_time: whether it would mean something if the deadline passed (`bridge.cluster.outlier.fair`).
        """
        outcome = ended.outcome
        if ended.untouched:
            return  # a server that goes away in good order
        if ended.code == UNAVAILABLE:
            self._lost(peer, epoch, outcome)
        elif ended.code == DEADLINE_EXCEEDED or (
            isinstance(outcome, UpstreamError) and not isinstance(outcome, BadReply)
        ):
            # The service was told the deadline, and may be the first to end the call: by a status, or by a reset.
            if had_time:
                self._lost(peer, epoch, outcome)
        elif isinstance(outcome, GrpcReply):
            self._outliers.succeeded(peer.address, epoch)

    def _judge_stream(self, peer: Peer, epoch: int, ended: Ended) -> None:
        """A stream may be silent for as long as it likes, and a connection that carries one may be lost at any time:
        only those that are lost before anything came count."""
        if ended.code == UNAVAILABLE and not ended.untouched:
            if not ended.committed:
                self._lost(peer, epoch, ended.outcome)
        elif isinstance(ended.outcome, GrpcReply) and ended.code != DEADLINE_EXCEEDED:
            self._outliers.succeeded(peer.address, epoch)

    def _lost(self, peer: Peer, epoch: int, outcome: GrpcReply | RequestError) -> None:
        address = peer.address
        self._outliers.failed(address, epoch, _why(outcome))
        # It may be the connection alone that is dead, with nobody to close it: a probe has to go over a new one.
        if not self._outliers.in_service(address) and self._peers.get(address) is peer:
            self._forget({address})

    # --- connections -----------------------------------------------------------------------------------------------

    def _at_once(self, live: Sequence[Address] | None) -> Peer | None:
        """The preferred peer of `live`, where nothing need be waited for to use it."""
        if not live or len(self._peers) > len(live):
            return None
        peer = self._peers.get(live[0])
        return peer if peer is not None and peer.serving else None

    async def _peer(self, live: Sequence[Address] | None, deadline: float, asked: float | None) -> Peer:
        """A connected peer: the preferred one, else the next that takes a connection. Nothing has been sent yet.

        :param live: the addresses, where they are known.
        """
        loop, outliers = asyncio.get_running_loop(), self._outliers
        if live is None:
            try:
                async with asyncio.timeout_at(deadline):
                    live = await self._addresses()
            except TimeoutError:
                raise Timeout(cause="the deadline passed while the upstream was looked up") from None
        epoch = outliers.epoch
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
            pending = peer.connecting
            causes.append(peer.cause)
            # An attempt that is still under way is everybody's. To end it with this caller's share of a short deadline
            # would let a client that asks for little time keep all others from connecting.
            if not pending and self._peers.get(address) is peer:
                self._forget({address})
            if peer.shortage:
                raise Unavailable("The gateway is short of connections.", cause=peer.cause, headers=_RETRY_AFTER)
            if not pending or fair(share, asked, loop.time() - by):
                outliers.unreachable(address, epoch, peer.cause or f"nothing in {share:.1f} s")
        if addresses and loop.time() >= deadline - TICK:
            raise Timeout(cause=f"none of {_shown(addresses)} took a connection before the deadline")
        cause = f"none of {_shown(addresses)} took a connection" if addresses else "there is no live address"
        if resting:
            cause = f"{_shown(resting)} say that they don't serve"
        elif why := next(filter(None, causes), ""):
            cause += f": {why}"
        raise Unavailable(cause=cause, headers=_RETRY_AFTER)

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
        from bridge.transport.grpcio.peer import GrpcPeer, terms_of  # its library is heavy

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


def _why(outcome: GrpcReply | RequestError) -> str:
    return f"status {outcome.code}" if isinstance(outcome, GrpcReply) else outcome.cause or outcome.detail


def _unknown() -> None:
    """Nothing is known without waiting."""


def _shown(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses)
