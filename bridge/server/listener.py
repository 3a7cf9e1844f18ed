"""The listener: started, drained and stopped by signals; every failure to start is one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from bridge.app import Bridge, build
from bridge.config.settings import Settings
from bridge.payload import offload
from bridge.server.connection import ServerConnection
from bridge.server.signals import Signals
from bridge.server.sockets import BACKLOG, address_of, base_url, close_listener, listen, listen_at
from bridge.server.state import ServerState
from bridge.server.systemd import InheritedSockets, Notifier
from bridge.server.tls import HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT, ListenerTls, listener_tls
from bridge.wording import counted


@contextlib.asynccontextmanager
async def accepting(server: ServerState, sock: socket.socket, tls: ListenerTls | None = None) -> AsyncIterator[None]:
    """Accept connections of `server` on `sock`, which is closed at the end. Connections stay open until `drain`."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    if tls is not None:
        options = {
            "ssl": tls.context,
            "ssl_handshake_timeout": HANDSHAKE_TIMEOUT,
            "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT,
        }
    if sock.family == socket.AF_UNIX and sys.version_info >= (3, 13):
        options["cleanup_socket"] = False  # who made the socket removes its file, which may be systemd
    create: Any = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
    listener = await create(lambda: ServerConnection(server), sock=sock, backlog=BACKLOG, **options)
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
    SIGHUP has all files read again.

    Sockets that systemd passes are used in place of `host` and `port` and of ``BRIDGE_ADMIN_BIND``. systemd is told
    when the gateway is ready, and when it stops.

    :param ready: called with the base URL of the routes, that of the pages below ``/-/`` (or ``unix:PATH``), and the
        number of routes once requests are served.
    :raises SetupError: before the first request: settings or routes can't be served.
    """
    tls = listener_tls(*(path and settings.path(path) for path in (settings.tls_cert, settings.tls_key)))
    with contextlib.ExitStack() as closing:
        notifier = Notifier.take()
        closing.callback(notifier.close)
        passed = InheritedSockets.take()
        sock = passed.routes or listen(host, port)
        closing.callback(close_listener, sock)
        url = base_url(sock, tls, host)
        settings, admin_sock = _admin_listener(settings, passed.admin, closing)
        pages = url if admin_sock is None else base_url(admin_sock, tls)

        async def run() -> None:
            app = build(settings)
            if tls is not None:
                tls.request_certificates(app.state.client_cas)
            server = ServerState(app, app.direct, app.gateway.log, settings.max_body)
            admin = ServerState(app.admin, app.admin.direct, app.gateway.log, settings.max_body)
            signals = Signals()

            def status() -> str:
                return f"{counted(len(app.state.registry.table.routes), 'route')} on {url}"

            reload = partial(_reload, app, tls, notifier, status)
            async with app.router.lifespan_context(app), notifier.watched():
                async with _accepting_admin(admin, admin_sock, tls):
                    async with accepting(server, sock, tls), signals.reloading(reload):
                        # Garbage collection skips the routes' objects: with thousands of routes a full collection took
                        # a fifth of a second.
                        gc.freeze()
                        signals.handle_stop()
                        ready(url, pages, len(app.state.registry.table.routes))
                        notifier.ready(status())
                        await signals.stop.wait()
                        notifier.stopping("calls under way may finish")
                    app.state.ready = False  # the admin listener says so while calls end
                    await server.drain(settings.drain, signals.hurry)
                await admin.drain(settings.drain, signals.hurry)
                signals.ignore_stop()

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with offload.serving(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(run())
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends what is left, without a traceback


async def _reload(app: Bridge, tls: ListenerTls | None, notifier: Notifier, status: Callable[[], str]) -> None:
    """Read all files again; systemd is told when it begins and ends."""
    notifier.reloading()
    try:
        if tls is not None:
            await tls.reload()
        await app.state.reload()
    finally:
        notifier.ready(status())


def _admin_listener(
    settings: Settings, passed: socket.socket | None, closing: contextlib.ExitStack
) -> tuple[Settings, socket.socket | None]:
    """The socket of ``BRIDGE_ADMIN_BIND``, or the one that systemd has passed, and settings that name it.
    `closing` closes it.

    :raises SettingsError: it can't be opened.
    """
    if passed is not None:
        closing.callback(close_listener, passed)
        return settings.model_copy(update={"admin_bind": address_of(passed)}), passed
    address = settings.admin_bind
    if address is None:
        return settings, None
    path = settings.path(address.path) if address.path is not None else None
    sock = listen_at(address, path, "BRIDGE_ADMIN_BIND")
    closing.callback(close_listener, sock, path)
    return settings, sock


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
