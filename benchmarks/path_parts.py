"""What each part of a request's path costs where it stands: the gateway whole, and with one part that remembers.

    python benchmarks/path_parts.py [--pairs N] [--seconds N]

The floors of `benchmarks.side_by_side` measure each part alone in a loop, with the processor's caches to itself. Here
the part stays among the others: a gateway whose codec, upstream or log answers from memory costs less by what that part
costs in truth. All serve the same answers, which are checked, under the same load, by turns. Needs wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import sys
from typing import Any

from benchmarks.side_by_side import case as cases
from benchmarks.side_by_side.__main__ import CACHE
from benchmarks.side_by_side.load import LoadError
from benchmarks.side_by_side.measure import run, warm
from benchmarks.side_by_side.pairs import Plan
from benchmarks.side_by_side.peers.ours import Ours
from benchmarks.side_by_side.stand import open_stand

PARTS = ("codec", "upstream", "log")
CASES = ("grpc-small", "soap-5")


class Remembering:
    """A codec that has translated once; all calls are alike here."""

    streams_up = False

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self._request: Any = None
        self._reply: Any = None

    def request(self, call: Any) -> Any:
        self._request = self._request or self._codec.request(call)
        return self._request

    def reply(self, call: Any, inbound: Any) -> Any:
        self._reply = self._reply or self._codec.reply(call, inbound)
        return self._reply


def remembering(send: Any) -> Any:
    """A `send` that has asked once."""
    answers: dict[str, Any] = {}

    async def remembered(request: Any, **given: Any) -> Any:
        answer = answers.get(request.path)
        if answer is None:
            answer = answers[request.path] = await send(request, **given)
        return copy.copy(answer)

    return remembered


def serve(without: str, arguments: list[str]) -> None:
    """The gateway's own command, less a part."""
    from bridge.cli import main as cli
    from bridge.gateway import table
    from bridge.observe.access import AccessLog

    made = table.Endpoint.__init__

    def init(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        if "codec" in without and not self.streams:
            self.codec = remembered = Remembering(self.codec)
            self.request = remembered.request
        if "upstream" in without:
            self.send = remembering(self.send)

    table.Endpoint.__init__ = init  # type: ignore[method-assign]  # what the benchmark is for
    if "log" in without:
        AccessLog.__call__ = lambda self, record: None  # type: ignore[method-assign]
    sys.argv = ["hms-bridge", *arguments]
    cli.main()


class Part(Ours):
    """Ours, less `without`."""

    def __init__(self, without: str) -> None:
        self.command = [sys.executable, __file__, "--without", without, "--"]


def measure(name: str, plan: Plan) -> None:
    """Print a table of one case."""
    case = cases.named([name])[0]
    kinds = {"whole": Ours()} | {f"without {part}": Part(part) for part in PARTS}
    kinds["without codec and upstream"] = Part("codec+upstream")
    costs: dict[str, list[float]] = {kind: [] for kind in kinds}
    with open_stand(CACHE, build=False) as stand, contextlib.ExitStack() as stack:
        running = {}
        for kind, peer in kinds.items():
            running[kind] = stack.enter_context(stand.gateway(peer, guarded=True))
            warm(stand, case, peer, running[kind], plan, guarded=True)
        for _ in range(plan.pairs):
            for kind, gateway in running.items():
                costs[kind].append(run(stand, case, gateway, plan.seconds, guarded=True).cost)
    print(f"\n{case.title}, guards on: µs of CPU a request")
    for kind, found in costs.items():
        less = statistics.median(whole - each for whole, each in zip(costs["whole"], found, strict=True))
        print(f"{kind:<28}{statistics.median(found):8.1f}" + (f"{-less:+8.1f}" if kind != "whole" else ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--without", default="", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.without:
        serve(given.without, given.rest)
        return 0
    try:
        for name in CASES:
            measure(name, Plan(given.pairs, given.seconds))
    except LoadError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
