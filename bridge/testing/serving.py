"""A gateway for a plug-in's tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_START = 60  # seconds until a gateway that says nothing is given up
_STOP = 30
_READY = re.compile(r"HMS Bridge serves .* on (http\S+)")


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[str]:
    """A gateway that serves the routes of `home` on a free port of the loopback, in a process of its own; yields its
    URL. What it logs is written to standard error, so a test that fails shows it.

    The gateway finds plug-ins by their entry points, so a plug-in must be installed.

    :param settings: ``BRIDGE_LOG="-"``, …; those of the environment do not count.
    :raises RuntimeError: it does not start; the message has what the gateway said.
    """
    # Variables that force colours would put them into the line that is read below.
    foreign = ("BRIDGE_", "FORCE_COLOR", "NOTIFY_SOCKET", "LISTEN_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"BRIDGE_HOME": str(home), "NO_COLOR": "1", **settings}
    command = [sys.executable, "-m", "bridge", "serve", "--port", "0"]
    # This interpreter and fixed arguments.
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603  # see above
        assert process.stderr is not None
        try:
            url = _url(process, process.stderr)
            log = threading.Thread(target=_show, args=(process.stderr,), daemon=True)
            log.start()
            try:
                yield url
            finally:
                process.terminate()
                process.wait(_STOP)
                log.join()
        finally:
            process.kill()


def _url(process: subprocess.Popen[str], stderr: IO[str]) -> str:
    """Where `process` serves, as its standard error says."""
    giving_up = threading.Timer(_START, process.kill)
    giving_up.start()
    try:
        lines = []
        for line in stderr:
            lines.append(line)
            if match := _READY.search(line):
                return match[1]
    finally:
        giving_up.cancel()
    raise RuntimeError(f"the gateway did not start: {''.join(lines).strip() or 'it said nothing'}")


def _show(stderr: IO[str]) -> None:
    for line in stderr:
        sys.stderr.write(line)
