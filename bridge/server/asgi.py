"""Runs an ASGI application (HTTP, ASGI 3.0) behind an exchange: Starlette's pages on our own server."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from bridge.api.certificates import ARRIVED
from bridge.errors import ClientDisconnected
from bridge.gateway.downstream import encoded
from bridge.http.field_value import UNSENDABLE
from bridge.http.token import is_token
from bridge.server.exchange import ServerExchange
from bridge.server.http2.exchange import Http2Exchange

ServedExchange = ServerExchange | Http2Exchange


async def run_asgi(app: Any, exchange: ServedExchange) -> None:
    """:raises RuntimeError: the application breaks ASGI's rules, or HTTP's."""
    events = _Events(exchange)
    await app(_scope(exchange), events.receive, events.send)


def _scope(exchange: ServedExchange) -> dict[str, Any]:
    extra = exchange.connection.transport.get_extra_info
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": exchange.version,
        "method": exchange.method,
        "scheme": "https" if extra("ssl_object") else "http",
        "path": unquote(exchange.path),
        "raw_path": exchange.path.encode("ascii"),
        "query_string": exchange.query.encode("ascii"),
        "root_path": "",
        "headers": encoded(exchange.headers),
        "client": _host_and_port(extra("peername")),
        "server": _host_and_port(extra("sockname")),
        ARRIVED: exchange,
    }


def _host_and_port(address: Any) -> tuple[str, int] | None:
    """None for the ends of a Unix socket, which have a path or nothing."""
    return address[:2] if isinstance(address, tuple) else None


class _Events:
    """ASGI's `receive` and `send`."""

    def __init__(self, exchange: ServedExchange) -> None:
        self._exchange = exchange
        self._ended = False

    async def receive(self) -> dict[str, Any]:
        if self._ended:
            await self._exchange.gone()
            return {"type": "http.disconnect"}
        try:
            piece = await self._exchange.read()
        except ClientDisconnected:
            return {"type": "http.disconnect"}
        self._ended = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        exchange, kind = self._exchange, message["type"]
        if exchange.disconnected:
            return
        if exchange.complete or kind != ("http.response.body" if exchange.started else "http.response.start"):
            raise RuntimeError(f"the application sent {kind} where it is not allowed")
        if kind == "http.response.start":
            await exchange.begin(message["status"], self._fields(message.get("headers", ())))
        else:
            await exchange.send(message.get("body", b""), more=message.get("more_body", False))

    def _fields(self, headers: Any) -> list[tuple[str, str]]:
        fields = []
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if not is_token(name) or UNSENDABLE.search(value) or name == "transfer-encoding":
                raise RuntimeError("the application sent a header field that is not allowed")
            if name != "connection":
                fields.append((name, value))
            elif "close" in [token.strip().lower() for token in value.split(",")]:
                self._exchange.keep_alive = False
        return fields
