"""`build(settings)` -> Starlette: composes the gateway's parts.

::

    /register, /-/…   admin and portal, through Starlette's router
    everything else   the data path: straight to `Gateway`

With ``BRIDGE_ADMIN_BIND`` the first line is served by `AdminPages` on a listener of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Router
from starlette.types import Receive, Scope, Send

from bridge.admin import portal
from bridge.admin.access import ADMIN_LISTENER, READERS_AUTH, Access
from bridge.admin.api import Admin
from bridge.admin.callers import Callers
from bridge.admin.openapi import api_info, api_servers
from bridge.admin.recorder import Recorder
from bridge.admin.signing_keys import SigningKeysPage
from bridge.api.downstream import ServerRequest
from bridge.api.problem import problem, slug_of
from bridge.api.record import Record
from bridge.api.stream import WEBSOCKET
from bridge.catalog.binds import enough_threads
from bridge.config.owner import owner_hint
from bridge.config.settings import Settings
from bridge.errors import (
    BridgeError,
    ClientError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    SettingsError,
    StoreError,
    Unauthorized,
)
from bridge.gateway.answer import Gateway
from bridge.observe.access import AccessLog
from bridge.observe.failures import Failures
from bridge.observe.metrics import Metrics
from bridge.payload.json_text import give_memory
from bridge.runtime import Runtime
from bridge.stages.auth.auth import build_admin_authenticator, build_authenticator

VERSION = version_of("hms-bridge")

log = logging.getLogger("bridge")


def build(settings: Settings) -> Bridge:
    """The gateway as one ASGI application; its lifespan binds the routes, watches for changes and closes everything.

    :raises SettingsError: a setting, or a file that one names, can't be used.
    :raises SetupError: from the lifespan: a spec of the folder can't be served.
    """
    give_memory(settings.max_json)
    runtime = Runtime(settings)
    figures = (runtime.credentials.counts, runtime.files.states, runtime.limits.states, runtime.trust.states)
    metrics = Metrics(runtime.mesh.ejections, *figures, runtime.trust.introspections)
    access = open_log(settings, metrics, Failures())
    gateway = Gateway(settings, access, runtime.fronts.unmatched)
    callers, readers = _callers(runtime)
    info, servers = api_info(settings, VERSION), api_servers(settings)
    admin = Admin(runtime.registry, callers, metrics, info, lambda: bool(app.state.ready), servers, log_file(settings))
    pages = [*admin.routes(), *SigningKeysPage(runtime.credentials.keys).routes(), *portal.routes()]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as closing:
            # Last in, first out: the log is closed last.
            closing.callback(access.close)
            closing.push_async_callback(runtime.aclose)
            runtime.registry.serve_with(gateway.serve)
            runtime.trust.start()
            asyncio.get_running_loop().set_default_executor(enough_threads())
            await runtime.load()
            for follower in runtime.followers():
                closing.push_async_callback(_stop, asyncio.create_task(_kept_alive(follower)))
            app.state.ready = True
            yield
            app.state.ready = False

    app = Bridge(
        gateway,
        Gateway(settings, access),
        lifespan=lifespan,
        routes=[
            admin.registration(),
            Mount("/-", app=Router(pages, redirect_slashes=False)),
        ],
        middleware=[
            Middleware(Recorder, log=access, proxies=settings.trusted_proxies),
            Middleware(Access, public=runtime.public_pages, separate=bool(settings.admin_bind), callers=readers),
        ],
        exception_handlers={BridgeError: _problem, HTTPException: _http_problem},
    )

    async def reload() -> None:
        access.reopen()
        await runtime.reload()

    app.state.ready = False
    app.state.registry = runtime.registry
    app.state.client_cas = runtime.client_cas
    app.state.reload = reload
    return app


class Bridge(Starlette):
    """Starlette for the portal and the admin API. The data path bypasses its middleware: `Gateway` handles errors,
    timing and logging itself."""

    def __init__(self, gateway: Gateway, nothing: Gateway, **options: Any) -> None:
        super().__init__(**options)
        self.gateway = gateway
        self.admin = AdminPages(self, nothing)  #: for the admin listener, if there is one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _is_ours(scope["path"]):
            await super().__call__(scope, receive, send)
        else:
            await self.gateway(scope, receive, send)

    def direct(self, request: ServerRequest) -> Coroutine[Any, Any, None] | None:
        """The data path without ASGI's events, for our own server. None for Starlette's pages, none of which is a
        WebSocket."""
        path = request.path
        if _is_ours(unquote(path) if "%" in path else path) and request.method != WEBSOCKET:
            return None
        return self.gateway.answer(request)


class AdminPages:
    """The pages of `Bridge` for the listener of ``BRIDGE_ADMIN_BIND``, which serves no routes.

    :param nothing: a gateway without routes, which refuses whatever is not one of these pages.
    """

    def __init__(self, pages: Bridge, nothing: Gateway) -> None:
        self._pages, self._nothing = pages, nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ADMIN_LISTENER] = True
        await self._pages(scope, receive, send)

    def direct(self, request: ServerRequest) -> Coroutine[Any, Any, None] | None:
        """As `Bridge.direct`."""
        path = unquote(request.path)
        return None if _is_ours(path) and request.method != WEBSOCKET else self._nothing.answer(request)


def _is_ours(path: str) -> bool:
    """Whether `path`, decoded, is one of the gateway's own pages."""
    return path.startswith("/-/") or path == "/register"


def log_file(settings: Settings) -> Path | None:
    """The access log; None where it is standard output."""
    return None if settings.log == "-" else settings.path(settings.log)


def open_log(settings: Settings, metrics: Metrics, failures: Failures) -> AccessLog:
    """:raises SettingsError: the file can't be written."""
    target = str(log_file(settings) or "-")

    def also(record: Record) -> None:
        metrics.count(record)
        if record.status >= 500 or record.cause:
            failures.count(record)

    try:
        return AccessLog(target, size=settings.log_size, keep=settings.log_keep, also=also)
    except OSError as error:
        reason = f"BRIDGE_LOG: {target} can't be written: {error.strerror}{owner_hint(Path(target))}"
        raise SettingsError(reason) from None


def _callers(runtime: Runtime) -> tuple[Callers, Callers]:
    """Of the admin API, and of the pages that are not public."""
    caller = build_admin_authenticator(runtime.trust, possession=runtime.possession)
    reader = build_authenticator(READERS_AUTH, runtime.trust, runtime.registry.keys, possession=runtime.possession)
    return Callers(caller, runtime.bindings), Callers(reader, runtime.bindings)


async def _kept_alive(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # a failed follower must be logged, but must not end the gateway
        log.exception("a follower stopped; changes of what it follows are no longer picked up")


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _problem(request: Request, error: Exception) -> Response:
    record: Record = request.scope["bridge.record"]
    record.problem = slug_of(error)
    if isinstance(error, Unauthorized | Forbidden):
        record.cause = error.cause or error.detail
    if isinstance(error, StoreError):
        # The operator's to correct, and not a defect: one line, without a traceback.
        log.error("trace %s: %s", record.trace_id, error.cause, extra={"trace_id": record.trace_id})
        record.cause = error.cause
    reply = problem(error, record.trace_id)
    return Response(reply.body, reply.status, dict(reply.headers))


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _problem(request, NotFound("The gateway has no such page."))
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return await _problem(request, MethodNotAllowed(f"Only {allow} is taken here.", headers=[("allow", allow)]))
    return await _problem(request, ClientError(str(error.detail), status=error.status_code))
