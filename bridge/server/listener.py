"""The listener: started, drained and stopped by signals; every failure to start is one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from bridge.app import build
from bridge.config.settings import Settings
from bridge.payload import offload
from bridge.server.connection import ServerConnection
from bridge.server.sockets import BACKLOG, close_listener, listen, listen_at
from bridge.server.state import ServerState
from bridge.server.tls import HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT, ListenerTls, listener_tls


@contextlib.asynccontextmanager
async def accepting(server: ServerState, sock: socket.socket, tls: ListenerTls | None = None) -> AsyncIterator[None]:
    """Accept connections of `server` on `sock`, which is closed at the end. Connections stay open until `drain`."""
    loop = asyncio.get_running_loop()
    tls_options: dict[str, Any] = {}
    if tls is not None:
        tls_options = {
            "ssl": tls.context,
            "ssl_handshake_timeout": HANDSHAKE_TIMEOUT,
            "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT,
        }
    create: Any = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
    listener = await create(lambda: ServerConnection(server), sock=sock, backlog=BACKLOG, **tls_options)
    watch = loop.create_task(tls.follow()) if tls is not None else None
    server.start()
    try:
        yield
    finally:
        if watch is not None:
            watch.cancel()
        listener.close()
        sock.close()


def serve(settings: Settings, host: str, port: int, ready: Callable[[str, str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let calls under way end within `Settings.drain`; a second signal ends them.

    :param ready: called with the base URL of the routes, that of the pages below ``/-/`` (or ``unix:PATH``), and the
        number of routes once requests are served.
    :raises SetupError: before the first request: settings or routes can't be served.
    """
    tls = listener_tls(*(path and settings.path(path) for path in (settings.tls_cert, settings.tls_key)))
    with contextlib.ExitStack() as closing:
        sock = listen(host, port)
        closing.callback(close_listener, sock)
        url = _url(host, sock, tls)
        admin_sock, pages = _admin_listener(settings, tls, closing) or (None, url)

        async def run() -> None:
            app = build(settings)
            server = ServerState(app, app.direct, app.gateway.log, settings.max_body)
            admin = ServerState(app.admin, app.admin.direct, app.gateway.log, settings.max_body)
            stop, hurry = asyncio.Event(), asyncio.Event()

            def signalled() -> None:
                (hurry if stop.is_set() else stop).set()

            async with app.router.lifespan_context(app):
                async with _accepting_admin(admin, admin_sock, tls):
                    async with accepting(server, sock, tls):
                        # Garbage collection skips the routes' objects: with thousands of routes a full collection took
                        # a fifth of a second.
                        gc.freeze()
                        for number in (signal.SIGINT, signal.SIGTERM):
                            asyncio.get_running_loop().add_signal_handler(number, signalled)
                        ready(url, pages, len(app.state.registry.table.routes))
                        await stop.wait()
                    app.state.ready = False  # the admin listener says so while calls end
                    await server.drain(settings.drain, hurry)
                await admin.drain(settings.drain, hurry)
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().remove_signal_handler(number)
                    signal.signal(number, lambda *_: None)  # only the closing is left to do

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        offload.share_the_lock()
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(run())
        except KeyboardInterrupt:
            pass


def _url(host: str, sock: socket.socket, tls: ListenerTls | None) -> str:
    address = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{address}:{sock.getsockname()[1]}"


def _admin_listener(
    settings: Settings, tls: ListenerTls | None, closing: contextlib.ExitStack
) -> tuple[socket.socket, str] | None:
    """The socket of ``BRIDGE_ADMIN_BIND`` and its base URL (or ``unix:PATH``), which `closing` closes.

    :raises SettingsError: it can't be opened.
    """
    address = settings.admin_bind
    if address is None:
        return None
    path = settings.path(address.path) if address.path is not None else None
    sock = listen_at(address, path, "BRIDGE_ADMIN_BIND")
    closing.callback(close_listener, sock, path)
    return sock, f"unix:{path}" if path is not None else _url(address.host, sock, tls)


@contextlib.asynccontextmanager
async def _accepting_admin(
    server: ServerState, sock: socket.socket | None, tls: ListenerTls | None
) -> AsyncIterator[None]:
    """As `accepting`, if there is an admin listener. It has TLS where the routes' has it, but for a Unix socket."""
    if sock is None:
        yield
        return
    async with accepting(server, sock, None if sock.family == socket.AF_UNIX else tls):
        yield


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop


def log_to_stderr(level: int = logging.INFO) -> None:
    """The gateway's own messages, one line each, on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    root = logging.getLogger("bridge")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
