"""One request, one straight line.

trace id -> match -> [size, auth, limit, cache, deadline: composed per route] -> operation -> upstream -> reply -> log
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from bridge.api.call import Call, Reply
from bridge.api.problem import problem
from bridge.api.route_spec import seconds
from bridge.config.settings import Networks, Settings
from bridge.errors import ClientDisconnected, ClientError, RateLimited, RequestError
from bridge.gateway.downstream import Connection, Downstream
from bridge.gateway.inbound import Asgi, Receive, Scope, Send, ServerRequest, oversized
from bridge.gateway.streaming import StreamRelay
from bridge.gateway.table import Endpoint, Table
from bridge.http.client_address import client_address, the_host
from bridge.http.field_value import UNSENDABLE
from bridge.http.forwarding import forwardable, returnable
from bridge.http.memo import Memo
from bridge.http.token import is_token
from bridge.observe.access import Record
from bridge.observe.tracing import make_trace_id, trace_headers, trace_id_of
from bridge.payload import offload
from bridge.payload.offload import LARGE
from bridge.stages.cache import cache_key

# A segment that is, once decoded, "." or ".." would climb out of its route on the other side. Some decoders take UTF-8
# that is longer than it need be (RFC 3629, section 10), so a dot and a slash may be written that way, too.
_DOT = r"(?:\.|%2e|%c0%ae|%e0%80%ae)"
_SLASH = r"/|\\|%2f|%5c|%c0%af|%c1%9c|%e0%80%af"
# A control character ends the path, or begins a line, where the other side is careless.
_REFUSED = re.compile(rf"(?:^|{_SLASH}){_DOT}{{1,2}}(?:{_SLASH}|;|$)|%(?:[01][0-9a-f]|7f)", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_TIMEOUTS = ("x-request-timeout", "grpc-timeout", "connect-timeout-ms")
_LONGEST_NAME = 256  # of a response's field, in characters


class Gateway:
    """The ASGI application of the data path. `table` is swapped whole when routes change."""

    def __init__(self, settings: Settings, log: Callable[[Record], None]) -> None:
        self.table = Table()
        self.log = log
        self._proxies: Networks = settings.trusted_proxies
        self._max_body = settings.max_body
        self._body_timeout = settings.body_timeout

    def serve(self, table: Table) -> None:
        """Take `table` for every request from now on; those under way finish on the one they were matched in."""
        self.table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            await self.answer(Asgi(scope, receive, send))

    async def answer(self, inbound: ServerRequest) -> None:
        """One request, from its head to the last byte of its answer and its line in the log."""
        began = time.perf_counter()
        call, record = self._arrive(inbound)
        limits: list[tuple[str, str]] = []
        endpoint: Endpoint | None = None
        left = False
        try:
            endpoint, call.raw_params = self._match(inbound.version, call, record)
            fed = endpoint.streams and endpoint.codec.streams_up
            has_body = not fed and self._announces_body(call)
            call.identity = await endpoint.auth(call)
            record.subject = call.identity.subject
            record.tenant = call.identity.tenant or endpoint.tenant
            if endpoint.limiter is not None:
                self._limit(endpoint, call, limits)
            asked = asked_timeout(call)
            call.headers = forwardable(call.headers, endpoint.auth.consumes)
            if has_body:
                call.body = await inbound.body(self._max_body, self._body_timeout)
                record.bytes_in = len(call.body)
            if endpoint.streams:
                side = inbound.side(lambda reply: _fields(reply, call, limits, whole=False))
                answered = await self._stream(endpoint, call, record, side, asked, inbound.connection)
                if answered is None:
                    self._note(record, began)
                    return
                reply = answered
            elif endpoint.cache is None:
                reply = await self._translate(endpoint, call, record, self._deadline(endpoint, asked), asked)
            else:
                reply = await self._cached(endpoint, call, record, self._deadline(endpoint, asked), asked)
            fields = _fields(reply, call, limits)
        except asyncio.CancelledError:
            record.status, record.cause = 499, "cancelled"
            self._note(record, began)
            raise
        except Exception as error:  # the one boundary: whatever went wrong becomes problem+json
            record.cause, left = _cause(error), isinstance(error, ClientDisconnected)
            reply = (isinstance(error, RequestError) and error.rendered) or problem(error, call.trace_id)
            if endpoint is not None and endpoint.refusal is not None:
                reply = endpoint.refusal(call, orjson.loads(reply.body), reply)
            fields = _fields(reply, call, limits)
        record.status, record.bytes_out = ClientDisconnected.status if left else reply.status, len(reply.body)
        record.warnings = tuple(call.warnings)
        try:
            await inbound.answer(reply.status, fields, reply.body)
        finally:
            self._note(record, began)

    def _arrive(self, inbound: ServerRequest) -> tuple[Call, Record]:
        """The request as a `Call` that is not yet anybody's, and the record that goes with it."""
        headers, peer, trusted = inbound.headers, inbound.peer, False
        if self._proxies:
            peer, trusted = client_address(peer, headers, self._proxies)
        method, path, query = inbound.method, inbound.path, inbound.query
        trace_id = trace_id_of(headers, trusted=trusted) if trusted else make_trace_id()
        call = Call(method, path, query=query, headers=headers, peer=peer, trace_id=trace_id)
        return call, Record(time.time(), trace_id, method, path, query, peer=peer)

    def _match(self, version: str, call: Call, record: Record) -> tuple[Endpoint, dict[str, str]]:
        record.host, name = the_host(call.values("host"), version)
        check_path(call.path)
        endpoint, params = self.table.match(name, call.path, call.method)
        record.route, record.operation = str(endpoint.route.source.id), endpoint.operation.name
        record.upstream, record.tenant = endpoint.upstream, endpoint.tenant
        if call.method == "HEAD" and endpoint.operation.method == "GET":
            call.method = "GET"
        return endpoint, params

    def _announces_body(self, call: Call) -> bool:
        """Whether a body follows (RFC 9112, section 6.3); one that is too large is refused before it is read."""
        fields = call.fields
        length = fields.get("content-length")
        if length:
            if not length.isdigit() or int(length) > self._max_body:
                raise oversized(self._max_body)
            return length != "0"
        return bool(fields.get("transfer-encoding"))

    def _limit(self, endpoint: Endpoint, call: Call, headers: list[tuple[str, str]]) -> None:
        assert endpoint.limiter
        verdict = endpoint.limiter.take(call.identity, call, endpoint.tenant)
        headers += verdict.headers()
        if not verdict.allowed:
            raise RateLimited("You have made more calls than this route allows. Try again in a moment.")

    def _deadline(self, endpoint: Endpoint, asked: float | None) -> float:
        """In the loop's time: the route's timeout from now, or less where the client asks for less."""
        patience = endpoint.timeout
        return asyncio.get_running_loop().time() + (patience if asked is None else min(patience, asked))

    async def _stream(
        self,
        endpoint: Endpoint,
        call: Call,
        record: Record,
        side: Downstream,
        asked: float | None,
        connection: Connection,
    ) -> Reply | None:
        """A streaming operation. None when its answer was sent, in whatever way it ended."""
        now = asyncio.get_running_loop().time()
        bounds = [bound for bound in (endpoint.bounds.timeout, asked) if bound is not None]
        if record.bytes_in <= LARGE:
            translation = endpoint.codec.open(call)
        else:
            translation = await offload.run(record.bytes_in, partial(endpoint.codec.open, call), most=offload.REQUESTS)
        up = await endpoint.stream(
            translation.request,
            deadline=now + min(bounds) if bounds else None,
            connect_by=now + min([endpoint.timeout, *bounds]),
            trace=trace_headers(call.trace_id),
            client_timeout=asked if asked is None or asked < endpoint.timeout else None,
        )
        relay = StreamRelay(side, translation, up, record, endpoint.bounds, self._max_body, connection)
        try:
            return await relay.run()
        finally:
            record.bytes_out = side.sent
            record.warnings = tuple(call.warnings)

    async def _translate(
        self, endpoint: Endpoint, call: Call, record: Record, deadline: float, asked: float | None
    ) -> Reply:
        """The operation itself: call to message, message up, answer down, answer to reply."""
        clock = time.perf_counter
        started = clock()
        codec = endpoint.codec
        if record.bytes_in <= LARGE:
            outbound = codec.request(call)
        else:
            outbound = await self._request_apart(endpoint, call, record, deadline)
        sent = clock()
        try:
            inbound = await endpoint.send(
                outbound,
                deadline=deadline,
                trace=trace_headers(call.trace_id),
                client_timeout=asked if asked is None or asked < endpoint.timeout else None,
            )
        finally:
            answered = clock()
            record.waited = answered - sent
            record.translated = sent - started
        if endpoint.rpc:
            record.upstream_status, body = inbound.code, inbound.message
        else:
            record.upstream_status, body = inbound.status, inbound.body
        try:
            reply: Reply
            if len(body) <= LARGE:
                reply = codec.reply(call, inbound)
            else:
                reply = await self._reply_apart(endpoint, call, inbound, deadline)
        finally:
            record.translated += clock() - answered
        return reply

    @staticmethod
    async def _request_apart(endpoint: Endpoint, call: Call, record: Record, deadline: float) -> Any:
        """The message up, made in a thread where that takes time."""
        codec = endpoint.codec
        size = record.bytes_in if endpoint.weighs is None else endpoint.weighs(call)
        if size <= LARGE:
            return codec.request(call)

        def work() -> Any:
            try:
                return codec.request(call)
            finally:
                call.forget()

        return await offload.run(size, work, deadline=deadline, most=offload.REQUESTS)

    @staticmethod
    async def _reply_apart(endpoint: Endpoint, call: Call, inbound: Any, deadline: float) -> Reply:
        """The answer down, made in a thread where that takes time."""
        codec = endpoint.codec
        size = len(inbound.message if endpoint.rpc else inbound.body)
        if endpoint.weighs is not None:
            size = endpoint.weighs(inbound)
        if size <= LARGE:
            return codec.reply(call, inbound)  # type: ignore[no-any-return]  # a plug-in's

        def work() -> Reply:
            try:
                return codec.reply(call, inbound)  # type: ignore[no-any-return]  # a plug-in's
            except RequestError as error:
                error.rendered = problem(error, call.trace_id)  # a fault may be as large as any answer
                raise

        return await offload.run(size, work, deadline=deadline)

    async def _cached(
        self, endpoint: Endpoint, call: Call, record: Record, deadline: float, asked: float | None
    ) -> Reply:
        assert endpoint.cache

        async def fetch() -> Reply:
            return await self._translate(endpoint, call, record, deadline, asked)

        key = cache_key(endpoint.operation.name, call)
        if key is None:
            return await fetch()
        reply, hit = await endpoint.cache.get_or_call(key, fetch, call, deadline=deadline)
        record.cache = "hit" if hit else "miss"
        return reply

    def _note(self, record: Record, began: float) -> None:
        record.total = time.perf_counter() - began
        self.log(record)


