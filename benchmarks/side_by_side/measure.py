"""One case: ours and each peer by turns under the same load, and what it cost them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.side_by_side import accounting
from benchmarks.side_by_side.answer import WrongAnswer, check
from benchmarks.side_by_side.case import Case
from benchmarks.side_by_side.load import LoadError, Request, drive
from benchmarks.side_by_side.pairs import Plan, Run, Series
from benchmarks.side_by_side.peers.peer import Peer
from benchmarks.side_by_side.process import Process
from benchmarks.side_by_side.stand import Stand

WARM_AT_MOST = 150.0  #: seconds for one gateway, however slow the machine
SETTLE = 0.1  # seconds after a run until the log's lines are made and the connections closed


@dataclass
class Lane:
    """A gateway's way through one case.

    :ivar ours: our own runs, each just before the one of `runs` with the same number.
    :ivar why: why there are no figures, where there are none.
    """

    peer: Peer
    runs: Series = field(default_factory=Series)
    ours: Series = field(default_factory=Series)
    peak: float = 0.0
    why: str = ""


@dataclass
class Measured:
    """A case with guards or without: ours, and each peer that takes part."""

    case: Case
    guarded: bool
    ours: Lane
    peers: list[Lane]


def headers(stand: Stand, guarded: bool) -> dict[str, str]:
    return {"Authorization": f"Bearer {stand.guards.token}"} if guarded else {}


def run(stand: Stand, case: Case, gateway: Process, seconds: float, *, guarded: bool) -> Run:
    """Drive `gateway` for `seconds`, the answers checked before and after.

    :raises WrongAnswer: one was wrong.
    :raises LoadError: one was refused or broken off, or the answers are too short to be right.
    """
    extra = headers(stand, guarded)
    size = check(gateway.port, case, extra, stand.http.port)
    request = Request(case.request.method, case.request.path, {**case.request.headers, **extra}, case.request.body)
    before = accounting.cpu(gateway.pid)
    told = drive(request, gateway.port, seconds, case.connections, stand.cores.others, stand.folder)
    time.sleep(SETTLE)
    used = accounting.cpu(gateway.pid) - before
    check(gateway.port, case, extra, stand.http.port)
    if told.errors:
        raise LoadError(f"{case.name}: {told.errors}")
    # Every answer is of one size: what wrk read shows that those between the two checks were not something shorter.
    if told.requests == 0 or told.bytes < told.requests * size:
        raise LoadError(f"{case.name}: {told.requests} answers of {size} bytes and more, but {told.bytes} bytes in all")
    return Run(told.requests, told.seconds, used, told.p50, told.p99)


def warm(stand: Stand, case: Case, peer: Peer, gateway: Process, plan: Plan, *, guarded: bool) -> None:
    """Drive `gateway` until nothing more is made at the first time.

    :raises WrongAnswer: as `run`; so is `LoadError`.
    """
    seconds, spent, done = plan.warmup(peer.warmup), 0.0, 0
    while not spent or (not plan.trial and done < peer.warm_requests and spent < WARM_AT_MOST):
        done += run(stand, case, gateway, seconds, guarded=guarded).requests
        spent += seconds


def measure(stand: Stand, case: Case, ours: Peer, peers: Sequence[Peer], plan: Plan, *, guarded: bool) -> Measured:
    """All gateways are started and warmed up, then driven by turns: ours, a peer, ours, the next peer, …

    A peer that fails is left out with its reason; ours fails the run.
    """
    lanes = [Lane(peer) for peer in peers if case.name in peer.cases and guarded in peer.modes]
    measured = Measured(case, guarded, Lane(ours), lanes)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(stand.gateway(ours, guarded=guarded))
        warm(stand, case, ours, gateway, plan, guarded=guarded)
        running: list[tuple[Lane, Process]] = []
        for lane in measured.peers:
            try:
                process = stack.enter_context(stand.gateway(lane.peer, guarded=guarded))
                warm(stand, case, lane.peer, process, plan, guarded=guarded)
            except (WrongAnswer, LoadError, RuntimeError, OSError) as error:
                lane.why = str(error)
                say(f"  {lane.peer.title}: {error}")
            else:
                running.append((lane, process))
        for _ in range(plan.pairs):
            if not running:
                measured.ours.runs.runs.append(run(stand, case, gateway, plan.seconds, guarded=guarded))
            for lane, process in list(running):
                mine = run(stand, case, gateway, plan.seconds, guarded=guarded)
                measured.ours.runs.runs.append(mine)
                try:
                    theirs = run(stand, case, process, plan.seconds, guarded=guarded)
                except (WrongAnswer, LoadError, OSError) as error:
                    lane.why = str(error)
                    lane.runs, lane.ours = Series(), Series()
                    running.remove((lane, process))
                    say(f"  {lane.peer.title}: {error}")
                    continue
                lane.ours.runs.append(mine)
                lane.runs.runs.append(theirs)
        measured.ours.peak = accounting.peak(gateway.pid)
        for lane, process in running:
            lane.peak = accounting.peak(process.pid)
    return measured


def say(text: str) -> None:
    """How far it is, on standard error: the table alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)
