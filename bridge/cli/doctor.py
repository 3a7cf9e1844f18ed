"""``hms-bridge doctor``: whether a gateway can serve here, looked at from all sides. Nothing is written."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

from bridge.api.spec.upstream import Upstream
from bridge.api.tls import default_context
from bridge.cli.mesh_entry import accepts
from bridge.cli.offline import loaded
from bridge.config.settings import Settings
from bridge.errors import RequestError, SetupError, StoreError
from bridge.http.agent import USER_AGENT
from bridge.runtime import Runtime
from bridge.stages.auth.issuers import read_issuers
from bridge.stages.auth.keys import BadKey
from bridge.stages.auth.published import discover

Level = Literal["ok", "warn", "fail"]

OLDEST = (3, 11)  #: Python
SKEW = 30.0  #: seconds by which this machine's clock may differ from an issuer's
ASK = 5.0  #: seconds for the answer of an issuer, or of the mesh
MAX_KEYS = 1024**2  #: bytes of an issuer's keys
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    :ivar check: what was looked at.
    :ivar text: how that is.
    :ivar advice: what to do; empty where all is well.
    """

    level: Level
    check: str
    text: str
    advice: str = ""


async def examine(settings: Settings, host: str, port: int) -> AsyncIterator[Finding]:
    """The findings, each as soon as it is made.

    :param host, port: where a gateway is to listen.
    """
    for finding in (*_python(), *_home(settings), _clock(settings), _port(host, port)):
        yield finding
    try:
        async with loaded(settings) as (runtime, faults):
            async for finding in _store(runtime):
                yield finding
            for fault in faults:
                yield Finding("fail", "routes", str(fault), "correct it; `hms-bridge check` judges it again")
            if not faults:
                yield Finding("ok", "routes", f"{len(runtime.registry.table.routes)} can be served")
            async for finding in _mesh(runtime):
                yield finding
    except SetupError as error:
        yield Finding("fail", "settings", str(error), "correct what it names")
    async for finding in _issuers(settings):
        yield finding


# --- the machine -----------------------------------------------------------------------------------------------------


