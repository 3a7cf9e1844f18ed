"""Bounds on binds under way: to compile a route may mean to wait for a server that hangs.

A bind runs in a thread that can't be stopped, so what is bounded is how many of them there are, and who else waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from bridge.errors import RateLimited

T = TypeVar("T")

AT_ONCE = 8  #: binds of one `each`
PATIENCE = 0.5  #: seconds after which a bind is taken for one that waits for a server
PER_PUBLISHER = 8  #: binds under way of one publisher
QUICK = 2  #: … and of those that have not yet taken `PATIENCE` seconds, which may want the processor
ALL_PUBLISHERS = 32  #: binds under way of all publishers
WAITING = 128  #: registrations of one publisher, under way or waiting
WAIT = 10.0  #: seconds that a registration waits for its turn
#: Of the event loop's own pool, in which transformers compile. Registrations, four reads of the folder, what other
#: processes registered and what is tried again may hang in 80 of them; the others are for everything else.
THREADS = 112


def enough_threads() -> ThreadPoolExecutor:
    """A pool for the event loop (`asyncio.to_thread`) that is large enough for hanging binds. The default one
    has six threads on two processors."""
    return ThreadPoolExecutor(THREADS, "work")


async def each(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run `work` on `items` in order, one at a time, since compiling takes CPU time from calls. While one takes longer
    than `PATIENCE`, the next ones start beside it, so that a hanging server delays no other item.

    :param meanwhile: awaited now and then while an item takes long, to make use of what is done.
    """
    remaining = iter(items)
    started, ended = 0, False

    async def worker() -> None:
        nonlocal started, ended
        for item in remaining:
            started += 1
            await work(item)
        ended = True

    workers = {asyncio.ensure_future(worker())}
    try:
        while workers:
            before = started
            done, workers = await asyncio.wait(workers, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if workers and meanwhile is not None:
                await meanwhile()
            if workers and not ended and started == before and len(workers) < AT_ONCE:
                workers.add(asyncio.ensure_future(worker()))
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


class _Publisher:
    def __init__(self) -> None:
        self.count = 0  #: under way or waiting
        self.turns = asyncio.Semaphore(PER_PUBLISHER)
        self.quick = asyncio.Semaphore(QUICK)


class Publishers:
    """PendingStreams of publishers who register or try a route."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(ALL_PUBLISHERS)
        self._known: dict[str, _Publisher] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """One bind of the publisher `name`, a tenant or a subject.

        :raises RateLimited: too many of its registrations, or of everybody's, are being compiled.
        """
        publisher = self._known.setdefault(name, _Publisher())
        if publisher.count >= WAITING:
            raise _too_many()
        publisher.count += 1
        try:
            async with _one(publisher.turns), _one(self._all), _one(publisher.quick, PATIENCE):
                yield
        finally:
            publisher.count -= 1
            if not publisher.count:
                del self._known[name]


@asynccontextmanager
async def _one(turns: asyncio.Semaphore, max_seconds: float | None = None) -> AsyncIterator[None]:
    """One of `turns`, which is released at the end, or after `max_seconds` seconds.

    :raises RateLimited: there is none for a while.
    """
    try:
        async with asyncio.timeout(WAIT):
            await turns.acquire()
    except TimeoutError:
        raise _too_many() from None
    is_held = True

    def give_back() -> None:
        nonlocal is_held
        if is_held:
            is_held = False
            turns.release()

    early = asyncio.get_running_loop().call_later(max_seconds, give_back) if max_seconds is not None else None
    try:
        yield
    finally:
        give_back()
        if early is not None:
            early.cancel()


def _too_many() -> RateLimited:
    return RateLimited(
        "Too many registrations are being compiled; some wait for a server that does not answer. Try again later.",
        headers=[("retry-after", "10")],
    )
