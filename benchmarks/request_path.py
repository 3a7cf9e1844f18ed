"""What the gateway's own side of a request costs, between the client's socket and the upstream's.

    python benchmarks/request_path.py [--requests N] [--rounds N] [--only KIND ...] [--loop LOOP] [--profile FILE]

Each server is a process of its own on one core, driven from another over 16 connections that are kept alive; the
rounds go in turn, and a figure is a median over them. Printed are microseconds of CPU per request (the operating
system's accounting of all threads), and the ratio to the bare application on a plain server:

    bare      an ASGI application of one line on uvicorn and httptools
    wire      the same on the gateway's own protocol, `bridge.server.connection.ServerConnection`
    open      the gateway: a route for everybody, no limit, the log on
    guarded   the gateway: JWT (ES256), a limit, the log on

The gateway's upstream answers within the process, at once: what it costs is not measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
import uvloop

from bridge.api.call import JSON_TYPE, Call, Reply
from bridge.app import build
from bridge.config.settings import load
from bridge.server.listener import accepting
from bridge.server.sockets import listen
from bridge.server.state import ServerState
from bridge.stages.auth.local_issuer import LocalIssuer

ANSWER = b'{"orderId":"A-17","total":"129.90","currency":"USD","items":[{"sku":"X1","count":2}]}'
ASKED = b'{"customer":"C-9","items":[{"sku":"X1","count":2}]}'
SPEC = """
route: /orders/{{rest*}}
upstream: orders:80
{guards}
transform: {{request: passthrough}}
"""
GUARDS = {
    "open": "auth: {type: none}",
    "guarded": "auth: {type: JWT}\nrate_limit: {rps: 1000000, burst: 1000000}",
}
KINDS = ("bare", "wire", *GUARDS)
CONNECTIONS = 16


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The floor: what any application does, and nothing else."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class Instant:
    """A codec and an upstream that cost nothing worth counting."""

    def request(self, call: Call) -> bytes:
        body: bytes = call.body
        return body

    async def send(self, request: bytes, *, deadline: float, trace: Any, client_timeout: float | None = None) -> Any:
        assert request == ASKED
        return SimpleNamespace(status=200, body=b"")

    def reply(self, call: Call, answer: Any) -> Reply:
        return Reply(200, [JSON_TYPE], ANSWER)


def home(folder: Path, kind: str) -> None:
    """The gateway's home: one route, and the mesh that its upstream is named in."""
    (folder / "routes").mkdir(parents=True, exist_ok=True)
    (folder / "routes/orders.yml").write_text(SPEC.format(guards=GUARDS[kind]))
    (folder / "mesh.yml").write_text(json.dumps({"orders": "127.0.0.1:9"}))


def request(token: str) -> bytes:
    """What a client sends, as the usual ones do."""
    return (
        b"POST /orders/flow.Orders/Place HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
        b"Content-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s"
        % (b"Authorization: Bearer %s\r\n" % token.encode() if token else b"", len(ASKED), ASKED)
    )


