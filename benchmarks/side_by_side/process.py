"""A process on one core, from its start until it is ended, and what it said."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0  # seconds until a server listens; a JVM on a busy core takes its time


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Whatever is started within runs on `core` alone, and so do its children: the mask is inherited."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Process:
    """A server that runs.

    :ivar port: where it listens, on the loopback.
    :ivar journal: the file with what it wrote on its standard output and error.
    """

    popen: subprocess.Popen[bytes]
    journal: Path
    port: int = 0

    @property
    def pid(self) -> int:
        return self.popen.pid

    def said(self) -> str:
        return self.journal.read_text("utf-8", "replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of `pattern` in what it says.

        :raises RuntimeError: it ended, or says nothing of the kind.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if found := re.search(pattern, self.said()):
                return found
            self._look()
        raise RuntimeError(f"{self.popen.args!r} did not say {pattern!r}: {self.said()[-2000:]}")

    def wait_for_port(self) -> None:
        """Until it takes connections.

        :raises RuntimeError: it ended, or takes none.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            self._look()
        raise RuntimeError(f"{self.popen.args!r} does not listen: {self.said()[-2000:]}")

    def wait_for_path(self, path: str) -> None:
        """Until it knows `path`: until GET is answered by another status than 404.

        :raises RuntimeError: it ended, or doesn't.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                with contextlib.closing(connection):
                    connection.request("GET", path)
                    if connection.getresponse().status != 404:
                        return
            self._look()
        raise RuntimeError(f"{self.popen.args!r} does not know {path}: {self.said()[-2000:]}")

    def _look(self) -> None:
        if self.popen.poll() is not None:
            raise RuntimeError(f"{self.popen.args!r} ended with {self.popen.returncode}: {self.said()[-2000:]}")
        time.sleep(0.02)

    def stop(self) -> None:
        """End it and its group; what doesn't end within ten seconds is killed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait()


def start(
    command: Sequence[str], core: int, folder: Path, *, env: Mapping[str, str] | None = None, port: int = 0
) -> Process:
    """Start `command` on `core` in `folder`, a process group of its own.

    :param env: added to this process's environment.
    """
    journal = folder / "journal.txt"
    with on_core(core), journal.open("wb") as out:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    return Process(popen, journal, port)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
