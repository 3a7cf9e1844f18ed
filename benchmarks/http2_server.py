"""What a request over HTTP/2 costs the gateway beside one over HTTP/1.1, and our protocol core beside the library h2.

    python benchmarks/http2_server.py [--requests N] [--rounds N]

Everything runs in one process without sockets: bytes of a client's go in, bytes of the answer come out. Printed are
requests per second of CPU; the rounds go in turn, and a figure is the best of them. The gateway's route is for
everybody, its upstream answers within the process, at once.

    http/1.1      a gateway, one request after another
    http/2        a gateway, one request after another
    http/2 x10    a gateway, ten requests at a time, as they arrive together
    core alone    `bridge.server.http2.core.Http2ServerCore`, which answers by itself
    h2 alone      the library h2 in its place
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import hpack

from benchmarks.request_path import ANSWER, ASKED, Instant, home, request
from bridge.app import build
from bridge.config.settings import load
from bridge.http2 import frames
from bridge.server.connection import ServerConnection
from bridge.server.http2.core import Http2ServerCore
from bridge.server.http2.exchange import Http2Exchange
from bridge.server.http2.response_head import response_block
from bridge.server.state import ServerState

FIELDS = [
    (":method", "POST"), (":scheme", "http"), (":authority", "127.0.0.1:8080"), (":path", "/orders/flow.Orders/Place"),
    ("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("content-type", "application/json"),
    ("content-length", str(len(ASKED))),
]  # fmt: skip
REPLY = [("content-type", "application/json"), ("x-trace-id", "0" * 32), ("content-length", str(len(ANSWER)))]
DATE = "date: Mon, 30 Nov 2026 17:00:00 GMT"
Ask = Callable[[int], Awaitable[None]]


class Client:
    """Writes requests as a client with our SETTINGS does: without a table."""

    def __init__(self) -> None:
        encoder = hpack.Encoder()
        encoder.header_table_size = 0
        first = encoder.encode(FIELDS)
        self._blocks = (first, encoder.encode(FIELDS))
        self._next = 1

    def hello(self) -> bytes:
        return frames.PREFACE + frames.settings([]) + frames.frame(frames.SETTINGS, frames.ACK, 0)

    def requests(self, count: int) -> bytes:
        parts = []
        for _ in range(count):
            parts.append(frames.message(self._next, self._blocks[self._next > 1], ASKED))
            self._next += 2
        # What a client says of the answers, so that the connection's window lasts.
        return b"".join(parts) + frames.window_update(0, count * len(ANSWER))


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 80)})
        self.protocol: Any = None
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def close(self) -> None: ...


def over_gateway(state: ServerState, at_once: int) -> Ask:
    """:param at_once: requests; 0: over HTTP/1.1."""
    transport, client = Transport(), Client()
    transport.protocol = connection = ServerConnection(state)
    connection.connection_made(transport)
    asks = request("")
    if at_once:
        transport.protocol.data_received(client.hello())

    async def ask(times: int) -> None:
        for _ in range(times // (at_once or 1)):
            before = transport.written
            transport.protocol.data_received(client.requests(at_once) if at_once else asks)
            while state.tasks:  # noqa: ASYNC110  # an event would be work of its own
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert transport.written > before

    return ask


def core_alone() -> Ask:
    client = Client()

    class Host:
        transport, peer, server = None, "127.0.0.1", None

    def start(exchange: Http2Exchange, head: Any) -> None:
        waiting.append(exchange)

    waiting: list[Http2Exchange] = []
    host: Any = Host()
    core = Http2ServerCore(
        max_list=65_536, accept=lambda head, ended: Http2Exchange(host, head, ended=ended), start=start,
        malformed=print, output=lambda: None,
    )  # fmt: skip
    core.receive(client.hello())

    async def ask(times: int) -> None:
        for _ in range(times):
            core.receive(client.requests(1))
            exchange = waiting.pop()
            assert exchange.received(1000) == ASKED
            core.respond(exchange, response_block(200, DATE, REPLY), ANSWER, end=True)
            assert ANSWER in core.take()

    return ask


def library_alone() -> Ask:
    client = Client()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
    connection.initiate_connection()
    connection.receive_data(client.hello())
    reply = [(":status", "200"), ("date", DATE[6:]), *REPLY]

    async def ask(times: int) -> None:
        for _ in range(times):
            for event in connection.receive_data(client.requests(1)):
                if isinstance(event, h2.events.DataReceived):
                    assert event.data == ASKED
                    connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                elif isinstance(event, h2.events.StreamEnded):
                    assert event.stream_id
                    connection.send_headers(event.stream_id, reply)
                    connection.send_data(event.stream_id, ANSWER, end_stream=True)
            assert ANSWER in connection.data_to_send()

    return ask


async def measure(requests: int, rounds: int) -> dict[str, float]:
    """Requests per second of CPU."""
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        home(Path(folder), "open")
        settings = load({}, home=Path(folder))
        app = build(settings)
        async with app.router.lifespan_context(app):
            for route in app.gateway.table.routes.values():
                for endpoint in route.endpoints:
                    endpoint.codec = instant = Instant()
                    endpoint.request = instant.request
                    endpoint.send = instant.send
            state = ServerState(app, app.direct, app.gateway.log, settings.max_body)
            kinds = {
                "http/1.1": over_gateway(state, 0), "http/2": over_gateway(state, 1),
                "http/2 x10": over_gateway(state, 10), "core alone": core_alone(), "h2 alone": library_alone(),
            }  # fmt: skip
            for _ in range(rounds):
                for kind, ask in kinds.items():
                    await ask(100)
                    began = time.process_time()
                    await ask(requests)
                    best[kind] = max(best.get(kind, 0.0), requests / (time.process_time() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.requests, arguments.rounds))
    for kind, rate in figures.items():
        print(f"{kind:<12} {rate:10,.0f} requests/CPU s   {rate / figures['http/1.1']:5.2f} of http/1.1")


if __name__ == "__main__":
    main()
