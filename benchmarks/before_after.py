"""What a request costs in this checkout and in another one: CPU a request, by turns, in one run.

    python -m benchmarks.before_after OTHER [--case NAME …] [--pairs N] [--seconds N]

OTHER is a checkout with a ``.venv`` in it, of an older commit for instance. Both gateways run as users start them, with
the same specs and guards; answers are checked. Needs wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from benchmarks.side_by_side import case as cases
from benchmarks.side_by_side.__main__ import CACHE
from benchmarks.side_by_side.load import LoadError
from benchmarks.side_by_side.measure import run, warm
from benchmarks.side_by_side.pairs import Plan, Series, ratio
from benchmarks.side_by_side.peers.ours import Ours
from benchmarks.side_by_side.stand import open_stand

CASES = ["grpc-small", "soap-5", "plain"]


class Other(Ours):
    """The gateway of another checkout."""

    def __init__(self, checkout: Path) -> None:
        self.command = [str(checkout.resolve() / ".venv" / "bin" / "hms-bridge")]


def compare(name: str, other: Other, plan: Plan, *, guarded: bool) -> None:
    """Print a row of one case."""
    case = cases.named([name])[0]
    peers = {"now": Ours(), "then": other}
    series = {kind: Series() for kind in peers}
    with open_stand(CACHE, build=False) as stand, contextlib.ExitStack() as stack:
        running = {}
        for kind, peer in peers.items():
            running[kind] = stack.enter_context(stand.gateway(peer, guarded=guarded))
            warm(stand, case, peer, running[kind], plan, guarded=guarded)
        for _ in range(plan.pairs):
            for kind, gateway in running.items():
                series[kind].runs.append(run(stand, case, gateway, plan.seconds, guarded=guarded))
    spread = ratio(series["now"], series["then"])
    print(
        f"{name:<12}{'guards on' if guarded else 'bare':<11}then {series['then'].median('cost'):7.1f} µs"
        f"   now {series['now'].median('cost'):7.1f} µs"
        f"   now to then {spread.median:.3f} ({spread.low:.3f} to {spread.high:.3f})",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    plan = Plan(options.pairs, options.seconds)
    try:
        for name in options.case or CASES:
            for guarded in (True, False):
                compare(name, Other(options.other), plan, guarded=guarded)
    except LoadError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
