"""Whether gateways that share a Redis admit what they should, and what the stage of limits costs.

    python -m benchmarks.limits [--requests N] [--clients N] [--rps N] [--burst N] [--quick] [--check]

Two gateways and their service are processes each, and so is redis-server. Each client has an address of its own
(127.0.0.N) and a connection to either gateway, on which it asks again as soon as it is answered. What is admitted is
compared with what one bucket for each client gives: `burst`, and `rps` for each second from its first request to its
last answer.

The stage is measured in this process: microseconds of CPU from its handler's beginning to the next stage's, with 50
clients, in memory and with leases from Redis, for one limit and for several. `--check` ends with 1 if the rate is off
by more than 1 %, or if a call of one limit takes more than 3 µs. `--quick` shows whether it works.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from benchmarks.side_by_side.machine import description
from benchmarks.websocket import free_port, serve_gateway, started
from bridge.api.call import Call, Identity
from bridge.api.spec.route import RouteSpec
from bridge.stages.quota.redis.address import redis_address
from bridge.stages.quota.redis.store import RedisLimits
from bridge.stages.quota.stage import Quota
from bridge.stages.quota.store import LimitStore, MemoryLimits

OFF, COST = 0.01, 3.0  #: what the house has set itself: of the rate, and microseconds
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
ASKS = b"GET /limited HTTP/1.1\r\nHost: a\r\n\r\n"
ROUTE = {"route": "/limited", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}


# --- what is admitted --------------------------------------------------------------------------------------------


class Answering(asyncio.Protocol):
    """The service: whatever it is asked, it answers."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self.transport.write(ANSWER)


def serve_answers(port: int) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


class Client(asyncio.Protocol):
    """One connection of a client, until it has asked so many times."""

    def __init__(self, requests: int, done: asyncio.Future[None]) -> None:
        self.left, self.done = requests, done
        self.admitted = self.refused = 0
        self.last = 0.0
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(ASKS)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r")[0]):
            return
        status, self._held = head[9:12], b""
        if status not in (b"200", b"429"):
            self.done.set_exception(SystemExit(f"a gateway answered {head.decode()}"))
            return
        self.admitted += status == b"200"
        self.refused += status == b"429"
        self.last, self.left = time.perf_counter(), self.left - 1
        if self.left:
            self.transport.write(ASKS)
        else:
            self.transport.close()
            self.done.set_result(None)


