"""Trace id, access record and the last boundary for what Starlette serves (admin, portal), as plain ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bridge.api.problem import problem, slug_of
from bridge.api.record import Record
from bridge.config.settings import Networks
from bridge.gateway.shutdown import uncancelled
from bridge.http.client_address import client_address, the_host
from bridge.observe.tracing import trace_id_of

#: Set in the scope of a request that came by a trusted proxy, whose ``X-Forwarded-…`` fields are believed.
TRUSTED_PROXY = "bridge.trusted_proxy"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Recorder:
    """Wraps `app`; puts a `Record` into ``scope["bridge.record"]`` that a handler may fill in further.

    What nobody foresaw ends here as a problem, so that Starlette's and the server's own pages are never seen.
    """

    def __init__(self, app: Any, log: Callable[[Record], None], proxies: Networks) -> None:
        self._app = app
        self._log = log
        self._proxies = proxies

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        path = scope.get("raw_path") or scope["path"].encode()
        peer, trusted = client_address(scope["client"][0] if scope.get("client") else "", headers, self._proxies)
        record = Record(
            time.time(),
            trace_id_of(headers, trusted=trusted),
            scope["method"],
            path.decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            peer=peer,
            route="-",
        )
        scope["bridge.record"] = record
        if trusted:
            scope[TRUSTED_PROXY] = True

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-trace-id", record.trace_id.encode())]
            elif message["type"] == "http.response.body":
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            record.host, _ = the_host([value for name, value in headers if name == "host"], scope["http_version"])
            await self._app(scope, receive, noting)
        except (Exception, asyncio.CancelledError) as failure:  # the one boundary: it becomes problem+json
            if record.status and isinstance(failure, asyncio.CancelledError):
                record.cause = "cancelled"  # its response has begun
                raise
            error = uncancelled(failure, disconnected=False)
            record.cause, record.problem = f"{type(error).__name__}: {error}", slug_of(error)
            reply = problem(error, record.trace_id)
            if not record.status:
                fields = [*reply.headers, ("content-length", str(len(reply.content)))]
                raw = [(name.encode(), value.encode()) for name, value in fields]
                await noting({"type": "http.response.start", "status": reply.status, "headers": raw})
                await noting({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
        finally:
            record.total = time.perf_counter() - began
            self._log(record)
