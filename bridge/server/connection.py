"""The server's end of a connection, on httptools' parser, with limits on heads and waiting requests.

httptools refuses invalid HTTP, but has no limits on the size of a head and the time for it. Requests that are refused
here get problem+json, a trace id and a line in the access log like all others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from bridge.api.body import WHOLE
from bridge.api.certificates import ShownCertificates
from bridge.api.problem import problem
from bridge.api.record import Record
from bridge.errors import ClientError, RequestError, RequestTimeout
from bridge.http.client_address import canonical
from bridge.http.memo import Memo
from bridge.http2.frames import PREFACE
from bridge.observe.tracing import make_trace_id
from bridge.server.asgi import run_asgi
from bridge.server.client_tls import shown_certificates
from bridge.server.exchange import ServerExchange
from bridge.server.flow import LINGER, StallGuard, half_close, hang_up
from bridge.server.head import (
    MAX_HEAD,
    begins_websocket,
    check_framing,
    last_answer,
    refusal,
    rewritten,
    too_large,
    whole_target,
)
from bridge.server.http2.connection import Http2ServerConnection
from bridge.server.state import ServerState
from bridge.server.websocket import Handshake, ServerWebSocket

HEAD_TIMEOUT = 30.0  #: seconds from the first byte (or the connection) to the end of the header
KEEP_ALIVE = 5.0  #: seconds that a connection may be idle between requests
PIPELINE = 100  #: requests on one connection that may wait for earlier answers
#: Bytes that are parsed in one step: of a body with a known length, and of other input. Chunks of one byte cost a call
#: each: 256 kB of them would be 40,000 calls, tens of milliseconds in which no other connection is served.
LENGTHY, STEP = 64 * 1024, 8 * 1024

#: Field names as sent -> in lower case, as text; clients repeat the same ones.
_names = Memo[bytes, str](2048)
_LONGEST_NAME = 64


class ServerConnection(StallGuard):
    """Callbacks of the parser: exceptions of `on_…` become the parser's errors (`bridge.server.head.refusal`)."""

    parser: Any

    def __init__(self, server: ServerState) -> None:
        super().__init__(server)
        self.parser = _parser(self)
        self.peer = ""
        self.certificates: ShownCertificates | None = None
        self._url = b""
        self._in_head = False
        self._size = 0  # bytes of pieces of data that hold nothing but a part of a head, or the framing of a body
        self._piece = 0  # bytes of the last one
        self._counts, self._counted = False, 0  # bytes of its target and fields
        self._fields: list[tuple[str, str]] = []
        self._expects = self._stops = self._websocket = False
        self._codings: tuple[str, ...] = ()  # values of Transfer-Encoding
        self._sized = False  # a body of known length is under way, which costs one call however long it is
        self._unparsed = 0  # bytes of such a body that go past the parser
        self._unwanted = 0  # bytes of the body that came after the answer
        self._deaf = False  # what comes is thrown away
        self._backlog: bytearray | None = None  # what came and is not parsed yet
        self._head_timer: asyncio.TimerHandle | None = None
        self._last: ServerExchange | None = None  # the last request that came
        self._running: ServerExchange | None = None  # the one that is being answered
        self._waiting: deque[ServerExchange] = deque()  # those between them
        self._rested = 0.0
        self._rest_timer: asyncio.TimerHandle | None = None
        self._left: Callable[[], None] | None = None
        self._half = False
        self._begins, self._first = True, b""  # what came of a beginning that may be HTTP/2's

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio calls it
        self.transport = transport
        self.server.connections.add(self)
        address = transport.get_extra_info("peername")
        self.peer = canonical(address[0]) if isinstance(address, tuple) else ""  # a Unix socket's is a path or empty
        if self.server.stopping:  # a TLS handshake that ended after the listener had closed
            transport.close()
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.certificates = shown_certificates(tls)
            if tls.selected_alpn_protocol() == "h2":
                self._become_http2(b"")
                return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        if self._running is not None:
            self._running.leave()
        self._waiting.clear()
        self.server.connections.discard(self)
        super().connection_lost(exc)
        self.transport.close()  # the other half, after an end of file
        self.parser = self._backlog = None  # the parser refers to the connection, too
        if self._left is not None:
            self._left()

    def eof_received(self) -> bool | None:
        """A client may close its half of the connection and still gets its answer (RFC 9112, 9.6).

        TLS has no half-closed connections: the transport would close in spite of the result, and warn.
        """
        last, running = self._last, self._running
        if last is None or running is None or last.started or last.more_body:
            return None  # within a stream it has left: a service may be silent for long, and should learn of it now
        if (self._left is not None and (self._half or running.started)) or self._is_tls:
            return None
        last.keep_alive = False
        return True

    @property
    def _is_tls(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    def shutdown(self) -> None:
        if self._last is None or self._last.complete:
            self.transport.close()
        else:
            self._last.keep_alive = False

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._begins and self._preface(data):
            return
        if self._unparsed:
            self._pass_body(data)
            return
        self._piece = piece = len(data)
        if self._backlog is not None or (piece > STEP and (not self._sized or piece > LENGTHY)):
            self._put_off(data)
            return
        if self._in_head and not self._counts and self._size + piece > MAX_HEAD:
            self._count_from_here()
        rest: memoryview | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            rest = memoryview(data)[stop.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(refusal(error))
            return
        if rest is not None and not self._past_upgrade(rest):
            return
        if self._in_head or self._codings:
            # A single endless field, in the head or in trailers, is never reported by the parser, only kept; nor is an
            # endless extension of a chunk.
            self._size += piece
            if self._size > 2 * MAX_HEAD:
                self._refuse(too_large(MAX_HEAD))
            elif self._in_head and self._head_timer is None:
                self._start_head_timer()  # for what did not come whole: most heads need no clock

    def _preface(self, data: bytes) -> bool:
        """Whether the connection's first bytes are, or may become, those of HTTP/2 with prior knowledge (RFC 9113,
        section 3.3), which goes on with it. TLS agrees on the protocol by ALPN."""
        self._first += data
        if self._first.startswith(PREFACE) and not self._is_tls:
            self._become_http2(self._first)
            return True
        if PREFACE.startswith(self._first) and not self._is_tls:
            return True
        self._begins, first = False, self._first
        self._first = b""
        if len(first) == len(data):
            return False
        self.data_received(first)
        return True

    def bypass(self, size: int) -> None:
        # A parser can't be told of bytes that it does not see. The next message begins with a new one.
        self._unparsed, self.parser = size, _parser(self)

    def _pass_body(self, data: bytes) -> None:
        exchange = self._last
        assert exchange is not None
        piece, rest = data[: self._unparsed], data[self._unparsed :]  # no copy of `data` if it is all of one
        self._unparsed -= len(piece)
        if not exchange.complete:
            exchange.feed(piece)
        if not self._unparsed:
            self._sized = False
            if not exchange.complete:
                exchange.feed_end()
        if rest:
            self.data_received(rest)

    def _put_off(self, data: bytes) -> None:
        """Parse `data` in steps; nothing more is read until that is done."""
        self.transport.pause_reading()
        if self._backlog is not None:
            self._backlog += data
        else:
            self._backlog = bytearray(data)
            self._parse_on()

    def _parse_on(self) -> None:
        """One step, or all steps of a body with a known length; between others the event loop runs."""
        backlog, self._backlog = self._backlog, None
        while backlog and self._listens():
            size = LENGTHY if self._sized else STEP
            self.data_received(bytes(backlog[:size]))
            del backlog[:size]
            if backlog and not self._sized:
                self._backlog = backlog
                self.loop.call_soon(self._parse_on)
                return
        if not self.transport.is_closing() and (not self.read_paused or not self._listens()):
            self.transport.resume_reading()
        protocol: Any = self.transport.get_protocol()
        if backlog and protocol is not self:
            protocol.data_received(bytes(backlog))  # a WebSocket's first frames

    def _listens(self) -> bool:
        """Whether input is still parsed here: not after a refusal, or once it is a WebSocket."""
        return self.parser is not None and not self._deaf and self.transport.get_protocol() is self

    # --- the parser's side --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._fields = []
        self._in_head, self._size, self._counted = True, 0, 0
        self._expects, self._codings = False, ()
        self._unwanted = 0
        # A head within one small piece needs no count.
        self._counts = self._piece > MAX_HEAD

    def on_url(self, url: bytes) -> None:
        if self._counts:
            self._count(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._counts:
            self._count(len(name) + len(value) + 4)
        try:
            lower = _names[name]
        except KeyError:
            lower = self._named(name, value)
        self._fields.append((lower, str(value, "latin-1")))

    def _named(self, name: bytes, value: bytes) -> str:
        lower = name.decode("latin-1").lower()
        if lower == "expect":
            self._expects = self._expects or value.lower() == b"100-continue"
        elif lower == "transfer-encoding":
            self._codings += (value.decode("latin-1"),)
        elif len(name) <= _LONGEST_NAME:
            _names[name] = lower
        return lower

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._stop_head_timer()
        if len(self._waiting) >= PIPELINE:
            raise ClientError("Too many requests wait on this connection.")
        parser = self.parser
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        if version != "1.1" or self._codings:
            check_framing(version, self._codings)
        self._stops = parser.should_upgrade()
        if self._stops:
            if method == "CONNECT":
                raise ClientError("This gateway is not a proxy: CONNECT is not supported.")
            self._websocket = begins_websocket(self._fields, version)
            return  # the parser stops here: `_past_upgrade` goes on
        url = self._url
        if url.startswith(b"/") and b"#" not in url:
            target = url.decode("ascii")
        else:
            target = whole_target(url.decode("ascii"), self._fields, version)
        path, _, query = target.partition("?")
        exchange = ServerExchange(
            self, method, target, path, query, self._fields, version,
            expects=self._expects and version != "1.0", keep_alive=version != "1.0" and parser.should_keep_alive(),
        )  # fmt: skip
        self._sized = not self._codings
        # Further fields are trailers, which can't replace headers (RFC 9110, section 6.5.1).
        self._fields, self._counts, self._counted = [], True, 0
        self._last = exchange
        if self._running is None or self._running.complete:
            self._answer(exchange)
        else:
            self.pause_reading()
            self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        self._size = 0
        if self._stops or (last := self._last) is None:
            return
        if not last.complete:
            last.feed(body)
            return
        before, self._unwanted = self._unwanted, self._unwanted + len(body)
        if before <= WHOLE < self._unwanted:
            self.loop.call_soon(self._end_unwanted, last)  # the parser is not done with what came

    def on_message_complete(self) -> None:
        self._sized = False
        if not self._stops and (last := self._last) is not None and not last.complete:
            last.feed_end(self._fields)

    def _count_from_here(self) -> None:
        """The head goes on beyond the first small pieces: what came in them counts, too."""
        self._counts = True
        self._counted = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._fields)

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > MAX_HEAD:
            raise too_large(MAX_HEAD)

    # --- the answer's side (`bridge.server.exchange.Host`) ------------------------------------------------------

    def _answer(self, exchange: ServerExchange) -> None:
        self._running, self._left = exchange, None
        server = self.server
        work = server.direct(exchange) or run_asgi(server.app, exchange)
        task = self.loop.create_task(server.run(exchange, work))
        server.tasks.add(task)
        task.add_done_callback(server.tasks.discard)

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self.read_paused:
            self.resume_reading()
        if self._waiting:
            self._answer(self._waiting.popleft())
            return
        self._rested = self.loop.time()
        if self._rest_timer is None:
            self._rest_timer = self.loop.call_later(KEEP_ALIVE, self._check_rest)

    def _check_rest(self) -> None:
        """Has it rested too long? One timer serves for many requests: set anew for each, it would cost more than the
        check does."""
        self._rest_timer = None
        if self._in_head or self._last is None or not self._last.complete:
            return
        remaining = self._rested + KEEP_ALIVE - self.loop.time()
        if remaining <= 0:
            self.transport.close()
        else:
            self._rest_timer = self.loop.call_later(remaining, self._check_rest)

    # --- the stream's side (`bridge.api.downstream.ClientConnection`) ---------------------------------------------

    def cut(self, *, now: bool) -> None:
        running = self._running
        assert running is not None
        # Where only the connection's end tells the body's, it may not look like one.
        hang_up(self.transport, now=now or running.version == "1.0")
        running.leave()

    def watch(self, on_leave: Callable[[], None], *, half: bool) -> None:
        self._left, self._half = on_leave, half

    def linger(self) -> None:
        self._deaf = True
        self.resume_reading()
        self._half_close()

    def _end_unwanted(self, exchange: ServerExchange) -> None:
        """Much of a body came after its answer, and nobody knows how much is left."""
        if exchange is self._last and not self._sized and not self._deaf and not self.transport.is_closing():
            self.linger()

    def _half_close(self) -> None:
        half_close(self.transport)
        self._head_timer = self.loop.call_later(LINGER, self.transport.close)

    # --- refusing -----------------------------------------------------------------------------------------------

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._end_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_head(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(RequestTimeout("The request's header did not arrive in time."))
        else:
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        self._stop_head_timer()
        self._deaf = True
        if self.transport.is_closing():
            return
        last = self._last
        must_wait = last is not self._running  # for the answers before its own
        if last is not None and not last.complete and (last.started or not last.more_body or must_wait):
            # An earlier request has no answer yet, so the refusal would be taken for that: close after that answer.
            last.keep_alive = False
            last.fail_body(error)
            return
        reply = problem(error, trace_id := make_trace_id())
        self.transport.write(last_answer(reply, trace_id, self.server.date))
        self._half_close()
        if last is not None:
            last.leave()
        self.server.log(
            Record(
                time.time(), trace_id, "-", "", peer=self.peer, status=reply.status, bytes_out=len(reply.content),
                cause=error.detail,
            )
        )  # fmt: skip

    # --- upgrades -----------------------------------------------------------------------------------------------

    def _past_upgrade(self, rest: memoryview) -> bool:
        """Continue after a head with ``Upgrade``, where the parser has stopped: as a WebSocket, or as if the field were
        absent (RFC 9110, section 7.8).

        llhttp treats all data after such a head as another protocol, which can't be turned off. So a new parser reads
        the head again without the field, and llhttp still decides on the framing.

        :param rest: the data after the head.
        :returns: whether the connection continues in HTTP.
        """
        while True:
            if self._websocket:
                self._become_websocket(rest)
                return False
            old, self.parser = self.parser, _parser(self)
            try:
                self.parser.feed_data(rewritten(old.get_method(), self._url, old.get_http_version(), self._fields))
                if rest:
                    self.parser.feed_data(rest)
                return True
            except httptools.HttpParserUpgrade as stop:
                rest = rest[stop.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(refusal(error))
                return False

    def _become_http2(self, data: bytes) -> None:
        """:param data: the client's first bytes."""
        self._stop_head_timer()
        self.server.connections.discard(self)
        self.parser = None  # it refers to the connection, too
        connection = Http2ServerConnection(self.server, self.certificates)
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        if data:
            connection.data_received(data)

    def _become_websocket(self, rest: memoryview) -> None:
        """:param rest: the data after the handshake's head."""
        parser, server = self.parser, self.server
        try:
            if self._running is not None and not self._running.complete:
                raise ClientError("A WebSocket can't begin while answers before it are under way.")
            method, version = parser.get_method().decode("ascii"), parser.get_http_version()
            target = self._url.decode("ascii")
            if not target.startswith("/") or "#" in target:
                target = whole_target(target, self._fields, version)
            handshake = Handshake(method, version, target, self._fields, server.max_message)
        except RequestError as error:
            self._refuse(error)
            return
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        self._stop_head_timer()
        server.connections.discard(self)
        socket = ServerWebSocket(server, self.transport, self.peer, handshake, self.certificates)
        work = server.direct(socket)
        assert work is not None
        task = self.loop.create_task(server.run(socket, work))
        server.tasks.add(task)
        task.add_done_callback(server.tasks.discard)
        if rest:
            socket.data_received(bytes(rest))


def _parser(connection: ServerConnection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(connection)
    # Data after a request with ``Connection: close`` is not an error: it is answered, then the connection closes.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
