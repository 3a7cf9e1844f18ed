"""WebSocket messages through the gateway beside a direct connection: an echo, text messages of one size.

    python -m benchmarks.websocket [--messages N] [--size BYTES] [--quick]

The service (an echo of the library `websockets`), the gateway and the client are a process each; the client keeps 64
messages under way and checks each answer. Printed are messages a second there and back, directly and through the
gateway, and the gateway's CPU time for each of them, which is two messages relayed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.side_by_side.accounting import cpu

FLIGHT = 64  # messages under way
SPEC = """
route: /echo
upstream: echo-svc:80
auth: {type: none}
transform: {request: passthrough, response: passthrough, passthrough: {websocket: true}}
"""


def serve_echo(port: int) -> None:
    async def echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)

    async def run() -> None:
        async with serve(echo, "127.0.0.1", port, compression=None):
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


def serve_gateway(home: str, port: int) -> None:
    from bridge.cli.main import main

    sys.argv = ["hms-bridge", "serve", "--port", str(port)]
    with contextlib.chdir(home):
        main()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@contextlib.contextmanager
def started(target: object, *args: object) -> Iterator[SpawnProcess]:
    """A process that runs `target`, whose last argument is the port on which it is ready."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=args, daemon=True)  # type: ignore[arg-type]
    process.start()
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(str(args[-1]))), 1):
                break
            time.sleep(0.1)
        else:
            raise SystemExit("a process of the benchmark does not answer")
        yield process
    finally:
        process.terminate()
        process.join(10)


async def rate(port: int, messages: int, size: int) -> float:
    """Messages a second, there and back."""
    text = "x" * size
    async with connect(f"ws://127.0.0.1:{port}/echo", compression=None) as client:
        begin = time.perf_counter()
        for number in range(messages + FLIGHT):
            if number >= FLIGHT and await client.recv() != text:
                raise SystemExit("an answer is wrong")
            if number < messages:
                await client.send(text)
        return messages / (time.perf_counter() - begin)


def measure(messages: int, size: int) -> tuple[float, float, float]:
    """Messages a second directly and through the gateway, and the gateway's CPU for each, in microseconds."""
    service, gateway = free_port(), free_port()
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "routes").mkdir()
        (Path(home) / "routes" / "echo.yml").write_text(SPEC)
        (Path(home) / "mesh.yml").write_text(f"echo-svc: 127.0.0.1:{service}\n")
        with started(serve_echo, service), started(serve_gateway, home, gateway) as process:
            direct = asyncio.run(rate(service, messages, size))
            assert process.pid is not None
            before = cpu(process.pid)
            through = asyncio.run(rate(gateway, messages, size))
            spent = cpu(process.pid) - before
    return direct, through, spent / messages * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="2,000 messages")
    options = parser.parse_args()
    messages = 2_000 if options.quick else options.messages
    direct, through, micros = measure(messages, options.size)
    print(
        f"{messages} messages of {options.size} bytes, there and back: {direct:,.0f}/s directly, "
        f"{through:,.0f}/s through the gateway, whose CPU is {micros:.0f} µs for each"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
