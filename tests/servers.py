"""Servers of other stacks, each a process that the tests start on a free port and end."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE = 45.0  # seconds; the machine may be busy


def need(what: str, *probe: str) -> None:
    """Skip the test where `probe` can't be run or doesn't end with 0; under ``CI=true`` that is a failure."""
    found = False
    with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
        subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=True)
        found = True
    if not found:
        missing(what)


def missing(what: str) -> None:
    """Skip the test for want of `what`; under ``CI=true`` that is a failure."""
    reason = f"{what} is not here; scripts/install-servers gets it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@dataclass
class Server:
    """A running server.

    :ivar port: where it listens, on the loopback.
    :ivar words: the lines that it printed.
    """

    name: str
    folder: Path
    port: int = 0
    words: list[str] = field(default_factory=list[str])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def journal(self) -> list[str]:
        """What the service itself says has reached it, a line a call, since this was last asked."""
        path = self.folder / "journal"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@contextlib.contextmanager
def running(name: str, command: Sequence[str], folder: Path, *, ready: str) -> Iterator[Server]:
    """Start `command`, and yield as soon as it prints a line that `ready` matches: its group is the port, which the
    server has chosen itself, so that no two ever want the same. It gets STATE (an empty folder) and JOURNAL (a file)
    in its environment."""
    (folder / "state").mkdir()
    server = Server(name, folder)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "STATE": str(folder / "state"), "JOURNAL": str(folder / "journal")},
    )
    told = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            server.words.append(line.rstrip())
            if not server.port and (found := re.search(ready, line)):
                server.port = int(found[1])
                told.set()
        told.set()  # it has ended

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        told.wait(PATIENCE)
        if not server.port:
            pytest.fail("\n".join([f"{name} did not start:", *server.words]), pytrace=False)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join()
        if process.stdout is not None:
            process.stdout.close()
