"""The server under the gateway: uvicorn on httptools, started and stopped by hand, every failure a sentence."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from bridge.app import build
from bridge.config.settings import Settings
from bridge.errors import SettingsError
from bridge.payload import offload
from bridge.server.connection import WebSocket, logging_to


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; `port` 0 takes a free one.

    :raises SettingsError: the port is in use, not allowed, or the host is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            bound.listen(2048)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} on {host} is in use; choose another with --port") from None
        if error.errno == errno.EACCES:
            raise SettingsError(f"port {port} may not be opened by this user; choose one above 1023") from None
        raise SettingsError(f"{host}:{port} can't be listened on: {error.strerror}") from None
    bound.setblocking(False)
    return bound


def serve(settings: Settings, host: str, port: int, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let calls under way end within `Settings.drain`.

    :param ready: called with the base URL and the number of routes once requests are answered.
    :raises SetupError: before the first request: something written down can't be served.
    """
    bound = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{bound.getsockname()[1]}"

    async def run() -> None:
        app = build(settings)
        async with app.router.lifespan_context(app):
            server = uvicorn.Server(
                uvicorn.Config(
                    app,
                    http=logging_to(app.gateway.log),
                    ws=WebSocket,
                    ws_max_size=settings.max_body,
                    ws_per_message_deflate=False,
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    date_header=True,
                    proxy_headers=False,
                    timeout_graceful_shutdown=max(1, round(settings.drain)),
                )
            )
            started = server.startup

            async def startup(sockets: list[socket.socket] | None = None) -> None:
                await started(sockets=sockets)
                # What the routes are made of is looked through by no collection of garbage any more: with thousands of
                # them that took a fifth of a second, in which nobody was answered.
                gc.freeze()
                ready(url, len(app.state.registry.table.routes))

            server.startup = startup  # type: ignore[method-assign]  # uvicorn has no hook for "now it answers"
            # When it has drained, uvicorn raises the signal again; by then only the closing is left to do.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: None)
            await server.serve(sockets=[bound])

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    offload.share_the_lock()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())
    except KeyboardInterrupt:
        pass
    finally:
        bound.close()


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
    server = logging.getLogger("uvicorn.error")
    server.handlers[:] = [handler]
    server.setLevel(logging.WARNING)
    server.propagate = False
