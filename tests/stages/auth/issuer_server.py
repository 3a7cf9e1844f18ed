"""An issuer on a real server: its metadata, its keys, and who asked for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bridge.stages.auth import discovery
from tests.conftest import listening


@dataclass
class PublishedIssuer:
    """A server with documents by their paths: a status and a JSON value, or bytes. All else is 404."""

    url: str = ""
    documents: dict[str, tuple[int, Any]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    asking: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def was_asked(self, path: str) -> None:
        async with self.asking:
            await self.asking.wait_for(lambda: path in self.asked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self.asking:
            self.asked.append(scope["path"])
            self.asking.notify_all()
        status, value = self.documents.get(scope["path"], (404, {}))
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        fields = [(name.encode(), text.encode()) for name, text in self.fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def publish(self, *pairs: Any, path: str = "/jwks", **more: Any) -> None:
        metadata = {"issuer": self.url, "jwks_uri": self.url + path} | more
        self.documents = {
            discovery.OPENID: (200, metadata),
            path: (200, {"keys": [pair.jwk for pair in pairs]}),
        }


@asynccontextmanager
async def an_issuer() -> AsyncIterator[PublishedIssuer]:
    made = PublishedIssuer()
    async with listening(made) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made