def parse_target(target: str) -> tuple[str, str]:
    """A request target's path and query.

    :raises ClientError: the path could climb out of its route, or holds what a path may not.
    """
    path, _, query = target.partition("?")
    check_path(path)
    return path, query


def check_path(path: str) -> None:
    """:raises ClientError: `path` could climb out of its route, or holds what a path may not."""
    # A dot segment begins behind a slash of some kind. To look for one costs less than the patterns, which seldom must.
    if (
        not path.startswith("/")
        or (("/." in path or "%" in path or "\\" in path) and _REFUSED.search(path))
        or ((" " in path or not path.isprintable()) and _UNSAFE.search(path))
    ):
        raise ClientError("The path holds a dot segment or a character that a path may not hold.")


def asked_timeout(call: Call) -> float | None:
    """Seconds that ``X-Request-Timeout`` (``2s``, ``500ms`` or a number of seconds), ``grpc-timeout`` or
    ``Connect-Timeout-Ms`` ask for, the lowest of them; None where none is given.

    :raises ClientError: one of them can't be read; it is named.
    """
    if call.fields.keys().isdisjoint(_TIMEOUTS):
        return None
    header, grpc, connect = map(call.header, _TIMEOUTS)
    if not header and not grpc and not connect:
        return None
    units = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
    asked = []
    if header:
        try:
            value = float(header) if header.replace(".", "", 1).isdigit() else seconds(header)
            asked.append(float(str(value)))
        except ValueError:
            raise ClientError("X-Request-Timeout is written 2s, 500ms or as a number of seconds.") from None
    if grpc:
        # gRPC over HTTP/2: at most eight digits and a unit.
        if not re.fullmatch(r"[0-9]{1,8}[HMSmun]", grpc):
            raise ClientError("grpc-timeout is written as at most eight digits and one of H, M, S, m, u and n.")
        asked.append(int(grpc[:-1]) * units[grpc[-1]])
    if connect:
        # The Connect protocol: at most ten digits.
        if not re.fullmatch(r"[0-9]{1,10}", connect):
            raise ClientError("Connect-Timeout-Ms is written as at most ten digits, a number of milliseconds.")
        asked.append(int(connect) / 1000)
    return min(asked)


