"""What a process and its children have used, as the operating system counts it: CPU time and the peak of memory."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_SCHED = 2  # CPUCLOCK_SCHED of the kernel's clock ids: the scheduler's own count, in nanoseconds


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants that live now."""
    found, at = [pid], 0
    while at < len(found):
        for task in Path(f"/proc/{found[at]}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # the thread has ended since
        at += 1
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU, user's and system's, of the whole tree since each of its processes began.

    The clock of another process (what ``clock_getcpuclockid`` gives) counts nanoseconds, and those of ended threads
    as well; of children that have ended and been waited for, ``/proc/PID/stat`` knows ticks.

    :raises ProcessLookupError: `pid` has ended.
    """
    total = 0.0
    for each in tree(pid):
        try:
            total += time.clock_gettime((~each << 3) | _SCHED) + _ended_children(each)
        except OSError:
            if each == pid:
                raise ProcessLookupError(pid) from None
    return total


def _ended_children(pid: int) -> float:
    # The name in parentheses may hold spaces; cutime and cstime are fields 16 and 17 of proc_pid_stat(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * _TICK


def peak(pid: int) -> float:
    """Megabytes at the highest: the sum over the tree of what each process held at its own highest."""
    total = 0
    for each in tree(pid):
        try:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{each}/status").read_text())
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total / 1024
