"""The gateway's own HTTP/1.1 client: pools of connections by address, TLS context and name, and one timer for all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from bridge.api.body import StreamedBody
from bridge.api.transport import Address, Clock
from bridge.http.pieces import join
from bridge.transport.connecting import closing
from bridge.transport.http1.connection import Http1Connection
from bridge.transport.http1.dial import CLOSE_TIMEOUT, Key, dial
from bridge.transport.http1.exchange import KEEPALIVE, PER_ADDRESS, Client, Field, ReplyHead, own_trust
from bridge.transport.http1.pool import Pool
from bridge.transport.http1.request import write_head
from bridge.websocket.connection import WebSocketConnection


class HttpClient:
    """Keep-alive connections, shared by all HTTP upstreams of one event loop.

    :param ssl_context: for TLS; with the system's authorities by default.
    :param per_address: connections to one address.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, per_address: int = PER_ADDRESS) -> None:
        self._ssl_context = ssl_context
        self._per_address = per_address
        self._pools: dict[Key, Pool] = {}
        self._websockets: set[WebSocketConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def trust(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = own_trust()
        return self._ssl_context

    async def exchange(
        self,
        address: Address,
        method: str,
        target: str,
        fields: Sequence[Field],
        body: bytes | StreamedBody,
        *,
        server_name: str | None,
        connect_timeout: float,
        max_reply: int,
        trust: ssl.SSLContext | None = None,
        streams: bool = False,
        clock: Clock | None = None,
    ) -> tuple[ReplyHead, bytes | StreamedBody]:
        if self._closed:
            raise closing()
        key = (address, (trust or self.trust()) if server_name else None, server_name)
        pool = self._pools.get(key) or self._pool(key)
        # `isinstance` would be a call.
        head = write_head(method, target, fields, len(body) if type(body) is bytes else body.length)  # type: ignore[union-attr]
        connection = None
        while pool.idle:
            connection = pool.idle.pop()
            if connection.until > pool.loop.time():
                break
            connection.close()  # the service may be closing it at this moment
            connection = None
        if connection is None:
            connection = await pool.take(connect_timeout)
        future = connection.begin(
            head, body, without_body=method == "HEAD", limit=max_reply, streams=streams, clock=clock
        )
        try:
            reply, received = await future
            if type(received) is list:
                received = await asyncio.to_thread(join, received)
            return reply, received  # type: ignore[return-value]  # no list
        except BaseException:
            connection.leave(future)
            raise

    async def connect(
        self,
        socket: WebSocketConnection,
        address: Address,
        *,
        server_name: str | None,
        connect_timeout: float,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        if self._closed:
            raise closing()
        await dial(socket, (address, (trust or self.trust()) if server_name else None, server_name), connect_timeout)
        self._websockets.add(socket)
        socket.closed.add_done_callback(lambda _: self._websockets.discard(socket))

    async def aclose(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        pools = list(self._pools.values())
        for pool in pools:
            pool.close()
        ends: dict[Http1Connection | WebSocketConnection, asyncio.Future[None]] = {
            connection: connection.end() for pool in pools for connection in pool.connections
        }
        ends.update((socket, socket.closed) for socket in self._websockets)  # each has been sent a close
        if ends:
            await asyncio.wait(ends.values(), timeout=CLOSE_TIMEOUT)
            for connection in ends:
                connection.abort()

    def _pool(self, key: Key) -> Pool:
        pool = self._pools[key] = Pool(key, self._per_address)
        if self._timer is None:
            self._timer = pool.loop.call_later(KEEPALIVE / 5, self._sweep, pool.loop)
        return pool

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close connections that were idle for too long, and forget unused pools. One timer serves all."""
        now = loop.time()
        for key, pool in list(self._pools.items()):
            for connection in [idle for idle in pool.idle if idle.until <= now]:
                connection.close()
            if pool.unused:
                del self._pools[key]
        self._timer = loop.call_later(KEEPALIVE / 5, self._sweep, loop) if self._pools else None


def _is_a_client(client: HttpClient) -> Client:
    return client