def _cause(error: BaseException) -> str:
    if isinstance(error, RequestError):
        return error.cause or error.detail
    return f"{type(error).__name__}: {error}"


def _fields(reply: Reply, call: Call, limits: list[tuple[str, str]], *, whole: bool = True) -> list[tuple[str, str]]:
    """The response's fields, fit to be sent. Whatever a plug-in made that is no reply fails here, as any failure.

    :param whole: `reply` holds all of the body, not its beginning.
    """
    if not 200 <= reply.status <= 599:
        raise ValueError(f"{reply.status} is no status of a response")
    fields = [
        (_tokens.get(name) or _token(name), value)
        for name, value in returnable(reply.headers)
        if value.isprintable() or not UNSENDABLE.search(value)
    ]
    fields += limits
    fields.append(("x-trace-id", call.trace_id))
    # RFC 9110, section 8.6: none with 204; with 304 and HEAD only what a GET would have had, which is not known where
    # the service itself was asked with HEAD.
    if whole and reply.status not in (204, 304) and (call.method != "HEAD" or reply.body):
        fields.append(("content-length", str(len(reply.body))))
    return fields


#: Names of fields that can be sent, as they are sent. Replies have the same ones again and again.
_tokens = Memo[str, str](2048)


def _token(name: str) -> str:
    """`name` in lower case.

    :raises ValueError: it can't be a field's (RFC 9110, section 5.1).
    """
    if len(name) > _LONGEST_NAME or not is_token(name):
        raise ValueError(f"{name!r} is no name of a header field")
    lower = _tokens[name] = name.lower()
    return lower