def _python() -> Iterator[Finding]:
    text = ".".join(map(str, sys.version_info[:3]))
    least = ".".join(map(str, OLDEST))
    if sys.version_info[:2] < OLDEST:
        yield Finding("fail", "python", text, f"install Python {least} or later")
    else:
        yield Finding("ok", "python", text)
    versions, problems = [], []
    for line in requires("hms-bridge") or ():
        match = None if "extra ==" in line else _REQUIREMENT.match(line)
        if match is None:
            continue
        try:
            installed = version(match[1])
        except PackageNotFoundError:
            problems.append(f"{match[1]} is not installed")
            continue
        versions.append(f"{match[1]} {installed}")
        if _numbers(installed) < _numbers(match[2] or "0"):
            problems.append(f"{match[1]} is {installed}, and {match[2]} is needed")
    if problems:
        advice = "install hms-bridge again, into an environment of its own"
        yield Finding("fail", "libraries", "; ".join(problems), advice)
    else:
        yield Finding("ok", "libraries", f"hms-bridge {version('hms-bridge')} with {', '.join(versions)}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _port(host: str, port: int) -> Finding:
    from bridge.server.sockets import listen

    try:
        listen(host, port).close()
    except SetupError as error:
        return Finding("warn", "port", str(error), "nothing, if that is this gateway; else `serve --port`")
    return Finding("ok", "port", f"{host}:{port} is free")


# --- the home --------------------------------------------------------------------------------------------------------


def _home(settings: Settings) -> Iterator[Finding]:
    home, routes, state = settings.home.absolute(), settings.path(settings.routes), settings.state
    names = ("routes", "wsdl", "protos", "secrets", "mesh.yml", "issuers.yml", "secrets.yml", "tenants.yml", ".bridge")
    there = [name for name in names if os.path.exists(home / name)]
    yield Finding("ok", "home", f"{home} has {', '.join(there) or 'nothing'}")
    if not os.path.isdir(routes):
        yield Finding("warn", "home", f"there is no folder {routes}", "make it, or start with `hms-bridge init`")
    place = state if os.path.exists(state) else home
    if not os.path.isdir(place):
        yield Finding("fail", "permissions", f"{state} is no folder", "move it away; the gateway makes the folder")
    elif os.access(place, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("ok", "permissions", f"{state} can be written")
    else:
        advice = f"let this user write {place}, or name another folder by BRIDGE_HOME"
        yield Finding("fail", "permissions", f"{state} can't be written by this user", advice)


def _clock(settings: Settings) -> Finding:
    """Files from the future show a clock that is behind; issuers, asked later, show one that is ahead, too."""
    now = time.time()
    for folder in (settings.home, settings.path(settings.routes), settings.state):
        try:
            changed = os.stat(folder).st_mtime
        except OSError:
            continue
        if changed > now + SKEW:
            text = f"{folder} was changed {changed - now:.0f} seconds from now"
            return Finding("warn", "clock", text, "set this machine's clock; tokens are judged by it")
    return Finding("ok", "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


async def _store(runtime: Runtime) -> AsyncIterator[Finding]:
    url = runtime.settings.store
    try:
        routes, keys = await runtime.store.routes(), await runtime.store.keys()
    except StoreError as error:
        yield Finding("fail", "store", error.cause, "let this user read it, or put back a backup")
    else:
        yield Finding("ok", "store", f"{url} has {len(routes)} registered routes and {len(keys)} keys")


# --- the network -----------------------------------------------------------------------------------------------------


async def _mesh(runtime: Runtime) -> AsyncIterator[Finding]:
    routes = runtime.registry.table.routes.values()
    upstreams = {
        (each.source.spec.upstream.name, each.source.spec.upstream.port): each.source.spec.upstream for each in routes
    }
    for key in sorted(upstreams):
        yield await _upstream(runtime, upstreams[key])


async def _upstream(runtime: Runtime, upstream: Upstream) -> Finding:
    name = f"{upstream.name}:{upstream.port}"
    try:
        async with asyncio.timeout(ASK):
            addresses = await runtime.mesh.addresses(upstream.name, upstream.port)
    except (RequestError, TimeoutError) as error:
        cause = getattr(error, "cause", "") or f"no answer within {ASK:.0f} seconds"
        return Finding("warn", "mesh", f"{name}: {cause}", "calls get 503 until it has an address; see docs/mesh.md")
    texts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses]
    silent = [
        text for text, answers in zip(texts, await asyncio.gather(*map(accepts, texts)), strict=True) if not answers
    ]
    if silent:
        return Finding(
            "warn", "mesh", f"{name}: nobody answers at {', '.join(silent)}", "start it, or correct the mesh"
        )
    return Finding("ok", "mesh", f"{name} answers at {', '.join(texts)}")


async def _issuers(settings: Settings) -> AsyncIterator[Finding]:
    try:
        entries = read_issuers(settings.path(settings.issuers))
    except SetupError:
        return  # told already
    for entry, _ in entries:
        if entry.is_discovered:
            yield await _discovered(entry.issuer)
        elif entry.jwks_url is None:
            yield Finding("ok", "issuers", f"{entry.issuer}: its keys are on this machine")
        else:
            yield await _issuer(entry.issuer, entry.jwks_url)


async def _discovered(name: str) -> Finding:
    import httpx

    advice = "its tokens get 503; let this machine reach it, or set jwks_url"
    try:
        async with asyncio.timeout(ASK), httpx.AsyncClient(timeout=ASK, verify=default_context()) as client:
            metadata = await discover(client, name)
    except (TimeoutError, BadKey) as error:
        text = f"{name}: {str(error) or f'no answer within {ASK:.0f} seconds'}"
        return Finding("fail", "issuers", text, advice)
    if metadata.jwks_uri is None:
        return Finding("fail", "issuers", f"{name}: its metadata names no jwks_uri", advice)
    return await _issuer(name, metadata.jwks_uri)


async def _issuer(name: str, url: str) -> Finding:
    import httpx

    try:
        async with asyncio.timeout(ASK), httpx.AsyncClient(timeout=ASK, verify=default_context()) as client:
            reply = await client.get(url, headers={"user-agent": USER_AGENT})
            keys = reply.json()["keys"] if len(reply.content) <= MAX_KEYS else []
    except (httpx.HTTPError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        text = f"{name}: no keys from {url}: {error or type(error).__name__}"
        return Finding("fail", "issuers", text, "its tokens get 503; correct jwks_url, or let this machine reach it")
    if reply.status_code != 200 or not keys:
        return Finding("fail", "issuers", f"{name}: {url} answers {reply.status_code} without keys", "correct jwks_url")
    try:
        skew = time.time() - parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except ValueError:
        skew = 0.0
    if abs(skew) > SKEW:
        way = "ahead of" if skew > 0 else "behind"
        text = f"this machine's clock is {abs(skew):.0f} seconds {way} that of {name}"
        return Finding("warn", "clock", text, "set it; tokens are judged by it")
    return Finding("ok", "issuers", f"{name}: {len(keys)} keys from {url}")
