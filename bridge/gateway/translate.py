"""The last stage, the operation itself: translates the call, sends it upstream, and translates the reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

from bridge.api.body import StreamedBody
from bridge.api.call import Call, GrpcReply, Reply
from bridge.api.capabilities import ErrorReading, capability
from bridge.api.egress import Credentials
from bridge.api.exchange import Exchange
from bridge.api.refusal import upstream_error
from bridge.api.stage import BoundOperation, Handler
from bridge.api.stream import WEBSOCKET
from bridge.api.transfer import Transfer
from bridge.egress.authorized import AuthorizedOperation
from bridge.egress.sending import SentOperation, sending
from bridge.gateway.echoes import conceal
from bridge.gateway.large import LargeMessages
from bridge.gateway.response import response_fields
from bridge.gateway.streaming import StreamRelay
from bridge.gateway.websocket import websocket_handler
from bridge.observe.tracing import trace_headers
from bridge.payload import offload
from bridge.payload.offload import LARGE


class Translate:
    """:param max_message: bytes of one message of a client's stream, for routes without a ``max_body``."""

    name: ClassVar[str] = "translate"

    def __init__(self, max_message: int) -> None:
        self._max_message = max_message

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler:
        max_message = operation.spec.max_body or self._max_message
        if operation.operation.method == WEBSOCKET and not operation.streams:
            return websocket_handler(operation, max_message)
        if operation.streams:
            if operation.credentials is not None:
                return partial(_authorized_relay, operation, operation.credentials, max_message)
            return partial(_relay, operation, max_message)
        translate = _pass if operation.streams_bodies else partial(_translate, LargeMessages(operation))
        send = sending(operation)
        return partial(translate, operation) if send is None else partial(_sent, translate, send)


async def _sent(
    translate: Callable[[SentOperation, Exchange], Awaitable[Reply]],
    send: Callable[[Call], SentOperation],
    exchange: Exchange,
) -> Reply:
    return await translate(send(exchange.call), exchange)


async def _translate(large: LargeMessages, operation: SentOperation, exchange: Exchange) -> Reply:
    clock = time.perf_counter
    call, record, codec = exchange.call, exchange.record, operation.codec
    limit = exchange.timeout
    started = clock()
    if exchange.size <= LARGE:
        outbound = operation.request(call)
    else:
        outbound = await large.request(exchange)
    translated_at = clock()
    try:
        inbound = await operation.send(
            outbound,
            deadline=exchange.deadline,
            trace=trace_headers(call.trace_id),
            client_timeout=limit if limit is None or limit < operation.timeout else None,
        )
    finally:
        answered = clock()
        record.waited = answered - translated_at
        record.translated = translated_at - started
    if type(inbound) is GrpcReply:
        record.upstream_status, body = inbound.code, inbound.message
    else:
        record.upstream_status, body = inbound.status, inbound.body
        if inbound.status >= 400:
            reader = capability(codec, ErrorReading)
            if reader is None or not reader.handles_errors:
                raise upstream_error(inbound)
    try:
        if len(body) <= LARGE:
            return codec.reply(call, inbound)  # type: ignore[no-any-return]  # a plug-in's
        return await large.reply(exchange, inbound, len(body))
    except Exception as error:
        if exchange.size > LARGE:  # an error that its own frames hold would keep the request until it is collected
            offload.let_go(error)
        raise
    finally:
        record.translated += clock() - answered


async def _pass(operation: SentOperation, exchange: Exchange) -> Reply:
    """A call whose bodies nobody reads. Its reply is here with the head; what comes later is in `Exchange.transfer`,
    which whoever began the call closes."""
    clock = time.perf_counter
    call, record = exchange.call, exchange.record
    limit = exchange.timeout
    outbound = operation.request(call)
    task, waits = asyncio.current_task(), True
    assert task is not None

    def leave() -> None:
        if waits:  # later, the response's body notices
            task.cancel()

    exchange.request.connection.watch(leave, half=False)
    started = clock()
    try:
        inbound = await operation.send(
            outbound,
            deadline=exchange.deadline,
            trace=trace_headers(call.trace_id),
            client_timeout=limit if limit is None or limit < operation.timeout else None,
        )
    finally:
        waits = False
        record.waited = clock() - started
    record.upstream_status = inbound.status
    if isinstance(inbound.body, StreamedBody):
        if exchange.transfer is None:
            exchange.transfer = Transfer(exchange.request, operation.spec.stream)
        exchange.transfer.begin_reply(inbound.body)
    return operation.codec.reply(call, inbound)  # type: ignore[no-any-return]  # a plug-in's


async def _authorized_relay(
    operation: BoundOperation, credentials: Credentials, max_message: int, exchange: Exchange
) -> Reply | None:
    authorized = AuthorizedOperation(operation, credentials, exchange.call)
    try:
        return await _relay(authorized, max_message, exchange)
    finally:
        authorized.ended(exchange.record.upstream_status)


async def _relay(operation: BoundOperation | AuthorizedOperation, max_message: int, exchange: Exchange) -> Reply | None:
    """A streaming operation. None: its answer was sent, whatever its outcome."""
    call, record, limit = exchange.call, exchange.record, exchange.timeout
    now = asyncio.get_running_loop().time()
    bounds = [bound for bound in (operation.spec.stream.timeout, limit) if bound is not None]
    if exchange.size <= LARGE:
        translation = operation.open(call)
    else:
        opening = partial(operation.open, call)
        translation = await offload.run(exchange.size, opening, max_waiting=offload.REQUESTS)
    upstream = await operation.stream(
        translation.request,
        deadline=now + min(bounds) if bounds else None,
        connect_by=now + min([operation.timeout, *bounds]),
        trace=trace_headers(call.trace_id),
        client_timeout=limit if limit is None or limit < operation.timeout else None,
    )
    side = exchange.request.side(partial(response_fields, exchange, whole=False))
    concealing = partial(conceal, operation=operation, exchange=exchange)
    relay = StreamRelay(exchange, side, translation, upstream, concealing, operation.spec.stream, max_message)
    try:
        return await relay.run()
    finally:
        record.bytes_out = side.sent
        record.warnings = tuple(call.warnings)
