"""The event loop's clock in the hand of a test: no timeout passes while there is anything left to do."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Iterator
from typing import Any

_LOOKS = 5  #: times that nothing may happen before the clock moves …
_LOOK = 0.01  #: … and the seconds of each, real ones


class LoopClock:
    """Stands still while callbacks, sockets or threads of the loop have work, and then goes straight to the next timer.

    A test of timeouts so takes no time, and a machine that stalls for seconds makes no timeout pass early. What runs
    elsewhere (other processes, gRPC's own core) is not seen; tests of it need the real clock.
    """

    def __init__(self, loop: Any) -> None:
        self.now: float = loop.time()
        self._selector: selectors.BaseSelector = loop._selector
        self._run_in_executor = loop.run_in_executor
        self._threads = 0

    def __call__(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        """All else that the loop asks of its selector."""
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._selector.select(timeout)
        for _ in range(_LOOKS):
            if events := self._selector.select(_LOOK):
                return events
        if not self._threads:
            self.now += timeout
        return []

    def run_in_executor(self, executor: Any, function: Any, *args: Any) -> Any:
        future = self._run_in_executor(executor, function, *args)
        self._threads += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._threads -= 1


@contextlib.contextmanager
def standing_still() -> Iterator[LoopClock]:
    """The running loop, one of asyncio's own, goes by a `LoopClock`."""
    loop: Any = asyncio.get_running_loop()
    selector = loop._selector
    clock = LoopClock(loop)
    loop.time, loop._selector, loop.run_in_executor = clock, clock, clock.run_in_executor
    try:
        yield clock
    finally:
        loop._selector = selector
        del loop.time, loop.run_in_executor
