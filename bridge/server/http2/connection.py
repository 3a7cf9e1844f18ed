"""An HTTP/2 connection of a client on a socket. Output is written once per turn of the loop, in one write."""

from __future__ import annotations

import asyncio
import time

from bridge.api.certificates import ShownCertificates
from bridge.api.problem import problem
from bridge.api.record import Record
from bridge.errors import ClientError, RequestError
from bridge.http.client_address import canonical
from bridge.http2.frames import Http2Error
from bridge.observe.tracing import make_trace_id
from bridge.server.asgi import run_asgi
from bridge.server.flow import LINGER, StallGuard, half_close, hang_up
from bridge.server.head import MAX_HEAD
from bridge.server.http2.core import MAX_STREAMS, Http2ServerCore
from bridge.server.http2.exchange import PIECE, Http2Exchange
from bridge.server.http2.request_head import RequestHead
from bridge.server.state import ServerState

TICK = 5.0  #: seconds between two looks at what does not move
HEAD_TIMEOUT = 30.0  #: seconds for the preface, and for one header section
IDLE = 120.0  #: seconds that a connection may be without a request
STREAM_STALL = 300.0  #: seconds without progress after which a response that the client does not take is given up
MAX_LINGER = 30.0  #: seconds in which a client may read the last responses, while it is heard of every `LINGER`
STEP = 0.002  #: seconds of processing input without yielding


class Http2ServerConnection(StallGuard):
    """The connection of one client; requests on it run at the same time."""

    def __init__(self, server: ServerState, certificates: ShownCertificates | None = None) -> None:
        super().__init__(server)
        self.peer = ""
        self.certificates = certificates
        self.core = Http2ServerCore(
            max_list=MAX_HEAD, accept=self._accept, start=self._start, malformed=self._log_malformed,
            output=self._schedule, pause=STEP,
        )  # fmt: skip
        self._running = 0  # tasks of requests, also of those that were reset
        self._unwritten = 0  # bytes of bodies in the output
        self._deaf = self._yielded = False
        self._heard = False  # something came while what came was thrown away
        self._in_head = self._idle = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio calls it
        self.transport = transport
        self.server.connections.add(self)
        address = transport.get_extra_info("peername")
        self.peer = canonical(address[0]) if isinstance(address, tuple) else ""
        self._timer = self.loop.call_later(TICK, self._tick)
        self.flush()
        if self.server.stopping:
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._heard = True
            return
        try:
            self.core.receive(data)
        except Http2Error as error:
            self._break(error)
            return
        if self.core.more and not self._yielded:
            self._yield_turn()
        elif self.core.draining:
            self._close_if_done()

    def _yield_turn(self) -> None:
        """Input takes long to process: continue in a later turn, and read nothing from the network until then."""
        self._yielded = True
        self.pause_reading()
        self.loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._yielded = False
        if self._deaf or self.transport.is_closing():
            return
        self.data_received(b"")
        if not self._yielded and not self.transport.is_closing():
            self.resume_reading()

    def eof_received(self) -> bool | None:
        while self.core.more and not self._deaf and not self.transport.is_closing():
            self.data_received(b"")
        return None  # HTTP/2 has no half-closed connections

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self.server.connections.discard(self)
        self.core.lose("the client closed the connection")

    def pause_writing(self) -> None:
        super().pause_writing()
        self.core.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.core.resume()
        self.flush()

    # --- output -------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        self.loop.call_soon(self.flush)  # what is answered in one turn of the loop is written together

    def flush(self) -> None:
        if self._deaf or self.write_paused or self.transport.is_closing():
            return
        self._unwritten = 0
        if data := self.core.take():
            self.transport.write(data)
        if self.core.draining:
            self._close_if_done()

    def wrote(self, size: int) -> None:
        self._unwritten += size
        if self._unwritten > PIECE:
            self.flush()

    # --- the core's side ----------------------------------------------------------------------------------------

    def _accept(self, head: RequestHead, ended: bool) -> Http2Exchange | None:
        return Http2Exchange(self, head, ended=ended) if self._running < 2 * MAX_STREAMS else None

    def _start(self, exchange: Http2Exchange, head: RequestHead) -> None:
        if head.error is not None:
            self._refuse(exchange, head.error)
            return
        server = self.server
        work = server.direct(exchange)
        task = self.loop.create_task(server.run(exchange, work or run_asgi(server.app, exchange)))
        if work is not None:  # an ASGI application learns of a reset by an event
            exchange.task = task
        self._running += 1
        server.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running -= 1
        self.server.tasks.discard(task)

    def _refuse(self, exchange: Http2Exchange, error: RequestError) -> None:
        reply = problem(error, trace_id := make_trace_id())
        exchange.abandon(reply, trace_id)
        self._log(error.detail, trace_id, reply.status, len(reply.content))

    def _log_malformed(self, cause: str) -> None:
        self._log(cause, make_trace_id(), ClientError.status)

    def _log(self, cause: str, trace_id: str, status: int, size: int = 0) -> None:
        record = Record(time.time(), trace_id, "-", "", peer=self.peer, status=status, bytes_out=size, cause=cause)
        self.server.log(record)

    # --- lifecycle ----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        core = self.core
        self._in_head = self._in_head + TICK if core.in_head else 0.0
        self._idle = 0.0 if core.streams else self._idle + TICK
        if self._in_head >= HEAD_TIMEOUT or self._idle >= IDLE:
            self.shutdown()
        for stream in list(core.streams.values()):
            if stream.queue is not None:
                self._check_stream(stream, len(stream.queue))
        core.tick()
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(TICK, self._tick)

    def _check_stream(self, stream: Http2Exchange, size: int) -> None:
        """A client that grants no window would keep the response for ever."""
        seconds, before = stream.stalled
        stream.stalled = (seconds + TICK if size == before else 0.0, size)
        if stream.stalled[0] >= STREAM_STALL:
            self.core.cancel(stream)
            stream.closed(0, "the client does not take the response", local=True)

    def shutdown(self) -> None:
        """Accept no more requests; close once those that came are answered."""
        self.core.leave()
        self.flush()

    def _close_if_done(self) -> None:
        if not self.core.streams and not self._deaf and not self.transport.is_closing():
            if self.write_paused:
                return  # the stall guard ends it if the client never reads
            self._end(self.core.take())

    def _break(self, error: Http2Error) -> None:
        """The client breaks the protocol (section 5.4.1)."""
        self._deaf = True
        self._log(str(error), make_trace_id(), ClientError.status)
        self.core.leave(error.code)
        if self.write_paused:
            hang_up(self.transport, now=True)
        elif not self.transport.is_closing():
            self._end(self.core.take())
        self.core.lose(str(error))

    def _end(self, last: bytes) -> None:
        """Send `last`, and close when the client has read it. While it reads it grants windows, which may not meet a
        connection that is closed (`half_close`)."""
        self._deaf = True
        if last:
            self.transport.write(last)
        half_close(self.transport)
        self.resume_reading()  # its end is to be seen, though a step of reading was to come
        self._linger_timer = self.loop.call_later(LINGER, self._check_linger, MAX_LINGER)

    def _check_linger(self, left: float) -> None:
        left -= LINGER
        if self._heard and left > 0:
            self._heard = False
            self._linger_timer = self.loop.call_later(LINGER, self._check_linger, left)
        else:
            self.transport.close()
