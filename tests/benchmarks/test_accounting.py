"""The accounts of a process that says itself, by its own rusage, what it has used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.side_by_side.accounting import cpu, peak, tree
from benchmarks.side_by_side.process import on_core

# A main thread, a thread that ends, a child that ends, one that lives on while it sleeps; 40 MB are held for a while.
BURNER = """
import os, resource, subprocess, sys, threading, time

def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))

burn(0.2)
thread = threading.Thread(target=burn, args=(0.2,))
thread.start()
thread.join()
loop = "import time\\nwhile time.process_time() < 0.2: sum(range(1000))\\n"
subprocess.run([sys.executable, "-c", loop])
told = "print(time.process_time(), flush=True)\\nsys.stdin.read()"
other = subprocess.Popen([sys.executable, "-c", "import sys\\n" + loop + told], stdout=subprocess.PIPE, text=True)
theirs = float(other.stdout.readline())
held = bytearray(os.urandom(1) * 40_000_000)
del held
mine = resource.getrusage(resource.RUSAGE_SELF)
ended = resource.getrusage(resource.RUSAGE_CHILDREN)
print(sum((mine.ru_utime, mine.ru_stime, ended.ru_utime, ended.ru_stime)) + theirs, other.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate()


def test_threads_and_children_count_whether_they_live_or_not(burner: subprocess.Popen[str]) -> None:
    assert burner.stdout is not None
    used, other = burner.stdout.readline().split()
    counted = cpu(burner.pid)
    assert float(used) >= 0.8
    # Ticks of ended children are a hundredth of a second each; each side of the tree has gone on a little since.
    assert counted == pytest.approx(float(used), abs=0.1)
    assert set(tree(burner.pid)) == {burner.pid, int(other)}
    # Two interpreters, and 40 MB that one of them held for a while.
    assert peak(burner.pid) > 50
    assert peak(burner.pid) > peak(int(other)) + 40


def test_one_that_has_ended_has_no_account() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ProcessLookupError):
        cpu(process.pid)


def test_what_is_started_on_a_core_stays_there() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    told = "import os, subprocess, sys; print(os.sched_getaffinity(0), flush=True)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {told!r}])"
    with on_core(core):
        printed = subprocess.run([sys.executable, "-c", nested], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert printed.strip() == str({core})
    assert os.sched_getaffinity(0) == before
