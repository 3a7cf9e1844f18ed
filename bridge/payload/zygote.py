"""A copy of this process that is kept, to be copied in turn for each large message.

To copy the gateway (`fork`) takes 3 to 7 ms with 90 MB of memory, and has to happen in the thread of the event loop,
between two callbacks. The zygote is made there once; it does nothing but make processes that do the work
(`bridge.payload.child`), which holds nobody up. What it has is as old as it is: it is made again where something newer
is needed (`bridge.payload.shared_file.Inherited`).

It ends with the gateway, however that ends, and when nobody asked it for a process for `IDLE` seconds, since the memory
that the two share becomes less with time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import NoReturn

from bridge.payload import child
from bridge.payload.child import Child
from bridge.payload.shared_file import Inherited, Outdated, SharedFile

#: Where the system calls are that this takes: memfd_create(2) and pidfd_open(2).
AVAILABLE = sys.platform == "linux"

IDLE = 60.0  #: seconds without a message until the zygote ends
END = 1.0  #: seconds for it to end when its gateway does
_NICE = 5  #: lower priority than the loop, which has little to do and is waited for


class Zygote:
    """The process that is kept, as its gateway sees it.

    :ivar newest: the greatest number of an `Inherited` that it has.
    """

    def __init__(self, pid: int, handle: int, control: socket.socket) -> None:
        self.pid, self.newest = pid, Inherited.newest
        self._handle, self._control = handle, control
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(handle, self._reap)

    @classmethod
    def make(cls) -> Zygote:
        """To be called in the thread of the event loop, so that the copy knows that the loop was between two callbacks.

        :raises OSError: no process can be made now.
        """
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            try:
                pid = _fork(its)
                try:
                    handle = os.pidfd_open(pid)
                except OSError:
                    os.kill(pid, signal.SIGKILL)
                    _wait(pid)
                    raise
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(pid, handle, ours)

    def start(self, file: SharedFile) -> Child:
        """A process that does the work which `file` holds.

        :raises Outdated: the zygote has ended.
        :raises OSError: there are too many open files.
        """
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            try:
                socket.send_fds(self._control, [b"\0"], [file.descriptor, its.fileno()])
            except OSError:
                ours.close()
                raise Outdated("the zygote has ended") from None
        return Child(ours, file)

    def close(self) -> None:
        """Make no more processes: it ends when the last one has. The loop in which it was made reaps it."""
        self._control.close()

    def end(self) -> None:
        """As `close`, and wait for its end. To be called in the thread of that loop, which may have ended."""
        self.close()
        if self._handle >= 0:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            poll.poll(END * 1000)
            self._reap()

    def _reap(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._handle)
        os.close(self._handle)
        self._handle = -1
        _wait(self.pid, os.WNOHANG)


def _wait(pid: int, options: int = 0) -> int:
    """The exit status of a process, which is gone then."""
    try:
        return os.waitpid(pid, options)[1]
    except ChildProcessError:  # where SIGCHLD is ignored, the kernel reaps
        return 0


def _fork(control: socket.socket) -> int:
    # A signal that comes before the copy has its own answers would be answered by the loop of this process.
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of forks beside threads: see `bridge.payload.child` what the copy must not do.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _serve(control)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    return pid


# --- in the zygote ---------------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> NoReturn:
    """No signal but SIGKILL reaches it, nor its processes. Nothing is torn down at its end."""
    try:
        child.close_all_but(control.fileno())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever starts the gateway may ignore it
        _step_back()
        gc.freeze()  # else a collection would copy every page of what there is
        _Births(control).run()
    finally:
        os._exit(0)


def _step_back() -> None:
    """Let the gateway go first, and let the kernel end these processes before the gateway if memory is short."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


class _Births:
    """The processes that were made and have not ended.

    Each has a socket by which the gateway is told of it. A gateway that closes its end of it does not want the work any
    more, and one that has ended has closed all.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        #: By the descriptor of the process: its number, and the socket.
        self._alive: dict[int, tuple[int, socket.socket]] = {}

    def run(self) -> None:
        """Until the gateway wants no more of them and all have ended, or it asked for none in `IDLE` seconds."""
        wanted = True
        while wanted or self._alive:
            events = self._poll.poll(None if self._alive else IDLE * 1000)
            if not events:
                return
            for descriptor, _ in events:
                if descriptor == self._control.fileno():
                    wanted = self._take()
                    if not wanted:
                        self._poll.unregister(self._control)
                elif descriptor in self._alive:
                    self._bury(descriptor)
                else:
                    self._kill(descriptor)

    def _take(self) -> bool:
        """Make the process that the gateway asks for; False: it will ask for none."""
        data, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        if not data:
            return False
        file, number = descriptors
        notices = socket.socket(fileno=number)
        try:
            pid = os.fork()
            if pid == 0:
                child.work(file)
            try:
                handle = os.pidfd_open(pid)
            except OSError:
                os.kill(pid, signal.SIGKILL)
                _wait(pid)
                raise
        except OSError as error:
            with notices, contextlib.suppress(OSError):
                notices.send(b"%d" % (error.errno or errno.EIO))
            return True
        finally:
            os.close(file)
        self._alive[handle] = pid, notices
        self._poll.register(handle, select.POLLIN)
        self._poll.register(notices, 0)  # its end, which is always told
        with contextlib.suppress(OSError):
            socket.send_fds(notices, [b"%d" % pid], [handle])
        return True

    def _bury(self, handle: int) -> None:
        pid, notices = self._alive.pop(handle)
        status = _wait(pid)
        self._poll.unregister(handle)
        with contextlib.suppress(KeyError):
            self._poll.unregister(notices)
        os.close(handle)
        with notices, contextlib.suppress(OSError):
            notices.send(b"%d" % status)

    def _kill(self, descriptor: int) -> None:
        """Nobody listens at this socket: end its process."""
        for handle, (_, notices) in self._alive.items():
            if notices.fileno() == descriptor:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                self._poll.unregister(descriptor)
                return
