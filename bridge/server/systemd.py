"""What systemd and a service tell each other: readiness (sd_notify(3)) and sockets that it opened (sd_listen_fds(3)).

Without systemd nothing here does anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass, field

from bridge.errors import SettingsError

FIRST_FD = 3  #: SD_LISTEN_FDS_START
ADMIN = "admin"  #: FileDescriptorName= of the socket of the admin pages; any other is the routes'


@dataclass(slots=True)
class InheritedSockets:
    """Listening sockets that systemd has opened (socket activation).

    :ivar routes: the gateway's own listener, or None.
    :ivar admin: the admin pages' listener, or None.
    """

    routes: socket.socket | None = None
    admin: socket.socket | None = None

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> InheritedSockets:
        """The sockets that ``LISTEN_FDS`` announces to this process; its variables are removed from `environ`.

        :raises SettingsError: one is not a listening stream socket, or there are two for one purpose.
        """
        owner, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
        sockets = cls()
        if owner != str(os.getpid()) or not count.isdecimal():
            return sockets
        known = names.split(":") if names else []
        for index in range(min(int(count), 100)):
            purpose = "admin" if known[index : index + 1] == [ADMIN] else "routes"
            if getattr(sockets, purpose) is not None:
                sockets.close()
                raise SettingsError(
                    f"LISTEN_FDS: systemd passed two sockets for the {purpose}; there may be one, and one more with "
                    f"FileDescriptorName={ADMIN}"
                )
            setattr(sockets, purpose, _inherited(FIRST_FD + index))
        return sockets

    def close(self) -> None:
        for listener in (self.routes, self.admin):
            if listener is not None:
                listener.close()


def _inherited(fd: int) -> socket.socket:
    """:raises SettingsError: it is not a listening stream socket."""
    try:
        os.set_inheritable(fd, False)
        listener = socket.socket(fileno=fd)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise SettingsError(f"LISTEN_FDS: file descriptor {fd} is not a socket: {error.strerror}") from None
    if listener.type != socket.SOCK_STREAM or not listens:
        listener.close()
        raise SettingsError(f"LISTEN_FDS: file descriptor {fd} is not a listening stream socket (ListenStream=)")
    listener.setblocking(False)
    return listener


@dataclass(slots=True)
class Notifier:
    """Tells systemd how the service is, by datagrams to ``NOTIFY_SOCKET``.

    :ivar address: the socket's; None where nobody asked.
    :ivar interval: seconds between two signs of life (half of ``WatchdogSec=``); None where none are expected.
    """

    address: str | None = None
    interval: float | None = None
    _socket: socket.socket | None = field(default=None, init=False)

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """What `environ` asks for; its variables are removed, so that no child process notifies in our place."""
        path, limit, owner = (environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        if not path.startswith(("/", "@")):
            return cls()
        watched = limit.isdecimal() and int(limit) > 0 and owner in ("", str(os.getpid()))
        return cls("\0" + path[1:] if path.startswith("@") else path, int(limit) / 2e6 if watched else None)

    def ready(self, status: str) -> None:
        """The service serves, at first or again after `reloading`.

        :param status: a sentence for ``systemctl status``.
        """
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Configuration is being read again; `ready` ends that."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """The service begins to end."""
        self._send("STOPPING=1", f"STATUS={status}")

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Meanwhile give a sign of life as long as the event loop turns, if one is expected."""
        watch = asyncio.create_task(self._watch()) if self.interval is not None else None
        try:
            yield
        finally:
            if watch is not None:
                watch.cancel()

    async def _watch(self) -> None:
        while self.interval is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.interval)

    def _send(self, *lines: str) -> None:
        if self.address is None:
            return
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        with contextlib.suppress(OSError):  # systemd is gone or busy: nothing that the service could do better
            self._socket.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), self.address)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
