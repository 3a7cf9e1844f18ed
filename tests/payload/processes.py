"""Work for other processes, and what tests see of these processes."""

from __future__ import annotations

import asyncio
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.payload import child
from bridge.payload.offload import APART, Offload
from bridge.payload.shared_file import Inherited

LARGE = APART + 1


class Known(Inherited):
    """Work that the other process has since it was made, such as a function within a test."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.work = work

    def __call__(self) -> Any:
        return self.work()


class Noted:
    """Effects: a list that the work adds to."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def current(self) -> bool:
        return True

    def collect(self) -> Any:
        return self.notes

    def apply(self, changes: Any) -> None:
        self.notes = changes


class Shared:
    """Numbers that both processes see. Nothing else passes between them before the work has ended."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)  # MAP_SHARED

    def __getitem__(self, at: int) -> int:
        return int.from_bytes(self._map[at * 8 : at * 8 + 8], "little")

    def __setitem__(self, at: int, value: int) -> None:
        self._map[at * 8 : at * 8 + 8] = value.to_bytes(8, "little")


PID, LET = 0, 1


class Busy(Inherited):
    """Work that says in which process it is, and ends when it is let. It never sleeps: see `child.ASLEEP`."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = Shared()

    def __call__(self) -> int:
        self.shared[PID] = os.getpid()
        until = time.monotonic() + 30
        while not self.shared[LET] and time.monotonic() < until:
            pass
        return os.getpid()

    async def begun(self) -> int:
        until = time.monotonic() + 30
        while not self.shared[PID]:
            assert time.monotonic() < until
            await asyncio.sleep(0.005)
        return self.shared[PID]


def exists(pid: int) -> bool:
    """Also as a zombie."""
    return Path(f"/proc/{pid}").exists()


def descriptors(pid: int) -> list[str]:
    """What the process has open beside its standard streams."""
    return [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if int(each.name) > 2]


async def ended(pid: int) -> None:
    """Wait until the process `pid` has ended, if it is not reaped yet either."""
    until = time.monotonic() + 30
    while exists(pid) and child._look(pid)[0] not in (b"Z", b"X", b""):
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


async def gone(pid: int) -> None:
    """Wait until the process `pid` has ended and been reaped."""
    until = time.monotonic() + 30
    while exists(pid):
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


async def apart(offloading: Offload, work: Callable[[], Any], **options: Any) -> Any:
    known: Callable[[], Any] = work if isinstance(work, Known | Busy) else Known(work)
    return await offloading.run(LARGE, known, **{"effects": Noted(), **options})
