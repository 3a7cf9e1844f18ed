"""What signals ask of the server: SIGINT and SIGTERM to stop, SIGHUP to read its files again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

STOPPING = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger("bridge")

#: Whether SIGHUP has come since `remember_hangup`. A handler of signals has no other place to put it.
_hangups: list[int] = []


def remember_hangup() -> None:
    """From here on SIGHUP no longer ends the process. One that comes while the gateway starts has it reload then."""
    signal.signal(signal.SIGHUP, lambda number, frame: _hangups.append(number))


class Signals:
    """Handlers on the running event loop.

    :ivar stop: set by the first of `STOPPING`, or when the terminal is closed.
    :ivar hurry: set by the second.
    """

    def __init__(self) -> None:
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self._hangup = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._terminal = next((descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)), None)
        if _hangups:
            self._hangup.set()
        self._loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def handle_stop(self) -> None:
        """Take over `STOPPING`, which until now end the process."""
        for number in STOPPING:
            self._loop.add_signal_handler(number, self._stopped)

    def ignore_stop(self) -> None:
        """What is left to do ends by itself."""
        for number in (*STOPPING, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
            signal.signal(number, lambda *_: None)

    @contextlib.asynccontextmanager
    async def reloading(self, reload: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run `reload` on each SIGHUP. Those that come meanwhile are one more."""
        task = self._loop.create_task(self._follow(reload))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, reload: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            log.info("SIGHUP: files are read again, and the access log is opened again")
            try:
                await reload()
            except Exception:  # a failure must be logged, but must not end the gateway, or the next reload
                log.exception("SIGHUP: not all files were read again")

    def _stopped(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()

    def _hung_up(self) -> None:
        # The kernel and shells send SIGHUP, too, when a terminal is closed. Then nobody is there to end a gateway that
        # runs on it.
        if self._terminal is not None and not os.isatty(self._terminal):
            self.stop.set()
        else:
            self._hangup.set()
