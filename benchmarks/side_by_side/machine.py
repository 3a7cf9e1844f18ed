"""The machine that a run is on: its cores, and the lines that tell it."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """Where things run. On a machine with one core both are the same, and the figures say less."""

    gateway: int
    others: int  #: the load and the upstream

    @classmethod
    def choose(cls) -> Cores:
        allowed = sorted(os.sched_getaffinity(0))
        return cls(gateway=allowed[-1], others=allowed[0])


def description() -> dict[str, str]:
    """What a figure depends on, by its name."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", info)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": model[1].strip() if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory[1]) / 1024**2:.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "load": f"{os.getloadavg()[0]:.1f}",  # of the last minute: what else goes on here
        "python": platform.python_version(),
    }
