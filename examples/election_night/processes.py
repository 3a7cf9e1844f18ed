"""The demo's child processes: started, watched, and always ended."""

from __future__ import annotations

import contextlib
import ctypes
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 30.0  # seconds for a process to be ready: a small machine imports slowly
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_PR_SET_PDEATHSIG = 1


class DemoError(Exception):
    """The demo can't continue; the message is a sentence for the user."""


def free_port(text: str) -> int:
    """The port that `text` names if it is free on 127.0.0.1 (0: any).

    :raises DemoError: it is no port, or in use.
    """
    hint = "choose another: make demo PORT=8081"
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise DemoError(f"{text!r} is not a port, which is a number from 0 to 65535; {hint}")
    try:
        with socket.create_server(("127.0.0.1", int(text))) as bound:
            return int(bound.getsockname()[1])
    except OSError as error:
        raise DemoError(f"Port {text} on 127.0.0.1 can't be had ({error.strerror}); {hint}") from None


def _end_with_parent() -> None:
    """Linux: SIGTERM to this child when the demo dies, even by SIGKILL. On other systems, only the demo's regular end
    stops it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One process; its standard error is in `log`."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    _shown: int = 0  # bytes of the log that were returned by `news`

    def last_words(self) -> str:
        lines = [line for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it left with status {self.process.poll()} and said nothing"

    def news(self) -> list[str]:
        """The whole lines that it has logged since the last call."""
        with self.log.open("rb") as file:
            file.seek(self._shown)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._shown += len(whole) + len(newline)
        return whole.decode("utf-8", "replace").splitlines()

    def ready_port(self) -> int:
        """The port from its line ``ready PORT``.

        :raises DemoError: it ended, or printed nothing in time.
        """
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(_PATIENCE):
                raise DemoError(f"{self.name} was not ready after {_PATIENCE:.0f} seconds.")
        word, _, port = self.process.stdout.readline().partition(" ")
        if word != "ready":
            self.process.wait(_GRACE)
            raise DemoError(f"{self.name} did not start: {self.last_words()}")
        return int(port)


class Children:
    """A context that ends every process it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], *, announces: bool) -> Child:
        """Start `command` in a session of its own, so that Ctrl-C reaches only the demo, which ends it properly.

        With `announces`, its standard output is kept for `Child.ready_port`.
        """
        log = self._folder / f"{name}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if announces else errors,
                stderr=errors,
                text=True,
                env=dict(env),
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # the demo has one thread
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def check(self) -> None:
        """:raises DemoError: one of them has ended unexpectedly."""
        for child in self._children:
            if child.process.poll() is not None:
                raise DemoError(f"{child.name} ended: {child.last_words()}")

    def waiting(self, seconds: float = _PATIENCE) -> Iterator[None]:
        """Turns of a loop that waits for something, a twentieth of a second each, while all of them are running."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            yield
            time.sleep(0.05)

    def end(self) -> None:
        """SIGTERM to all at once, SIGKILL to those that do not end. Ctrl-C is ignored from here on: a third one would
        leave the rest undone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        end = time.monotonic() + _GRACE
        for child in self._children:
            try:
                child.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            if child.process.stdout:
                child.process.stdout.close()
        self._children.clear()
