"""The upstream client alone: what the route sends for a case's request, by as many tasks as the load has connections.

    python -m benchmarks.side_by_side.floors.client CASE HOME

Prints ``ready`` once it has connected; at each SIGUSR1 it sends for as many seconds as the file ``seconds`` in its
folder says, then prints ``sent CALLS``. It sleeps in between, so its CPU time is that of the calls.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.side_by_side.case import Case, named
from benchmarks.side_by_side.floors.route import Route


async def send(upstream: Any, request: Any, tasks: int, seconds: float) -> int:
    """Calls that were answered rightly.

    :raises RuntimeError: one was not.
    """
    loop = asyncio.get_running_loop()
    until, count = loop.time() + seconds, 0

    async def one() -> None:
        nonlocal count
        while loop.time() < until:
            reply = await upstream.send(request, deadline=loop.time() + 30, trace=())
            if getattr(reply, "status", 200) != 200 or getattr(reply, "code", 0) != 0:
                raise RuntimeError(f"refused: {reply}")
            count += 1

    await asyncio.gather(*(one() for _ in range(tasks)))
    return count


async def serve(case: Case, home: Path) -> None:
    route = await Route.of(case, home)
    pool, upstream = route.upstream()
    request = route.codec.request(route.call())
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    try:
        await send(upstream, request, case.connections, 1.0)
        print("ready", flush=True)
        while True:
            await asked.wait()
            asked.clear()
            seconds = _seconds()
            print(f"sent {await send(upstream, request, case.connections, seconds)}", flush=True)
    finally:
        await pool.aclose()


def _seconds() -> float:
    return float(Path("seconds").read_text())


if __name__ == "__main__":
    uvloop.run(serve(named([sys.argv[1]])[0], Path(sys.argv[2])))
