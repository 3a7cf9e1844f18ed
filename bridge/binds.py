"""Bounds on binds under way: to compile a route may mean to wait for a server that hangs.

A bind runs in a thread that can't be stopped, so what is bounded is how many of them there are, and who else waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from bridge.errors import RateLimited

T = TypeVar("T")

AT_ONCE = 8  #: binds of one `each`
PATIENCE = 0.5  #: seconds after which a bind is taken for one that waits for a server
PER_PUBLISHER = 2  #: binds under way of one publisher
ALL_PUBLISHERS = 16  #: … and of all of them
WAITING = 128  #: registrations of one publisher, under way or waiting
WAIT = 10.0  #: seconds that a registration waits for its turn
#: Of the event loop's own pool, in which transformers compile: registrations, four reloads of the folder, what other
#: processes registered and what is tried again may hang in 64 of them, and the others are for everything else.
THREADS = 96


def enough_threads() -> ThreadPoolExecutor:
    """A pool for the event loop (`asyncio.to_thread`) in which hanging binds leave room for others. The usual one has
    six threads on two processors."""
    return ThreadPoolExecutor(THREADS, "work")


async def each(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Work on `items` in their order, one at a time, since compiling takes the processor from callers. While one takes
    longer than `PATIENCE` the next go on beside it, so that a server that hangs holds up no other item.

    :param meanwhile: awaited now and then while an item takes long, to make use of what is done.
    """
    rest = iter(items)
    begun, ended = 0, False

    async def worker() -> None:
        nonlocal begun, ended
        for item in rest:
            begun += 1
            await work(item)
        ended = True

    workers = {asyncio.ensure_future(worker())}
    try:
        while workers:
            before = begun
            done, workers = await asyncio.wait(workers, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if workers and meanwhile is not None:
                await meanwhile()
            if workers and not ended and begun == before and len(workers) < AT_ONCE:
                workers.add(asyncio.ensure_future(worker()))
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


class Publishers:
    """Turns of publishers who register or try a route."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(ALL_PUBLISHERS)
        self._own: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(PER_PUBLISHER))
        self._count = Counter[str]()

    @asynccontextmanager
    async def turn(self, publisher: str) -> AsyncIterator[None]:
        """One bind of `publisher`, a tenant or a subject.

        :raises RateLimited: too many of its registrations, or of everybody's, are being compiled.
        """
        if self._count[publisher] >= WAITING:
            raise _too_many()
        self._count[publisher] += 1
        try:
            async with _within(self._own[publisher], _too_many), _within(self._all, _too_many):
                yield
        finally:
            self._count[publisher] -= 1
            if not self._count[publisher]:
                del self._count[publisher], self._own[publisher]


@asynccontextmanager
async def _within(turns: asyncio.Semaphore, refusal: Callable[[], Exception]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WAIT):
            await turns.acquire()
    except TimeoutError:
        raise refusal() from None
    try:
        yield
    finally:
        turns.release()


def _too_many() -> RateLimited:
    return RateLimited(
        "Too many registrations are being compiled; some wait for a server that does not answer. Try again later.",
        headers=[("retry-after", "10")],
    )
