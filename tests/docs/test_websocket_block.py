"""The route of docs/xml.md that takes WebSockets, opened as the page says."""

from __future__ import annotations

from typing import Any

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.docs.pages import ROOT, blocks_of
from tests.gateway.websocket_kit import echo, library

[BLOCK] = [block for block in blocks_of(ROOT / "docs" / "xml.md") if "websocket: true" in block.text]


async def test_a_browsers_token_is_among_the_subprotocols(start: Any) -> None:
    async with library(echo, subprotocols=[Subprotocol("chat")]) as port:
        async with start(mesh={"chat-svc": f"127.0.0.1:{port}"}, routes={"chat.yml": BLOCK.text}) as gateway:
            offered = [Subprotocol(name) for name in ("bearer", gateway.token(audience="CHAT"), "chat")]
            async with connect(f"ws://127.0.0.1:{gateway.port}/v1/chat/blue", subprotocols=offered) as client:
                assert client.subprotocol == "chat"
                await client.send("hello")
                assert await client.recv() == "hello"
