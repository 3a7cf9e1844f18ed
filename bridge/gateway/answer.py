"""The data path. One request: match -> the route's chain of stages -> response -> record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Sequence

from bridge.api.body import StreamedBody
from bridge.api.call import Call, Reply
from bridge.api.downstream import ServerRequest
from bridge.api.exchange import Exchange
from bridge.api.problem import slug_of
from bridge.api.record import Record
from bridge.api.stream import WEBSOCKET
from bridge.config.settings import Networks, Settings
from bridge.errors import (
    ClientDisconnected,
    ClientError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    RequestError,
    is_gateways,
)
from bridge.gateway.echoes import conceal
from bridge.gateway.inbound import Asgi, Receive, Scope, Send
from bridge.gateway.response import CountedPieces, checked, discard, refused, response_fields
from bridge.gateway.shutdown import uncancelled
from bridge.gateway.table import Endpoint, Table
from bridge.http.client_address import client_address, the_host
from bridge.http.query import without
from bridge.http.target import check_path
from bridge.observe.tracing import make_trace_id, trace_id_of
from bridge.stages.cors import is_preflight


class Gateway:
    """The ASGI application of the data path. `table` is swapped whole when routes change.

    :param unmatched: refuses calls for which nothing is published (`bridge.api.capabilities.Refusing`); None: with
        problem+json.
    """

    def __init__(self, settings: Settings, log: Callable[[Record], None], unmatched: object = None) -> None:
        self.table = Table()
        self._unmatched = unmatched
        self.log = log
        self._proxies: Networks = settings.trusted_proxies

    def serve(self, table: Table) -> None:
        """Take `table` for every request from now on; calls in progress finish on the table that matched them."""
        self.table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            await self.answer(Asgi(scope, receive, send))

    async def answer(self, request: ServerRequest) -> None:
        """One request, from its head to the last byte of its response and its line in the log."""
        began = time.perf_counter()
        exchange = self._arrive(request)
        record = exchange.record
        endpoint: Endpoint | None = None
        reply: Reply | None = None
        try:
            try:
                endpoint = self._match(exchange)
                reply = await endpoint.handle(exchange)
                if reply is None:
                    if endpoint.streams or request.method == WEBSOCKET:  # it has sent its response
                        return
                    raise TypeError("the operation gave no reply")
                fields = response_fields(exchange, reply)
                record.status = reply.status
                fault = exchange.call.fault
                if fault is not None and reply.status >= 400:
                    conceal(fault, endpoint, exchange)
                    record.cause, record.client_failed = _cause(fault), fault.status < 500
            # The one boundary: every error becomes a response. A plug-in's `sys.exit` must not end the gateway.
            except (Exception, asyncio.CancelledError, SystemExit) as failure:
                error = uncancelled(failure, disconnected=request.disconnected)
                if endpoint is not None:
                    conceal(error, endpoint, exchange)
                record.cause, record.gateway_failed = _cause(error), is_gateways(error)
                record.client_failed, record.problem = isinstance(error, ClientError), slug_of(error)
                if isinstance(error, Forbidden) and error.caller[0] and not record.subject:
                    record.subject, record.tenant = error.caller[0], error.caller[1] or record.tenant
                codec = self._unmatched if endpoint is None else endpoint.codec
                unsent, reply = reply, refused(exchange, error, codec)
                fields = response_fields(exchange, reply)
                record.status = error.status if isinstance(error, ClientDisconnected) else reply.status
                await discard(unsent)
                # It holds this frame, and with it the whole call, until Python collects: for long in a quiet gateway.
                del error
            record.warnings = tuple(exchange.call.warnings)
            body = reply.body
            if isinstance(body, bytes):
                record.bytes_out = len(body)
                if reply.trailers:
                    await request.answer(reply.status, fields, body, checked(reply.trailers))
                else:
                    await request.answer(reply.status, fields, body)
            else:
                await _answer_in_pieces(exchange, reply.status, fields, body)
        finally:
            if exchange.transfer is not None:
                exchange.transfer.close(record)
            if exchange.release is not None:
                exchange.release()
            record.total = time.perf_counter() - began
            self.log(record)

    def _arrive(self, request: ServerRequest) -> Exchange:
        """`request` as a call without a route, with its record."""
        headers, peer, trusted = request.headers, request.peer, False
        if self._proxies:
            peer, trusted = client_address(peer, headers, self._proxies)
        method, path, query = request.method, request.path, request.query
        trace_id = trace_id_of(headers, trusted=trusted) if trusted else make_trace_id()
        call = Call(method, path, query=query, target=request.target, headers=headers, peer=peer, trace_id=trace_id)
        call.request = request
        return Exchange(request, call, Record(time.time(), trace_id, method, path, query, peer=peer))

    def _match(self, exchange: Exchange) -> Endpoint:
        """The endpoint for the call; its path parameters and names are recorded.

        :raises ClientError: path or host is malformed. :raises NotFound, MethodNotAllowed: none is published.
        """
        call, record = exchange.call, exchange.record
        record.host, host = the_host(call.values("host"), exchange.request.version)
        check_path(call.path)
        if call.method == "OPTIONS" and is_preflight(call.method, call.fields):
            endpoint, call.raw_params = self._preflight(host, call)
        else:
            try:
                endpoint, call.raw_params = self.table.match(host, call.path, call.method)
            except (NotFound, MethodNotAllowed):
                exchange.fields += self._fields_of_cors(host, call)
                raise
        record.route, record.operation = str(endpoint.route.source.id), endpoint.operation.name
        record.upstream, record.tenant = endpoint.upstream, endpoint.tenant
        if endpoint.ignored_query and call.query:
            call.query = record.query = without(call.query, endpoint.ignored_query)
            call.target = f"{call.path}?{call.query}" if call.query else call.path
        if call.method == "HEAD" and endpoint.operation.method == "GET" and not endpoint.streams_bodies:
            call.method = "GET"
        return endpoint

    def _preflight(self, host: str, call: Call) -> tuple[Endpoint, dict[str, str]]:
        """:raises NotFound, MethodNotAllowed: neither a route with CORS nor its service answers."""
        table = self.table
        match = table.preflight(host, call.path, call.header("access-control-request-method"))
        return match or table.match(host, call.path, call.method)

    def _fields_of_cors(self, host: str, call: Call) -> list[tuple[str, str]]:
        policy = self.table.cors_of(host, call.path)
        return [] if policy is None else policy.fields(call.fields.get("origin"), call.method)


async def _answer_in_pieces(
    exchange: Exchange, status: int, fields: Sequence[tuple[str, str]], body: AsyncIterable[bytes]
) -> None:
    """As `ServerRequest.answer`; the record says why a response is incomplete."""
    record = exchange.record
    counted = body if isinstance(body, StreamedBody) else CountedPieces(body, record)
    try:
        await exchange.request.answer(status, fields, counted)
    except asyncio.CancelledError:
        record.cause, record.gateway_failed = "cancelled", True
        raise
    except Exception as error:
        # Where a body's end cut the client off, who wrote it knows no more than that.
        cut_by = body.error if isinstance(body, StreamedBody) and isinstance(error, ClientDisconnected) else None
        record.cause = _cause(cut_by or error)
        if isinstance(error, ClientDisconnected):
            record.status = error.status
        raise
    finally:
        await counted.aclose()  # it is open still where not even the head was sent
        if isinstance(counted, StreamedBody) and counted.taken:
            record.bytes_out = counted.size


def _cause(error: Exception) -> str:
    if isinstance(error, RequestError):
        return error.cause or error.detail
    return f"{type(error).__name__}: {error}"
