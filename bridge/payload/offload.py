"""Work on large messages, in threads of its own, so that the event loop goes on turning meanwhile.

To translate a message takes CPU time that grows with its size: tens of milliseconds for each megabyte. What is larger
than `LARGE` is translated in one of two threads: one for what is up to `HUGE`, so that it never waits behind a message
that takes seconds, and one for the rest. More threads would do nothing but share one interpreter lock.

What is larger than `APART` and changes nothing but its own call (`Effects`) is worked on in a copy of this process
(`bridge.payload.child`), for which one of the threads waits: the loop keeps its lock, and its core by priority. None is
made while a thread works, which may hold a lock that the copy needs; and where none can be made, the thread does it.

A thread alone is not enough for the rest, since whoever holds the interpreter's lock keeps the loop waiting:

- the lock changes hands after `SWITCH` seconds instead of Python's 5 ms (the loop takes it several times a request);
- no collection of the oldest generation of garbage runs while such a message is worked on: it looks at each of its
  millions of objects, in one go;
- what is left of a failed translation is taken apart in the thread, not by the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from bridge.errors import DeadlineExceeded, Overloaded
from bridge.payload import child

LARGE = 64 * 1024  #: bytes from which a message is worked on in a thread
HUGE = 2 * 1024 * 1024  #: bytes from which it is the second thread
APART = 1024 * 1024  #: bytes from which it may be a process: making one holds the loop for about 3 ms
ALONE = 0.25  #: seconds that a process may wait to be made until no thread works; else the thread does it
START = 1.0  #: seconds for the loop to make one
SWITCH = 0.0005  #: seconds for which a thread keeps the interpreter's lock that another one wants
#: Bytes of messages that wait for a thread or are in one: as they came, since only two are being worked on. A request
#: is refused beyond the first; an answer, for which a service has worked already, beyond the second. One message is
#: always taken.
REQUESTS, REPLIES = 256 * 1024 * 1024, 512 * 1024 * 1024
UNCOLLECTED = 30.0  #: seconds without a look at the oldest generation, however much there is to do

log = logging.getLogger("bridge.messages")

T = TypeVar("T")


class Effects(Protocol):
    """What work changes beside its result, where it changes nothing that is shared. Work in another process changes its
    own copy: `collect` is called there, and `apply` here with what came back."""

    def collect(self) -> Any:
        """The changes, as values that can be pickled."""
        ...

    def apply(self, changes: Any) -> None: ...


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


class _Doors:
    """Keeps work in threads and the making of processes apart."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = self._making = 0

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._making)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no thread works within the block; threads that have not begun to wait for its end."""
        with self._changed:
            self._making += 1
            free = self._changed.wait_for(lambda: not self._working, ALONE)
        try:
            yield free
        finally:
            with self._changed:
                self._making -= 1
                self._changed.notify_all()


class _Job:
    """One piece of work; what it holds is dropped as soon as nobody waits for it any more, or it is done.

    :ivar abandoned: nobody waits for it any more.
    """

    __slots__ = ("_doors", "_effects", "_garbage", "_loop", "abandoned", "size", "work")

    def __init__(
        self, size: int, work: Callable[[], Any], garbage: _Garbage, doors: _Doors, effects: Effects | None
    ) -> None:
        self.size, self._garbage, self._doors = size, garbage, doors
        self.work: Callable[[], Any] | None = work
        self._effects, self._loop = effects, asyncio.get_running_loop()
        self.abandoned = False

    def __call__(self) -> Any:
        work, self.work = self.work, None
        if work is None:
            raise CancelledError
        try:
            if self._effects is not None and child.AVAILABLE:
                try:
                    return self._apart(work, self._effects)
                except child.Unable as error:
                    log.info("a message of %d bytes is translated in a thread, not in a process: %s", self.size, error)
            with self._doors.work():
                return self._here(work)
        finally:
            del work

    def _here(self, work: Callable[[], Any]) -> Any:
        self._garbage.hold()
        try:
            return work()
        except BaseException as error:
            let_go(error)
            raise
        finally:
            del work
            self._garbage.release()

    def _apart(self, work: Callable[[], Any], effects: Effects) -> Any:
        """:raises bridge.payload.child.Unable: it must be done here."""

        with self._doors.alone() as free:
            if not free:
                raise child.Unable("another one was being translated in a thread")
            process = self._process(partial(_outcome, work, effects))
        try:
            result, error, changes = process.result(lambda: self.abandoned)
        except child.Abandoned:
            raise CancelledError from None
        except child.Lost as lost:
            raise Overloaded(
                "The message could not be translated: the process that did so was ended.",
                headers=[("retry-after", "1")],
                cause=f"{self.size} bytes: {lost}",
            ) from None
        effects.apply(changes)
        if error is not None:
            raise error
        return result

    def _process(self, work: Callable[[], Any]) -> child.Child:
        """:raises bridge.payload.child.Unable: none can be made."""
        made: Future[child.Child] = Future()
        try:
            self._loop.call_soon_threadsafe(_make, made, work)
            try:
                return made.result(START)
            except TimeoutError:
                if made.cancel():
                    raise
                return made.result()
        except (OSError, RuntimeError) as error:  # the loop stands still, or has ended
            raise child.Unable(f"none can be made: {error!r}") from None


def _outcome(work: Callable[[], Any], effects: Effects) -> tuple[Any, Exception | None, Any]:
    """In the process: what ``work()`` returned or raised, and what it changed."""
    result, error = None, None
    try:
        result = work()
    except Exception as failure:
        error = failure
    return result, error, effects.collect()


def _make(made: Future[child.Child], work: Callable[[], Any]) -> None:
    """In the event loop: begin ``work()`` in a process, unless nobody waits for that any more."""
    if not made.set_running_or_notify_cancel():
        return
    try:
        made.set_result(child.start(work))
    except Exception as error:
        made.set_exception(error)


def let_go(error: BaseException) -> None:
    """Drop what the frames hold that `error` came through: values of a large message, which take long to free."""
    seen: BaseException | None = error
    while seen is not None:
        if seen.__traceback__ is not None:
            traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__


class Offload:
    """The threads; they are started when there is something to do, and an interpreter that ends waits for them.

    :ivar processes: processes may be made, too. That is for whoever knows all threads of this one, so for a gateway
        that is served by its own listener: the threads of another server may hold locks of any kind.
    """

    def __init__(self, *, processes: bool = False) -> None:
        self.processes = processes
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix=f"messages-{name}") for name in ("large", "huge")]
        self._garbage, self._doors = _Garbage(), _Doors()
        self._lock = threading.Lock()
        self.waiting = 0  #: bytes of messages that are not done

    async def run(
        self,
        size: int,
        work: Callable[[], T],
        *,
        deadline: float | None = None,
        max_waiting: int = REPLIES,
        effects: Effects | None = None,
    ) -> T:
        """The result of ``work()``, which is called in a thread, or in another process.

        :param size: bytes of the message, what decides which thread it is.
        :param deadline: in the running loop's `time()`. Work that has not begun by then never does; what has begun
            ends for nobody, or is ended where it is a process.
        :param max_waiting: bytes of messages that may be waiting, this one included: `REQUESTS` or `REPLIES`.
        :param effects: all that the work changes beside its result; None: what it changes is shared, so it must be
            done here.
        :raises bridge.errors.Overloaded: there are too many; or the process was ended, for example by the kernel.
        :raises bridge.errors.DeadlineExceeded: the deadline passed.
        """
        with self._lock:
            if self.waiting and self.waiting + size > max_waiting:
                raise Overloaded(headers=[("retry-after", "1")])
            self.waiting += size
        job = _Job(size, work, self._garbage, self._doors, effects if self.processes and size > APART else None)
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
            job.abandoned = True
            if future.cancel():  # it stands in a queue, where what it holds would be kept
                job.work = None

    def _done(self, size: int) -> None:
        with self._lock:
            self.waiting -= size


_shared = Offload()
run = _shared.run


def serve() -> None:
    """This process is a gateway's own: make the interpreter's lock change hands as often as it wants that, and let it
    make processes; see above."""
    sys.setswitchinterval(SWITCH)
    _shared.processes = True
