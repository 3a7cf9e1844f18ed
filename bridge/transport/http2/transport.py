"""An HTTP/2 connection on a socket. Output is written once per turn of the loop, in one write."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from bridge.http2.frames import Http2Error
from bridge.transport.http2.connection import Http2Connection

ERROR_GRACE = 5.0  #: seconds for the calls on a connection that the other side closes for an error
STEP = 0.002  #: seconds of processing input without yielding
IDLE = 1800.0  #: seconds without a call after which a connection is closed


class Http2Transport(asyncio.Protocol):
    """One connection to one address.

    :param keepalive: seconds of silence after which a PING is sent, while calls wait.
    :param ping_timeout: seconds for its answer.
    :ivar ready: done when it is usable, or has failed. :ivar drained: done when it accepts no more calls.
    :ivar gone: done when its socket is closed.
    :ivar cause: why it ended; may contain addresses.
    """

    def __init__(self, *, window: int, max_list: int, keepalive: float, ping_timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.http = Http2Connection(window=window, max_list=max_list, output=self._schedule, pause=STEP)
        self._keepalive, self._ping_timeout = keepalive, ping_timeout
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle_time = 0.0
        self._closing = self._yielded = False
        self.cause = ""
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.drained: asyncio.Future[None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    @property
    def usable(self) -> bool:
        """Whether a call can begin here."""
        return self.http.ready and not self.http.draining

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        secure = transport.get_extra_info("ssl_object")
        if isinstance(secure, ssl.SSLObject) and secure.selected_alpn_protocol() != "h2":
            self._end("it does not speak HTTP/2 over TLS (ALPN)")  # RFC 9113, section 3.2
            return
        self._transport.write(self.http.take())
        self._timer = self._loop.call_later(self._keepalive, self._tick)

    def data_received(self, data: bytes) -> None:
        try:
            self.http.receive(data)
        except Http2Error as error:
            self._break(error)
            return
        if self.http.ready and not self.ready.done():
            self.ready.set_result(None)
        if self.http.draining:
            self._drain()
        if self.http.more and not self._yielded:
            self._yield_turn()

    def _yield_turn(self) -> None:
        """Input takes long to process: continue in a later turn, and read nothing from the network until then."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._yielded = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._yielded = False
        if self._transport is None or self._transport.is_closing():
            return
        self.data_received(b"")
        if not self._yielded and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        while self.http.more and self._transport is not None and not self._transport.is_closing():
            self.data_received(b"")
        return False  # HTTP/2 has no half-closed connections

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(self.cause or (str(exc) if exc else "the service closed the connection"))
        _done(self.gone)

    def pause_writing(self) -> None:
        self.http.pause()

    def resume_writing(self) -> None:
        self.http.resume()
        if self._transport is not None:
            self._flush()

    # --- the core's side ----------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        # Calls that begin in one turn of the loop are sent together.
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self.http.send_window.paused:
            data = self.http.take()
            if data:
                transport.write(data)
        if self.http.draining:
            self._drain()

    # --- lifecycle -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        http = self.http
        pause = self._keepalive
        if http.pinged and not http.heard:
            self._end("the service does not answer a PING")
            return
        self._idle_time = 0.0 if http.streams or http.heard else self._idle_time + pause
        if self._idle_time > IDLE:
            http.leave()
        elif http.streams and not http.heard and http.ready:
            http.ping()
            pause = self._ping_timeout
        http.tick()
        self._timer = self._loop.call_later(pause, self._tick)

    def _drain(self) -> None:
        """Accept no more calls; close after the last one."""
        _done(self.ready)
        _done(self.drained)
        if not self.http.streams:
            self._end("it was closed")
        elif self.http.broken and not self._closing:
            # The other side must close the connection now (section 5.4.1), but some leave it open.
            self._closing = True
            self._loop.call_later(ERROR_GRACE, self._end, self.http.goaway)

    def _break(self, error: Http2Error) -> None:
        self.http.leave(error.code)
        if self._transport is not None:
            self._transport.write(self.http.take())
        self._end(str(error))

    def leave(self) -> None:
        """Accept no more calls; end after the last one."""
        self.http.leave()

    def drop(self) -> None:
        """Close the socket without sending anything."""
        if self._transport is not None:
            self._transport.abort()

    def abort(self, cause: str) -> None:
        """End it now, and every call on it. Works while it is being opened, too."""
        if not self.http.ready:
            # No GOAWAY: uvloop has closed the transport of an attempt that was cancelled, does not report it as
            # closing, and raises RuntimeError at a write.
            self.drop()
        elif self._transport is not None and not self._transport.is_closing():
            self.http.leave()
            self._transport.write(self.http.take())
        self._end(cause)

    def _end(self, cause: str) -> None:
        self.cause = self.cause or cause
        if self._transport is not None:
            if self.http.send_window.paused:  # `close` would wait for the other side to read
                self._transport.abort()
            elif not self._transport.is_closing():  # Python 3.11.2 can't abort TLS that was closed twice
                self._transport.close()
        self._finish(self.cause)

    def _finish(self, cause: str) -> None:
        self.cause = self.cause or cause
        if self._timer is not None:
            self._timer.cancel()
        self.http.lose(self.cause)
        _done(self.ready)
        _done(self.drained)
        if self._transport is None:
            _done(self.gone)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
