"""The gateway's link to Redis: connected, or away and tried again, one attempt at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from bridge.stages.quota.redis.address import RedisAddress
from bridge.stages.quota.redis.connection import Callback, RedisAway, RedisConnection, asked, connect
from bridge.stages.quota.redis.script import SCRIPT

FIRST_RETRY, LONGEST_RETRY = 0.1, 2.0  #: seconds between attempts; each wait is twice the one before

log = logging.getLogger("bridge.limits")


class RedisClient:
    """:param changed: called when Redis has come back (True), before it counts, and when it is gone.
    :ivar up: whether it can be asked. :ivar round_trips: how often it was.
    """

    def __init__(self, address: RedisAddress, changed: Callable[[bool], None]) -> None:
        self._address, self._changed = address, changed
        self.up = False
        self.round_trips = 0
        self._connection: RedisConnection | None = None
        self._gone = asyncio.Event()
        self._attempted = asyncio.Event()
        self._told = ""
        self._away_since = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Returns when the first attempt has ended, whatever came of it."""
        self._task = asyncio.create_task(self._run())
        await self._attempted.wait()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.up = False
        if self._connection is not None:
            self._connection.close(RedisAway("the gateway is shutting down"))

    def run(self, callback: Callback, keys: list[bytes], arguments: list[bytes]) -> None:
        """Run the script. `callback` gets its answer or a `RedisAway`, perhaps before this returns."""
        if self._connection is None or not self.up:
            callback(RedisAway("not connected"))
        else:
            self.round_trips += 1
            self._connection.run(callback, keys, arguments)

    async def _run(self) -> None:
        wait = FIRST_RETRY
        while True:
            self._gone.clear()
            try:
                connection = await connect(self._address, self._lost)
                # Whether it lets the script count: it may be a replica, be loading its data, or be full.
                await asked(connection, b"SCRIPT", b"LOAD", SCRIPT)
                await asked(connection, b"SET", f"{self._address.prefix}:alive".encode(), b"1", b"PX", b"1000")
            except RedisAway as cause:
                self._away(cause)
            else:
                if not self._gone.is_set():  # else it has ended since its last answer
                    wait = FIRST_RETRY
                    self._back(connection)
                    await self._gone.wait()
            self._attempted.set()
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311  # gateways should not come all at once
            wait = min(wait * 2, LONGEST_RETRY)

    def _back(self, connection: RedisConnection) -> None:
        self._connection, self.up = connection, True
        seconds = time.monotonic() - self._away_since
        if self._told:
            log.warning("limits: %s is back after %.1f seconds", self._address, seconds)
        self._told = ""
        self._attempted.set()
        self._changed(True)

    def _lost(self, cause: RedisAway) -> None:
        if self.up:
            self.up = False
            self._away_since = time.monotonic()
            self._changed(False)
            self._away(cause)
        self._gone.set()

    def _away(self, cause: RedisAway) -> None:
        """One line for each absence."""
        if not self._told:
            self._told = str(cause)
            mode = self._address.on_failure
            log.error("limits: %s is away (%s); %s", self._address, cause, _MEANWHILE[mode])


_MEANWHILE: dict[str, Any] = {
    "open": "until it is back, calls are admitted uncounted (on_failure=open)",
    "closed": "until it is back, calls of limited routes get 503 (on_failure=closed)",
    "local": "until it is back, this gateway counts its share by itself (on_failure=local)",
}
