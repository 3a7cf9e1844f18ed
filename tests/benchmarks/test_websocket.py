"""The benchmark of WebSockets runs, in its quick mode."""

from __future__ import annotations

import subprocess
import sys


def test_it_prints_its_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.websocket", "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert "2000 messages of 64 bytes" in run.stdout
    assert "/s through the gateway" in run.stdout
