"""Nobody ever gets another's answer, whatever services do and however callers leave."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest

from bridge.errors import BadReply
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import ConnectFailed, ConnectionDropped

CALLS, AT_ONCE, WIDTH = 1500, 40, 12


class Moody:
    """Answers each request with its own body, or in one of the ways in which services fail."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def __call__(self, peer: Any) -> None:
        while True:
            body = (await peer.request()).body
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            chunked = (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
            )
            match self._random.randrange(14):
                case 0:
                    return
                case 1:
                    sock = peer.writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    await peer.say(whole[: self._random.randrange(len(whole))])
                    return
                case 2:
                    await peer.say(whole.replace(b"OK", b"OK\r\nConnection: close"))
                    return
                case 3:
                    await peer.say(b"HTTP/1.0 200 OK\r\n\r\n", body)
                    return
                case 4:
                    await peer.say(whole, whole)  # the second answers nothing
                case 5:
                    at = self._random.randrange(1, len(chunked))
                    await peer.say(chunked[:at])
                    await asyncio.sleep(0.001)
                    await peer.say(chunked[at:])
                case 6:
                    await asyncio.sleep(self._random.random() * 0.01)
                    await peer.say(whole)
                case 7:
                    await peer.say(b"nonsense\r\n\r\n")
                case 8:
                    await peer.say(b"HTTP/1.1 103 Hints\r\n\r\n", chunked)
                case 9:
                    await peer.say(whole)
                    return  # without having said so
                case _:
                    await peer.say(whole)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_answer_is_ones_own(serve: Any, seed: int) -> None:
    server, chance = await serve(Moody(seed)), random.Random(seed)
    client = HttpClient(per_address=WIDTH)
    fields = [("host", "a")]
    outcomes = {"right": 0, "failed": 0, "left": 0}
    numbers = iter(range(CALLS))

    async def one(number: int) -> bytes:
        body = b"%d" % number * chance.randrange(1, 200)
        _, came = await client.exchange(
            server.address, "POST", "/", fields, body, server_name=None, connect_timeout=5, max_reply=10_000
        )
        assert isinstance(came, bytes)
        assert came == body
        return came

    async def worker() -> None:
        for number in numbers:
            call = asyncio.ensure_future(one(number))
            if chance.random() < 0.1:
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                call.cancel()
            try:
                await call
                outcomes["right"] += 1
            except (ConnectionDropped, BadReply, ConnectFailed):
                outcomes["failed"] += 1
            except asyncio.CancelledError:
                outcomes["left"] += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    assert outcomes["right"] > CALLS / 3
    assert outcomes["failed"] > 0
    assert outcomes["left"] > 0
    [pool] = client._pools.values()
    assert pool._open == len(pool.idle) <= WIDTH
    assert not pool._waiting
    await client.aclose()
    assert pool.unused
    async with asyncio.timeout(20):
        while pool.connections:  # a call that was cancelled while it connected: the loop takes its transport away
            await asyncio.sleep(0.001)