async def serve(kind: str, folder: Path, profile: str) -> None:
    """Serve `kind` until the parent closes its end; prints the port first."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ended() -> None:
        stop.set()
        loop.remove_reader(0)

    loop.add_reader(0, ended)
    async with contextlib.AsyncExitStack() as closing:
        if kind == "bare":
            port = await closing.enter_async_context(_plain(bare))
        else:
            server = await _ours(kind, folder, closing)
            bound = listen("127.0.0.1", 0)
            port = bound.getsockname()[1]
            await closing.enter_async_context(accepting(server, bound))
        print(port, flush=True)
        profiler = cProfile.Profile() if profile else None
        if profiler is not None:
            profiler.enable()
        await stop.wait()
        if profiler is not None:
            profiler.disable()
            profiler.dump_stats(profile)


async def _ours(kind: str, folder: Path, closing: contextlib.AsyncExitStack) -> ServerState:
    if kind == "wire":
        return ServerState(bare, lambda request: None, lambda record: None, 0)
    home(folder, kind)
    settings = load({}, home=folder)
    app = build(settings)
    await closing.enter_async_context(app.router.lifespan_context(app))
    for route in app.gateway.table.routes.values():
        for endpoint in route.endpoints:
            endpoint.codec = instant = Instant()
            endpoint.request = instant.request
            endpoint.send = instant.send
    return ServerState(app, app.direct, app.gateway.log, settings.max_body)


@contextlib.asynccontextmanager
async def _plain(app: Any) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, port=0,
    )  # fmt: skip
    bound = config.bind_socket()
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        await task


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, asks: bytes, most: int, done: asyncio.Future[None]) -> None:
        self.asks, self.left, self.done = asks, most, done
        self.held, self.size = b"", 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.asks)

    def data_received(self, data: bytes) -> None:
        self.held += data
        head, found, body = self.held.partition(b"\r\n\r\n")
        if not found or len(body) < len(ANSWER):
            return
        # A figure counts only where the answers are right.
        if not head.startswith(b"HTTP/1.1 200 ") or body != ANSWER:
            self.done.set_exception(AssertionError(self.held.decode()))
            self.transport.close()
            return
        self.held = b""
        self.left -= 1
        if self.left:
            self.transport.write(self.asks)
        else:
            self.transport.close()
            self.done.set_result(None)


async def drive(port: int, asks: bytes, requests: int) -> None:
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(CONNECTIONS)]
    each = requests // CONNECTIONS
    for end in ends:
        await loop.create_connection(lambda end=end: Client(asks, each, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)


def spent(pid: int) -> dict[str, float]:
    """Seconds of CPU that the process has had: its main thread's, and all others'."""
    found = {"main": 0.0, "others": 0.0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        found["main" if task.name == str(pid) else "others"] += nanoseconds / 1e9
    return found


class Served:
    """A server in a process of its own, on core 0."""

    def __init__(self, kind: str, folder: Path, loop: str, profile: str) -> None:
        command = [sys.executable, __file__, "--serve", kind, "--home", str(folder), "--loop", loop]
        if profile:
            command += ["--profile", f"{profile}.{kind}"]
        self.kind = kind
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        token = LocalIssuer.open(load({}, home=folder)).mint("citizen", ttl=86400) if kind == "guarded" else ""
        self.asks = request(token)

    def measure(self, requests: int) -> dict[str, float]:
        """Microseconds of CPU per request."""
        before = spent(self.process.pid)
        uvloop.run(drive(self.port, self.asks, requests))
        time.sleep(0.1)  # the log is written a little later
        after = spent(self.process.pid)
        return {name: (after[name] - before[name]) / requests * 1e6 for name in after}

    def close(self) -> None:
        self.process.communicate("", timeout=30)


def compare(kinds: list[str], requests: int, rounds: int, loop: str, profile: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        servers = [Served(kind, Path(folder) / kind, loop, profile) for kind in kinds]
        figures: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for server in servers:
            server.measure(requests // 4)
        for _ in range(rounds):
            for server in servers:
                figures[server.kind].append(server.measure(requests))
        for server in servers:
            server.close()
    floor = [sum(one.values()) for one in figures[kinds[0]]]
    print(f"{'':10}{'µs':>8}{'loop':>8}{'threads':>9}{'ratio':>8}")
    for kind, found in figures.items():
        whole = [sum(one.values()) for one in found]
        ratio = statistics.median(mine / other for mine, other in zip(whole, floor, strict=True))
        main = statistics.median(one["main"] for one in found)
        others = statistics.median(one["others"] for one in found)
        print(f"{kind:10}{statistics.median(whole):8.1f}{main:8.1f}{others:9.1f}{ratio:8.2f}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--profile", default="", help="write cProfile's figures to FILE.KIND")
    parser.add_argument("--serve", choices=KINDS)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if given.serve:
        os.sched_setaffinity(0, cores[:1])
        run = uvloop.run if given.loop == "uvloop" else asyncio.run
        run(serve(given.serve, given.home, given.profile))
        return 0
    os.sched_setaffinity(0, cores[-1:])
    compare(given.only, given.requests, given.rounds, given.loop, given.profile)
    if given.profile:
        for kind in given.only:
            pstats.Stats(f"{given.profile}.{kind}").sort_stats("tottime").print_stats(45)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
