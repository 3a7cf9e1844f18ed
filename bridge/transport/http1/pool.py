"""The connections to one address with one TLS context and name: idle ones, and a queue of waiting callers."""

from __future__ import annotations

import asyncio
from collections import deque

from bridge.transport.connecting import authority, closing
from bridge.transport.http1.connection import Http1Connection
from bridge.transport.http1.dial import Key, dial
from bridge.transport.http1.exchange import ConnectFailed
from bridge.transport.http1.head import Heads


class Pool:
    """Lends connections out, the one used last first, so that unused ones become idle. At most `limit` at a time; later
    callers wait in a queue. Connections with a reply that streams are not among them: a few hundred listeners of
    events would keep out all other calls.

    :ivar connections: all with a transport, even if it is closing.
    :ivar idle: connections that may be used, the longest idle first.
    """

    __slots__ = (
        "_asking",
        "_key",
        "_limit",
        "_open",
        "_streaming",
        "_waiting",
        "authority",
        "closed",
        "connections",
        "heads",
        "idle",
        "loop",
    )

    def __init__(self, key: Key, limit: int) -> None:
        self.closed = False
        self.connections: set[Http1Connection] = set()
        self.loop = asyncio.get_running_loop()
        self.authority = authority(key[0])
        self.heads = Heads()
        self.idle: list[Http1Connection] = []
        self._key = key
        self._limit = limit
        self._asking = 0  # callers within `take`
        self._streaming = 0  # connections that do not count
        self._open = 0  # open connections, and those being opened
        self._waiting: deque[asyncio.Future[Http1Connection | None]] = deque()

    async def take(self, timeout: float) -> Http1Connection:  # noqa: ASYNC109  # for connecting alone
        """A connection for a caller that found none idle.

        :param timeout: seconds to open a new one.
        :raises ConnectFailed: that failed.
        :raises Unavailable: it failed in the gateway itself.
        """
        self._asking += 1
        try:
            while self._open >= self._limit:
                idle = await self._wait()
                if idle is None:
                    break  # a connection was closed, so one may be opened
                if not idle.closed:
                    return idle
            else:
                self._open += 1
            connection = Http1Connection(self)
            try:
                await self._connect(connection, timeout)
                if connection.closed:
                    raise ConnectFailed(f"{self.authority}: it was closed as soon as it was opened")
            except BaseException:
                connection.abort()
                # uvloop does not report the loss of a connection that was cancelled while it was opened.
                self.connections.discard(connection)
                raise
            return connection
        finally:
            self._asking -= 1

    @property
    def unused(self) -> bool:
        """It has no connection, and no caller waits for one."""
        return not (self._open or self._asking or self._streaming)

    def release(self, connection: Http1Connection, keep: float) -> None:
        """`connection` may be reused, within `keep` seconds."""
        if not connection.counts:
            if self._open >= self._limit:
                connection.close()
                return
            connection.counts = True
            self._streaming -= 1
            self._open += 1
        connection.until = self.loop.time() + keep
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self.idle.append(connection)

    def retire(self, connection: Http1Connection) -> None:
        """`connection` is no longer used."""
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.counts:
            self._vacate()
        else:
            self._streaming -= 1

    def stream(self, connection: Http1Connection) -> None:
        """`connection` has a reply that may take any time."""
        connection.counts = False
        self._streaming += 1
        self._vacate()

    def close(self) -> None:
        """Close the idle connections, open no new ones, and fail waiting callers."""
        self.closed = True
        for connection in self.idle[:]:
            connection.close()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(closing())

    async def _wait(self) -> Http1Connection | None:
        """A released connection, or None if one may be opened."""
        waiter: asyncio.Future[Http1Connection | None] = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                connection = waiter.result()  # assigned, but not used: the next waiting caller gets it
                if connection is None:
                    self._vacate()
                elif not connection.closed:
                    self.release(connection, connection.until - self.loop.time())
            raise

    def _vacate(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._open -= 1

    async def _connect(self, connection: Http1Connection, timeout: float) -> None:  # noqa: ASYNC109
        await dial(connection, self._key, timeout)
        if self.closed:
            raise closing()
