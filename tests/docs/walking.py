"""Walks a page as a reader would: files are written, commands pasted into a shell, and their output compared."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import Block

_MARK = "what-a-page-never-prints"
_TIMEOUT = 60.0  #: seconds for one command


class Terminal:
    """A shell that keeps its folder and variables between commands."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash"], cwd=folder, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, command: str) -> str:
        """What the command prints on standard output.

        :raises AssertionError: it fails.
        """
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\nprintf '\\n%s %s\\n' {_MARK} $?\n")
        self._shell.stdin.flush()
        lines = []
        while not (line := self._shell.stdout.readline()).startswith(_MARK):
            assert line, f"the shell ended in: {command}"
            lines.append(line)
        output = "".join(lines).removesuffix("\n")
        assert line.split()[1] == "0", f"{command}\n{output}"
        return output

    def close(self) -> None:
        self._shell.kill()
        self._shell.communicate()


class Walk:
    """One reader, from an empty folder on.

    :param ports: the ports that the page names, and free ones in their place, since tests run beside each other.
    """

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._ports = ports
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self._env["PATH"] = f"{Path(sys.executable).parent}:{self._env['PATH']}"
        self._env["PYTHONUNBUFFERED"] = "1"
        self._terminal = Terminal(folder, self._env)
        self._servers: list[subprocess.Popen[str]] = []

    def read(self, block: Block) -> None:
        """Do what the block says."""
        text = re.sub(r"\b(" + "|".join(self._ports) + r")\b", lambda match: str(self._ports[match[1]]), block.text)
        if block.language == "yaml":
            self._write(text)
        elif block.language == "console":
            self._run(text, in_terminal_of_its_own="terminal" in block.before)

    def _write(self, text: str) -> None:
        name = text.partition("\n")[0].removeprefix("# ")
        path = Path(self._terminal.run("pwd").strip(), name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def _run(self, text: str, *, in_terminal_of_its_own: bool) -> None:
        steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.sub(r"\\\n *", "", text), re.MULTILINE)
        for number, (command, expected) in enumerate(steps, 1):
            if in_terminal_of_its_own and number == len(steps):
                self._serve(command, expected)
            else:
                assert self._terminal.run(command).strip() == expected.strip(), command

    def _serve(self, command: str, expected: str) -> None:
        folder, port = self._terminal.run("pwd").strip(), self._ports.get("8080")
        if command == "hms-bridge serve":
            command += f" --port {port}"
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=self._env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._servers.append(server)
        assert server.stdout is not None
        if expected:
            seen = ""
            while expected.strip() not in seen:
                line = server.stdout.readline()
                assert line, f"{command} ended:\n{seen}"
                seen += line
            return
        [listens_on] = [port for port in self._ports.values() if str(port) in command]
        wait_for(listens_on)

    def close(self) -> None:
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            server.communicate(timeout=_TIMEOUT)
        self._terminal.close()


def wait_for(port: int) -> None:
    """Until something listens on `port`."""
    end = time.monotonic() + _TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def walk(folder: Path, *ports: str) -> Iterator[Walk]:
    walking = Walk(folder, dict(zip(ports, free_ports(len(ports)), strict=True)))
    try:
        yield walking
    finally:
        walking.close()
