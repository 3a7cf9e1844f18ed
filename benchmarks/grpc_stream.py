"""A server stream of a million messages through a gateway that serves, and a reader that takes its time.

    python benchmarks/grpc_stream.py [--messages N] [--check]

The service, the gateway and the client are processes of their own. Prints messages a second, and the gateway's memory
at the beginning and at its highest, for NDJSON and server-sent events; then how far ahead of a client that reads
nothing the service gets. With ``--check`` the exit code is 1 when a message is missing, memory grows by more than
32 MB, or the service runs ahead by more than 16 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema

PROTO = """
syntax = "proto3";
package bench;
service Feed { rpc Count(Request) returns (stream Tick); }
message Request { int32 upto = 1; }
message Tick { int32 n = 1; string text = 2; }
"""
SPEC = """
route: /feed
upstream: feed:1
auth: {type: none}
transform: {request: grpc, grpc: {protos: [feed.proto]}}
"""
PATH = "/feed/bench.Feed/Count"
GROWTH, AHEAD = 32, 16  # MB


def service(folder: Path) -> None:
    """Serves `PROTO`; prints its port, and at SIGUSR1 the bytes of text that it could write."""
    made = schema(compile_protos(["feed.proto"], folder / "protos"))
    request, tick = (GetMessageClass(made.pool.FindMessageTypeByName(f"bench.{name}")) for name in ("Request", "Tick"))
    text = "a county and its votes " * 4
    written = 0

    async def count(asked: Any, context: Any) -> None:
        nonlocal written
        for n in range(1, asked.upto + 1):
            await context.write(tick(n=n, text=text))
            written += len(text)

    async def run() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_stream_rpc_method_handler(count, request.FromString, _bytes)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Feed", {"Count": handler}),))
        print(server.add_insecure_port("127.0.0.1:0"), flush=True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: print(written, flush=True))
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def memory(pid: int) -> float:
    """Megabytes that the process holds now."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


async def read(port: int, messages: int, accept: str, pid: int) -> tuple[int, float, float]:
    """Messages that came, seconds, and the gateway's highest memory meanwhile."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"upto": %d}' % messages
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    started, count, most, rest = time.perf_counter(), 0, 0.0, b""
    looked = 0.0
    while data := await reader.read(1 << 18):
        data = rest + data
        count += data.count(b'{"n":')
        rest = data[-4:]
        count -= rest.count(b'{"n":')
        if (now := time.perf_counter()) - looked > 0.05:
            looked, most = now, max(most, memory(pid))
    writer.close()
    return count, time.perf_counter() - started, most


def written(backend: subprocess.Popen[str]) -> int:
    """Bytes of text that the service has written since it began."""
    assert backend.stdout is not None
    backend.send_signal(signal.SIGUSR1)
    return int(backend.stdout.readline())


async def ahead(port: int, backend: subprocess.Popen[str]) -> float:
    """Megabytes that the service has written to a client that reads nothing, when it stands still."""
    before = written(backend)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"upto": 2000000000}'
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    figures = [before]
    while len(figures) < 3 or figures[-1] != figures[-2]:
        await asyncio.sleep(1)
        figures.append(written(backend))
    writer.transport.abort()
    return (figures[-1] - before) / 1e6


def measure(folder: Path, messages: int) -> bool:
    (folder / "protos").mkdir()
    (folder / "routes").mkdir()
    (folder / "protos/feed.proto").write_text(PROTO)
    (folder / "routes/feed.yml").write_text(SPEC)
    command = [sys.executable, __file__, "--service", str(folder)]
    backend = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert backend.stdout is not None
    (folder / "mesh.yml").write_text(json.dumps({"feed": f"127.0.0.1:{int(backend.stdout.readline())}"}))
    serve = [sys.executable, "-c", "from bridge.cli.main import main; main()", "serve", "--port", "0"]
    gateway = subprocess.Popen(
        serve,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "BRIDGE_HOME": str(folder)},
    )
    try:
        assert gateway.stdout is not None
        found = None
        while found is None:
            found = re.search(r"127\.0\.0\.1:(\d+)", gateway.stdout.readline())
        port, good = int(found[1]), True
        asyncio.run(read(port, 1000, "application/x-ndjson", gateway.pid))
        for accept in ("application/x-ndjson", "text/event-stream"):
            before = memory(gateway.pid)
            count, took, most = asyncio.run(read(port, messages, accept, gateway.pid))
            good &= count == messages and most - before <= GROWTH
            print(
                f"{accept:22} {count:9,} messages in {took:6.1f} s, {count / took:8,.0f} a second; "
                f"memory {before:.0f} MB before, {most:.0f} MB at most"
            )
        far = asyncio.run(ahead(port, backend))
        print(f"to a client that reads nothing the service wrote {far:.1f} MB")
        return good and far <= AHEAD
    finally:
        for process in (gateway, backend):
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--service")
    given = parser.parse_args()
    if given.service:
        service(Path(given.service))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        good = measure(Path(folder), given.messages)
    return int(given.check and not good)


if __name__ == "__main__":
    raise SystemExit(main())
