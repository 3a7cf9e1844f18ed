"""Walks a page as a reader would: files are written, commands pasted into a shell, and their output compared.

A test reads all blocks of its page in order::

    with walk(tmp_path, "8080", "9001") as reader:
        for block in blocks_of(ROOT / "docs" / "admin.md"):
            reader.read(block)

What a page may hold, and what becomes of it:

- ``yaml`` that begins with ``# routes/a.yml``: the file is written. Other blocks: the test reads them itself.
- ``console`` and ``sh``: each command runs, and prints what the page shows below it and nothing else.
  ``…`` on the page stands for anything on a line, and alone on a line for any lines.
- A command that fails is followed by ``$ echo $?``.
- ``hms-bridge serve``, and the last command below a paragraph that speaks of a terminal, stay up. A gateway ends the
  one before it.
- Commands of `NOT_RUN` are left out.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.docs.not_run import NOT_RUN
from tests.docs.pages import Block
from tests.servers import need

_MARK = "what-a-page-never-prints"
_TIMEOUT = 60.0  #: seconds for one command


class Terminal:
    """A shell that keeps its folder and variables between commands."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """The exit status of the command, and what it prints on standard output and error."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        # The status is kept for `echo $?`, and the command can't read what the shell is to read.
        mark = f"status=$?; printf '\\n%s %s\\n' {_MARK} $status; (exit $status)"
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null\n{mark}\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        while not (line := self._shell.stdout.readline()).startswith(_MARK):
            assert line, f"the shell ended in: {command}\n{''.join(lines)}"
            lines.append(line)
        return int(line.split()[1]), "".join(lines).removesuffix("\n")

    def folder(self) -> Path:
        return Path(self.run("pwd")[1].removesuffix("\n"))

    def close(self) -> None:
        """End the shell, and what it started with ``&``."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()


class Walk:
    """One reader, from an empty folder on.

    :ivar ports: the ports that the page names, and free ones in their place, since tests run beside each other.
    :param names: other texts of the page, such as hosts that don't exist, and what stands in for them.
    """

    def __init__(self, folder: Path, ports: dict[str, int], names: dict[str, str]) -> None:
        self.ports = ports
        self._names = names
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self._env["PATH"] = f"{Path(sys.executable).parent}:{self._env['PATH']}"
        self._env |= {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        # curl shows no progress on a terminal, and does so here since it writes to a pipe.
        self._env["CURL_HOME"] = str(folder.parent / f"{folder.name}-curl")
        Path(self._env["CURL_HOME"]).mkdir()
        Path(self._env["CURL_HOME"], ".curlrc").write_text("silent\nshow-error\n")
        self._terminal = Terminal(folder, self._env)
        self._gateway: subprocess.Popen[str] | None = None
        self._servers: list[subprocess.Popen[str]] = []

    def read(self, block: Block) -> None:
        """Do what the block says.

        :raises AssertionError: with the command and its output, where it does other than the page shows.
        """
        assert block.language in ("yaml", "console", "sh"), f"{block}: the page's test must read this block itself"
        text = self.translate(block.text)
        if block.language == "yaml":
            self._write(block, text)
        elif block.language == "console":
            self._run(block, re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", _joined(text), re.MULTILINE))
        else:
            lines = [line for line in _joined(text).splitlines() if line and not line.startswith("#")]
            self._run(block, [(line, "") for line in lines])

    def translate(self, text: str) -> str:
        """`text` with the ports and names of this walk."""
        for name, stand_in in self._names.items():
            text = text.replace(name, stand_in)
        if not self.ports:
            return text
        return re.sub(r"\b(" + "|".join(self.ports) + r")\b", lambda match: str(self.ports[match[1]]), text)

    def run(self, command: str) -> str:
        """What a command prints that is not on the page.

        :raises AssertionError: it fails.
        """
        status, output = self._terminal.run(command)
        assert status == 0, f"{command}\n{output}"
        return output

    def _write(self, block: Block, text: str) -> None:
        name = re.match(r"# ([\w./-]+\.\w+)\n", text)
        assert name, f"{block}: names no file, so the page's test must read it itself"
        path = self._terminal.folder() / name[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def _run(self, block: Block, steps: list[tuple[str, str]]) -> None:
        not_run = {self.translate(command) for command in NOT_RUN.get(block.page, {})}
        for number, (command, expected) in enumerate(steps, 1):
            if command in not_run:
                continue
            if re.search(r"\bcurl\b", command):
                need("curl", "curl", "--version")
            last = number == len(steps)
            if re.search(r"hms-bridge serve\b(?!.*&$)", command):
                self._serve(command, expected)
            elif last and "terminal" in block.before:
                self._stay(command, expected)
            else:
                may_fail = not last and steps[number][0] == "echo $?"
                status, output = self._terminal.run(command)
                assert status == 0 or may_fail, f"{block}: {command} ended with {status}:\n{output}"
                assert is_shown(output, expected), f"{block}: {command} printed\n{output}\nand not\n{expected}"

    def _serve(self, command: str, expected: str) -> None:
        if self._gateway is not None:
            self._servers.remove(self._gateway)
            _end(self._gateway)
        if "--port" not in command:
            command += f" --port {self.ports['8080']}"
        self._gateway = self._stay(command, expected or "HMS Bridge serves…")

    def _stay(self, command: str, expected: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"],
            cwd=self._terminal.folder(),
            env=self._env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._servers.append(server)
        assert server.stdout is not None
        if expected:
            seen = ""
            while not is_shown(seen, f"…\n{expected.strip()}\n…"):
                line = server.stdout.readline()
                assert line, f"{command} ended:\n{seen}"
                seen += line
        else:
            [listens_on] = [port for port in self.ports.values() if str(port) in command]
            wait_for(listens_on)
        return server

    def close(self) -> None:
        for server in self._servers:
            _end(server)
        self._terminal.close()


def _joined(text: str) -> str:
    """With each command on one line."""
    return re.sub(r"\\\n *", "", text)


def is_shown(output: str, page: str) -> bool:
    """Whether a page shows this output: ``…`` stands for anything on a line, a line of ``…`` for any lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + r"\n"
        for line in page.strip().splitlines()
    ]
    return re.fullmatch("".join(lines) or r"\n", f"{output.strip()}\n") is not None


def _end(server: subprocess.Popen[str]) -> None:
    server.terminate()
    server.communicate(timeout=_TIMEOUT)


def wait_for(port: int) -> None:
    """Until something listens on `port`."""
    end = time.monotonic() + _TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


def free_ports(count: int) -> list[int]:
    """Below those that the system gives out: one of these may be another test's before a server of the page has it."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(20_000, 32_000)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
        return ports


@contextlib.contextmanager
def walk(folder: Path, *ports: str, names: dict[str, str] | None = None) -> Iterator[Walk]:
    walking = Walk(folder, dict(zip(ports, free_ports(len(ports)), strict=True)), names or {})
    try:
        yield walking
    finally:
        walking.close()
