"""Programs in a pseudo terminal, as a person at a keyboard has them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

#: Control sequences (ECMA-48) and the line editor's bracketed paste.
_CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_=>])")

#: Ctrl-C reaches the process that has the terminal for its controlling one. `preexec_fn` would do, but not where other
#: threads run.
_ADOPT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """The keyboard and the screen of one program. The screen never scrolls: it keeps all that was printed.

    :ivar process: the program; it leads a session of its own, and the terminal is its controlling one.
    """

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._printed = b""
        self.process = process

    @property
    def screen(self) -> str:
        """What a selection with the mouse would copy: text without control sequences. A line that the terminal itself
        wraps at its edge is one line."""
        text = _CONTROL.sub("", self._printed.decode("utf-8", "replace"))
        lines = text.replace("\r\n", "\n").split("\n")
        return "\n".join(line.rsplit("\r", 1)[-1] for line in lines)

    @property
    def is_open(self) -> bool:
        return self._master >= 0

    def close(self) -> None:
        """Close the window: the program gets SIGHUP."""
        os.close(self._master)
        self._master = -1

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, pattern: str, seconds: float = 60, *, after: int = 0) -> re.Match[str]:
        """The first match of `pattern` on the screen, behind its first `after` characters.

        :raises AssertionError: it does not appear.
        """
        end = time.monotonic() + seconds
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.screen, after)
            if match:
                return match
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{pattern!r} is not on the screen:\n{self.screen}")

    def wait_for_end(self, seconds: float = 30) -> int:
        """The program's exit status; the screen has all that it printed."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Whether something came; False once the program has closed its side, or after `seconds`."""
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: EIO, once nobody has the other side open
            return False
        self._printed += data
        return bool(data)


@contextlib.contextmanager
def terminal(
    command: Sequence[str], *, columns: int = 80, env: Mapping[str, str], cwd: Path | None = None
) -> Iterator[Terminal]:
    """Run `command` in a terminal of `columns`; it is killed at the end if it still runs."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ADOPT, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "TERM": "xterm-256color"},
            cwd=cwd,
            start_new_session=True,
        )
    finally:
        os.close(slave)
    screen = Terminal(master, process)
    try:
        yield screen
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if screen.is_open:
            screen.close()
