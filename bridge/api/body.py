"""A body that is passed on while it arrives, in either direction.

::

    BodySource ── feed, feed_end, fail ──> StreamedBody ── write, end, fail ──> BodySink
    BodySource <── pause_reading, resume_reading, drop ── StreamedBody <── resume, close ──

Both ends are connections.

A body has one consumer. It either iterates, or connects a sink (`StreamedBody.pipe`), to which each piece goes in the
turn of the event loop in which it arrives, without a task and without a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Sequence
from typing import Protocol

#: Bytes of a body up to which it is taken whole if its length is known: one write and one read cost less than a stream,
#: it can be sent again, and an error can still become a problem.
WHOLE = 64 * 1024
HIGH_WATER = 64 * 1024  #: bytes that wait for an iterating consumer; above it, the source is not read

UNLIMITED = 1 << 62  #: stands for no limit in bytes


class BodySink(Protocol):
    """Takes the pieces of a body as they arrive."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and have not left the process."""
        ...

    def write(self, piece: bytes, /) -> bool:
        """Whether more can be written now; if not, the sink's owner calls `StreamedBody.resume` later."""
        ...

    def end(self, trailers: Sequence[tuple[str, str]], /) -> None:
        """The body is complete."""
        ...

    def fail(self, error: Exception, /) -> None:
        """The body is incomplete, and nothing more will come."""
        ...


