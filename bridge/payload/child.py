"""One piece of work in a process of its own, which ends with the work.

The process is a copy of one that is kept for that (`bridge.payload.zygote`), and so has what the gateway had when that
one was made. The work comes to it pickled, and what it returns goes back in the same file (`SharedFile`). It shares no
interpreter lock with the event loop; what it changes stays there.

It has one thread. It must not need a lock that another thread of the gateway held when the zygote was made, since
nobody would ever release it. A process that sleeps waits for such a lock, as the work itself waits for nothing; it is
killed, and the work is to be done otherwise.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from bridge.payload.shared_file import Outdated, SharedFile

LOOK = 0.1  #: seconds between two looks at the process
ASLEEP = 5  #: looks in a row that find it asleep, and its CPU time unchanged, until it is given up
BIRTH = 5.0  #: seconds until there is a process
_DONE, _FAILED, _OUTDATED = 0, 1, 2  #: exit codes
_REASON = 400  #: characters of what is told of a failure
_CPU = 600  #: seconds of CPU time that a process gets, should nobody be left who ends it
_FILES = 65536  #: descriptors that are closed at least, where the system names no limit
_NOTICE = 64  #: bytes of what the zygote tells of a process, at most


class Unable(Exception):
    """The work can't be done in such a process; it had no effect. The message says why."""


class Unfit(Unable):
    """Nor can any other that comes from the same zygote."""


class Lost(Exception):
    """The process was ended from outside, for example by the kernel because memory was short."""


class Abandoned(Exception):
    """Nobody waits for the result any more."""


class Child:
    """A process at work; `result` is called once, in any thread.

    :param notices: what the zygote tells: the process's number, with a descriptor of the process; then how it ended.
    :param file: holds the work, and then its result.
    """

    def __init__(self, notices: socket.socket, file: SharedFile) -> None:
        self._notices, self._file = notices, file
        self._pid = self._handle = -1

    def result(self, abandoned: Callable[[], bool]) -> Any:
        """What the work returned, once it has ended. The process is gone afterwards, whatever happens.

        :param abandoned: whether nobody waits any more; asked several times a second.
        :raises Unable: the work or its result can't cross the border between processes.
        :raises Outdated: the zygote does not have all that the work needs.
        :raises Lost: it was ended from outside.
        :raises Abandoned: as `abandoned` said.
        """
        try:
            self._await_birth(abandoned)
            status = self._await_end(abandoned)
            if os.WIFSIGNALED(status):
                number = os.WTERMSIG(status)
                if not self._file.begun:  # what libraries do after a fork may fail beside their threads
                    raise Unfit(f"the process was ended by signal {number} before it began")
                raise Lost(f"the process that did the work was ended by signal {number}")
            if os.WEXITSTATUS(status) == _OUTDATED:
                raise Outdated
            if os.WEXITSTATUS(status) != _DONE:
                raise Unable(f"it failed, or its result can't be pickled: {self._file.read()}")
            return self._file.read()
        finally:
            self._notices.close()
            if self._handle >= 0:
                os.close(self._handle)

    def _await_birth(self, abandoned: Callable[[], bool]) -> None:
        poll = select.poll()
        poll.register(self._notices, select.POLLIN)
        until = time.monotonic() + BIRTH
        while not poll.poll(LOOK * 1000):
            if abandoned():  # the zygote ends the process when it finds nobody to tell of it
                raise Abandoned
            if time.monotonic() > until:
                raise Unfit(f"none was made within {BIRTH:.0f} s")
        try:
            notice, handles, _, _ = socket.recv_fds(self._notices, _NOTICE, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            notice, handles = b"", []
        if not notice:
            raise Outdated("the zygote has ended")
        if not handles:
            raise Unable(f"none can be made: {os.strerror(int(notice))}")
        self._pid, self._handle = int(notice), handles[0]

    def _await_end(self, abandoned: Callable[[], bool]) -> int:
        """Its exit status; it is killed before an exception is raised."""
        poll = select.poll()
        poll.register(self._notices, select.POLLIN)
        asleep, before = 0, b""
        while not poll.poll(LOOK * 1000):
            if abandoned():
                self._kill()
                raise Abandoned
            state, spent = _look(self._pid)
            asleep = asleep + 1 if state == b"S" and spent == before else 0
            before = spent
            if asleep == ASLEEP:
                self._kill()
                raise Unfit("it waits for a lock that another thread held when the zygote was made")
        return self._told()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        with contextlib.suppress(Lost):
            self._told()

    def _told(self) -> int:
        """How it ended, by the zygote, which has reaped it."""
        try:
            notice = self._notices.recv(_NOTICE)
        except OSError:
            notice = b""
        if notice:
            return int(notice)
        with contextlib.suppress(ProcessLookupError):  # without a zygote nobody reaps it but init
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        raise Lost("the zygote has ended")


def close_all_but(descriptor: int) -> None:
    """Close what a copy of the gateway inherits, except its standard streams: a connection that the gateway closes
    would stay open for its peer."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, max(os.sysconf("SC_OPEN_MAX"), _FILES))


def work(descriptor: int) -> NoReturn:
    """In the process: call what the file holds, and put there what it returns. Nothing is torn down at the end.

    What is called catches its own errors: one that it raises means `Unable`.
    """
    code = _FAILED
    try:
        close_all_but(descriptor)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
        file = SharedFile(descriptor)
        try:
            called = file.read()
            file.begin()
            file.write(called())
            code = _DONE
        except Outdated:
            code = _OUTDATED
        except Exception as error:
            file.write(repr(error)[:_REASON])
    finally:
        os._exit(code)


def _look(pid: int) -> tuple[bytes, bytes]:
    """The state of a process, and its CPU time (proc_pid_stat(5), fields 3, 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0], b" ".join(fields[11:13])
    except (OSError, IndexError):
        return b"", b""
