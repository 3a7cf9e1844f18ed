"""The demo's services, each as a process of its own on a free port, as `make demo` starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "examples" / "election_night" / "services"


@dataclass
class Service:
    port: int
    wire: Path
    process: subprocess.Popen[str]

    def exchanges(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.wire.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    """Start a service by its name; all are ended with SIGTERM and must then leave with 0 and without a word."""
    started: list[Service] = []

    def start(name: str) -> Service:
        wire = tmp_path_factory.mktemp(name) / "wire.jsonl"
        process = subprocess.Popen(
            [sys.executable, str(SERVICES / f"{name}.py"), "--port", "0", "--wire", str(wire)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        word, _, port = process.stdout.readline().partition(" ")
        if word != "ready":
            pytest.fail(f"{name} did not start: {process.communicate()[1]}")
        started.append(Service(int(port), wire, process))
        return started[-1]

    yield start
    for service in started:
        service.process.terminate()
    for service in started:
        _, errors = service.process.communicate(timeout=10)
        assert (service.process.returncode, errors) == (0, "")
