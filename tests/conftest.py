"""Real gateways and real upstreams on free ports, for every test that wants them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import uvicorn

from bridge.api import FAST_PATHS
from bridge.api.grants import Grant, granted
from bridge.app import AdminPages, Bridge, build
from bridge.config.settings import Settings, load
from bridge.server.listener import accepting
from bridge.server.state import ServerState
from bridge.server.tls import ListenerTls
from bridge.stages.auth.local_issuer import LocalIssuer

# grpcio's library, which the tests' services use, aborts in a process that is forked while it has threads.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


@pytest.fixture
def operator() -> Iterator[None]:
    """The test reads secrets as a bind of the operator's own route would."""
    with granted(Grant(operator=True)):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not FAST_PATHS:
        skip = pytest.mark.skip(reason="it looks at a fast path, and those are off")
        for item in items:
            if "fast_path" in item.keywords:
                item.add_marker(skip)


# A busy machine is no reason to fail.
hypothesis.settings.register_profile("any pace", deadline=None)
hypothesis.settings.load_profile("any pace")


def bind(bound: socket.socket | None = None) -> socket.socket:
    """`bound`, or a free port of the loopback, ready for a server."""
    bound = bound or socket.create_server(("127.0.0.1", 0))
    # asyncio sees to this only for sockets that name their protocol; uvloop, which serves for real, always does.
    # Without it the second answer on a connection waits 40 ms for the first one's acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setblocking(False)
    return bound


@contextlib.asynccontextmanager
async def serving(
    app: Bridge,
    bound: socket.socket | None = None,
    tls: ListenerTls | None = None,
    max_message: int = 16 << 20,
    handler: Bridge | AdminPages | None = None,
) -> AsyncIterator[int]:
    """Serve the gateway on its own server, or its `handler` for the admin listener; yields the port."""
    bound = bind(bound)
    handler = handler or app
    server = ServerState(handler, handler.direct, app.gateway.log, max_message)
    async with accepting(server, bound, tls):
        yield bound.getsockname()[1]
    await server.drain(60, asyncio.Event())


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """Serve any ASGI application on a free port of the loopback, on a server that is not ours; yields the port."""
    bound = bind()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
    )
    # Started and stopped by hand: uvicorn's own loop looks around ten times a second, and every test would wait for it.
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[bound])
    await server.on_tick(0)
    try:
        yield bound.getsockname()[1]
    finally:
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        for task in list(server.server_state.tasks):
            task.cancel()  # nobody reads what it would answer
        while server.server_state.connections or server.server_state.tasks:
            await asyncio.sleep(0.002)
        bound.close()


@dataclass
class Recorded:
    """A request as an upstream saw it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


Answer = Callable[[Recorded], Awaitable[tuple[int, list[tuple[str, str]], bytes]]]


@dataclass
class Upstream:
    """An HTTP service of the test's own: keeps what it got, answers what `answer` says."""

    port: int = 0
    seen: list[Recorded] = field(default_factory=list[Recorded])
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("content-type", "application/json")])
    body: bytes = b'{"ok":true}'
    answer: Answer | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        chunks = []
        while True:
            message = await receive()
            chunks.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        target = scope["raw_path"].decode() + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        self.seen.append(Recorded(scope["method"], target, headers, b"".join(chunks)))
        status, fields, body = self.status, self.headers, self.body
        if self.answer is not None:
            status, fields, body = await self.answer(self.seen[-1])
        raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A recording HTTP service, known to the mesh of `gateway` as ``svc:80``."""
    service = Upstream()
    async with listening(service) as service.port:
        yield service


@dataclass
class Running:
    """A gateway that serves, its home, and a client that talks to it."""

    home: Path
    settings: Settings
    app: Bridge
    port: int
    client: httpx.AsyncClient

    def token(self, *, roles: tuple[str, ...] = (), audience: str = "", sub: str = "citizen", **more: Any) -> str:
        return LocalIssuer.open(self.settings).mint(sub, roles, audience=audience, **more)

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(**claims)}"}

    async def register(self, spec: dict[str, Any], **claims: Any) -> httpx.Response:
        headers = self.bearer(roles=("api_publisher",), sub="publisher", **claims)
        return await self.client.post("/register", json=spec, headers=headers)

    def log(self) -> list[dict[str, Any]]:
        """The access log's lines; read after the gateway has stopped."""
        return [json.loads(line) for line in (self.home / ".bridge/access.log").read_text().splitlines()]


Start = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``async with start(mesh={...}, routes={"a.yml": "..."}, files={...}, **settings) as gateway``."""

    @contextlib.asynccontextmanager
    async def starting(
        mesh: dict[str, str] | None = None,
        routes: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Running]:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        for folder in ("routes", "wsdl", "protos"):
            (home / folder).mkdir(exist_ok=True)
        for name, text in (files or {}).items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        for name, text in (routes or {}).items():
            (home / "routes" / name).write_text(text)
        if mesh is not None:
            (home / "mesh.yml").write_text(json.dumps(mesh))
        made = load({}, home=home, **settings)
        app = build(made)
        async with app.router.lifespan_context(app), serving(app) as port:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                yield Running(home, made, app, port, client)

    return starting


@pytest.fixture
async def gateway(start: Start, upstream: Upstream) -> AsyncIterator[Running]:
    """A gateway with no routes yet, whose mesh knows `upstream` as ``svc:80``."""
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as running:
        yield running
