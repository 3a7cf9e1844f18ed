"""A request's body that goes to the service while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from bridge.api.body import StreamedBody
from bridge.api.transport import Clock
from bridge.errors import ClientError
from bridge.http.field_value import as_utf8
from bridge.http.forwarding import trailing

#: Seconds after which a client that waits for ``100 Continue`` is told to go on, though the service has said nothing:
#: old ones don't know the expectation (RFC 9110, section 10.1.1).
EXPECT_WAIT = 1.0


class Uploading(Protocol):
    """The connection."""

    write_paused: bool

    def fail(self, error: Exception) -> None: ...


class Upload:
    """The `bridge.api.body.BodySink` of a request's body. While it is under way, the request's deadline doesn't count:
    it takes as long as its client takes, and the gateway limits its silence.

    :ivar complete: all of it was written.
    """

    __slots__ = ("_body", "_chunked", "_clock", "_connection", "_held", "_left", "_timer", "_transport", "complete")

    def __init__(
        self, body: StreamedBody, connection: Uploading, transport: asyncio.Transport, clock: Clock | None
    ) -> None:
        self._body, self._connection, self._transport, self._clock = body, connection, transport, clock
        self._chunked = body.length is None
        self._left = body.length or 0
        self._timer: asyncio.TimerHandle | None = None
        self._held = False
        self.complete = False

    def start(self) -> None:
        if self._clock is not None:
            self._clock.hold()
            self._held = True
        if self._body.expects:
            self._timer = asyncio.get_running_loop().call_later(EXPECT_WAIT, self.proceed)
        self._body.pipe(self)

    def proceed(self) -> None:
        """The service wants the body, or says nothing."""
        self._disarm()
        self._body.proceed()

    def resume(self) -> None:
        """The connection takes more."""
        self._body.resume()

    def stop(self) -> None:
        """The rest is not wanted on this connection; a body of which nothing was sent may be on the next one."""
        self._settle()
        if self._body.taken:
            self._body.close()
        else:
            self._body.detach()

    # --- the body's side ---------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def write(self, piece: bytes) -> bool:
        if self._chunked:
            self._transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
        else:
            self._left -= len(piece)
            if self._left < 0:
                self.fail(ClientError("The request's body is longer than its Content-Length."))
                return False
            self._transport.write(piece)
        return not self._connection.write_paused

    def end(self, trailers: Sequence[tuple[str, str]]) -> None:
        if self._left:
            self.fail(ClientError("The request's body is shorter than its Content-Length."))
            return
        self.complete = True
        if self._chunked:
            fields = "".join([f"{name}: {as_utf8(value)}\r\n" for name, value in trailing(trailers)])
            self._transport.write(b"0\r\n" + fields.encode() + b"\r\n")
        self._settle()

    def fail(self, error: Exception) -> None:
        self._settle()
        self._connection.fail(error)

    def _settle(self) -> None:
        self._disarm()
        if self._held and self._clock is not None:
            self._held = False
            self._clock.release()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
