"""One streaming call: the client's messages up and the service's down, both at once, neither faster than its reader.

Three tasks run concurrently: the client's messages go up, the service's are translated into a small buffer, and the
buffer goes down to the client. The first that ends or fails ends the others. A client that disconnects cancels the call
at the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import orjson

from bridge.api.call import GrpcReply, Reply, Trailers
from bridge.api.downstream import Downstream
from bridge.api.exchange import Exchange
from bridge.api.problem import problem, slug_of
from bridge.api.spec.limits import Stream
from bridge.api.stream import StreamTranslation, UpstreamStream
from bridge.errors import BadReply, ClientDisconnected, ClientError, Timeout, TooLarge, UpstreamError, is_gateways
from bridge.gateway.response import checked
from bridge.gateway.shutdown import uncancelled
from bridge.payload import offload
from bridge.payload.offload import LARGE

BUFFER = 64 * 1024  #: bytes of translated answers that may wait for the client; above it, the service is not read
OVERHEAD = 48  #: bytes added for each of them, since many small ones take time and memory, too
BATCH = 64  #: client messages that are translated at a time
HEAD_AFTER = 1.0  #: seconds without an answer after which the head is sent alone, if the form allows it

T = TypeVar("T")


class StreamRelay:
    """One call, from its opening to its end; `run` is called once.

    :param exchange: the call. :param side: the client's side of it.
    :param up: the call at the service, already open.
    :param conceal: masks secrets in an error that the service may have caused.
    :param bounds: limits of silence on both sides, and the interval of heartbeats.
    :param max_message: bytes of one message of the client.
    """

    def __init__(
        self,
        exchange: Exchange,
        side: Downstream,
        translation: StreamTranslation,
        up: UpstreamStream,
        conceal: Callable[[Exception], None],
        bounds: Stream,
        max_message: int,
    ) -> None:
        self._side, self._translation, self._up, self._conceal = side, translation, up, conceal
        self._record, self._request = exchange.record, exchange.request
        self._connection = exchange.request.connection
        self._bounds, self._max_message = bounds, max_message
        self._loop = asyncio.get_running_loop()
        self._chunks: list[bytes] = []
        self._size = 0
        self._wake, self._drained = asyncio.Event(), asyncio.Event()
        self._active = self._loop.time()
        self._send_timeout = bounds.idle
        self._headed = False
        self._error: Exception | None = None
        self._ended: GrpcReply | None = None
        self._answer: bytes | None = None

    async def run(self) -> Reply | None:
        """None when something was sent; otherwise the whole answer.

        :raises bridge.api.RequestError: it failed before anything was sent.
        """
        translation = self._translation
        self._connection.watch(
            lambda: self._fail(ClientDisconnected()), half=not translation.heartbeat and not translation.answers_once
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            if translation.head_first:
                await self._head()
            tasks += [self._loop.create_task(work) for work in (self._upwards(), self._downwards())]
            await self._deliver()
        except Exception as error:
            self._fail(error)
        except asyncio.CancelledError as end:
            self._send_timeout = 0.0  # the client gets the reason if it reads at once
            self._fail(uncancelled(end, disconnected=self._request.disconnected))
        finally:
            self._up.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._finish()

    # --- up ----------------------------------------------------------------------------------------------------------

    async def _upwards(self) -> None:
        try:
            translation = self._translation
            if not translation.sends:
                await self._up.write(translation.request.message)
                self._record.messages_up += 1
            while translation.sends:
                data = await self._side.read()
                if data is None:
                    translation.sends = False
                await self._send_up(translation.finish() if data is None else translation.feed(data), len(data or b""))
                self._bound(translation.pending)
                self._active = self._loop.time()
            await self._up.end()
            await self._side.gone()
            raise ClientDisconnected()
        except UpstreamError:
            return  # the call is over; `_downwards` reports how
        except Exception as error:
            self._fail(error)

    async def _send_up(self, lazy: Iterable[bytes], size: int) -> None:
        """:param lazy: messages, each translated on demand. :param size: bytes of their source data."""
        size += self._translation.pending
        messages, error = iter(lazy), None
        while error is None:
            if size <= LARGE:
                batch, error = _batch(messages)
            else:
                batch, error = await offload.run(size, partial(_batch, messages), max_waiting=offload.REQUESTS)
            for message in batch:
                self._bound(len(message))
                await self._up.write(message)
                self._record.messages_up += 1
            if len(batch) == BATCH:
                await asyncio.sleep(0)  # if the service accepts everything at once, other tasks would not run
        if not isinstance(error, StopIteration):
            raise error

    def _bound(self, size: int) -> None:
        if size > self._max_message:
            raise TooLarge(f"One message may have at most {self._max_message} bytes.")

    # --- down --------------------------------------------------------------------------------------------------------

    async def _downwards(self) -> None:
        up, translation, record = self._up, self._translation, self._record
        try:
            while (message := await up.read()) is not None:
                record.messages_down += 1
                self._active = self._loop.time()
                if translation.answers_once:
                    if self._answer is not None:
                        raise BadReply("The service answered twice.")
                    self._answer = message
                    continue
                if len(message) <= LARGE:
                    chunk = translation.message(message)
                else:
                    chunk = await offload.run(len(message), partial(translation.message, message))
                self._chunks.append(chunk)
                self._size += len(chunk) + OVERHEAD
                self._wake.set()
                while self._size > BUFFER:
                    self._drained.clear()
                    await self._drained.wait()
            self._ended = await up.status()
            record.upstream_status = self._ended.code
            self._wake.set()
        except Exception as error:
            self._fail(error)

    async def _deliver(self) -> None:
        """Send down the chunks of `_downwards` until it has ended or something has failed."""
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
        self._drained.set()
        if not self._headed:
            await self._head(await self._up.metadata())
        if not self._side.complete:
            await self._sent(self._side.write(chunks))
            self._active = self._loop.time()

    async def _head(self, metadata: Any = ()) -> None:
        reply = self._translation.head(metadata)
        self._record.status = await self._sent(self._side.start(reply))
        self._headed = True

    async def _sent(self, sending: Awaitable[T]) -> T:
        """:raises bridge.ClientDisconnected: the client has disconnected, or reads nothing within the idle limit and is
        cut off."""
        try:
            async with asyncio.timeout(self._send_timeout):
                return await sending
        except TimeoutError:
            self._connection.cut(now=True)
            raise ClientDisconnected("The client stopped reading.") from None

    async def _wait(self) -> None:
        """Wait for a message, the end, or the time of a heartbeat."""
        now = self._loop.time()
        silent = self._active + self._bounds.idle - now
        heartbeat = self._translation.heartbeat
        pause = (self._bounds.heartbeat if self._headed else HEAD_AFTER) if heartbeat else silent
        try:
            async with asyncio.timeout(max(0.001, min(pause, silent))):
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
        """The first failure counts; later ones follow from it."""
        if self._error is None:
            self._error = error
        self._wake.set()

    async def _finish(self) -> Reply | None:
        error, final = self._error, self._ended
        # While the client may still send, silence is its own, too.
        silent = isinstance(error, Timeout) and self._translation.sends
        self._record.client_failed = silent or isinstance(error, ClientError)
        self._record.gateway_failed = error is not None and is_gateways(error)
        if not self._headed:
            if error is not None:
                raise error
            assert final is not None
            if final.code or self._translation.answers_once:
                return await self._whole(final)
            await self._head(await self._up.metadata())
        if self._side.complete:
            return None
        if isinstance(error, ClientDisconnected):
            self._record.status, self._record.cause = error.status, error.detail
            return None
        last: bytes | Trailers = b""
        if error is None and final is not None:
            try:
                last = self._translation.end(final)
            except Exception as failure:
                error = failure
        if error is not None:
            self._conceal(error)
            reply = problem(error, self._record.trace_id)
            self._record.cause, self._record.problem = getattr(error, "cause", "") or str(error), slug_of(error)
            last = self._translation.fail(orjson.loads(reply.content))
            if not last:  # the format can't express it
                self._connection.cut(now=False)
                return None
        try:
            if isinstance(last, Trailers):
                last = checked(last)
            await self._sent(self._side.close(last, failed=error is not None))
        except ClientDisconnected as gone:
            self._record.status, self._record.cause = gone.status, gone.detail
        return None

    async def _whole(self, final: GrpcReply) -> Reply:
        if self._answer is None and not final.code:
            raise BadReply("The service answered with nothing.")
        final.message = self._answer or b""
        size = len(final.message)
        if size <= LARGE:
            return self._translation.reply(final)
        return await offload.run(size, partial(self._translation.reply, final))


def _batch(messages: Iterator[bytes]) -> tuple[list[bytes], Exception | None]:
    """The next few, and what ended them: `StopIteration`, an error in the following one, or None: there are more."""
    batch: list[bytes] = []
    try:
        while len(batch) < BATCH:
            batch.append(next(messages))
    except Exception as error:
        return batch, error
    return batch, None
