"""One connection to Redis: commands are written together, answers come in their order (RESP2, parsed by hiredis)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from bridge.stages.quota.redis.address import RedisAddress
from bridge.stages.quota.redis.script import FIGURES, SCRIPT, SHA1

MAX_PENDING = 10_000  #: commands that wait for their answer; further ones are not sent


class RedisAway(Exception):
    """Redis gives no answer that can be used; the message is for the log, and has no credentials."""


#: Takes the answer, or why there is none.
Callback = Callable[[Any], None]


class RedisConnection(asyncio.Protocol):
    """:param timeout: seconds for an answer; without it the connection is given up.
    :param lost: called once the connection has ended, with the cause.
    """

    def __init__(self, timeout: float, lost: Callable[[RedisAway], None]) -> None:
        self._timeout, self._lost = timeout, lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._pending: deque[tuple[float, Callback, tuple[bytes, ...]]] = deque()
        self._unwritten: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._cause: RedisAway | None = None
        self._transport: Any = None  # uvloop's are no subclasses of asyncio's

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, callback: Callback, *command: bytes) -> None:
        """Send a command. Its answer, or a `RedisAway`, is given to `callback`; at once if nothing can be sent."""
        if self._cause is not None or self._transport is None:
            callback(self._cause or RedisAway("not connected"))
            return
        if len(self._pending) >= MAX_PENDING:
            callback(RedisAway(f"{MAX_PENDING} commands wait for an answer"))
            return
        self._pending.append((self._loop.time(), callback, command))
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub means any length
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._check)

    def run(self, callback: Callback, keys: list[bytes], arguments: list[bytes]) -> None:
        """Run the script."""
        self.send(callback, b"EVALSHA", SHA1, b"%d" % len(keys), *keys, *arguments)

    def close(self, cause: RedisAway) -> None:
        """End the connection; what waits gets `cause`."""
        if self._cause is None:
            self._cause = cause
            if self._timer is not None:
                self._timer.cancel()
            if self._transport is not None:
                self._transport.abort()
            pending, self._pending = self._pending, deque()
            for _, callback, _ in pending:
                callback(cause)
            self._lost(cause)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if not self._pending:
                    raise hiredis.ProtocolError("an answer to nothing")
                self._receive(reply)
        except hiredis.ProtocolError as error:
            self.close(RedisAway(f"what it says is not Redis's protocol: {str(error)[:100]}"))

    def _receive(self, reply: Any) -> None:
        _, callback, command = self._pending.popleft()
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if text.startswith("NOSCRIPT") and command[0] == b"EVALSHA":  # it was restarted, or another one took over
                self.send(callback, b"EVAL", SCRIPT, *command[2:])
                return
            away = RedisAway(f"it says {text[:200]}")
            callback(away)
            self.close(away)
        elif (command[0] == b"EVALSHA" or command[1:2] == (SCRIPT,)) and not _are_figures(reply, int(command[2])):
            away = RedisAway("its answer to the script is not the script's")
            callback(away)
            self.close(away)
        else:
            callback(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(RedisAway(f"the connection was lost: {exc}" if exc else "it closed the connection"))

    def _flush(self) -> None:
        data, self._unwritten = b"".join(self._unwritten), []
        if self._cause is None and self._transport is not None:
            self._transport.write(data)

    def _check(self) -> None:
        """Whether the oldest command has waited for too long. One timer for all of them."""
        self._timer = None
        if self._pending:
            left = self._pending[0][0] + self._timeout - self._loop.time()
            if left <= 0:
                self.close(RedisAway(f"no answer within {self._timeout:g} seconds"))
            else:
                self._timer = self._loop.call_later(left, self._check)


def _are_figures(reply: Any, keys: int) -> bool:
    """Whether the script has given `reply` for so many keys."""
    return isinstance(reply, list) and len(reply) == FIGURES * keys and all(type(one) is int for one in reply)


async def connect(address: RedisAddress, lost: Callable[[RedisAway], None]) -> RedisConnection:
    """A connection that has signed in and chosen its database, within the address's timeout.

    :param lost: called once it has ended; not if there is none.
    :raises RedisAway: there is none.
    """
    loop = asyncio.get_running_loop()
    ready = False
    connection: RedisConnection | None = None

    def ended(cause: RedisAway) -> None:
        if ready:
            lost(cause)

    def make() -> RedisConnection:
        return RedisConnection(address.timeout, ended)

    try:
        async with asyncio.timeout(address.timeout):
            user, password = address.credentials()
            name = address.host if address.tls is not None else None
            _, connection = await loop.create_connection(
                make, address.host, address.port, ssl=address.tls, server_hostname=name
            )
            if password:
                await asked(connection, *filter(None, (b"AUTH", user.encode(), password.encode())))
            if address.database:
                await asked(connection, b"SELECT", b"%d" % address.database)
    except TimeoutError:
        cause = RedisAway(f"no connection within {address.timeout:g} seconds")
    except (OSError, UnicodeError) as error:
        cause = RedisAway(str(error))
    except RedisAway as error:
        cause = error
    else:
        ready = True
        return connection
    if connection is not None:
        connection.close(cause)
    raise cause


async def asked(connection: RedisConnection, *command: bytes) -> Any:
    """The answer to one command.

    :raises RedisAway: there is none.
    """
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(reply: Any) -> None:
        if not future.done():
            future.set_result(reply)

    connection.send(answered, *command)
    reply = await future
    if isinstance(reply, RedisAway):
        raise reply
    return reply