async def drive(ports: Sequence[int], requests: int, clients: int) -> list[tuple[int, int, float]]:
    """What each client was admitted and refused, and for how many seconds it asked."""
    loop = asyncio.get_running_loop()
    began: list[float] = []
    pairs: list[list[Client]] = []
    for number in range(clients):
        began.append(time.perf_counter())
        pair = []
        for port in ports:
            client = Client(requests // clients // len(ports), loop.create_future())
            await loop.create_connection(
                lambda client=client: client,  # type: ignore[misc]
                "127.0.0.1",
                port,
                local_addr=(f"127.0.0.{number + 2}", 0),
            )
            pair.append(client)
        pairs.append(pair)
    await asyncio.gather(*(client.done for pair in pairs for client in pair))
    # Of two connections one ends first; what the other one could still have had by itself counts as well.
    return [
        (sum(one.admitted for one in pair), sum(one.refused for one in pair), max(one.last for one in pair) - at)
        for pair, at in zip(pairs, began, strict=True)
    ]


def admitted(options: argparse.Namespace, redis: int) -> float:
    """By how much more or less than the rate was admitted."""
    limits = [{"rps": options.rps, "burst": options.burst, "per": "address"}]
    ports = [free_port(), free_port()]
    with ExitStack() as closing:
        service = free_port()
        closing.enter_context(started(serve_answers, service))
        for port in ports:
            home = Path(closing.enter_context(tempfile.TemporaryDirectory()))
            (home / "routes").mkdir()
            (home / "routes" / "a.yml").write_text(json.dumps({**ROUTE, "limits": limits}))
            (home / "mesh.yml").write_text(json.dumps({"svc": f"127.0.0.1:{service}"}))
            (home / "settings.yml").write_text(json.dumps({"limits": f"redis://127.0.0.1:{redis}/0"}))
            closing.enter_context(started(serve_configured, str(home), port))
        found = uvloop.run(drive(ports, options.requests, options.clients))
    took = sum(count for count, _, _ in found)
    refused = sum(count for _, count, _ in found)
    due = sum(min(options.burst + options.rps * seconds, options.requests / options.clients) for *_, seconds in found)
    longest = max(seconds for *_, seconds in found)
    off: float = took / due - 1
    print(f"{took + refused:,} requests of {options.clients} clients over two gateways in {longest:.1f} s:")
    print(f"  admitted {took:,}, refused {refused:,}; the rate gives {due:,.0f}: off by {off:+.2%}")
    each = [count / (options.burst + options.rps * seconds) - 1 for count, _, seconds in found]
    print(f"  of single clients {min(each):+.2%} to {max(each):+.2%}")
    return off


def serve_configured(home: str, port: int) -> None:
    import os

    os.environ["BRIDGE_LIMITS"] = json.loads((Path(home) / "settings.yml").read_text())["limits"]
    serve_gateway(home, port)


# --- what the stage costs ----------------------------------------------------------------------------------------


class _Next:
    """The result of the next stage."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


NEXT = _Next()
PLENTY: Mapping[str, Any] = {"rps": 1e6, "burst": 1_000_000}
CASES: dict[str, Mapping[str, Any]] = {
    "rate_limit": {"rate_limit": PLENTY},
    "limits, one": {"limits": [PLENTY]},
    "limits, two": {"limits": [PLENTY, {"quota": 10**9, "window": "day", "per": "tenant"}]},
    "limits, three": {
        "limits": [PLENTY, {"quota": 10**9, "window": "day", "per": "tenant"}, {**PLENTY, "per": "route"}],
    },
}


async def cost(store: LimitStore, spec: Mapping[str, Any], calls: int) -> float:
    """Microseconds of CPU of a call, the event loop's turns and Redis's answers included."""
    limiter = store.bind(RouteSpec.model_validate({**ROUTE, **spec}), ["x"])
    operation: Any = SimpleNamespace(limiter=limiter, tenant="", operation=SimpleNamespace(name="x"))
    handle: Any = Quota().bind(operation, lambda exchange: NEXT)
    callers = [Identity(key=f"sub:i|{number}") for number in range(50)]
    call = Call(peer="192.0.2.7")
    exchange: Any = SimpleNamespace(call=call, fields=[], record=SimpleNamespace(), release=None)
    least = 1e9
    for _ in range(4):
        began = time.process_time()
        for number in range(calls // 4):
            call.identity, exchange.fields = callers[number % 50], []
            waits: Awaitable[Any] = handle(exchange)
            if waits is not NEXT:
                await waits
            if number % 64 == 0:
                await asyncio.sleep(0)
        least = min(least, (time.process_time() - began) / (calls // 4) * 1e6)
    return least


async def costs(redis: int, calls: int) -> dict[str, tuple[float, float]]:
    """In memory, and with leases."""
    shared = RedisLimits(redis_address(f"redis://127.0.0.1:{redis}/0", Path()))
    await shared.start()
    if not dict(shared.states())["store_up"]:
        raise SystemExit("redis-server does not answer")
    found = {
        name: (await cost(MemoryLimits(), spec, calls), await cost(shared, spec, calls)) for name, spec in CASES.items()
    }
    await shared.aclose()
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rps", type=float, default=40.0, help="of each client")
    parser.add_argument("--burst", type=int, default=100, help="of each client")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.requests, options.clients, options.burst = 6000, 10, 300
    print(description())
    with tempfile.TemporaryDirectory() as folder:
        redis = free_port()
        command = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                off = admitted(options, redis)
                found = uvloop.run(costs(redis, 4000 if options.quick else 200_000))
            finally:
                server.terminate()
    print(f"{'µs of the stage':16}{'memory':>8}{'leases':>8}")
    for name, (memory, leases) in found.items():
        print(f"{name:16}{memory:8.2f}{leases:8.2f}")
    wrong = [f"the rate is off by {off:+.2%}"] if abs(off) > OFF else []
    one = [figure for name in ("rate_limit", "limits, one") for figure in found[name]]
    if max(one) > COST:
        wrong.append(f"a call of one limit takes {max(one):.2f} µs")
    for reason in wrong:
        print(reason, file=sys.stderr)
    return int(options.check and bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
