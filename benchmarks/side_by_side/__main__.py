"""The gateway beside its peers, in one table.

    python -m benchmarks.side_by_side [--case NAME …] [--peer NAME …] [--pairs N] [--seconds N] [--quick] [--check]

Needs wrk; what peers need is fetched by their own package managers into ``.bench``. How it is measured stands in
``docs/performance.md``. With ``--check`` the exit code is 1 when one of the house's figures isn't reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.side_by_side import case as cases
from benchmarks.side_by_side import load, page, table, targets
from benchmarks.side_by_side.answer import WrongAnswer
from benchmarks.side_by_side.floors.floor import NAMES, floor
from benchmarks.side_by_side.measure import measure, say
from benchmarks.side_by_side.pairs import Plan
from benchmarks.side_by_side.peers import roll
from benchmarks.side_by_side.peers.ours import Ours
from benchmarks.side_by_side.peers.peer import Absent, Peer
from benchmarks.side_by_side.result import Result
from benchmarks.side_by_side.stand import ROOT, open_stand

CACHE = ROOT / ".bench"
PAGE = ROOT / "docs" / "performance.md"


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side", description="The gateway beside its peers."
    )
    add = parser.add_argument
    add("--case", action="append", default=[], metavar="NAME", help="only this case; may be given again")
    add("--peer", action="append", default=[], metavar="NAME", help="only this peer, or `none`; may be given again")
    add("--pairs", type=int, default=5, help="runs of each gateway in each case")
    add("--seconds", type=int, default=3, help="of each run; wrk takes whole ones")
    add("--quick", action="store_true", help="one pair of one second: does it work, not what does it cost")
    add("--no-floors", action="store_true", help="leave out what the parts cost alone")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--read", type=Path, metavar="FILE", help="measure nothing; show what --json has written")
    add("--write", action="store_true", help="put the tables and the plot into docs/performance.md")
    add("--check", action="store_true", help="exit 1 when a figure that the house has set itself isn't reached")
    return parser


def main(arguments: Sequence[str]) -> int:
    given = options().parse_args(arguments)
    if given.quick:
        given.pairs, given.seconds = 1, 1
    plan = Plan(given.pairs, given.seconds, trial=given.quick)
    try:
        result = Result.read(given.read) if given.read else run(given, plan, arguments)
    except (load.LoadError, ValueError) as error:
        say(str(error))
        return 1
    table.show(result, Console(width=None if sys.stdout.isatty() else 150))
    if given.json:
        result.write(given.json)
    if given.write:
        page.write(result, PAGE)
    if not given.check:
        return 1 if result.complaints else 0
    missed = list(targets.missed(result))
    for each in missed:
        print(f"missed: {each}")
    return 1 if missed else 0


def run(given: argparse.Namespace, plan: Plan, arguments: Sequence[str]) -> Result:
    """All that was asked for, case by case.

    :raises load.LoadError: there is no wrk.
    :raises ValueError: a case or a peer of that name doesn't exist.
    """
    load.binary()
    chosen, asked = cases.named(given.case), roll.named(given.peer)
    result = Result.begun(_told(arguments))
    CACHE.mkdir(exist_ok=True)
    peers = _installed(asked, result)
    ours = Ours()
    with open_stand(CACHE, build=not given.quick) as stand:
        result.machine["gRPC service"] = stand.grpc_service
        for case in chosen:
            for guarded in (True, False):
                say(f"{case.title}, {'guards on' if guarded else 'bare'}")
                try:
                    result.add(measure(stand, case, ours, peers, plan, guarded=guarded))
                except (load.LoadError, WrongAnswer, RuntimeError, OSError) as error:
                    result.complaints.append(str(error))
            if case.name in NAMES and not given.no_floors:
                say(f"{case.title}, floors")
                try:
                    result.add_floor(floor(stand, case, plan))
                except (load.LoadError, WrongAnswer, RuntimeError, OSError) as error:
                    result.complaints.append(str(error))
    return result


def _installed(asked: Sequence[Peer], result: Result) -> Sequence[Peer]:
    """Those of `asked` that can be had; why the others can't goes into `result`."""
    here = []
    for peer in (Ours(), *asked):
        say(f"{peer.title}: looking for its packages")
        try:
            result.versions[peer.title] = peer.install(CACHE)
        except Absent as error:
            result.absent[peer.title] = str(error)
        else:
            result.guards[peer.title] = peer.guarded
            here.append(peer)
    return here[1:]


def _told(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments that decide what is measured, without those that say where it goes."""
    told, skip = [], False
    for argument in arguments:
        if skip or argument in ("--json", "--write", "--check"):
            skip = argument == "--json"
            continue
        told.append(argument)
    return told


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
