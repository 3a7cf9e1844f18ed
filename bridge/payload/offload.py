"""Work on large messages, in threads of its own, so that the event loop goes on turning meanwhile.

To translate a message takes CPU time that grows with its size: tens of milliseconds for each megabyte. What is larger
than `LARGE` is translated in one of two threads: one for what is up to `HUGE`, so that it never waits behind a message
that takes seconds, and one for the rest. More threads would do nothing but share one interpreter lock.

A thread alone is not enough, since whoever holds the interpreter's lock keeps the loop waiting:

- the lock changes hands after `SWITCH` seconds instead of Python's 5 ms (the loop takes it several times a request);
- no collection of the oldest generation of garbage runs while such a message is worked on: it looks at each of its
  millions of objects, in one go;
- what is left of a failed translation is taken apart in the thread, not by the loop.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from bridge.errors import DeadlineExceeded, Overloaded

LARGE = 64 * 1024  #: bytes from which a message is worked on in a thread
HUGE = 2 * 1024 * 1024  #: bytes from which it is the second thread
SWITCH = 0.0005  #: seconds for which a thread keeps the interpreter's lock that another one wants
#: Bytes of messages that wait for a thread or are in one: as they came, since only two are being worked on. A request
#: is refused beyond the first; an answer, for which a service has worked already, beyond the second. One message is
#: always taken.
REQUESTS, REPLIES = 256 * 1024 * 1024, 512 * 1024 * 1024
UNCOLLECTED = 30.0  #: seconds without a look at the oldest generation, however much there is to do

T = TypeVar("T")


class _Garbage:
    """The collector's thresholds, while any thread is at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = 0
        self._usual: tuple[int, int, int] = (0, 0, 0)
        self._since = 0.0

    def hold(self) -> None:
        with self._lock:
            self._working += 1
            if self._working == 1:
                self._usual, self._since = gc.get_threshold(), time.monotonic()
                gc.set_threshold(self._usual[0], self._usual[1], 1_000_000_000)

    def release(self) -> None:
        with self._lock:
            self._working -= 1
            if self._working == 0:
                gc.set_threshold(*self._usual)
                return
            overdue = time.monotonic() - self._since > UNCOLLECTED
            if overdue:
                self._since = time.monotonic()
        if overdue:
            gc.collect()


class _Job:
    """One piece of work; what it holds is dropped as soon as nobody waits for it any more, or it is done."""

    __slots__ = ("_garbage", "size", "work")

    def __init__(self, size: int, work: Callable[[], Any], garbage: _Garbage) -> None:
        self.size, self._garbage = size, garbage
        self.work: Callable[[], Any] | None = work

    def __call__(self) -> Any:
        work, self.work = self.work, None
        if work is None:
            raise CancelledError
        self._garbage.hold()
        try:
            return work()
        except BaseException as error:
            _let_go(error)
            raise
        finally:
            del work
            self._garbage.release()


def _let_go(error: BaseException) -> None:
    """Drop what the frames hold that `error` came through: values of a large message, which take long to free."""
    seen: BaseException | None = error
    while seen is not None:
        if seen.__traceback__ is not None:
            traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__


class Offload:
    """The threads; they are started when there is something to do, and an interpreter that ends waits for them."""

    def __init__(self) -> None:
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix=f"messages-{name}") for name in ("large", "huge")]
        self._garbage = _Garbage()
        self._lock = threading.Lock()
        self.waiting = 0  #: bytes of messages that are not done

    async def run(
        self, size: int, work: Callable[[], T], *, deadline: float | None = None, max_waiting: int = REPLIES
    ) -> T:
        """The result of ``work()``, which is called in a thread.

        :param size: bytes of the message, what decides which thread it is.
        :param deadline: in the running loop's `time()`. Work that has not begun by then never does; what has begun
            ends for nobody.
        :param max_waiting: bytes of messages that may be waiting, this one included: `REQUESTS` or `REPLIES`.
        :raises bridge.errors.Overloaded: there are too many.
        :raises bridge.errors.DeadlineExceeded: the deadline passed.
        """
        with self._lock:
            if self.waiting and self.waiting + size > max_waiting:
                raise Overloaded(headers=[("retry-after", "1")])
            self.waiting += size
        job = _Job(size, work, self._garbage)
        del work
        try:
            future: Future[T] = self._threads[size > HUGE].submit(job)
        except BaseException:
            self._done(size)
            raise
        future.add_done_callback(lambda _: self._done(size))
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise DeadlineExceeded(
                "The message could not be translated in the time that this route allows.",
                cause=f"the deadline passed while {size} bytes were translated",
            ) from None
        finally:
            if future.cancel():  # it stands in a queue, where what it holds would be kept
                job.work = None

    def _done(self, size: int) -> None:
        with self._lock:
            self.waiting -= size


_shared = Offload()
run = _shared.run


def share_the_lock() -> None:
    """Make the interpreter's lock change hands as often as a process wants it that serves; see above."""
    sys.setswitchinterval(SWITCH)
