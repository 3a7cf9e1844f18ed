"""The benchmark of large bodies, with small ones: it works, and the gateway's memory stays flat."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_bodies_go_both_ways() -> None:
    command = [sys.executable, "-m", "benchmarks.bodies", "--size", "50000000", "--rounds", "1", "--only", "ours"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    # It is 1 if the memory grew by 16 MiB or more; the bodies have three times as many.
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"(down|up) ", line)]
    assert [row[:2] for row in rows] == [["down", "ours"], ["up", "ours"]]
    assert all(float(row[2]) > 0 for row in rows)
