"""What a request may cost on the gateway's own side, in calls and not in seconds: the same on every machine.

Counted are calls of our own functions, and calls of C that those make, from a request's bytes on a connection to its
answer's. The upstream answers at once, the log's thread and the event loop are not counted. Whoever makes
the path longer meets this test; whoever makes it shorter writes the new figure down.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.request_path import ANSWER, Instant, home, request
from bridge.app import build
from bridge.config.settings import load
from bridge.server.connection import ServerConnection
from bridge.server.state import ServerState
from bridge.stages.auth.local_issuer import LocalIssuer
from tests.counting import counted

#: Calls of our functions and of C for each request, by Python's version: they differ for the same code.
MOST = {
    (3, 11): {"open": (55, 66), "guarded": (69, 78)},
    (3, 12): {"open": (52, 66), "guarded": (66, 78)},
    (3, 13): {"open": (52, 66), "guarded": (66, 78)},
    (3, 14): {"open": (52, 66), "guarded": (66, 78)},
}
HERE = MOST.get(sys.version_info[:2], MOST[3, 14])  # one that is not yet known is held to the newest that is


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 80)})
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


@pytest.mark.parametrize("kind", HERE)
async def test_a_request_takes_no_more_calls(kind: str, tmp_path: Path) -> None:
    home(tmp_path, kind)
    settings = load({}, home=tmp_path)
    app = build(settings)
    async with app.router.lifespan_context(app):
        for route in app.gateway.table.routes.values():
            for endpoint in route.endpoints:
                endpoint.codec = instant = Instant()
                endpoint.request = instant.request
                endpoint.send = instant.send
        asks = request(LocalIssuer.open(settings).mint("citizen") if kind == "guarded" else "")
        state = ServerState(app, app.direct, app.gateway.log, settings.max_body)
        wire = ServerConnection(state)
        transport = Transport()
        wire.connection_made(transport)

        async def ask(times: int) -> None:
            for _ in range(times):
                transport.written = b""
                wire.data_received(asks)
                while state.tasks:
                    await asyncio.sleep(0)
                assert transport.written.startswith(b"HTTP/1.1 200 OK\r\n")
                assert transport.written.endswith(b"\r\n\r\n" + ANSWER)

        await ask(5)  # what is remembered, is
        # The gateway's own timers are counted, too, where one is due.
        calls, into_c = min([await counted(lambda: ask(10)) for _ in range(3)])
        wire.connection_lost(None)
    assert calls / 10 <= HERE[kind][0]
    assert into_c / 10 <= HERE[kind][1]
