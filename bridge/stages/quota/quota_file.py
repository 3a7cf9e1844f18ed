"""What was used of quotas that are counted in memory, kept in a file from one start to the next.

It is written every `INTERVAL` seconds if something was counted, and at the end. So a gateway that is killed forgets
what it counted in the last seconds, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from bridge.stages.quota.calendar import Window, period
from bridge.stages.quota.counters import QuotaCounts

INTERVAL = 5.0  #: seconds between two times that it is written
MAX_SIZE = 256 * 1024**2  #: bytes of a file that is read

log = logging.getLogger("bridge.limits")


class QuotaFile:
    """The counts of all quotas of a gateway, each under the id of its limit.

    :param path: None: nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._counts: dict[str, QuotaCounts] = {}
        self._kept: Mapping[str, Any] | None = None  # read when a quota is bound, which most gateways have none of
        self._failed = False
        self._writing = threading.Lock()

    def counts(self, id: str, window: Window) -> QuotaCounts:
        """The counts of the limit `id`, as they are or as they were kept."""
        key = f"{id}:{window}"
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = QuotaCounts(window)
            kept = self._before.get(key, {})
            with suppress(TypeError, KeyError, AttributeError, ValueError):  # somebody else has written it
                used: Mapping[str, int] = kept["used"]
                counts.restore(float(kept["start"]), {str(who): int(count) for who, count in used.items()})
        return counts

    @property
    def _before(self) -> Mapping[str, Any]:
        """What was kept when the gateway started."""
        if self._kept is None:
            self._kept = _read(self._path) if self._path is not None else {}
        return self._kept

    async def run(self) -> None:
        """Write it now and then, until it is cancelled."""
        while self._path is not None:
            await asyncio.sleep(INTERVAL)
            await self.write()

    async def write(self) -> None:
        """Write it, if something was counted since."""
        if self._path is None or not any(counts.changed for counts in self._counts.values()):
            return
        content: dict[str, Any] = {}
        for key, counts in self._counts.items():
            counts.changed = False
            if counts.used and counts.end > counts.clock():
                content[key] = {"start": counts.start, "used": dict(counts.used)}
        # What no route has asked for since the start: its route may come back.
        now = time.time()
        before = {
            key: kept for key, kept in self._before.items() if key not in self._counts and _is_current(key, kept, now)
        }
        try:
            await asyncio.to_thread(self._replace, self._path, {**before, **content})
            self._failed = False
        except OSError as error:
            for key in content:  # it is tried again, although nobody may call until then
                self._counts[key].changed = True
            if not self._failed:
                log.error("%s can't be written (%s): quotas begin anew at the next start", self._path, error.strerror)
            self._failed = True

    def _replace(self, path: Path, content: Mapping[str, Any]) -> None:
        with self._writing:  # a write that was cancelled goes on in its thread
            _write(path, content)


def _is_current(key: str, kept: Any, now: float) -> bool:
    """Whether `kept` is of a period that is not over, so that its route may still ask for it."""
    window: Window = "month" if key.endswith(":month") else "day"
    return isinstance(kept, dict) and bool(kept.get("start") == period(window, now)[0])


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = orjson.loads(file.read(MAX_SIZE))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.error("%s can't be read (%s): quotas begin anew", path, error)
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file as a whole, for its owner only, since callers' names stand in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.new")
    file = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(orjson.dumps(content))
    half.replace(path)
