"""The parsers alone: a route's codec on the bytes of a case, both ways.

    python -m benchmarks.side_by_side.floors.parsers CASE HOME

As `client`, but what it does is no I/O at all: ``call -> request`` and ``reply -> answer``, the service's answer being
the bytes that the service behind the gateways sends.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import sample
from benchmarks.side_by_side.answer import differs, plain, values
from benchmarks.side_by_side.case import Case, named
from benchmarks.side_by_side.floors.route import Route
from bridge.api import GrpcReply, HttpReply


def inbound(case: Case, request: Any) -> HttpReply | GrpcReply:
    """What the service answers: the order that it got, or the fixed envelope."""
    if not case.lines:
        return GrpcReply(0, request.message)
    body = sample.soap_reply(case.lines)
    fields = [("content-type", "text/xml; charset=utf-8"), ("content-length", str(len(body)))]
    return HttpReply(200, fields, body)


def translate(route: Route, seconds: float) -> int:
    """Calls that were translated in `seconds`."""
    reply = inbound(route.case, route.codec.request(route.call()))
    until, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        for _ in range(20):
            call = route.call()
            route.codec.request(call)
            route.codec.reply(call, reply)
        count += 20
    return count


def main(case: Case, home: Path) -> None:
    route = asyncio.run(Route.of(case, home))
    call = route.call()
    answer = route.codec.reply(call, inbound(case, route.codec.request(call)))
    if difference := differs(plain(case.expected()), plain(values(answer.body))):
        raise SystemExit(f"{case.name}: {difference}")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    translate(route, 1.0)
    print("ready", flush=True)
    while True:
        signal.sigwait({signal.SIGUSR1})
        print(f"sent {translate(route, float(Path('seconds').read_text()))}", flush=True)


if __name__ == "__main__":
    main(named([sys.argv[1]])[0], Path(sys.argv[2]))
