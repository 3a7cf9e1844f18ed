"""One instance of a gRPC upstream: its HTTP/2 connections, and the calls on them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bridge.api.call import GrpcReply
from bridge.api.stream import UpstreamStream
from bridge.api.tls import Tls
from bridge.api.transport import Address, Attempt, Outcome, Target
from bridge.errors import RequestError, TooLarge, Unavailable
from bridge.payload import offload
from bridge.payload.offload import LARGE
from bridge.transport.connecting import CONNECT, authority, shortage
from bridge.transport.deadline import Deadlines
from bridge.transport.grpc.advice import NOT_HTTP2, SILENT, UNREACHABLE, advice_on
from bridge.transport.grpc.answer import CLOSING, RESOURCE_EXHAUSTED, UNAVAILABLE, UNKNOWN, Metadata
from bridge.transport.grpc.framing import encode_message
from bridge.transport.grpc.head import metadata_fields, method_head, timeout_field
from bridge.transport.grpc.health import WATCH, Health
from bridge.transport.grpc.stream import GrpcStream
from bridge.transport.grpc.unary import Unary
from bridge.transport.http2.transport import Http2Transport

WINDOW = 512 * 1024  #: bytes of one call that a service may send before they are read
MAX_METADATA = 32 * 1024  #: bytes of a header section
KEEPALIVE = 330.0  #: seconds between pings on a connection that has calls; servers refuse those of under five minutes
PING_TIMEOUT = 20.0  #: seconds for the answer to a ping
MAX_CONNECTIONS = 8  #: to one address, if one does not accept all calls
REFUSED = 1.0  #: seconds until the next attempt after a refused one
GRACE = 30.0  #: seconds for unary calls to finish at a released address; streams there end by themselves
CLOSE_TIMEOUT = 1.0  #: seconds for closing a connection


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How to connect to the instances of one upstream.

    :ivar trust: for TLS; None for plain TCP. :ivar server_name: the name in the certificate; None: the address.
    :ivar authority: for ``:authority``; ``""`` for the address.
    :ivar max_reply: bytes of a message of the service. :ivar max_message: bytes of one of ours, if limited.
    :ivar coding: of our messages, ``gzip`` or ``deflate``.
    :ivar keepalive: seconds between pings while calls wait. :ivar ping_timeout: seconds for their answers.
    :ivar health: the service whose health is watched, ``""`` for the server's; False: none.
    """

    trust: ssl.SSLContext | None
    server_name: str | None
    authority: str
    max_reply: int
    max_message: int | None
    max_metadata: int
    coding: str | None
    keepalive: float
    ping_timeout: float
    health: str | Literal[False] = False

    @classmethod
    def of(cls, target: Target) -> ConnectionOptions:
        """:raises bridge.errors.BindError: a PEM text can't be used."""
        connection, tls = target.connection, target.tls
        keepalive = connection.keepalive or KEEPALIVE
        max_message = connection.max_message
        return cls(
            trust=tls.context("h2") if tls is not None else None,
            server_name=(tls.server_name if tls is not None else None) or target.name or None,
            authority=target.name,
            max_reply=target.max_reply if max_message is None else min(target.max_reply, max_message),
            max_message=max_message,
            max_metadata=connection.max_metadata or MAX_METADATA,
            coding=connection.compression,
            keepalive=keepalive,
            ping_timeout=min(PING_TIMEOUT, keepalive),
            health="" if connection.health is True else connection.health or False,
        )


