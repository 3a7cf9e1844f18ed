"""The gateway's own client alone, on either loop, and a way to look at its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import ReplyHead


@pytest.fixture
def make_client() -> Any:
    return HttpClient


Exchange = Callable[..., Awaitable[tuple[ReplyHead, bytes]]]


@pytest.fixture
def exchange(client: HttpClient) -> Exchange:
    """``await exchange(server, method, body, …)``: one exchange of the client itself."""

    async def make(server: Any, method: str = "GET", body: bytes = b"", **given: Any) -> tuple[ReplyHead, bytes]:
        options = {"server_name": None, "connect_timeout": 5.0, "max_reply": 1 << 20, **given}
        async with asyncio.timeout(20):
            head, reply = await client.exchange(server.address, method, "/", [("host", "a")], body, **options)
            assert isinstance(reply, bytes)
            return head, reply

    return make
