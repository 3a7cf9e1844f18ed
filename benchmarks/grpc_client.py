"""CPU of a call to a gRPC service: the gateway's own client beside grpc.aio, in pairs of one run.

    python -m benchmarks.grpc_client [--pairs N] [--check]

The service runs in another process; only the client's own time counts. `--check` fails below half of grpc.aio's cost.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, Literal

import grpc
import grpc.aio
import uvloop

from bridge.api.call import GrpcRequest
from bridge.cluster.cluster import Cluster
from tests.oracles.clusters import grpc_cluster

FLIGHT = 16  #: calls under way at one time
TRACE = [("x-trace-id", "0" * 32), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01")]


def serve(ready: Connection) -> None:
    """A service that gives back what it gets (`Echo`), or sends `COUNT` messages (`Pour`)."""

    async def run() -> None:
        async def echo(message: bytes, context: Any) -> bytes:
            return message

        async def pour(message: bytes, context: Any) -> Any:
            for _ in range(1000):
                yield message

        server = grpc.aio.server()
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "Pour": grpc.unary_stream_rpc_method_handler(pour),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.S", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.send(port)
        await server.wait_for_termination()

    asyncio.run(run())


class Case:
    """One kind of call: how often, and with what."""

    def __init__(self, name: str, calls: int, size: int, *, stream: bool = False) -> None:
        self.name, self.calls, self.size, self.stream = name, calls, size, stream

    async def measure(self, upstream: Cluster) -> float:
        """Microseconds of CPU a call."""
        loop = asyncio.get_running_loop()
        message = bytes(self.size)
        left = self.calls

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if self.stream:
                    call = await upstream.stream(
                        GrpcRequest("/a.S/Pour", b""), deadline=None, connect_by=loop.time() + 5, trace=TRACE
                    )
                    await call.write(message)
                    await call.end()
                    count = 0
                    while await call.read() is not None:
                        count += 1
                    assert count == 1000
                else:
                    reply = await upstream.send(
                        GrpcRequest("/a.S/Echo", message), deadline=loop.time() + 30, trace=TRACE
                    )
                    assert reply.message == message

        began = time.process_time()
        await asyncio.gather(*(worker() for _ in range(1 if self.stream else FLIGHT)))
        return (time.process_time() - began) / self.calls * 1e6


CASES = (
    Case("unary, 100 bytes", 4000, 100),
    Case("unary, 10 kB", 2000, 10_000),
    Case("stream of 1,000", 10, 100, stream=True),
)


async def run(port: int, pairs: int) -> bool:
    async def addresses() -> list[tuple[str, int]]:
        return [("127.0.0.1", port)]

    kinds: tuple[Literal["lean"], Literal["general"]] = ("lean", "general")
    upstreams = {
        kind: grpc_cluster(
            addresses, known=lambda: [("127.0.0.1", port)], tls=False, max_reply=1 << 20, name="a", clients=kind
        )
        for kind in kinds
    }
    good = True
    for case in CASES:
        for upstream in upstreams.values():
            await case.measure(upstream)
        took: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(pairs):
            for kind, upstream in upstreams.items():
                took[kind].append(await case.measure(upstream))
        ratio = statistics.median(general / lean for lean, general in zip(took["lean"], took["general"], strict=True))
        print(
            f"{case.name:<18} own {statistics.median(took['lean']):8.1f} µs   "
            f"grpc.aio {statistics.median(took['general']):8.1f} µs   {ratio:.2f} times"
        )
        good = good and ratio >= 2
    await asyncio.gather(*(upstream.aclose() for upstream in upstreams.values()))
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="exit 1 unless each call costs at most half of grpc.aio's")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        port = ours.recv()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            good = runner.run(run(port, options.pairs))
    finally:
        server.terminate()
    return 0 if good or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
