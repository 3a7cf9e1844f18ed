"""`cors` and streams: WebSockets are refused by their origin, and the heads of streams carry the fields."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

APP = "https://app.example.org"
CORS = f'cors: {{origins: [{APP}, "*.example.com"]}}'


@pytest.mark.parametrize("origin", [None, APP, "https://a.example.com", "own"])
async def test_a_websocket_of_an_allowed_page(stage: Any, origin: Any) -> None:
    async with stage(CORS) as made:
        own = f"http://127.0.0.1:{made.gateway.port}"
        page = None if origin is None else Origin(own if origin == "own" else origin)
        async with connect(f"{made.ws}/flow/rooms/blue/echo", origin=page) as socket:
            await socket.send('{"n": 1}')
            assert await socket.recv() == '{"n":1,"room":"blue"}'


@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", "https://app.example.org.evil.test", "http://127.0.0.1"]
)
async def test_a_websocket_of_another_page(stage: Any, origin: Any) -> None:
    async with stage(CORS) as made:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{made.ws}/flow/rooms/blue/echo", origin=Origin(origin))
        assert caught.value.response.status_code == 403
        assert b"This call is not allowed." in (caught.value.response.body or b"")
    [line] = made.gateway.log()
    assert (line["status"], line["cause"]) == (403, "the route's cors does not allow the origin")


async def test_without_cors_a_websocket_is_open_to_every_page(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/rooms/blue/echo", origin=Origin("https://evil.test")) as socket:
            await socket.send('{"n": 1}')
            assert await socket.recv()


async def test_the_head_of_a_stream(stage: Any) -> None:
    async with stage(CORS) as made:
        fields = {"origin": APP, "accept": "text/event-stream"}
        async with made.client.stream("GET", "/flow/count/2", headers=fields) as response:
            assert response.headers["access-control-allow-origin"] == APP
            assert response.headers["vary"] == "Origin"
            assert b'"n":2' in await response.aread()
