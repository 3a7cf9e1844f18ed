"""One piece of work in a process of its own: a copy of this one (`fork`), which ends with the work.

The copy has everything that the work needs, so nothing is passed to it, and it shares no interpreter lock with the
event loop. The loop stands still while the copy is made: about 3 ms with 120 MB of memory. What the copy changes stays
there; its result comes back pickled (protocol 5), in a file in memory, with large `bytes` beside the pickle.

The copy has one thread, the one that called `start`. It must not need a lock that another thread held at that moment,
since nobody would ever release it. A process that sleeps waits for such a lock, as the work itself waits for nothing;
it is killed, and the work is to be done otherwise.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import resource
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from bridge.errors import RequestError

#: Where the system calls are that this takes: memfd_create(2) and pidfd_open(2).
AVAILABLE = sys.platform == "linux"

LOOK = 0.1  #: seconds between two looks at the process
ASLEEP = 5  #: looks in a row that find it asleep, and its CPU time unchanged, until it is given up
_NICE = 5  #: lower priority than the loop, which has little to do and is waited for
_BESIDE = 64 * 1024  #: bytes of a `bytes` object that is not copied into the pickle
_DONE, _FAILED = 0, 1  #: exit codes
_REASON = 400  #: characters of what is told of a failure
_CPU = 600  #: seconds of CPU time that a process gets, should nobody be left who ends it
_FILES = 65536  #: descriptors that are closed at least, where the system names no limit
_LENGTH = 8  #: bytes of the pickle's length, which is written last …
_HEAD = 16  #: … and of all that precedes the pickle; the first byte after the length says that the work has begun


class Unable(Exception):
    """The work can't be done in such a process; it had no effect. The message says why."""


class Lost(Exception):
    """The process was ended from outside, for example by the kernel because memory was short."""


class Abandoned(Exception):
    """Nobody waits for the result any more."""


