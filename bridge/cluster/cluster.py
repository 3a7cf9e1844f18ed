"""One upstream of a route, over any protocol: sends a request to an instance that accepts it, within its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from bridge.api.call import Retry
from bridge.api.transport import Address, Attempt, Channel, InstanceVerdict, Outbound, Outcome
from bridge.cluster.attempts import NOWHERE, Attempts, Throttle, cause_of
from bridge.cluster.outlier import OutlierDetector
from bridge.errors import Timeout, Unavailable, UnknownUpstream
from bridge.transport.deadline import Deadlines

_FINE = InstanceVerdict.FINE


class Cluster:
    """The instances of one mesh name and port, the channel to them, and the route's retry policy.

    :param lookup: the current instances, the preferred one first; raises `bridge.errors.Unavailable`.
    :param cached: the same without waiting; None if a wait is needed.
    :param outliers: gets reports on the instances; shared by all routes to the name and port.
    :param throttle: of retries; shared by all users of `channel`.
    :ivar stream: opens a streaming call; None if the protocol has none.
    """

    def __init__(
        self,
        channel: Channel,
        lookup: Callable[[], Awaitable[Sequence[Address]]],
        cached: Callable[[], Sequence[Address] | None],
        *,
        outliers: OutlierDetector | None = None,
        retry: Retry | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self.channel = channel
        self.outliers = outliers or OutlierDetector()
        self.retry = retry
        self.throttle = throttle or Throttle()
        self.lookup, self.known = lookup, cached
        self._deadlines = Deadlines()
        self.stream: Any = self._stream if channel.open is not None else None

    async def send(
        self,
        request: Outbound,
        *,
        deadline: float,
        trace: Sequence[tuple[str, str]] = (),
        client_timeout: float | None = None,
    ) -> Any:
        """Send `request` and wait for its whole reply; for the head of one whose body streams.

        :param deadline: in the running loop's `time()`; covers lookup, connecting and all attempts. The time in which a
            request's body streams does not count.
        :param trace: fields to add; they replace the request's fields of those names.
        :param client_timeout: the client's own timeout in seconds, if shorter than the route's.
        :raises bridge.errors.ClientError: something in the request can't be sent.
        :raises bridge.errors.Unavailable: no instance, none accepts a connection, or the connection was lost.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the reply violates its protocol, or is longer than allowed.
        :raises bridge.errors.UpstreamError: the service reset the call, or its certificate has another name.
        """
        now = asyncio.get_running_loop().time()
        if request.timeout is not None:
            deadline = min(deadline, now + request.timeout)
        channel, attempts = self.channel, None
        message = channel.prepare(request, trace)
        if now >= deadline:
            raise Timeout(cause="the deadline had passed before anything was sent")
        try:
            with self._deadlines.until(deadline) as until:
                addresses = self.known()
                if addresses is None:
                    attempts = await self._begin(request, now, deadline, client_timeout)
                else:
                    attempts = Attempts(self, request, addresses, now, deadline, client_timeout)
                attempts.until = until
                while True:
                    attempt = await channel.attempt(message, attempts)
                    if attempt.verdict is _FINE and self.throttle.full and not self.outliers.suspects:
                        return attempt.result
                    if not await attempts.again(attempt):
                        return attempt.settle()
        except Timeout as error:
            if attempts is not None:
                attempts.expired(error)
            raise

    async def _stream(
        self,
        request: Outbound,
        *,
        deadline: float | None,
        connect_by: float,
        trace: Sequence[tuple[str, str]] = (),
        client_timeout: float | None = None,
    ) -> Any:
        """Open a call of any cardinality (`bridge.api.stream.UpstreamStream`). The message of `request` is not sent:
        write it, then end. Streams are never sent again.

        :param deadline: in the running loop's `time()`, for the call as a whole; None: no limit.
        :param connect_by: likewise, for lookup and connecting.
        :raises bridge.errors.Unavailable: no instance accepts a connection.
        :raises bridge.errors.Timeout: `deadline` or `connect_by` passed.
        """
        now = asyncio.get_running_loop().time()
        if request.timeout is not None:
            deadline = now + request.timeout if deadline is None else min(deadline, now + request.timeout)
        by = connect_by if deadline is None else min(connect_by, deadline)
        channel = self.channel
        assert channel.open is not None
        message = channel.prepare(request, trace)
        if now >= by:
            raise Timeout(cause="the deadline had passed before anything was sent")
        with self._deadlines.until(by):
            attempts = await self._begin(request, now, by, client_timeout)
            while True:
                report = partial(self._stream_ended, attempts.address, self.outliers.epoch)
                attempt = await channel.open(message, attempts, deadline, report)
                if attempt.outcome is not Outcome.REFUSED or not await attempts.again(attempt):
                    return attempt.settle()

    async def aclose(self) -> None:
        """Close every connection; calls in progress end as cancelled."""
        await self.channel.aclose()

    # --- for the attempts -----------------------------------------------------------------------------------------

    async def addresses(self) -> Sequence[Address]:
        """The instances, the preferred one first.

        :raises bridge.errors.Unavailable: there are none.
        """
        addresses = self.known() or await self.lookup()
        if not addresses:
            raise UnknownUpstream(cause="there is no live address", headers=[("retry-after", "1")])
        return addresses

    def failed(self, address: Address, epoch: int, cause: str) -> None:
        """A call was lost at an instance. If that ejects it, later calls use a new connection: perhaps only the old
        one is dead, and nothing else would close it."""
        before = self.outliers.ejections
        self.outliers.failed(address, epoch, cause)
        if self.outliers.ejections != before:
            self.channel.forget(address)

    async def _begin(self, request: Outbound, now: float, deadline: float, client_timeout: float | None) -> Attempts:
        """The attempts, after the instances were looked up.

        :raises bridge.errors.Unavailable: there are none, and the retry policy allows no wait.
        """
        try:
            return Attempts(self, request, await self.addresses(), now, deadline, client_timeout)
        except Unavailable as error:
            attempts = Attempts(self, request, NOWHERE, now, deadline, client_timeout)
            if not await attempts.again(Attempt(error, outcome=Outcome.REFUSED)):
                raise
            return attempts

    def _stream_ended(self, address: Address, epoch: int, attempt: Attempt) -> None:
        """A stream may be silent for any time, and its connection may be lost at any time: only a reply counts, or a
        connection that is lost before its first byte."""
        if attempt.verdict is InstanceVerdict.BAD:
            if attempt.outcome is Outcome.RETRIABLE:
                self.failed(address, epoch, cause_of(attempt))
        elif attempt.verdict in (InstanceVerdict.FINE, InstanceVerdict.ALIVE):
            self.outliers.succeeded(address, epoch)
