"""The whole path beside its parts, each a process on the gateways' core, its CPU counted from outside, by turns."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.side_by_side import accounting
from benchmarks.side_by_side.answer import ask
from benchmarks.side_by_side.case import Case
from benchmarks.side_by_side.load import drive
from benchmarks.side_by_side.measure import headers, run
from benchmarks.side_by_side.pairs import Plan, Spread
from benchmarks.side_by_side.peers.ours import Ours, write_home
from benchmarks.side_by_side.process import PATIENCE, Process, free_port, start
from benchmarks.side_by_side.stand import ROOT, Stand

PARTS = ("server", "client", "parsers")
NAMES = ("grpc-small", "grpc-10k", "soap-5", "soap-100")  #: the cases that are one message each way


@dataclass
class Floor:
    """Microseconds of CPU a request, run by run, of the whole path (``bare``, ``guarded``) and of each of `PARTS`."""

    case: Case
    costs: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def ratio(self, whole: str) -> Spread:
        """The whole path to the sum of its parts, each round on its own."""
        sums = map(sum, zip(*(self.costs[part] for part in PARTS), strict=True))
        return Spread.of([cost / parts for cost, parts in zip(self.costs[whole], sums, strict=True)])


def floor(stand: Stand, case: Case, plan: Plan) -> Floor:
    """As many rounds as the plan has pairs of the whole path, bare and guarded, and of the three parts.

    :raises RuntimeError: one of them failed.
    """
    found = Floor(case)
    ours = Ours()
    with contextlib.ExitStack() as stack:
        gateways = {
            name: stack.enter_context(stand.gateway(ours, guarded=name == "guarded")) for name in ("bare", "guarded")
        }
        answer = ask(gateways["bare"].port, case, headers(stand, guarded=False))
        server = stack.enter_context(_server(stand, answer))
        alone = {name: stack.enter_context(_alone(stand, case, name)) for name in ("client", "parsers")}
        for warm in [True] * (not plan.trial) + [False] * plan.pairs:
            costs = {}
            for name, gateway in gateways.items():
                costs[name] = run(stand, case, gateway, plan.seconds, guarded=name == "guarded").cost
            costs["server"] = _driven(stand, case, server, plan.seconds)
            for name, process in alone.items():
                costs[name] = _asked(process, plan.seconds)
            if not warm:
                for name, cost in costs.items():
                    found.costs.setdefault(name, []).append(cost)
    return found


def _driven(stand: Stand, case: Case, server: Process, seconds: float) -> float:
    before = accounting.cpu(server.pid)
    told = drive(case.request, server.port, seconds, case.connections, stand.cores.others, stand.folder)
    if told.errors:
        raise RuntimeError(f"the server alone: {told.errors}")
    return (accounting.cpu(server.pid) - before) / told.requests * 1e6


def _asked(process: Process, seconds: float) -> float:
    """Let a program of this folder work for `seconds`: its cost a call."""
    (process.journal.parent / "seconds").write_text(str(seconds))
    done = len(re.findall(r"^sent ", process.said(), re.MULTILINE))
    before = accounting.cpu(process.pid)
    os.kill(process.pid, signal.SIGUSR1)
    until = time.monotonic() + seconds + PATIENCE
    while len(told := re.findall(r"^sent (\d+)$", process.said(), re.MULTILINE)) == done:
        if process.popen.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"a part alone failed: {process.said()[-1000:]}")
        time.sleep(0.02)
    return (accounting.cpu(process.pid) - before) / int(told[-1]) * 1e6


@contextlib.contextmanager
def _server(stand: Stand, answer: bytes) -> Iterator[Process]:
    folder = stand.setup(guarded=False).folder
    (folder / "answer").write_bytes(answer)
    port = free_port()
    with _started(stand, ["floors.server", str(port), str(folder / "answer")], folder, port) as process:
        process.wait_for_port()
        yield process


@contextlib.contextmanager
def _alone(stand: Stand, case: Case, name: str) -> Iterator[Process]:
    setup = stand.setup(guarded=False)
    write_home(setup)
    with _started(stand, [f"floors.{name}", case.name, str(setup.folder)], setup.folder) as process:
        process.wait_for(r"^ready")
        yield process


@contextlib.contextmanager
def _started(stand: Stand, words: list[str], folder: Path, port: int = 0) -> Iterator[Process]:
    command = [sys.executable, "-m", f"benchmarks.side_by_side.{words[0]}", *words[1:]]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "transformers")))
    process = start(command, stand.cores.gateway, folder, env={"PYTHONPATH": paths}, port=port)
    try:
        yield process
    finally:
        process.stop()
