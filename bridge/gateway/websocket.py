"""A client's WebSocket that goes on to one of the service: frames in both directions, each side's close to the other.

Both ends are parsed: limits, UTF-8 and close codes are checked here, pings are answered here. An end whose peer reads
slowly is not read further, so that no more waits in between than a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from bridge.api.call import Call, HttpReply, Reply
from bridge.api.downstream import WebSocketRequest
from bridge.api.exchange import Exchange
from bridge.api.record import Record
from bridge.api.spec.limits import Stream
from bridge.api.stage import BoundOperation, Handler
from bridge.egress.authorized import refuses
from bridge.egress.sending import SentOperation, sending
from bridge.errors import ClientDisconnected
from bridge.gateway.response import response_fields
from bridge.gateway.shutdown import uncancelled
from bridge.observe.tracing import trace_headers
from bridge.websocket.end import GOING_AWAY, INTERNAL_ERROR, LOST, Ending, WebSocketEnd

_SUBPROTOCOL = "sec-websocket-protocol"


def websocket_handler(operation: BoundOperation, max_message: int) -> Handler:
    """The last handler of an operation whose calls are WebSockets of the service.

    :param max_message: bytes of one message of the client.
    """
    return partial(_serve, operation, sending(operation), max_message)


async def _serve(
    operation: BoundOperation, send: Callable[[Call], SentOperation] | None, max_message: int, exchange: Exchange
) -> Reply | None:
    """None: the WebSocket was accepted, and has ended. Otherwise the service has refused it."""
    call, record, limit = exchange.call, exchange.record, exchange.timeout
    request = cast(WebSocketRequest, exchange.request)
    loop = asyncio.get_running_loop()
    began = loop.time()
    bounds = [bound for bound in (operation.spec.stream.timeout, limit) if bound is not None]
    try:
        opened = await _open(operation, send, exchange, min([operation.timeout, *bounds]))
    finally:
        record.waited = loop.time() - began
    record.upstream_status = opened.status
    if isinstance(opened, HttpReply):
        reply: Reply = operation.codec.reply(call, opened)
        return reply
    service = cast(WebSocketEnd, opened)
    try:
        fields = response_fields(exchange, Reply(200, list(opened.headers)), whole=False)
        client = await request.accept(fields, opened.subprotocol, max_message)
    except BaseException:
        service.abort()
        raise
    record.status = 101
    relay = WebSocketRelay(record, client, service, operation.spec.stream)
    await relay.run(began + min(bounds) if bounds else None)
    record.warnings = tuple(call.warnings)
    return None


async def _open(
    operation: BoundOperation, send: Callable[[Call], SentOperation] | None, exchange: Exchange, seconds: float
) -> Any:
    """The service's answer: an open WebSocket with its `status`, `headers` and `subprotocol`, or the reply that refuses
    it. A refusal of the route's credentials is answered with new ones, once."""
    call, limit = exchange.call, exchange.timeout
    credentials, sender = operation.credentials, operation if send is None else send(call)
    connect_by = asyncio.get_running_loop().time() + seconds
    for attempt in (1, 2):
        outbound = operation.request(call)
        offered = cast(WebSocketRequest, exchange.request).subprotocols
        if offered:
            outbound.headers.append((_SUBPROTOCOL, ", ".join(offered)))
        opened = await sender.stream(
            outbound,
            deadline=None,
            connect_by=connect_by,
            trace=trace_headers(call.trace_id),
            client_timeout=limit if limit is None or limit < operation.timeout else None,
        )
        if credentials is None or not refuses(opened):
            break
        credentials.rejected(call)
        if attempt == 2:
            break
    return opened


