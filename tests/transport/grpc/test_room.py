"""Services that take few calls at once, and few connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.transport.grpc import subchannel as peer_room
from tests.transport.grpc.kit import HELLO
from tests.transport.grpc.test_faults import Reading, Serve, send
from tests.transport.http2.kit import raw


@pytest.fixture
def clients() -> str:
    """The general client has its own ways."""
    return "lean"


async def test_who_takes_one_connection_is_not_asked_by_every_call(
    serve: Serve, grpc_upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, it is asked for another connection; refused, not again for each call that waits."""
    monkeypatch.setattr(peer_room, "REFUSED", 3600.0)

    async def behave(peer: Any) -> None:
        if peer.number > 1:
            peer.writer.transport.abort()
            return
        client = Reading(peer)
        await client.preface()
        await peer.say(raw(4, 0, 0, b"\x00\x03\x00\x00\x00\x01"))
        while True:
            number = await client.request()
            await peer.say(b"".join(each.on(number) for each in HELLO))

    server = await serve(behave)
    upstream = grpc_upstream(server.address)
    await send(upstream)
    for _ in range(20):
        replies = await asyncio.gather(*(send(upstream) for _ in range(5)))
        assert [reply.message for reply in replies] == [b"hello"] * 5
    assert server.connections == 2
