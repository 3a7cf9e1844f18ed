"""Files of the operator that are read again when they change, without a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bridge.config.stamp import stamp_of

POLL = 1.0  #: seconds between two looks


class FileFollower:
    """Looks at files once a second. Make it before the files are read the first time: what changes from then on is
    noticed.

    :param files: what reads each of them again. It tells itself what can't be used, and raises nothing.
    """

    def __init__(self, files: Mapping[Path, Callable[[], Awaitable[None]]]) -> None:
        self._files = files
        self._stamps = {file: stamp_of(file) for file in files}
        self._missing: set[Path] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            for file, read in self._files.items():
                stamp = stamp_of(file)  # one look a second is cheaper than the use of a thread
                if stamp == self._stamps[file]:
                    self._missing.discard(file)
                elif stamp is None and file not in self._missing:
                    self._missing.add(file)  # it may be on its way back: programs replace files by removing them first
                else:
                    self._missing.discard(file)
                    self._stamps[file] = stamp  # before it is read, so that a change meanwhile is noticed
                    await read()
