"""Back-pressure on a connection of the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable

from bridge.server.state import ServerState
from bridge.websocket.flow import ConnectionFlow

STALL = 300.0  #: seconds without progress after which an answer that the client doesn't read is given up
LINGER = 2.0  #: seconds for which the input of a refused client is discarded, so that it can read the reason


class FlowControl(ConnectionFlow):
    """A connection to a client.

    :ivar on_writable: called when the client takes more again.
    """

    def __init__(self, server: ServerState) -> None:
        super().__init__()
        self.server = server
        self.on_writable: Callable[[], None] | None = None

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()


class StallGuard(FlowControl):
    """A connection whose client must take what is written: otherwise it would be kept for ever, even after a close."""

    def __init__(self, server: ServerState) -> None:
        super().__init__(server)
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        super().resume_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._check_stall(self.transport.get_write_buffer_size() + 1)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _check_stall(self, before: int) -> None:
        size = self.transport.get_write_buffer_size()
        if size >= before:
            hang_up(self.transport, now=True)
        else:
            self._stall_timer = self.loop.call_later(STALL, self._check_stall, size)


def half_close(transport: asyncio.Transport) -> None:
    """Tell the client that nothing more comes. Closed at once, with bytes of the client unread or still to come, the
    kernel would send a reset, which takes along what the client has not read. TLS knows only a close."""
    if transport.can_write_eof():
        with contextlib.suppress(OSError):  # it has left
            transport.write_eof()


def hang_up(transport: asyncio.Transport, *, now: bool) -> None:
    """`now`: by a reset, which discards all unsent data, also that in the kernel."""
    if not now:
        transport.close()
        return
    if not transport.is_closing():
        # A copy, since uvloop doesn't lend its own; the option is the connection's.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as copy:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