class BodySource(Protocol):
    """Where a body comes from."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def drop(self) -> None:
        """Nobody takes the rest."""
        ...


class StreamedBody:
    """A body in pieces (`bridge.api.call.Body`).

    :param limit: bytes; more end the body with the error that `over` returns.
    :param proceed: called once if the sender waits for a sign before it sends (RFC 9110, section 10.1.1).
    :ivar length: bytes, if they are known before.
    :ivar size: bytes that have arrived.
    :ivar taken: the consumer has taken some of it, so it can't be sent again.
    :ivar complete: all of it has arrived.
    :ivar trailers: the fields after it (RFC 9110, section 6.5); known when it is complete.
    """

    __slots__ = (
        "_error", "_limit", "_over", "_parts", "_paused", "_proceed", "_sink", "_source", "_waiter", "_waiting",
        "closed", "complete", "length", "size", "taken", "trailers",
    )  # fmt: skip

    def __init__(
        self,
        source: BodySource,
        *,
        length: int | None = None,
        proceed: Callable[[], None] | None = None,
        paused: bool = False,
    ) -> None:
        self.length = length
        self.size = 0
        self.taken = self.complete = self.closed = False
        self.trailers: Sequence[tuple[str, str]] = ()
        self._source = source
        self._limit = UNLIMITED
        self._over: Callable[[], Exception] | None = None
        self._proceed = proceed
        self._parts: list[bytes] = []
        self._waiting = 0
        self._paused = paused
        self._sink: BodySink | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- the source's side ------------------------------------------------------------------------------------------

    def feed(self, piece: bytes) -> None:
        """The next bytes. None at all are no piece: an empty chunk would end the body (RFC 9112, section 7.1)."""
        if self.closed or not piece:
            return
        self.size += len(piece)
        if self.size > self._limit and self._over is not None:
            self.abort(self._over())
            return
        sink = self._sink
        if sink is None:
            self._parts.append(piece)
            self._waiting += len(piece)
            if self._waiting > HIGH_WATER:
                self._pause()
            self._wake()
        else:
            self.taken = True
            if not sink.write(piece):
                self._pause()

    def feed_end(self, trailers: Sequence[tuple[str, str]] = ()) -> None:
        if self.closed or self.complete:
            return
        self.complete, self.trailers = True, trailers
        if self._paused:  # the source may go on with something else
            self._paused = False
            self._source.resume_reading()
        if self._sink is not None:
            self._sink.end(trailers)
        else:
            self._wake()

    def fail(self, error: Exception) -> None:
        """The source can't give the rest."""
        if self.closed or self.complete:
            return
        self.closed, self._error = True, error
        if self._sink is not None:
            self._sink.fail(error)
        else:
            self._wake()

    # --- the consumer's side ----------------------------------------------------------------------------------------

    @property
    def expects(self) -> bool:
        """Its sender waits for `proceed`."""
        return self._proceed is not None

    @property
    def error(self) -> Exception | None:
        """What ended it, if it is incomplete."""
        return self._error

    @property
    def done(self) -> bool:
        """Nothing more comes."""
        return self.complete or self.closed

    @property
    def moved(self) -> int:
        """Bytes that have left the process, or were taken by an iterating consumer."""
        return self.size - self._waiting - (self._sink.unsent if self._sink is not None else 0)

    @property
    def blocked(self) -> bool:
        """Its consumer does not take what is there."""
        return self._paused or self.moved < self.size

    def bound(self, limit: int, over: Callable[[], Exception]) -> None:
        """Accept at most `limit` bytes; more end it with the error that `over` returns."""
        self._limit, self._over = limit, over
        if self.size > limit:
            self.abort(over())

    def proceed(self) -> None:
        """Tell a sender that waits for it to go on."""
        proceed, self._proceed = self._proceed, None
        if proceed is not None and not self.done:
            proceed()

    def pipe(self, sink: BodySink) -> None:
        """Hand all pieces to `sink`, those that have arrived at once. A sender that waits (`expects`) gets no sign by
        this."""
        self._sink = sink
        parts, self._parts, self._waiting = self._parts, [], 0
        takes = True
        for part in parts:
            self.taken = True
            takes = sink.write(part)
        if self._error is not None:
            sink.fail(self._error)
        elif self.complete:
            sink.end(self.trailers)
        elif takes:
            self.resume()
        else:
            self._pause()

    def detach(self) -> None:
        """Take the sink away before it got anything: the body is as it was."""
        self._sink = None

    def unread(self, pieces: list[bytes]) -> None:
        """Put back what was iterated; it comes first again."""
        self._parts[:0] = pieces
        self._waiting += sum(map(len, pieces))

    def resume(self) -> None:
        """The sink takes more."""
        if self._paused and not self.done:
            self._paused = False
            self._source.resume_reading()

    def abort(self, error: Exception) -> None:
        """End it with `error` for both sides."""
        if not self.done:
            self.fail(error)
            self._source.drop()

    def close(self) -> None:
        """The consumer takes no more."""
        self._parts, self._waiting, self._sink = [], 0, None
        if not self.closed:
            self.closed = True
            if not self.complete:
                self._source.drop()

    async def aclose(self) -> None:
        self.close()

    def __aiter__(self) -> StreamedBody:
        return self

    async def __anext__(self) -> bytes:
        """:raises Exception: the body is incomplete."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self.done:
                raise StopAsyncIteration
            self.proceed()
            self.resume()
            if self._parts or self.done:
                continue
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self.taken = True
        parts, self._parts, self._waiting = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pause(self) -> None:
        if not self._paused and not self.done:
            self._paused = True
            self._source.pause_reading()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def streamed(pieces: AsyncIterable[bytes]) -> StreamedBody:
    """`pieces` as a `StreamedBody`; one that is none is iterated by a task, as fast as the consumer takes it."""
    return pieces if isinstance(pieces, StreamedBody) else _Pump(pieces).body


class _Pump:
    """Iterates in a task, which begins with the first piece that is wanted."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self.body = StreamedBody(self, paused=True)
        self._pieces = pieces
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def pause_reading(self) -> None:
        self._wanted.clear()

    def resume_reading(self) -> None:
        self._wanted.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def drop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        iterator = aiter(self._pieces)
        try:
            async for piece in iterator:
                if piece:
                    self.body.feed(piece)
                await self._wanted.wait()
            self.body.feed_end()
        except Exception as error:
            self.body.fail(error)
        finally:
            close = getattr(iterator, "aclose", None)  # generators have it, other iterators need not
            if close is not None:
                await close()
