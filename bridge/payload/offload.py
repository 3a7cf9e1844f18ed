"""Work on large messages, in threads of its own, so that the event loop goes on turning meanwhile.

To translate a message takes CPU time that grows with its size: tens of milliseconds for each megabyte. What is larger
than `LARGE` is translated in one of two threads: one for what is up to `HUGE`, so that it never waits behind a message
that takes seconds, and one for the rest. More threads would do nothing but share one interpreter lock.

What is larger than `APART` and changes nothing but its own call (`Effects`) is worked on in another process
(`bridge.payload.child`), for which one of the threads waits: the loop keeps its lock, and its core by priority. These
processes are copies of one that is kept (`bridge.payload.zygote`), which in turn is a copy of this one. That is not
made while a thread works, which may hold a lock that the copies need; and where none can be made, the thread does it.

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
from bridge.payload.shared_file import Outdated, SharedFile
from bridge.payload.zygote import AVAILABLE, Zygote

LARGE = 64 * 1024  #: bytes from which a message is worked on in a thread
HUGE = 2 * 1024 * 1024  #: bytes from which it is the second thread
APART = 1024 * 1024  #: bytes from which it may be a process
ALONE = 0.25  #: seconds that the zygote may wait to be made until no thread works; else the thread does the work
START = 1.0  #: seconds for the loop to make it
TRIES = 2  #: zygotes for one message: the second one has all that there is
SWITCH = 0.0005  #: seconds for which a thread keeps the interpreter's lock that another one wants
#: Bytes of messages that wait for a thread or are in one: as they came, since only two are being worked on. A request
#: is refused beyond the first; an answer, for which a service has worked already, beyond the second. One message is
#: always taken.
REQUESTS, REPLIES = 256 * 1024 * 1024, 512 * 1024 * 1024
UNCOLLECTED = 30.0  #: seconds without a look at the oldest generation, however much there is to do

log = logging.getLogger("bridge.messages")

T = TypeVar("T")


class Effects(Protocol):
    """What work changes beside its result, where it changes nothing that is shared. It is pickled together with the
    work; `current` and `collect` are called in the other process, and `apply` here with what came back."""

    def current(self) -> bool:
        """Whether the process knows what the work needs; asked before the work. A newer one does it otherwise."""
        ...

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
    """Keeps work in threads and the making of zygotes apart."""

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


class _Processes:
    """Processes for work, and the zygote of which they are copies."""

    def __init__(self, doors: _Doors) -> None:
        self._doors, self._lock = doors, threading.Lock()
        self._zygote: Zygote | None = None

    def call(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop, abandoned: Callable[[], bool]) -> Any:
        """The result of ``work()`` in another process.

        :param loop: makes the zygote, if one is needed.
        :raises bridge.payload.child.Unable: it must be done here.
        :raises bridge.payload.child.Lost, bridge.payload.child.Abandoned: see `bridge.payload.child.Child.result`.
        """
        for _ in range(TRIES):
            zygote: Zygote | None = None
            try:
                with SharedFile.make() as file:
                    newest = _written(file, work)
                    with self._lock:
                        zygote = self._current(newest, loop)
                        process = zygote.start(file)
                    return process.result(abandoned)
            except Outdated:
                self._drop(zygote)
            except child.Unfit:
                self._drop(zygote)
                raise
            except OSError as error:
                raise child.Unable(f"none can be made: {error!r}") from None
        raise child.Unable("the zygote has ended or is too old, and so is a new one")

    def end(self) -> None:
        """To be called in the thread of the loop."""
        with self._lock:
            zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.end()

    def _current(self, newest: int, loop: asyncio.AbstractEventLoop) -> Zygote:
        """The zygote, made again if it is older than the `Inherited` of the number `newest`.

        :raises bridge.payload.child.Unable: none can be made.
        """
        if self._zygote is None or self._zygote.newest < newest:
            with self._doors.alone() as free:
                if not free:
                    raise child.Unable("another one was being translated in a thread")
                made = _zygote(loop)
            if self._zygote is not None:
                self._zygote.close()
            self._zygote = made
        return self._zygote

    def _drop(self, zygote: Zygote | None) -> None:
        with self._lock:
            if zygote is not None and self._zygote is zygote:
                self._zygote = None
                zygote.close()


def _written(file: SharedFile, work: Callable[[], Any]) -> int:
    """See `SharedFile.write`.

    :raises bridge.payload.child.Unable: `work` can't be sent.
    """
    try:
        return file.write(work)
    except Exception as error:
        raise child.Unable(f"it can't be pickled: {error!r}") from None


def _zygote(loop: asyncio.AbstractEventLoop) -> Zygote:
    """:raises bridge.payload.child.Unable: none can be made."""
    made: Future[Zygote] = Future()
    try:
        loop.call_soon_threadsafe(_make, made)
        try:
            return made.result(START)
        except TimeoutError:
            if made.cancel():
                raise
            return made.result()
    except (OSError, RuntimeError) as error:  # the loop stands still, or has ended
        raise child.Unable(f"none can be made: {error!r}") from None


def _make(made: Future[Zygote]) -> None:
    """In the event loop: make a zygote, unless nobody waits for that any more."""
    if not made.set_running_or_notify_cancel():
        return
    try:
        made.set_result(Zygote.make())
    except Exception as error:
        made.set_exception(error)


class _Job:
    """One piece of work; what it holds is dropped as soon as nobody waits for it any more, or it is done.

    :ivar abandoned: nobody waits for it any more.
    """

    __slots__ = ("_doors", "_effects", "_garbage", "_loop", "_processes", "_work", "abandoned", "size")

    def __init__(self, size: int, work: Callable[[], Any], parts: Offload, effects: Effects | None) -> None:
        self.size, self._effects = size, effects
        self._work: Callable[[], Any] | None = work
        self._garbage, self._doors, self._processes = parts.garbage, parts.doors, parts.made
        self._loop = asyncio.get_running_loop()
        self.abandoned = False

    def __call__(self) -> Any:
        work, effects = self._work, self._effects
        self.drop()
        if work is None:
            raise CancelledError
        try:
            if effects is not None:
                try:
                    return self._apart(work, effects)
                except child.Unable as error:
                    log.info("a message of %d bytes is translated in a thread, not in a process: %s", self.size, error)
            with self._doors.work():
                return self._here(work)
        finally:
            del work, effects

    def drop(self) -> None:
        """It is not done, if it has not begun."""
        self._work = self._effects = None

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
        try:
            called = partial(_outcome, work, effects)
            result, error, changes = self._processes.call(called, self._loop, lambda: self.abandoned)
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


def _outcome(work: Callable[[], Any], effects: Effects) -> tuple[Any, Exception | None, Any]:
    """In the process: what ``work()`` returned or raised, and what it changed.

    :raises Outdated: the process knows too little.
    """
    if not effects.current():
        raise Outdated
    result, error = None, None
    try:
        result = work()
    except Exception as failure:
        error = failure
    return result, error, effects.collect()


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
        self.garbage, self.doors = _Garbage(), _Doors()
        self.made = _Processes(self.doors)
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
        apart = self.processes and AVAILABLE and size > APART
        job = _Job(size, work, self, effects if apart else None)
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
                job.drop()

    def end(self) -> None:
        """End the zygote. To be called in the thread of the loop in which calls were made, if it may still run."""
        self.made.end()

    def _done(self, size: int) -> None:
        with self._lock:
            self.waiting -= size


_shared = Offload()
run = _shared.run


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """This process is a gateway's own while the block lasts, in which its loop runs: make the interpreter's lock change
    hands as often as it wants that, and let it make processes; see above."""
    sys.setswitchinterval(SWITCH)
    _shared.processes = True
    try:
        yield
    finally:
        _shared.processes = False
        _shared.end()