class WebSocketRelay:
    """Two ends, from the accepted handshake to the first close, which the other end gets.

    :param bounds: of silence on both ends and of an end that does not read, and the interval of pings.
    """

    def __init__(self, record: Record, client: WebSocketEnd, service: WebSocketEnd, bounds: Stream) -> None:
        self._record, self._bounds = record, bounds
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._client = _Side(self, client, service)
        self._service = _Side(self, service, client)
        self.active = self._loop.time()

    async def run(self, deadline: float | None) -> None:
        """Returns when one end has ended and the other one is closing. Raises nothing: all of it is in the record.

        :param deadline: in the loop's `time()`; None: no limit.
        """
        try:
            for side in (self._service, self._client):
                side.end.relay(side, self._bounds.heartbeat)
            while not self._done.is_set():
                try:
                    async with asyncio.timeout_at(self._next_check(deadline)):
                        await self._done.wait()
                except TimeoutError:
                    self._check(deadline)
        except asyncio.CancelledError as end:
            uncancelled(end, disconnected=False)
            self.stop()
        finally:
            await self._client.end.finish()
            record = self._record
            record.messages_up, record.bytes_in = self._client.messages, self._client.bytes
            record.messages_down, record.bytes_out = self._service.messages, self._service.bytes

    # --- bounds of time ---------------------------------------------------------------------------------------------

    def _next_check(self, deadline: float | None) -> float:
        idle = self._bounds.idle
        times = [self.active + idle]
        times += [side.paused_at + idle for side in (self._client, self._service) if side.paused_at is not None]
        return min(times if deadline is None else [*times, deadline])

    def _check(self, deadline: float | None) -> None:
        now, idle = self._loop.time(), self._bounds.idle
        if deadline is not None and now >= deadline:
            self.close(GOING_AWAY, "the time for this call is over")
        for side, who in ((self._client, "client"), (self._service, "service")):
            if side.paused_at is not None and now >= side.paused_at + idle:
                self._give_up(side, who)
        if now >= self.active + idle:
            self.close(GOING_AWAY, f"nothing was said for {idle:g} seconds")

    def _give_up(self, side: _Side, who: str) -> None:
        """`side` has read nothing for the idle bound."""
        if self._done.is_set():
            return
        cause = f"the {who} stopped reading"
        self._note(LOST, cause, of_client=side is self._client)
        side.end.abort()
        side.other.begin_close(INTERNAL_ERROR, cause)

    # --- ends -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The gateway shuts down."""
        self.close(GOING_AWAY, "the gateway is shutting down")
        self._record.gateway_failed = True

    def close(self, code: int, reason: str) -> None:
        """The gateway closes both ends."""
        if not self._done.is_set():
            self._note(code, reason)
            self._client.end.begin_close(code, reason)
            self._service.end.begin_close(code, reason)

    def ended(self, side: _Side, ending: Ending) -> None:
        """One end came to its end: the other one gets its close, or is told that there was none."""
        if self._done.is_set():
            return
        if ending.closed:
            self._note(ending.code, "")
            side.other.begin_close(ending.code, ending.reason)
            return
        of_client = side is self._client
        who = "client" if of_client else "service"
        if ending.code == LOST:
            cause = f"the {who}'s connection was lost"
            told = cause
        else:
            cause = f"the {who} was failed with {ending.code}: {ending.reason}"
            told = f"the {who} was failed with {ending.code}"
        self._note(ending.code, cause, of_client=of_client)
        side.other.begin_close(INTERNAL_ERROR, told)

    def _note(self, code: int, cause: str, *, of_client: bool = False) -> None:
        record = self._record
        record.close_code, record.cause, record.client_failed = code, cause, of_client
        if of_client and code == LOST:
            record.status = ClientDisconnected.status
        self._done.set()


class _Side:
    """The `bridge.websocket.end.WebSocketSink` of one end.

    :ivar messages, bytes: that came from it; bytes are those of frames' payloads.
    :ivar paused_at: since when it is slow to read, in the loop's `time()`.
    """

    __slots__ = ("_loop", "_relay", "bytes", "end", "messages", "other", "paused_at")

    def __init__(self, relay: WebSocketRelay, end: WebSocketEnd, other: WebSocketEnd) -> None:
        self._relay, self.end, self.other = relay, end, other
        self._loop = asyncio.get_running_loop()
        self.messages = self.bytes = 0
        self.paused_at: float | None = None

    def frame(self, opcode: int, data: bytes, fin: bool, /) -> None:
        self.messages += fin
        self.bytes += len(data)
        self._relay.active = self._loop.time()
        self.other.send(opcode, data, fin)

    def flush(self) -> None:
        self.other.flush()

    def ended(self, ending: Ending, /) -> None:
        self._relay.ended(self, ending)

    def write_paused(self) -> None:
        self.paused_at = self._loop.time()
        self.other.hold()

    def write_resumed(self) -> None:
        self.paused_at = None
        self.other.release()

    def stopping(self) -> None:
        self._relay.stop()
