"""Back-pressure on a connection: whether it is read, and whether it can be written to."""

from __future__ import annotations

import asyncio


class ConnectionFlow(asyncio.Protocol):
    """:ivar write_paused: the other side takes less than is written."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.write_paused = self.read_paused = False
        self._writable: asyncio.Event | None = None  # made when somebody waits, which is rare

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()

    async def drain(self) -> None:
        """Wait until the other side has taken enough of what was written, or the connection is lost."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            self._writable.clear()
            await self._writable.wait()

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
