"""What a client sends, parsed step by step where it is finely cut: a body in chunks of a byte costs a call for each.

A read from the network brings up to 256 kB. In chunks of a byte that is forty thousand calls, tens of milliseconds in
which nobody else is served.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes that are parsed in one go: of a body of a known length, and of anything else. A chunk of a byte costs a call.
LENGTHY, STEP = 64 * 1024, 8 * 1024


class Stepwise(HttpToolsProtocol):
    """:ivar _sized: a body of known length is under way, which costs one call however long it is.
    :ivar _deaf: what comes is thrown away.
    :ivar _backlog: what came and is not parsed yet.
    """

    parser: Any
    _sized = _deaf = False
    _backlog: bytearray | None = None

    def _put_off(self, data: bytes) -> None:
        """Parse `data` step by step; nothing more is read until it is done."""
        self.transport.pause_reading()
        if self._backlog is not None:
            self._backlog += data
        else:
            self._backlog = bytearray(data)
            self._parse_on()

    def _parse_on(self) -> None:
        """One step, and those of a body of known length at once; before any other, others have their turn."""
        backlog, self._backlog = self._backlog, None
        while backlog and self._listens():
            size = LENGTHY if self._sized else STEP
            self.data_received(bytes(backlog[:size]))
            del backlog[:size]
            if backlog and not self._sized:
                self._backlog = backlog
                self.loop.call_soon(self._parse_on)
                return
        if not self.transport.is_closing() and (not self.flow.read_paused or not self._listens()):
            self.transport.resume_reading()
        protocol: Any = self.transport.get_protocol()
        if backlog and protocol is not self:
            protocol.data_received(bytes(backlog))  # a WebSocket's first frames

    def _listens(self) -> bool:
        """Whether what comes is still to be parsed here: not once it was refused, or is a WebSocket."""
        return self.parser is not None and not self._deaf and self.transport.get_protocol() is self