class Child:
    """A process at work; `result` is called once, in any thread."""

    def __init__(self, pid: int, file: int) -> None:
        self.pid, self._file = pid, file

    def result(self, abandoned: Callable[[], bool]) -> Any:
        """What the work returned, once it has ended. The process is gone afterwards, whatever happens.

        :param abandoned: whether nobody waits any more; asked several times a second.
        :raises Unable: the work or its result can't cross the border between processes.
        :raises Lost: it was ended from outside.
        :raises Abandoned: as `abandoned` said.
        """
        try:
            status = self._wait(abandoned)
            if os.WIFSIGNALED(status):
                number = os.WTERMSIG(status)
                if not self._begun():  # what libraries do after a fork may fail beside their threads
                    raise Unable(f"the process was ended by signal {number} before it began")
                raise Lost(f"the process that did the work was ended by signal {number}")
            if os.WEXITSTATUS(status) != _DONE:
                raise Unable(f"it failed, or its result can't be pickled: {self._read()}")
            return self._read()
        finally:
            os.close(self._file)

    def _wait(self, abandoned: Callable[[], bool]) -> int:
        """Its exit status; it is killed before an exception is raised."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:  # it has ended, and SIGCHLD is ignored
            return self._reap()
        except OSError as error:
            self._kill()
            raise Unable(f"it can't be waited for: {error.strerror}") from None
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            asleep, before = 0, b""
            while not poll.poll(LOOK * 1000):
                if abandoned():
                    self._kill()
                    raise Abandoned
                state, spent = _look(self.pid)
                asleep = asleep + 1 if state == b"S" and spent == before else 0
                before = spent
                if asleep == ASLEEP:
                    self._kill()
                    raise Unable("it waits for a lock that another thread held when it began")
            return self._reap()
        finally:
            os.close(handle)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> int:
        try:
            return os.waitpid(self.pid, 0)[1]
        except ChildProcessError:  # where SIGCHLD is ignored, nobody learns how a process ended
            return 0 if self._length() else signal.SIGKILL

    def _begun(self) -> bool:
        return os.pread(self._file, 1, _LENGTH) == b"\1"

    def _length(self) -> int:
        return int.from_bytes(os.pread(self._file, _LENGTH, 0), "little")

    def _read(self) -> Any:
        size = self._length()
        return _Unpickler(io.BytesIO(os.pread(self._file, size, _HEAD)), self._file, _HEAD + size).load()


def start(work: Callable[[], Any]) -> Child:
    """Begin ``work()`` in a copy of this process. To be called in the thread of the event loop, so that the copy knows
    that the loop was between two callbacks.

    :param work: returns what is sent back. It catches its own errors: one that it raises means `Unable`.
    :raises OSError: no process can be made now.
    """
    file = os.memfd_create("result")
    try:
        # A signal that comes before the copy has its own answers would be answered by the loop of this process.
        usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of forks beside threads: see above what the copy must not do.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                _run(work, file)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    except BaseException:
        os.close(file)
        raise
    return Child(pid, file)


def _run(work: Callable[[], Any], file: int) -> NoReturn:
    """The process: no signal but SIGKILL reaches it, and nothing is torn down at its end."""
    code = _FAILED
    try:
        os.pwrite(file, b"\1", _LENGTH)
        # A connection that the gateway closes would stay open for its peer.
        os.closerange(3, file)
        os.closerange(file + 1, max(os.sysconf("SC_OPEN_MAX"), _FILES))
        _step_back()
        gc.freeze()  # else a collection would copy every page of what there is
        _write(file, work())
        code = _DONE
    except Exception as error:
        _write(file, repr(error)[:_REASON])
    finally:
        os._exit(code)


def _step_back() -> None:
    """Let the gateway go first, and let the kernel end this process before the gateway if memory is short."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _write(file: int, value: Any) -> None:
    text = io.BytesIO()
    pickler = _Pickler(text)
    pickler.dump(value)
    at = _HEAD
    for part in (text.getvalue(), *pickler.beside):
        at = _put(file, memoryview(part), at)
    _put(file, memoryview(text.tell().to_bytes(_LENGTH, "little")), 0)  # last: all is there


def _put(file: int, data: memoryview, at: int) -> int:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written
    return at


def _look(pid: int) -> tuple[bytes, bytes]:
    """The state of a process, and its CPU time (proc_pid_stat(5), fields 3, 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0], b" ".join(fields[11:13])
    except (OSError, IndexError):
        return b"", b""


class _Pickler(pickle.Pickler):
    """:ivar beside: large `bytes`, in the order in which they are wanted."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
        self.beside: list[bytes] = []

    def persistent_id(self, value: Any) -> int | None:
        if type(value) is bytes and len(value) > _BESIDE:
            self.beside.append(value)
            return len(value)
        return None

    def reducer_override(self, value: Any) -> Any:
        """Errors come back as they are, though most are not made by what is in `BaseException.args`."""
        if not isinstance(value, BaseException):
            return NotImplemented
        state = value.__dict__ if isinstance(value, RequestError) else {**value.__dict__, **_traced(value)}
        return _error, (type(value), value.args), state, None, None, _restore


class _Unpickler(pickle.Unpickler):
    def __init__(self, text: io.BytesIO, file: int, at: int) -> None:
        super().__init__(text)
        self._file, self._at = file, at

    def persistent_load(self, size: Any) -> bytes:
        data = os.pread(self._file, size, self._at)  # which holds no lock
        self._at += size
        return data


def _traced(error: BaseException) -> dict[str, Any]:
    """Where `error` came from, for the log: a traceback does not cross processes."""
    lines = traceback.format_exception(error)
    return {"__notes__": [*getattr(error, "__notes__", ()), "In the process of a large message:\n" + "".join(lines)]}


def _error(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    error = kind.__new__(kind)
    error.args = arguments
    return error


def _restore(error: BaseException, state: dict[str, Any]) -> None:
    error.__dict__.update(state)
    error.__suppress_context__ = True
