"""What a call to a service may cost on our side, in calls and not in seconds: the same on every machine.

Counted are calls of our own functions, and calls of C that those make, from `send` to its reply, over a real socket to
a service that answers each request in one write. Whoever makes the way longer meets this test; whoever makes it shorter
writes the new figure down.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.api.call import GrpcRequest, HttpRequest
from bridge.transport.http1.client import HttpClient
from tests.counting import counted
from tests.oracles.clusters import grpc_cluster, http_cluster
from tests.transport.grpc.kit import HELLO
from tests.transport.grpc.test_faults import SETTINGS, Reading
from tests.transport.http2.kit import raw

TRACE = [("x-trace-id", "0" * 32), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01")]
#: Calls of our functions and of C for each call, by Python's version: they differ for the same code.
MOST = {
    (3, 11): {"grpc": (45, 56), "http": (24, 24)},
    (3, 12): {"grpc": (45, 57), "http": (21, 25)},
    (3, 13): {"grpc": (45, 57), "http": (21, 25)},
    (3, 14): {"grpc": (45, 57), "http": (21, 25)},
}
HERE = MOST.get(sys.version_info[:2], MOST[3, 14])  # one that is not yet known is held to the newest that is

Serve = Callable[..., Awaitable[Any]]


async def grpc_service(peer: Any) -> None:
    client = Reading(peer)
    await client.preface()
    await peer.say(SETTINGS + raw(8, 0, 0, b"\x7f\x00\x00\x00"))
    while True:
        number = await client.request()
        await peer.say(b"".join(said.on(number) for said in HELLO))


async def cost(kind: str, send: Callable[[], Awaitable[Any]]) -> None:
    async def ask(times: int) -> None:
        for _ in range(times):
            await send()

    await ask(5)  # what is remembered, is
    # The least of several: what the network cuts apart takes a call more.
    found = [await counted(lambda: ask(10)) for _ in range(5)]
    calls, into_c = (min(each) / 10 for each in zip(*found, strict=True))
    assert calls <= HERE[kind][0]
    assert into_c <= HERE[kind][1]


async def test_a_grpc_call_takes_no_more_calls(serve: Serve) -> None:
    address = (await serve(grpc_service)).address
    upstream = grpc_cluster(
        lambda: asyncio.sleep(0, [address]), known=lambda: [address], tls=False, max_reply=1000, name="a"
    )
    loop = asyncio.get_running_loop()

    async def send() -> None:
        request = GrpcRequest("/a.S/Do", b"q")
        assert (await upstream.send(request, deadline=loop.time() + 30, trace=TRACE)).message == b"hello"

    await cost("grpc", send)
    await upstream.aclose()


async def test_an_http_call_takes_no_more_calls(serve: Serve, reply: Callable[..., bytes]) -> None:
    address = (await serve(reply(b"hello"))).address
    client = HttpClient()

    upstream = http_cluster(
        lambda: asyncio.sleep(0, [address]), known=lambda: [address], client=client, name="a", port="1", max_reply=1000
    )
    loop = asyncio.get_running_loop()

    async def send() -> None:
        request = HttpRequest("POST", "/orders", [("content-type", "application/json")], b"{}")
        assert (await upstream.send(request, deadline=loop.time() + 30, trace=TRACE)).body == b"hello"

    await cost("http", send)
    await client.aclose()
