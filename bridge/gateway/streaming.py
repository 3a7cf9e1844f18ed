"""One streaming call: the client's messages up and the service's down, both at once, neither faster than its reader.

Three things run side by side: what the client says goes up, what the service says is translated into a small buffer,
and the buffer goes down to the client. Whichever ends or fails first ends the others; a client that leaves cancels the
call at the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from functools import partial
from typing import Any

import orjson

from bridge.api.call import GrpcReply, Reply
from bridge.api.problem import problem
from bridge.api.route_spec import Stream
from bridge.api.stream import Exchange, UpstreamStream
from bridge.errors import BadReply, ClientDisconnected, Timeout, TooLarge, Unavailable, UpstreamError
from bridge.gateway.downstream import Connection, Downstream
from bridge.observe.access import Record
from bridge.payload import offload
from bridge.payload.offload import LARGE

BUFFER = 64 * 1024  #: bytes of translated answers that wait for the client; beyond, the service is not read
OVERHEAD = 48  #: bytes that each of them counts beside its own: many small ones take time and room, too
SOME = 64  #: messages of the client's that are made at one time
HEAD_AFTER = 1.0  #: seconds without an answer after which the head goes out alone, where the form allows it


class Flow:
    """One call, from its opening to its end; `run` is used once.

    :param up: the call at the service, already open.
    :param bounds: how long it may be silent, and how often the client hears that it lives.
    :param max_message: bytes of one message of the client's.
    """

    def __init__(
        self,
        side: Downstream,
        exchange: Exchange,
        up: UpstreamStream,
        record: Record,
        bounds: Stream,
        max_message: int,
        connection: Connection,
    ) -> None:
        self._side, self._exchange, self._up, self._record = side, exchange, up, record
        self._bounds, self._max_message, self._connection = bounds, max_message, connection
        self._loop = asyncio.get_running_loop()
        self._chunks: list[bytes] = []
        self._size = 0
        self._wake, self._room = asyncio.Event(), asyncio.Event()
        self._active = self._loop.time()
        self._patience = bounds.idle
        self._headed = False
        self._error: Exception | None = None
        self._ended: GrpcReply | None = None
        self._answer: bytes | None = None

    async def run(self, *, head_first: bool = False) -> Reply | None:
        """None when something was sent; otherwise nothing was, and the whole answer is the reply.

        :param head_first: the client says nothing before it has the head, as on a WebSocket.
        :raises bridge.api.RequestError: it failed before anything was sent.
        """
        exchange = self._exchange
        self._connection.watch(
            lambda: self._fail(ClientDisconnected()), half=not exchange.heartbeat and not exchange.answers_once
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            if head_first:
                await self._head()
            tasks += [self._loop.create_task(work) for work in (self._upwards(), self._downwards())]
            await self._deliver()
        except Exception as error:
            self._fail(error)
        except asyncio.CancelledError:  # the server ends, and waits for nobody; but the client may know why
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            self._patience = 0.0
            self._fail(Unavailable("The gateway is shutting down.", headers=[("retry-after", "1")]))
        finally:
            self._up.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._finish()

    # --- up ----------------------------------------------------------------------------------------------------------

    async def _upwards(self) -> None:
        try:
            exchange = self._exchange
            if not exchange.sends:
                await self._up.write(exchange.request.message)
                self._record.messages_up += 1
            while exchange.sends:
                data = await self._side.read()
                if data is None:
                    exchange.sends = False
                await self._send_up(exchange.finish() if data is None else exchange.feed(data), len(data or b""))
                self._bound(exchange.pending)
                self._active = self._loop.time()
            await self._up.end()
            await self._side.gone()
            raise ClientDisconnected()
        except UpstreamError:
            return  # the call is over; `_downwards` says how
        except Exception as error:
            self._fail(error)

    async def _send_up(self, made: Iterable[bytes], size: int) -> None:
        """:param made: messages, each made when it is asked for. :param size: of the data that they are made of."""
        size += self._exchange.pending
        messages, error = iter(made), None
        while error is None:
            if size <= LARGE:
                some, error = _some(messages)
            else:
                some, error = await offload.run(size, partial(_some, messages), most=offload.REQUESTS)
            for message in some:
                self._bound(len(message))
                await self._up.write(message)
                self._record.messages_up += 1
            if len(some) == SOME:
                await asyncio.sleep(0)  # a service that takes all of them at once lets nobody have a turn
        if not isinstance(error, StopIteration):
            raise error

    def _bound(self, size: int) -> None:
        if size > self._max_message:
            raise TooLarge(f"One message may have at most {self._max_message} bytes.")

    # --- down --------------------------------------------------------------------------------------------------------

    async def _downwards(self) -> None:
        up, exchange, record = self._up, self._exchange, self._record
        try:
            while (message := await up.read()) is not None:
                record.messages_down += 1
                self._active = self._loop.time()
                if exchange.answers_once:
                    if self._answer is not None:
                        raise BadReply("The service answered twice.")
                    self._answer = message
                    continue
                if len(message) <= LARGE:
                    chunk = exchange.message(message)
                else:
                    chunk = await offload.run(len(message), partial(exchange.message, message))
                self._chunks.append(chunk)
                self._size += len(chunk) + OVERHEAD
                self._wake.set()
                while self._size > BUFFER:
                    self._room.clear()
                    await self._room.wait()
            self._ended = await up.status()
            record.upstream_status = self._ended.code
            self._wake.set()
        except Exception as error:
            self._fail(error)

    async def _deliver(self) -> None:
        """Send down what `_downwards` has made, until it has ended or something has failed."""
        while not self._side.complete:
            if self._chunks:
                await self._send()
            elif self._error is not None:
                raise self._error
            elif self._ended is not None:
                return
            else:
                self._wake.clear()
                await self._wait()

    async def _send(self) -> None:
        chunks, self._chunks, self._size = self._chunks, [], 0
        self._room.set()
        if not self._headed:
            await self._head(await self._up.metadata())
        if not self._side.complete:
            await self._sent(self._side.write(chunks))
            self._active = self._loop.time()

    async def _head(self, metadata: Any = ()) -> None:
        reply = self._exchange.head(metadata)
        await self._sent(self._side.start(reply))
        self._headed = True
        self._record.status = reply.status

    async def _sent(self, sending: Awaitable[None]) -> None:
        """:raises bridge.ClientDisconnected: the client has left, or takes nothing within the idle limit and is sent
        away."""
        try:
            async with asyncio.timeout(self._patience):
                await sending
        except TimeoutError:
            self._connection.cut(now=True)
            raise ClientDisconnected("The client stopped reading.") from None

    async def _wait(self) -> None:
        """For a message, the end, or the time to say something."""
        now = self._loop.time()
        silent = self._active + self._bounds.idle - now
        heartbeat = self._exchange.heartbeat
        due = (self._bounds.heartbeat if self._headed else HEAD_AFTER) if heartbeat else silent
        try:
            async with asyncio.timeout(max(0.001, min(due, silent))):
                await self._wake.wait()
        except TimeoutError:
            if self._loop.time() >= self._active + self._bounds.idle:
                raise Timeout(f"Nothing was said for {self._bounds.idle:g} seconds.") from None
            if self._headed:
                await self._sent(self._side.write([heartbeat]))
            else:
                await self._head()

    # --- the end -----------------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        """The first failure counts; what follows from it does not."""
        if self._error is None:
            self._error = error
        self._wake.set()

    async def _finish(self) -> Reply | None:
        error, ended = self._error, self._ended
        if not self._headed:
            if error is not None:
                raise error
            assert ended is not None
            if ended.code or self._exchange.answers_once:
                return await self._whole(ended)
            await self._head(await self._up.metadata())
        if self._side.complete:
            return None
        if isinstance(error, ClientDisconnected):
            self._record.status, self._record.cause = error.status, error.detail
            return None
        last = b""
        if error is None and ended is not None:
            try:
                last = self._exchange.end(ended)
            except Exception as refused:
                error = refused
        if error is not None:
            reply = problem(error, self._record.trace_id)
            self._record.cause = getattr(error, "cause", "") or str(error)
            last = self._exchange.fail(orjson.loads(reply.body))
            if not last:  # a form that has no words for it, as raw bytes have none
                self._connection.cut(now=False)
                return None
        try:
            await self._sent(self._side.close(last, failed=error is not None))
        except ClientDisconnected as gone:
            self._record.status, self._record.cause = gone.status, gone.detail
        return None

    async def _whole(self, ended: GrpcReply) -> Reply:
        if self._answer is None and not ended.code:
            raise BadReply("The service answered with nothing.")
        ended.message = self._answer or b""
        size = len(ended.message)
        if size <= LARGE:
            return self._exchange.reply(ended)
        return await offload.run(size, partial(self._exchange.reply, ended))


def _some(messages: Iterator[bytes]) -> tuple[list[bytes], Exception | None]:
    """The next few, and what ended them: `StopIteration`, a fault in the one behind them, or nothing yet."""
    made: list[bytes] = []
    try:
        while len(made) < SOME:
            made.append(next(messages))
    except Exception as error:
        return made, error
    return made, None
