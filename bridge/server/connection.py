"""The server's end of a connection: uvicorn's protocol, with bounds on what comes before a request is understood.

httptools refuses what is no HTTP; what it leaves open is how long a header may be and how long it may take. What is
refused here gets the same problem+json as everything else, a trace id and a line in the access log.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from bridge.api.problem import problem
from bridge.errors import ClientError, RequestError
from bridge.gateway.inbound import encoded
from bridge.http.client_address import canonical
from bridge.observe.access import Record
from bridge.observe.tracing import make_trace_id
from bridge.server.exchange import Direct, ServerExchange, hang_up
from bridge.server.head import begins_websocket, check_framing, last_answer, refusal, rewritten, too_large, whole_target
from bridge.server.steps import LENGTHY, STEP, Stepwise
from bridge.server.websocket import WebSocket, unfit

__all__ = ["ServerConnection", "WebSocket", "logging_to"]

MAX_HEAD = 64 * 1024  #: bytes of request line and header fields; as many again of trailers
HEAD_TIMEOUT = 30.0  #: seconds from the first byte (or the connection) to the end of the header
PIPELINE = 100  #: requests that may wait on one connection for the answers before theirs
STALL = 300.0  #: seconds within which a client takes something of an answer that waits for it
LINGER = 2.0  #: seconds that what a refused client still sends is thrown away, so that it can read why

#: Fields' names as they are sent -> in lower case, as text. Clients send the same ones again and again.
_names: dict[bytes, str] = {}
_MOST_NAMES, _LONGEST_NAME = 2048, 64


class ServerConnection(Stepwise):
    """:ivar log: takes the record of what was refused; set on a subclass by `logging_to`."""

    log: Any = staticmethod(lambda record: None)
    #: uvicorn's list of default fields, which is a new one each second, and its lines in a head.
    _stock: tuple[Any, str] = (None, "")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._direct: Direct | None = getattr(self.app, "direct", None)
        self._in_head = False
        self._size = self._piece = 0  # bytes of the head before the last piece of data, and that one's
        self._counts, self._counted = False, 0  # bytes of its target and fields
        self._fields: list[tuple[str, str]] = []
        self._expects = self._stops = self._websocket = False
        self._codings: tuple[str, ...] = ()  # values of Transfer-Encoding
        self._patience: asyncio.TimerHandle | None = None
        self.cycle: Any = None  # the last request that came
        self._running: ServerExchange | None = None  # the one that is being answered
        self._waiting: deque[ServerExchange] = deque()  # those between them
        self._rested = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._left: Callable[[], None] | None = None
        self._half = False
        self._stall: asyncio.TimerHandle | None = None
        self.peer = ""

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.peer = canonical(self.client[0]) if self.client else ""
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_done()
        for timer in (self._stall, self._alarm):
            if timer is not None:
                timer.cancel()
        if self._running is not None:
            self._running.leave()
        self._waiting.clear()
        self.connections.discard(self)
        self.flow.resume_writing()
        self.transport.close()  # the other half, after an end of file
        self.parser = self._backlog = None  # the parser has us in its hands, too
        if self._left is not None:
            self._left()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect(self.transport.get_write_buffer_size() + 1)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def _expect(self, before: int) -> None:
        """An answer of which nothing is taken would be kept for ever, even after a close, which waits for it."""
        waits = self.transport.get_write_buffer_size()
        if waits >= before:
            hang_up(self.transport, now=True)
        else:
            self._stall = self.loop.call_later(STALL, self._expect, waits)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn closes at once, whatever it owes
        """A client that has said all it wants may close its half and still gets its answer (RFC 9112, 9.6)."""
        cycle, running = self.cycle, self._running
        if cycle is None or running is None or cycle.response_started or cycle.more_body:
            return None  # within a stream it has left: a service may be silent for long, and should learn of it now
        if self._left is not None and (self._half or running.response_started):
            return None
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._piece = piece = len(data)
        if self._backlog is not None or (piece > STEP and (not self._sized or piece > LENGTHY)):
            self._put_off(data)
            return
        if self._in_head and not self._counts and self._size + len(data) > MAX_HEAD:
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
        if self._in_head:
            # A single endless field is never reported by the parser, only kept.
            self._size += len(data)
            if self._size > 2 * MAX_HEAD:
                self._refuse(too_large(MAX_HEAD))
            elif self._patience is None:
                self._be_patient()  # for what did not come whole: most heads need no clock

    # --- the parser's side: what it raises becomes a parser's error (`bridge.server.head.refusal`)
    # ---------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self._fields = []
        self._in_head, self._size, self._counted = True, 0, 0
        self._expects, self._codings = False, ()
        # A head that is within one small piece needs no count.
        self._counts = self._piece > MAX_HEAD

    def on_url(self, url: bytes) -> None:
        if self._counts:
            self._count(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._counts:
            self._count(len(name) + len(value) + 4)
        try:
            known = _names[name]
        except KeyError:
            known = self._named(name, value)
        self._fields.append((known, str(value, "latin-1")))

    def _named(self, name: bytes, value: bytes) -> str:
        known = name.decode("latin-1").lower()
        if known == "expect":
            self._expects = self._expects or value.lower() == b"100-continue"
        elif known == "transfer-encoding":
            self._codings += (value.decode("latin-1"),)
        elif len(name) <= _LONGEST_NAME:
            if len(_names) >= _MOST_NAMES:
                _names.clear()  # names at random may cost time, but not for ever
            _names[name] = known
        return known

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._be_done()
        if len(self._waiting) >= PIPELINE:
            raise ClientError("Too many requests wait on this connection.")
        parser = self.parser
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        if version != "1.1" or self._codings:
            check_framing(version, self._codings)
        self._stops = parser.should_upgrade()
        if self._stops:
            if method == "CONNECT":
                raise ClientError("This gateway is no proxy: CONNECT is not offered.")
            self._websocket = self.ws_protocol_class is not None and begins_websocket(self._fields, version)
            if self._websocket:
                self.headers = encoded(self._fields)
                scope: Any = {"method": method, "http_version": version, "headers": self.headers}
                self.scope = scope  # where uvicorn looks
            return  # the parser stops here: `_past_upgrade` goes on
        url = self.url
        if url.startswith(b"/") and b"#" not in url:
            path, _, query = url.decode("ascii").partition("?")
        else:
            path, query = whole_target(url.decode("ascii"), self._fields, version)
        cycle = ServerExchange(
            self, method, path, query, self._fields, version,
            expects=self._expects, keep_alive=version != "1.0" and parser.should_keep_alive(),
        )  # fmt: skip
        self._sized = not self._codings
        # What fields still come are trailers, and no headers, whatever they call themselves (RFC 9110, section 6.5.1).
        self._fields, self._counts, self._counted = [], True, 0
        self.cycle = cycle
        if self._running is None or self._running.response_complete:
            self._answer(cycle)
        else:
            self.flow.pause_reading()
            self._waiting.append(cycle)

    def on_body(self, body: bytes) -> None:
        if not self._stops and not self.cycle.response_complete:
            self.cycle.feed(body)

    def on_message_complete(self) -> None:
        self._sized = False
        if not self._stops and not self.cycle.response_complete:
            self.cycle.feed_end()

    def _count_from_here(self) -> None:
        """The head goes on beyond the first small pieces: what came in them counts, too."""
        self._counts = True
        self._counted = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self._fields)

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > MAX_HEAD:
            raise too_large(MAX_HEAD)

    # --- the answer's side (`bridge.server.exchange.Host`)
    # ----------------------------------------------------------------

    def _answer(self, cycle: ServerExchange) -> None:
        self._running, self._left = cycle, None
        plain = cycle.version == "1.1" and not cycle.expects
        task = self.loop.create_task(cycle.run_asgi(self.app, self._direct if plain else None))
        cycle.task = task
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self._waiting:
            self._answer(self._waiting.popleft())
            return
        self._rested = self.loop.time()
        if self._alarm is None:
            self._alarm = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Has it rested too long? One timer serves for many requests: set anew for each, it would cost more than the
        look does."""
        self._alarm = None
        if self._in_head or self.cycle is None or not self.cycle.response_complete:
            return
        left = self._rested + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self._alarm = self.loop.call_later(left, self._look)

    def stock(self) -> str:
        fields = self.server_state.default_headers
        seen, lines = ServerConnection._stock
        if seen is not fields:
            lines = b"".join(b"%s: %s\r\n" % field for field in fields).decode("latin-1")
            ServerConnection._stock = fields, lines
        return lines

    def scope_of_connection(self) -> dict[str, Any]:
        return {
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "state": self.app_state.copy(),
            "bridge.connection": self,
        }

    # --- the stream's side (`bridge.gateway.downstream.Connection`)
    # -----------------------------------------------------

    def cut(self, *, now: bool) -> None:
        running = self._running
        assert running is not None
        # Where only the connection's end tells the body's, it may not look like one.
        hang_up(self.transport, now=now or running.version == "1.0")
        running.leave()

    def watch(self, left: Callable[[], None], *, half: bool) -> None:
        self._left, self._half = left, half

    # --- refusing -----------------------------------------------------------------------------------------------

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(HEAD_TIMEOUT, self._lose_patience)

    def _be_done(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._in_head:
            self._refuse(ClientError("The request's header did not arrive in time.", status=408))
        else:
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        self._be_done()
        self._deaf = True
        if self.transport.is_closing():
            return
        cycle = self.cycle
        waits = cycle is not self._running  # for the answers before its own
        if (
            cycle is not None
            and not cycle.response_complete
            and (cycle.response_started or not cycle.more_body or waits)
        ):
            # An answer is still owed; one to what follows would be taken for it. It is given, and then it is over.
            cycle.keep_alive = False
            return
        reply = problem(error, trace_id := make_trace_id())
        self.transport.write(last_answer(reply, trace_id))
        # Closed at once, with bytes unread, the kernel would send a reset that takes the answer along.
        self.transport.write_eof()
        self._patience = self.loop.call_later(LINGER, self.transport.close)
        if cycle is not None:
            cycle.leave()
        self.log(
            Record(
                time.time(), trace_id, "-", "", peer=self.peer, status=reply.status, bytes_out=len(reply.body),
                cause=error.detail,
            )
        )  # fmt: skip

    # --- upgrades -----------------------------------------------------------------------------------------------

    def _past_upgrade(self, rest: memoryview) -> bool:
        """Go on behind a head with an ``Upgrade``, where the parser has stopped: as a WebSocket, or as if the field
        were not there (RFC 9110, section 7.8).

        llhttp takes all that follows such a head for another protocol, and can't be told otherwise. So a new parser
        reads the head again without the field: the framing is llhttp's verdict still.

        :param rest: what has come behind the head.
        :returns: whether the connection goes on in HTTP.
        """
        while True:
            if self._websocket:
                self.handle_websocket_upgrade(rest)
                return False
            old, self.parser = self.parser, httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
            try:
                self.parser.feed_data(rewritten(old.get_method(), self.url, old.get_http_version(), self._fields))
                if rest:
                    self.parser.feed_data(rest)
                return True
            except httptools.HttpParserUpgrade as stop:
                rest = rest[stop.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(refusal(error))
                return False

    def handle_websocket_upgrade(self, rest: memoryview | bytes = b"") -> None:
        """:param rest: what has come behind the handshake's head."""
        error: RequestError | None
        if self._running is not None and not self._running.response_complete:
            error = ClientError("A WebSocket can't begin while answers before it are under way.")
        else:
            error = unfit(self.scope["method"], self.scope["http_version"], self.url, self.headers)
        if error is not None:
            self._refuse(error)
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._be_done()
        super().handle_websocket_upgrade()
        socket = self.transport.get_protocol()
        if rest and isinstance(socket, WebSocket):
            socket.data_received(bytes(rest))


def logging_to(log: Any) -> type[ServerConnection]:
    """The protocol of a gateway that logs to `log`."""
    return type("Wire", (ServerConnection,), {"log": staticmethod(log)})
