"""The gateway's own HTTP/1.1 client beside the general one (aiohttp), as an upstream uses them.

    python -m benchmarks.http_client [--pairs N] [--check]

The service is a process of its own that answers without thinking, no two replies with the same head; requests are POSTs
of 300 bytes with six fields, 32 of them under way at a time. What is measured is the CPU time of the process with the
clients, in pairs of short turns of either client, on uvloop, each body checked; a ratio is the median over the pairs.
With ``--check`` the exit code is 1 when the own client is not at least twice as cheap for small replies, or dearer for
large ones.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

import uvloop

from bridge.api.call import HttpRequest
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import Client
from tests.oracles.aiohttp_client import AiohttpClient
from tests.oracles.clusters import http_cluster

FLIGHT = 32  # requests under way
FIELDS = [("content-type", "text/xml; charset=utf-8"), ("soapaction", '"urn:bench/Count"'), ("x-tenant", "a")]
TRACE = [("x-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736"), ("traceparent", "00-4bf92f35-00f067aa-01")]
CASES = {"1 kB": (1_000, 4_000, 2.0), "1 MB": (1_000_000, 150, 0.9)}  # bytes of a reply, requests a turn, least ratio


class Service(asyncio.Protocol):
    """Answers each POST of 300 bytes with as many bytes as its path ends with."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + 300:
            self._buffer = data
            return
        self._buffer = b""
        size = int(data[: data.index(b" HTTP/")].rpartition(b"/")[2])
        head = (
            b"HTTP/1.1 200 OK\r\nServer: Bench/1.0\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
            b"Content-Type: application/octet-stream\r\nCache-Control: private, max-age=0\r\nX-Request-Id: %08x\r\n"
            b"Content-Length: %d\r\n\r\n" % (next(NUMBERS), size)
        )
        self._transport.writelines((head, BODIES.setdefault(size, b"x" * size)))


BODIES: dict[int, bytes] = {}
NUMBERS = itertools.count()


async def service() -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


Turn = Callable[[int, int], Awaitable[None]]


def turn_of(client: Client, port: int) -> Turn:
    """Sends so many requests for a reply of so many bytes through an upstream on `client`."""

    async def addresses() -> list[tuple[str, int]]:
        return [("127.0.0.1", port)]

    upstream = http_cluster(addresses, client=client, tls=False, name="bench", port="80", max_reply=1 << 24)
    loop = asyncio.get_running_loop()

    async def ask(count: int, size: int) -> None:
        for _ in range(count):
            request = HttpRequest("POST", f"/{size}", list(FIELDS), b"a" * 300)
            reply = await upstream.send(request, deadline=loop.time() + 30, trace=TRACE)
            assert reply.status == 200
            assert len(reply.body) == size

    async def turn(count: int, size: int) -> None:
        await asyncio.gather(*(ask(count // FLIGHT + 1, size) for _ in range(FLIGHT)))

    return turn


async def measure(port: int, pairs: int) -> bool:
    own, general = HttpClient(), AiohttpClient()
    turns = [turn_of(client, port) for client in (own, general)]
    good = True
    for case, (size, count, least) in CASES.items():
        spent: list[list[float]] = [[], []]
        for turn in turns:
            await turn(count // 4, size)
        for _ in range(pairs):
            for turn, figures in zip(turns, spent, strict=True):
                before = time.process_time()
                await turn(count, size)
                figures.append((time.process_time() - before) / ((count // FLIGHT + 1) * FLIGHT) * 1e6)
        ratio = statistics.median(theirs / ours for ours, theirs in zip(*spent, strict=True))
        ours, theirs = map(statistics.median, spent)
        print(f"{case} reply: own {ours:7.1f} us of CPU a request, general {theirs:7.1f}; {ratio:.2f} times as cheap")
        good &= ratio >= least
    await own.aclose()
    await general.aclose()
    return good


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--service", action="store_true")
    given = parser.parse_args()
    if given.service:
        uvloop.run(service())
        return 0
    backend = subprocess.Popen([sys.executable, __file__, "--service"], stdout=subprocess.PIPE, text=True)
    try:
        assert backend.stdout is not None
        good = uvloop.run(measure(int(backend.stdout.readline()), given.pairs))
    finally:
        backend.terminate()
        backend.wait()
    return int(given.check and not good)


if __name__ == "__main__":
    raise SystemExit(main())
