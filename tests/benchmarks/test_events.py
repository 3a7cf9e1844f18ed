"""The benchmark of server-sent events runs, in its quick mode."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys


def test_it_prints_its_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.events", "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [re.split(r"\s+", line) for line in run.stdout.splitlines() if re.match(r"(socket|Chromium) ", line)]
    clients = ["Chromium", "socket"] if shutil.which("chromium") else ["socket"]
    assert [row[:2] for row in rows] == [[client, way] for client in clients for way in ("direct", "gateway")]
    for row in rows:
        median, high, most = map(float, row[2:5])
        assert median <= high <= most + 0.01
