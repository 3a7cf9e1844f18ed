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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

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

    name: str
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

        :raises RuntimeError: it ended, or says nothing of the kind; it is stopped then.
        """
        return self._until(lambda: re.search(pattern, self.said(), re.MULTILINE), f"did not say {pattern!r}")

    def wait_for_port(self) -> None:
        """Until it takes connections.

        :raises RuntimeError: it ended, or takes none; it is stopped then.
        """

        def taken() -> bool:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True

        self._until(taken, "does not listen")

    def wait_for_path(self, path: str) -> None:
        """Until it knows `path`: until GET is answered by another status than 404.

        :raises RuntimeError: it ended, or doesn't; it is stopped then.
        """

        def known() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", path)
                return connection.getresponse().status != 404

        self._until(known, f"does not know {path}")

    def _until(self, seen: Callable[[], T | None], words: str) -> T:
        """What `seen` gives once it is something; it may fail until then."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.popen.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if found := seen():
                    return found
            time.sleep(0.02)
        ended = self.popen.poll()
        self.stop()
        what = words if ended is None else f"ended with {ended}"
        raise RuntimeError(f"{self.name} {what}: …{self.said()[-1000:]}")

    def stop(self) -> None:
        """End it and its group; what doesn't end within ten seconds is killed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
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
    return Process(Path(command[0]).name, popen, journal, port)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
