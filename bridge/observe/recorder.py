"""A trace id and an access record for what Starlette serves (admin, portal), as plain ASGI."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bridge.observe.access import Record
from bridge.observe.tracing import make_trace_id

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Recorder:
    """Wraps `app`; puts a `Record` into ``scope["bridge.record"]`` that a handler may fill in further."""

    def __init__(self, app: Any, log: Callable[[Record], None]) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http" or "bridge.record" in scope:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        path = scope.get("raw_path") or scope["path"].encode()
        record = Record(
            time.time(),
            make_trace_id(),
            scope["method"],
            path.decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            peer=scope["client"][0] if scope.get("client") else "",
            route="-",
        )
        scope["bridge.record"] = record

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-trace-id", record.trace_id.encode())]
            elif message["type"] == "http.response.body":
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            record.total = time.perf_counter() - began
            self._log(record)
