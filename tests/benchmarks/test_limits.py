"""The benchmark of limits runs, in its quick mode: two gateway processes that share a Redis admit what they should.

`tests/stages/quota/redis/test_shared.py` has the same within one process, where nothing is left over at the end.
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.servers import need


def test_two_gateways_admit_what_the_rate_gives() -> None:
    need("redis-server", "redis-server", "--version")
    command = [sys.executable, "-m", "benchmarks.limits", "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    [(count, clients)] = re.findall(r"^([\d,]+) requests of (\d+) clients over two gateways", run.stdout, re.MULTILINE)
    assert (count, clients) == ("6,000", "10")
    [(admitted, due)] = re.findall(r"admitted ([\d,]+), refused [\d,]+; the rate gives ([\d,]+)", run.stdout)
    ratio = int(admitted.replace(",", "")) / int(due.replace(",", ""))
    assert 0.98 <= ratio <= 1.002  # a few tokens of each client are left in the end, which are much of so few
    rows = re.findall(r"^(rate_limit|limits, \w+) +([\d.]+) +([\d.]+)$", run.stdout, re.MULTILINE)
    assert len(rows) == 4
