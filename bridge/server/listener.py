"""The listener: started, drained and stopped by signals; every failure to start is one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from bridge.app import build
from bridge.config.settings import Settings
from bridge.errors import SettingsError
from bridge.payload import offload
from bridge.server.connection import ServerConnection
from bridge.server.state import ServerState
from bridge.server.tls import HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT, ListenerTls, listener_tls

BACKLOG = 2048  #: connections that wait to be accepted


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes a free one.

    :raises SettingsError: the port is in use or not allowed, or the host is not one of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} on {host} is in use; choose another with --port") from None
        if error.errno == errno.EACCES:
            raise SettingsError(f"port {port} may not be opened by this user; choose one above 1023") from None
        raise SettingsError(f"{host}:{port} can't be listened on: {error.strerror}") from None
    listener.setblocking(False)
    return listener


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
    listener = await loop.create_server(lambda: ServerConnection(server), sock=sock, backlog=BACKLOG, **tls_options)
    watch = loop.create_task(tls.follow()) if tls is not None else None
    server.start()
    try:
        yield
    finally:
        if watch is not None:
            watch.cancel()
        listener.close()
        sock.close()


def serve(settings: Settings, host: str, port: int, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let calls under way end within `Settings.drain`; a second signal ends them.

    :param ready: called with the base URL and the number of routes once requests are served.
    :raises SetupError: before the first request: settings or routes can't be served.
    """
    tls = listener_tls(*(path and settings.path(path) for path in (settings.tls_cert, settings.tls_key)))
    sock = listen(host, port)
    address = f"[{host}]" if ":" in host else host
    url = f"{'https' if tls else 'http'}://{address}:{sock.getsockname()[1]}"

    async def run() -> None:
        app = build(settings)
        server = ServerState(app, app.direct, app.gateway.log, settings.max_body)
        stop, hurry = asyncio.Event(), asyncio.Event()

        def signalled() -> None:
            (hurry if stop.is_set() else stop).set()

        async with app.router.lifespan_context(app):
            async with accepting(server, sock, tls):
                # Garbage collection skips the routes' objects: with thousands of routes a full collection took a fifth
                # of a second.
                gc.freeze()
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, signalled)
                ready(url, len(app.state.registry.table.routes))
                await stop.wait()
            await server.drain(settings.drain, hurry)
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
    finally:
        sock.close()


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
