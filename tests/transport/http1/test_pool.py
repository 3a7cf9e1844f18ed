"""Who gets a connection, who waits, who is turned away; and the end of all of it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from bridge.errors import ShuttingDown
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import ConnectFailed, ConnectionDropped
from bridge.transport.http1.pool import Pool

HI = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Gate:
    """A service that answers once it is told to, each request by itself, in the order in which they came."""

    def __init__(self, closes: bool = False) -> None:
        self.order: list[bytes] = []
        self.closes = closes
        self._waiting: list[asyncio.Event] = []

    async def __call__(self, peer: Any) -> None:
        while True:
            seen = await peer.request()
            self.order.append(seen.body)
            go = asyncio.Event()
            self._waiting.append(go)
            await go.wait()
            if self.closes:
                await peer.say(HI.replace(b"OK", b"OK\r\nConnection: close"))
                return
            await peer.say(HI)

    async def answer(self) -> None:
        async with asyncio.timeout(20):
            while not self._waiting:
                await asyncio.sleep(0.001)
        self._waiting.pop(0).set()


@pytest.fixture
async def narrow() -> Any:
    """A client with one connection to an address."""
    client = HttpClient(per_address=1)
    yield client
    await client.aclose()


def ask(client: HttpClient, server: Any, body: bytes, **given: Any) -> asyncio.Task[Any]:
    options = {"server_name": None, "connect_timeout": 5.0, "max_reply": 1000, **given}
    return asyncio.ensure_future(
        client.exchange(server.address, "POST", "/", [("host", "a"), ("x-n", "1")], body, **options)
    )


async def queued(client: HttpClient, count: int) -> None:
    """Until `count` wait for a connection."""
    async with asyncio.timeout(20):
        while sum(len(pool._waiting) for pool in client._pools.values()) != count:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("closes", [False, True])
async def test_first_come_first_served(serve: Any, narrow: Any, closes: bool) -> None:
    """By the connection that is free again, or by a new one in its place."""
    gate = Gate(closes)
    server = await serve(gate)
    asked = []
    for number in range(5):
        asked.append(ask(narrow, server, b"%d" % number))
        await queued(narrow, number)
    for _ in asked:
        await gate.answer()
    async with asyncio.timeout(20):
        await asyncio.gather(*asked)
    assert gate.order == [b"0", b"1", b"2", b"3", b"4"]
    assert server.connections == (5 if closes else 1)


async def test_one_who_waits_and_leaves_takes_nobodys_turn(serve: Any, narrow: Any) -> None:
    gate = Gate()
    server = await serve(gate)
    first, second, third = (ask(narrow, server, b"%d" % number) for number in range(3))
    await queued(narrow, 2)
    second.cancel()
    await gate.answer()
    await gate.answer()
    async with asyncio.timeout(20):
        await asyncio.gather(first, third)
    assert gate.order == [b"0", b"2"]


@pytest.mark.parametrize("closes", [False, True])
async def test_one_who_leaves_just_when_it_is_their_turn_passes_it_on(
    serve: Any, narrow: Any, closes: bool, monkeypatch: Any
) -> None:
    gate = Gate(closes)
    server = await serve(gate)
    first, second, third = (ask(narrow, server, b"%d" % number) for number in range(3))
    await queued(narrow, 2)
    [pool] = narrow._pools.values()
    hand_over = Pool.retire if closes else Pool.release

    def and_cancel(*given: Any) -> None:
        hand_over(*given)
        second.cancel()  # it has been given what it waited for, and does not know yet

    monkeypatch.setattr(Pool, hand_over.__name__, and_cancel)
    await gate.answer()
    await gate.answer()
    async with asyncio.timeout(20):
        await asyncio.gather(first, third)
    assert second.cancelled()
    assert gate.order == [b"0", b"2"]
    assert pool._open == (0 if closes else 1)


async def test_a_place_is_free_again_after_every_kind_of_failure(serve: Any, narrow: Any) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))

        class There:
            address = refusing.getsockname()

        for _ in range(3):
            with pytest.raises(ConnectFailed):
                await ask(narrow, There, b"x")
    for said in (b"nonsense\r\n\r\n", b""):

        async def behave(peer: Any, said: bytes = said) -> None:
            await peer.request()
            await peer.say(said)

        server = await serve(behave)
        for _ in range(3):
            with pytest.raises(Exception, match=r".*"):
                await ask(narrow, server, b"x")
    gate = Gate()
    server = await serve(gate)
    for _ in range(3):
        cancelled = ask(narrow, server, b"x")
        while not gate.order:
            await asyncio.sleep(0.001)
        gate.order.clear()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert [pool._open for pool in narrow._pools.values()] == [0, 0, 0, 0]
    assert all(pool.unused for pool in narrow._pools.values())


async def test_connecting_that_is_cancelled_leaves_nothing(serve: Any, narrow: Any) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)

        class There:
            address = full.getsockname()

        asked = ask(narrow, There, b"x")
        waiting = ask(narrow, There, b"y", connect_timeout=0.05)
        await queued(narrow, 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        with pytest.raises(ConnectFailed, match="no connection in"):
            await waiting
        for filler in fillers:
            filler.close()
    [pool] = narrow._pools.values()
    assert pool.unused


async def test_the_last_used_is_used_first(serve: Any, exchange: Any, client: Any) -> None:
    server = await serve(HI)
    await asyncio.gather(*(exchange(server) for _ in range(4)))
    opened = server.connections
    for _ in range(3):
        await exchange(server)
    assert server.connections == opened
    assert len({seen.connection for seen in server.seen[-3:]}) == 1


async def test_names_and_trusts_do_not_share(serve: Any, exchange: Any, client: Any) -> None:
    server = await serve(HI)
    await exchange(server)
    with pytest.raises((ConnectFailed, ConnectionDropped)):
        await exchange(server, server_name="a", connect_timeout=0.05)
    assert len(client._pools) == 2
    await exchange(server)
    assert server.connections == 2


async def test_closing_ends_what_is_under_way(serve: Any) -> None:
    client = HttpClient(per_address=2)
    gate = Gate()
    server = await serve(gate)
    answered = ask(client, server, b"1")
    await gate.answer()
    await answered
    busy = [ask(client, server, b"%d" % number) for number in range(4)]
    await queued(client, 2)
    while len(gate.order) < 3:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(20):
        await client.aclose()
        told = await asyncio.gather(*busy, return_exceptions=True)
    assert [type(one) for one in told] == [ConnectionDropped, ConnectionDropped, ShuttingDown, ShuttingDown]
    with pytest.raises(ShuttingDown):
        await ask(client, server, b"x")
    await client.aclose()


async def test_closing_while_connecting(serve: Any) -> None:
    client = HttpClient()
    server = await serve(HI)
    asked = ask(client, server, b"x")
    await asyncio.sleep(0)
    await client.aclose()
    async with asyncio.timeout(20):
        with pytest.raises((ShuttingDown, ConnectionDropped)):
            await asked
    assert not server.seen
