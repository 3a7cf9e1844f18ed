"""How long a server-sent event takes to reach its listener: through the gateway beside a direct connection.

    python -m benchmarks.events [--events N] [--rounds N] [--pause SECONDS] [--quick] [--check]

A service sends an event at each `pause` and writes the time into it. Two kinds of client listen: a socket that is read
by this process, and headless Chromium with a page of another origin, whose EventSource's callback is what counts. They
listen by turns, directly and through a passthrough route with `cors`. Service, gateway and clients are processes each.

Printed are the median, the 99th percentile and the maximum in milliseconds. Chromium's clock is compared with ours
before each turn; half of the time that takes is what its figures may be off by, printed as the last column. `--check`
ends with 1 if Chromium's 99th percentile through the gateway is 50 ms or more. Without Chromium its rows are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.side_by_side.machine import description
from benchmarks.websocket import free_port, serve_gateway, started
from tests.browser import Page, chromium

MOST = 50.0  #: milliseconds, what the house has set itself
SPEC = """
route: /events/{{count}}
methods: [GET]
upstream: events-svc:80
auth: {{type: none}}
cors: {{origins: ["http://127.0.0.1:{port}"]}}
transform: {{request: passthrough, response: passthrough}}
"""
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)
PAGE = b"<!doctype html><title>events</title><link rel=icon href='data:,'>"


def now() -> float:
    """Milliseconds."""
    return time.time() * 1000


def serve_events(pause: float, port: int) -> None:
    """``GET /events/N`` sends N events, each with the time at which it was sent. Everything else is a page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        except asyncio.IncompleteReadError:
            path = ""  # whoever looked whether we are ready
        if path.startswith("/events/"):
            writer.write(EVENTS)
            for _ in range(int(path.rpartition("/")[2])):
                await asyncio.sleep(pause)
                event = b"data: %.3f\n\n" % now()
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            writer.write(b"0\r\n\r\n")
        elif path:
            fields = b"Content-Type: text/html\r\nConnection: close\r\nContent-Length: %d" % len(PAGE)
            writer.write(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n%s" % (fields, PAGE))
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
            await server.serve_forever()

    asyncio.run(run())


@dataclass
class Delays:
    """Of one client on one way.

    :ivar all: milliseconds. :ivar error: how far they may be off, in milliseconds.
    """

    all: list[float] = field(default_factory=list[float])
    error: float = 0.0

    def row(self, client: str, way: str) -> str:
        figures = (statistics.median(self.all), self.high, max(self.all))
        return f"{client:<9} {way:<9} {' '.join(f'{each:>8.2f}' for each in figures)} ±{self.error:.2f}"

    @property
    def high(self) -> float:
        """The 99th percentile."""
        return statistics.quantiles(self.all, n=100, method="inclusive")[98]


async def by_socket(port: int, count: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events/%d HTTP/1.1\r\nHost: bench\r\n\r\n" % count)
    delays: list[float] = []
    while len(delays) < count:
        line = await reader.readuntil(b"\n")
        if line.startswith(b"data: "):
            delays.append(now() - float(line[6:]))
        elif line.startswith(b"HTTP/") and b" 200 " not in line:
            raise SystemExit(f"the answer begins {line!r}")
    writer.close()
    return delays


async def clock_of(page: Page) -> tuple[float, float]:
    """How far the page's clock is ahead of ours, and by how much that may be wrong: the best of some tries."""
    tries = []
    for _ in range(20):
        before = now()
        told = await page.evaluate("[performance.timeOrigin + performance.now()]")
        after = now()
        tries.append(((after - before) / 2, told[0] - (before + after) / 2))
    error, ahead = min(tries)
    return ahead, error


async def by_page(page: Page, port: int, count: int) -> tuple[list[float], float]:
    """The delays, and by how much they may be wrong."""
    ahead, error = await clock_of(page)
    delays = await page.outcome(
        f"return await new Promise((done) => {{ const it = new EventSource('http://127.0.0.1:{port}/events/{count}');"
        " const got = [];"
        " it.onmessage = (event) => {"
        " got.push(performance.timeOrigin + performance.now() - Number(event.data));"
        f" if (got.length === {count}) {{ it.close(); done(got); }} }};"
        " it.onerror = () => { it.close(); done('it failed'); }; });"
    )
    if not isinstance(delays, list):
        raise SystemExit(f"Chromium: {delays}: {page.console}")
    return [delay - ahead for delay in delays], error


async def measure(events: int, rounds: int, pause: float) -> dict[tuple[str, str], Delays]:
    """By client and way."""
    service, gateway = free_port(), free_port()
    found: dict[tuple[str, str], Delays] = {}
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "routes").mkdir()
        (Path(home) / "routes" / "events.yml").write_text(SPEC.format(port=service))
        (Path(home) / "mesh.yml").write_text(json.dumps({"events-svc": f"127.0.0.1:{service}"}))
        with started(serve_events, pause, service), started(serve_gateway, home, gateway):
            async with AsyncExitStack() as stack:
                page = None
                if shutil.which("chromium"):
                    page = await stack.enter_async_context(chromium(Path(home)))
                    await page.open(f"http://127.0.0.1:{service}/page")
                for _ in range(rounds):
                    for way, port in (("direct", service), ("gateway", gateway)):
                        found.setdefault(("socket", way), Delays()).all += await by_socket(port, events)
                        if page is not None:
                            delays, error = await by_page(page, port, events)
                            whole = found.setdefault(("Chromium", way), Delays())
                            whole.all += delays
                            whole.error = max(whole.error, error)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500, help="in each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two events")
    parser.add_argument("--quick", action="store_true", help="one round of 50 events, 2 ms apart")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    events, rounds, pause = (50, 1, 0.002) if options.quick else (options.events, options.rounds, options.pause)
    found = asyncio.run(measure(events, rounds, pause))
    print(", ".join(f"{name} {value}" for name, value in description().items()))
    print(f"{events * rounds} events each, ms:\n{'':<19} {'median':>8} {'p99':>8} {'max':>8}")
    for (client, way), delays in sorted(found.items()):
        print(delays.row(client, way))
    if ("Chromium", "gateway") not in found:
        print("without chromium, which is not here")
        return 0
    return int(options.check and found["Chromium", "gateway"].high >= MOST)


if __name__ == "__main__":
    sys.exit(main())
