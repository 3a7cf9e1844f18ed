"""The stages of the request itself: its size, its client's timeout, and the fields that are forwarded."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from bridge.api.body import UNLIMITED, WHOLE, streamed
from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.spec.limits import Stream
from bridge.api.spec.scalars import seconds
from bridge.api.stage import BoundOperation, Handler
from bridge.api.transfer import Transfer
from bridge.errors import ClientError, TooLarge
from bridge.http.forwarding import forwarding
from bridge.stages.decode import decoding

#: Which of a request's fields are forwarded (`bridge.http.forwarding.forwarding`).
Forwarding = Callable[[Sequence[tuple[str, str]]], list[tuple[str, str]]]


class Size:
    """Whether a body follows, and that its announced length is allowed (RFC 9112, section 6.3). Not for streams of
    messages, which are limited one by one.

    :param max_body: bytes, for routes without a limit of their own and bodies that are read as a whole.
    """

    name: ClassVar[str] = "size"

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        if operation.streams and operation.codec.streams_up:
            return None
        return partial(self.handle, body_limit(operation, self._max_body), next)

    def handle(self, max_body: int, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        fields = exchange.call.fields
        length = fields.get("content-length")
        if length:
            if not length.isdigit() or int(length) > max_body:
                raise oversized(max_body)
            exchange.has_body = length != "0"
        else:
            exchange.has_body = bool(fields.get("transfer-encoding"))
        return next(exchange)


class Deadline:
    """Reads `Exchange.timeout` from the fields of the client protocols; the lowest counts.

    :param timeouts: header field (lower case) -> its parser (`bridge.api.Front.timeouts`).
    """

    name: ClassVar[str] = "deadline"

    def __init__(self, timeouts: Mapping[str, Callable[[str], float]]) -> None:
        self._timeouts = {"x-request-timeout": request_timeout, **timeouts}
        self._names = self._timeouts.keys()

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        return partial(self.handle, next)

    def handle(self, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        fields = exchange.call.fields
        if not self._names.isdisjoint(fields):
            limits = [parse(value) for name, parse in self._timeouts.items() if (value := fields.get(name))]
            exchange.timeout = min(limits) if limits else None
        return next(exchange)


class Receive:
    """Removes the fields that are not forwarded, reads the body, undoes its content-coding, and sets the deadline: from
    here on, the service's time counts. A codec that streams bodies gets one that has not arrived as a whole in pieces,
    unless it is short.

    :param max_body: bytes, for routes without a limit of their own and bodies that are read as a whole.
    :param body_timeout: seconds for the body to arrive.
    """

    name: ClassVar[str] = "receive"

    def __init__(self, max_body: int, body_timeout: float) -> None:
        self._max_body, self._body_timeout = max_body, body_timeout

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        max_body = body_limit(operation, self._max_body)
        stream = partial(_stream, operation.spec.stream) if operation.streams_bodies else None
        with_body = decoding(operation, max_body, next)
        if operation.streams and operation.codec.streams_up:
            next = with_body  # the body is read later
        forwardable = forwarding(operation.authenticator.consumes)
        return partial(self.handle, operation.timeout, max_body, forwardable, stream, next, with_body)

    def handle(
        self,
        timeout: float,
        max_body: int,
        forwardable: Forwarding,
        stream: Callable[[int, Exchange], bool] | None,
        next: Handler,
        with_body: Handler,
        exchange: Exchange,
        body: bytes | None = None,
    ) -> Awaitable[Reply | None]:
        call = exchange.call
        if body is None:
            call.headers = forwardable(call.headers)
            if exchange.has_body:
                body = exchange.request.received(max_body)
                if body is None and (stream is None or not stream(max_body, exchange)):
                    return self._read(timeout, max_body, forwardable, next, with_body, exchange)
        if body is not None:
            call.body = body
            exchange.size = exchange.record.bytes_in = len(body)
        limit = exchange.timeout
        exchange.deadline = get_running_loop().time() + (timeout if limit is None else min(timeout, limit))
        return next(exchange) if body is None else with_body(exchange)

    async def _read(
        self,
        timeout: float,  # noqa: ASYNC109  # the route's, for later
        max_body: int,
        forwardable: Forwarding,
        next: Handler,
        with_body: Handler,
        exchange: Exchange,
    ) -> Reply | None:
        body = await exchange.request.body(max_body, self._body_timeout)
        return await self.handle(timeout, max_body, forwardable, None, next, with_body, exchange, body)


def _stream(bounds: Stream, max_body: int, exchange: Exchange) -> bool:
    """Let the call have its body in pieces; False: it is short, and is read as a whole.

    :param bounds: of time (`bridge.api.transfer.Transfer`).
    """
    fields = dict(exchange.request.headers)
    length = fields.get("content-length")
    if length and int(length) <= WHOLE and "expect" not in fields:
        return False
    body = streamed(exchange.request.stream())
    if length:
        body.length = int(length)  # which the server has seen to
    if max_body != UNLIMITED:
        body.bound(max_body, partial(oversized, max_body))
    exchange.call.body = body
    exchange.transfer = transfer = Transfer(exchange.request, bounds)
    transfer.request = body
    return True


def body_limit(operation: BoundOperation, max_body: int) -> int:
    """Bytes of a request's body.

    :param max_body: for routes without a limit of their own. It is for bodies that are read as a whole: one that is
        passed on takes no memory.
    """
    return operation.spec.max_body or (UNLIMITED if operation.streams_bodies else max_body)


def oversized(max_bytes: int) -> TooLarge:
    return TooLarge(f"A request body may have at most {max_bytes} bytes.")


def request_timeout(text: str) -> float:
    """Seconds of ``X-Request-Timeout``: ``2s``, ``500ms`` or a number of seconds.

    :raises bridge.api.ClientError: it is none of these.
    """
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else seconds(text)
        return float(str(value))
    except ValueError:
        raise ClientError("X-Request-Timeout is written 2s, 500ms or as a number of seconds.") from None
