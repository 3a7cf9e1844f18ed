"""Runs commands of hms-bridge, each in a process of its own that begins with the modules loaded.

To import them costs most of a command's time. A line of standard input is a command as JSON: `arguments`, `folder`,
`environment`, and `files`, which are its standard input, output and error. A line of standard output is its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import bridge.app  # the part of it that most commands load when they run
import bridge.cli.main
import bridge.cli.offline

SECONDS = 60  #: that a command may take


def become(command: dict[str, Any]) -> None:
    """Make this process what a shell would have started for ``python -m bridge.cli.main``."""
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    for number, (path, mode) in enumerate(zip(command["files"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        descriptor = os.open(path, mode)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # until the process ends
    sys.path[0] = command["folder"]
    sys.argv = [bridge.cli.main.__file__, *command["arguments"]]
    sys.modules["__main__"].__package__ = "bridge.cli"
    signal.alarm(SECONDS)


def serve() -> None:
    """Until standard input ends; in a process of a command, until that has ended."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(json.loads(line))
            bridge.cli.main.main()
            sys.exit()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