class Subchannel:
    """:ivar cause: why the last attempt to connect failed; may contain addresses, so it is for the log only.
    :ivar shortage: it failed for lack of sockets in the gateway, which is not the instance's failure.
    :ivar health: the address's reports of its health; None if it isn't watched.
    """

    def __init__(self, address: Address, options: ConnectionOptions) -> None:
        self.address = address
        self.cause = ""
        self._advice = ""
        self.shortage = False
        self.health = None if options.health is False else Health(self._watch, self.disconnected, options.health)
        self._options = options
        self._authority = options.authority or authority(address)
        self._loop = asyncio.get_running_loop()
        self._connecting: asyncio.Task[bool] | None = None
        self._current: Http2Transport | None = None
        self._connections: set[Http2Transport] = set()  # including those that close after their last call
        self._growing: asyncio.Task[None] | None = None
        self._grow_from = 0.0  # the loop's time before which no further one is opened
        self._heads: dict[str, bytes] = {}
        self._streams: set[GrpcStream] = set()
        self._deadlines = Deadlines()
        self._idle = asyncio.Event()
        self._idle.set()

    # --- connecting -----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a call can begin at once."""
        current = self._current  # once usable, it remains so until it drains
        return current is not None and (not current.http.draining or self._other() is not None)

    @property
    def resting(self) -> bool:
        """Whether it is connected, and has reported that it doesn't serve."""
        return self.health is not None and self.health.serving is False and self.connected

    @property
    def lost(self) -> bool:
        """Whether it is closed, so that a new subchannel is needed."""
        return False

    async def serves(self, seconds: float) -> bool:
        """Whether it reports that it serves (True if unwatched); waits at most `seconds` for the report."""
        return self.health is None or self.health.serving or await self.health.wait_serving(seconds)

    @property
    def advice(self) -> str:
        """Why the last attempt to connect failed, or is not over yet; without addresses."""
        return self._advice or (SILENT if self._connections else UNREACHABLE)

    @property
    def connecting(self) -> bool:
        """Whether an attempt to connect is in progress."""
        return self._connecting is not None and not self._connecting.done()

    async def connect(self, seconds: float) -> bool:
        """Whether the address accepts a connection within `seconds`; simultaneous callers share one attempt. It
        continues when a caller's time is over, for others with more time and for the next caller."""
        attempt = self._connecting
        if attempt is None or attempt.done():
            attempt = self._connecting = asyncio.get_running_loop().create_task(self._connect())
        # Not awaited directly: another caller may release the address in the meantime, which cancels the attempt, and
        # that must not look like a cancellation of this caller.
        await asyncio.wait([attempt], timeout=max(seconds, 0.001))
        return attempt.done() and not attempt.cancelled() and attempt.result()

    async def disconnected(self) -> None:
        """Waits until `connected` is no longer true of the current connection."""
        if self._current is not None:
            # Shielded: callers share it.
            await asyncio.shield(self._current.drained)

    async def _connect(self) -> bool:
        """Whether it accepts a connection within `CONNECT`."""
        options = self._options
        connection = Http2Transport(
            window=WINDOW,
            max_list=options.max_metadata,
            keepalive=options.keepalive,
            ping_timeout=options.ping_timeout,
        )
        try:
            async with asyncio.timeout(CONNECT):
                await self._loop.create_connection(
                    lambda: connection,
                    *self.address,
                    ssl=options.trust,
                    server_hostname=(options.server_name or self.address[0]) if options.trust else None,
                )
                self._connections.add(connection)
                connection.gone.add_done_callback(lambda _: self._connections.discard(connection))
                await connection.ready
        except TimeoutError:
            self.cause, self._advice = f"no connection in {CONNECT:g} s", self.advice
            connection.abort(self.cause)
            return False
        except (OSError, ssl.SSLError, ssl.CertificateError) as error:
            self.cause, self._advice = " ".join(str(error).split()), advice_on(error)
            self.shortage = shortage(error) is not None
            return False
        except asyncio.CancelledError:
            connection.abort("the address is given up")
            raise
        if not connection.usable:
            self.cause, self._advice = connection.cause, NOT_HTTP2
            return False
        self._current = connection
        return True

    def _pick(self) -> Http2Transport | None:
        """The connection for a new call. If the current one accepts no more calls at once, another is opened, since
        streaming calls may last long."""
        current = self._current
        if current is None:
            return None
        if current.http.draining or current.http.full:
            current = self._other() or current
            if not current.usable:
                return None
            self._current = current
            if current.http.full and len(self._connections) < MAX_CONNECTIONS and self._may_grow():
                self._growing = self._loop.create_task(self._grow(current))
        return current

    def _other(self) -> Http2Transport | None:
        """A connection that accepts a call at once, else one that queues it."""
        usable = [connection for connection in self._connections if connection.usable]
        return next((connection for connection in usable if not connection.http.full), usable[0] if usable else None)

    def _may_grow(self) -> bool:
        """One attempt at a time, so that not every call tries to connect to a server that accepts no more
        connections."""
        return (self._growing is None or self._growing.done()) and self._loop.time() >= self._grow_from

    async def _grow(self, connection: Http2Transport) -> None:
        if await self._connect() and self._current is not None:
            connection.http.hand_over(self._current.http)
        else:
            self._grow_from = self._loop.time() + REFUSED

    # --- calls ----------------------------------------------------------------------------------------------------

    async def unary(self, path: str, message: bytes, metadata: Metadata, deadline: float, retries: int = 0) -> Attempt:
        """One call of one message each way. It must be connected.

        :param deadline: in the running loop's `time()`, sent to the service; the caller cancels the call then.
        :param retries: attempts before this one.
        :raises bridge.errors.ClientError: its metadata can't be sent.
        """
        options, loop = self._options, self._loop
        if options.max_message is not None and len(message) > options.max_message:
            return Attempt(TooLarge("The message is larger than the route allows."), RESOURCE_EXHAUSTED)
        coding = options.coding
        if coding is not None and len(message) > LARGE:
            try:
                frame = await offload.run(len(message), partial(encode_message, message, coding), deadline=deadline)
            except RequestError as error:
                return Attempt(error, UNKNOWN)
        else:
            frame = encode_message(message, coding)
        connection = self._pick()
        if connection is None:
            return Attempt(_connection_lost(), UNAVAILABLE, Outcome.NOT_PROCESSED)
        block = self._head(path) + timeout_field(deadline - loop.time()) + metadata_fields(metadata)
        if retries:
            block += metadata_fields((("grpc-previous-rpc-attempts", str(retries)),))
        call = Unary(options.max_reply, loop.create_future(), deadline)
        connection.http.open(call, block, frame, end=True)
        try:
            attempt = await call.done
            compressed, reply = call.compressed, attempt.result
            if compressed is not None and isinstance(reply, GrpcReply):
                try:
                    reply.message = await offload.run(compressed.size, compressed.unpack, deadline=deadline)
                except RequestError as error:
                    return Attempt(error, UNKNOWN)
            return attempt
        except asyncio.CancelledError:
            call.give_back()
            raise

    def stream(
        self,
        path: str,
        metadata: Metadata,
        deadline: float | None,
        *,
        counts: bool = True,
        report: Callable[[Attempt], None] | None = None,
    ) -> UpstreamStream:
        """A call that streams in both directions; the address isn't released before it ends.

        :param deadline: in the running loop's `time()`; None without one.
        :param counts: `leave` waits for it.
        :param report: gets the outcome.
        :raises bridge.errors.Unavailable: there is no connection any more.
        """
        options, loop, connection = self._options, self._loop, self._pick()
        if connection is None:
            raise _connection_lost()
        block = self._head(path) + metadata_fields(metadata)
        if deadline is not None:
            block += timeout_field(deadline - loop.time())
        call = GrpcStream(
            options.max_reply,
            coding=options.coding,
            done=loop.create_future(),
            max_message=options.max_message,
            deadline=deadline,
        )
        if deadline is not None:
            self._deadlines.add(call)
            call.done.add_done_callback(lambda _: self._deadlines.discard(call))
        if counts:
            self._streams.add(call)
            self._idle.clear()
            call.done.add_done_callback(partial(self._discard_stream, call))
        if report is not None:
            call.done.add_done_callback(lambda done: report(done.result()))
        connection.http.open(call, block, end=False)
        return call

    def _discard_stream(self, call: GrpcStream, _: object) -> None:
        self._streams.discard(call)
        if not self._streams:
            self._idle.set()

    def _head(self, path: str) -> bytes:
        head = self._heads.get(path)
        if head is None:
            secure = self._options.trust is not None
            head = self._heads[path] = method_head(path, self._authority, secure=secure, coding=self._options.coding)
        return head

    def _watch(self) -> UpstreamStream:
        return self.stream(WATCH, (), None, counts=False)

    # --- leaving --------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Close when the calls in progress have ended: unary calls within `GRACE`, streams without a limit."""
        self._stop()
        await self._idle.wait()
        await self.aclose(GRACE)

    async def aclose(self, grace: float | None = None) -> None:
        """:param grace: seconds for calls in progress; None ends them now."""
        self._stop()
        if self._growing is not None:
            self._growing.cancel()
        connections = list(self._connections)
        if grace and connections:
            for connection in connections:
                connection.leave()
            await asyncio.wait([connection.gone for connection in connections], timeout=grace)
        for connection in connections:
            connection.abort(CLOSING)
        if connections:
            await asyncio.wait([connection.gone for connection in connections], timeout=CLOSE_TIMEOUT)
        for connection in connections:
            connection.drop()

    def _stop(self) -> None:
        """Stop background tasks."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self.health is not None:
            self.health.cancel()


def _connection_lost() -> Unavailable:
    return Unavailable(cause="the connection is gone", headers=[("retry-after", "1")])


@asynccontextmanager
async def dial(
    address: Address, name: str, *, tls: Tls | None, max_reply: int, seconds: float
) -> AsyncIterator[Subchannel]:
    """A connected subchannel outside of any route, closed on exit: for calls of plug-ins during a bind.

    ::

        async with dial(address, "tally-svc", tls=None, max_reply=1 << 26, seconds=2.0) as subchannel:
            call = subchannel.stream("/pkg.Service/Method", (), deadline)
            await call.write(message)       # any number of them, also between reads
            await call.end()
            while (answer := await call.read()) is not None: ...
            status = await call.status()

    :param name: for ``:authority`` and the certificate, unless `tls` names another. :param tls: None for plain TCP.
    :param max_reply: bytes of one message of the service. :param seconds: for connecting.
    :raises bridge.errors.Unavailable: it accepts no connection; `cause` has the reason, `detail` a sentence without
        addresses.
    :raises bridge.errors.BindError: `tls` can't be used.
    """
    trust = tls.context("h2") if tls is not None else None
    server_name = (tls.server_name if tls is not None else None) or name
    options = ConnectionOptions(trust, server_name, name, max_reply, None, MAX_METADATA, None, KEEPALIVE, PING_TIMEOUT)
    subchannel = Subchannel(address, options)
    try:
        if not await subchannel.connect(seconds):
            raise Unavailable(subchannel.advice, cause=subchannel.cause or f"no connection in {seconds:g} s")
        yield subchannel
    finally:
        await subchannel.aclose()
