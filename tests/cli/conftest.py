"""The command line as a user runs it: a process of its own, in a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import process_log

PLAIN = {"NO_COLOR": "1", "COLUMNS": "200"}
SPEC = "route: /v1/a\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n"


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """A command in this process leaves no log of its own behind."""
    with process_log.restored():
        yield


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("routes", "wsdl", "protos"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mesh.yml").write_text("svc: 127.0.0.1:9\n")  # nobody is there
    return tmp_path


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    return {**kept, "BRIDGE_HOME": str(home), **PLAIN}


@pytest.fixture(scope="session")
def fork_server() -> Iterator[subprocess.Popen[str]]:
    """`tests.cli.fork_server`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
        env={**kept, **PLAIN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def cli(environment: dict[str, str], home: Path, fork_server: subprocess.Popen[str]) -> Run:
    """``cli("check", "a.yml", BRIDGE_MESH="dns:")`` -> the finished process."""

    def run(*args: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bridge.cli.main", *args]
        whole = {**environment, **more}
        if any(name.startswith("PYTHON") for name in more):  # an interpreter reads these when it starts
            return subprocess.run(
                command, cwd=home, env=whole, input=stdin, capture_output=True, text=True, timeout=60, check=False
            )
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
            for file, text in zip(files, (stdin, "", ""), strict=True):
                file.write_text(text)
            wanted = {"arguments": args, "folder": str(home), "environment": whole, "files": list(map(str, files))}
            assert fork_server.stdin
            assert fork_server.stdout
            fork_server.stdin.write(json.dumps(wanted) + "\n")
            fork_server.stdin.flush()
            code = int(fork_server.stdout.readline())
            return subprocess.CompletedProcess(command, code, files[1].read_text(), files[2].read_text())

    return run


def line_with(process: subprocess.Popen[str], words: str, seconds: float = 20) -> str:
    """The next line on standard error that holds `words`.

    :raises AssertionError: it does not come. The process is killed after `seconds`, which ends the reading.
    """
    assert process.stderr
    seen = []
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        for line in process.stderr:
            if words in line:
                return line
            seen.append(line)
    finally:
        timer.cancel()
    code = process.wait(seconds)
    raise AssertionError(f"{words!r} was not said; exit code {code} after: {''.join(seen) or 'nothing'}")


class Served:
    """A gateway process, where it answers, and the line that said so."""

    def __init__(self, process: subprocess.Popen[str], banner: str) -> None:
        self.process = process
        self.banner = banner
        self.url = banner.rsplit(maxsplit=1)[-1]

    def next_line(self) -> str:
        """The next line on standard error."""
        return line_with(self.process, "")

    async def line_with(self, words: str) -> str:
        """The next line on standard error that holds `words`."""
        return await asyncio.to_thread(line_with, self.process, words)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send `number`; the exit code and the rest of standard error."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        # Not `communicate`: it reads the pipe itself, past what the text layer has already taken from it.
        assert self.process.stderr
        return code, self.process.stderr.read()


@pytest.fixture
def served(environment: dict[str, str], home: Path) -> Iterator[Callable[..., Served]]:
    """``served(python=…, code=…, **environment)`` -> a gateway on a free port; it is ended with the test.

    `code` is run in place of ``-m bridge.cli.main``."""
    processes: list[subprocess.Popen[str]] = []

    def start(python: str = sys.executable, code: str = "", **more: str) -> Served:
        program = ["-c", code] if code else ["-m", "bridge.cli.main"]
        process = subprocess.Popen(
            [python, *program, "serve", "--port", "0"],
            cwd=home,
            env={**environment, **more},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return Served(process, line_with(process, "HMS Bridge serves", 60))

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def mesh(home: Path) -> Callable[[int], None]:
    """Tell the home's mesh where ``svc:80`` is."""

    def tell(port: int) -> None:
        (home / "mesh.yml").write_text(json.dumps({"svc": f"127.0.0.1:{port}"}))

    return tell
