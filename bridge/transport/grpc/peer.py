"""One address of a gRPC upstream over the house's own HTTP/2: its connection, and the calls on it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bridge.api.call import GrpcReply
from bridge.errors import RequestError, TooLarge, Unavailable
from bridge.payload import offload
from bridge.payload.offload import LARGE
from bridge.transport.attempt import Ended, Metadata
from bridge.transport.client import shortage
from bridge.transport.deadline import Deadlines
from bridge.transport.grpc.answer import CLOSING, RESOURCE_EXHAUSTED, UNAVAILABLE, UNKNOWN
from bridge.transport.grpc.framing import framed
from bridge.transport.grpc.head import metadata_fields, method_head, timeout_field
from bridge.transport.grpc.stream import Http2Stream
from bridge.transport.grpc.unary import Unary
from bridge.transport.http2.transport import Link
from bridge.transport.subchannel import CONNECT, GRACE, Address, Peer

WINDOW = 512 * 1024  #: bytes of one call that a service may send before they are read
MAX_METADATA = 16 * 1024  #: bytes of a header section, as gRPC's own libraries have it
LINKS = 8  #: connections to one address, where one does not take all calls
REFUSED = 1.0  #: seconds until another one is asked for, where one was refused
GOODBYE = 1.0  #: seconds for closing a connection


@dataclass(frozen=True, slots=True)
class Terms:
    """How the addresses of one upstream are spoken to.

    :ivar trust: for TLS; None for plain TCP. :ivar server_name: what the certificate must bear; None: the address.
    :ivar authority: of ``:authority``; ``""`` for the address.
    :ivar max_reply: bytes of a message of the service. :ivar max_message: bytes of one of ours, where that is bounded.
    :ivar coding: of our messages, ``gzip`` or ``deflate``.
    :ivar keepalive: seconds between pings while calls wait. :ivar answer: that their answers may take.
    """

    trust: ssl.SSLContext | None
    server_name: str | None
    authority: str
    max_reply: int
    max_message: int | None
    max_metadata: int
    coding: str | None
    keepalive: float
    answer: float


class Http2Peer(Peer):
    """:param health: as `Peer` has it."""

    def __init__(self, address: Address, terms: Terms, health: str | Literal[False] = False) -> None:
        super().__init__(address, health)
        host, port = address
        self._terms = terms
        self._authority = terms.authority or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._links: set[Link] = set()  # those that end with their calls, too
        self._growing: asyncio.Task[None] | None = None
        self._grow_from = 0.0  # the loop's time before which none is asked for beside those that are there
        self._heads: dict[str, bytes] = {}
        self._streams: set[Http2Stream] = set()
        self._deadlines = Deadlines()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def connected(self) -> bool:
        link = self._link  # it was usable once, and is while it doesn't drain
        return link is not None and (not link.http.draining or self._other() is not None)

    async def disconnected(self) -> None:
        if self._link is not None:
            # Shielded: it is everybody's.
            await asyncio.shield(self._link.drained)

    async def _connect(self) -> bool:
        terms = self._terms
        link = Link(
            window=WINDOW,
            max_list=terms.max_metadata,
            keepalive=terms.keepalive,
            answer=terms.answer,
        )
        try:
            async with asyncio.timeout(CONNECT):
                await self._loop.create_connection(
                    lambda: link,
                    *self.address,
                    ssl=terms.trust,
                    server_hostname=(terms.server_name or self.address[0]) if terms.trust else None,
                )
                self._links.add(link)
                link.gone.add_done_callback(lambda _: self._links.discard(link))
                await link.ready
        except TimeoutError:
            self.cause = f"no connection in {CONNECT:g} s"
            link.abort(self.cause)
            return False
        except (OSError, ssl.SSLError, ssl.CertificateError) as error:
            self.cause = " ".join(str(error).split())
            self.shortage = shortage(error) is not None
            return False
        except asyncio.CancelledError:
            link.abort("the address is given up")
            raise
        if not link.usable:
            self.cause = link.cause
            return False
        self._link = link
        return True

    def _pick(self) -> Link | None:
        """Where a call begins now. A connection that takes no more calls at once gets another one beside it, since
        calls that stream may last."""
        link = self._link
        if link is None:
            return None
        if link.http.draining or link.http.full:
            link = self._other() or link
            if not link.usable:
                return None
            self._link = link
            if link.http.full and len(self._links) < LINKS and self._may_grow():
                self._growing = self._loop.create_task(self._grow(link))
        return link

    def _other(self) -> Link | None:
        """A connection with room, else one without."""
        usable = [link for link in self._links if link.usable]
        return next((link for link in usable if not link.http.full), usable[0] if usable else None)

    def _may_grow(self) -> bool:
        """One attempt at a time; a server that takes no more connections is not asked for one by every call."""
        return (self._growing is None or self._growing.done()) and self._loop.time() >= self._grow_from

    async def _grow(self, full: Link) -> None:
        if await self._connect() and self._link is not None:
            full.http.hand_over(self._link.http)
        else:
            self._grow_from = self._loop.time() + REFUSED

    async def unary(
        self, path: str, message: bytes, metadata: Metadata, deadline: float, *, again: bool = False
    ) -> Ended:
        terms, loop = self._terms, self._loop
        if terms.max_message is not None and len(message) > terms.max_message:
            error = TooLarge("The message is larger than the route allows.")
            return Ended(error, RESOURCE_EXHAUSTED, committed=True)
        coding = terms.coding
        if coding is not None and len(message) > LARGE:
            wire = await offload.run(len(message), partial(framed, message, coding), deadline=deadline)
        else:
            wire = framed(message, coding)
        link = self._pick()
        if link is None:
            return Ended(_gone(), UNAVAILABLE, untouched=True)
        block = self._head(path) + timeout_field(deadline - loop.time()) + metadata_fields(metadata)
        call = Unary(terms.max_reply, loop.create_future(), deadline)
        link.http.open(call, block, wire, end=True)
        self._deadlines.add(call)
        try:
            ended = await call.done
            packed, reply = call.packed, ended.outcome
            if packed is not None and isinstance(reply, GrpcReply):
                try:
                    reply.message = await offload.run(packed.size, packed.unpack, deadline=deadline)
                except RequestError as error:
                    return Ended(error, UNKNOWN, committed=True)
            return ended
        except asyncio.CancelledError:
            call.give_back()
            raise
        finally:
            self._deadlines.discard(call)

    def stream(
        self,
        path: str,
        metadata: Metadata,
        deadline: float | None,
        *,
        counts: bool = True,
        report: Callable[[Ended], None] | None = None,
    ) -> Http2Stream:
        terms, loop, link = self._terms, self._loop, self._pick()
        if link is None:
            raise _gone()
        block = self._head(path) + metadata_fields(metadata)
        if deadline is not None:
            block += timeout_field(deadline - loop.time())
        call = Http2Stream(
            terms.max_reply,
            coding=terms.coding,
            done=loop.create_future(),
            most=terms.max_message,
            deadline=deadline,
        )
        if deadline is not None:
            self._deadlines.add(call)
            call.done.add_done_callback(lambda _: self._deadlines.discard(call))
        if counts:
            self._streams.add(call)
            self._idle.clear()
            call.done.add_done_callback(partial(self._ended, call))
        if report is not None:
            call.done.add_done_callback(lambda done: report(done.result()))
        link.http.open(call, block, end=False)
        return call

    def _ended(self, call: Http2Stream, _: object) -> None:
        self._streams.discard(call)
        if not self._streams:
            self._idle.set()

    def _head(self, path: str) -> bytes:
        found = self._heads.get(path)
        if found is None:
            secure = self._terms.trust is not None
            found = self._heads[path] = method_head(path, self._authority, secure=secure, coding=self._terms.coding)
        return found

    async def leave(self) -> None:
        self._rest()
        await self._idle.wait()
        await self.aclose(GRACE)

    async def aclose(self, grace: float | None = None) -> None:
        self._rest()
        if self._growing is not None:
            self._growing.cancel()
        links = list(self._links)
        if grace and links:
            for link in links:
                link.leave()
            await asyncio.wait([link.gone for link in links], timeout=grace)
        for link in links:
            link.abort(CLOSING)
        if links:
            await asyncio.wait([link.gone for link in links], timeout=GOODBYE)
        for link in links:
            link.drop()


def _gone() -> Unavailable:
    return Unavailable(cause="the connection is gone", headers=[("retry-after", "1")])
