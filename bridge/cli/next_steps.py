"""What to type after an import: the commands that serve the route, and a call of it that works as pasted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from bridge.api.capabilities import capability
from bridge.api.spec.auth import AnyAuth, JwtAuth, NoAuth
from bridge.api.spec.route import RouteSpec
from bridge.api.stream import WEBSOCKET, StreamCodec
from bridge.api.transformer import Operation
from bridge.cli.program import program
from bridge.config.settings import Settings
from bridge.config.specfile import read_file
from bridge.errors import ConflictError, SetupError
from bridge.gateway.table import BoundRoute, Source, Table
from bridge.plugins import plugin_failure
from bridge.runtime import Runtime
from bridge.stages.auth.issuers import LOCAL

ADDRESS = "http://127.0.0.1:8080"  #: where ``serve`` listens without options
_HARMLESS = re.compile(
    r"(get|list|find|search|fetch|read|query|check|verify|lookup|echo|ping|hello|say|count|status|is|has|convert)",
    re.IGNORECASE,
)
LOOK = 10.0  #: seconds to read the other routes of a home, whose contracts may lie elsewhere
_SAMPLES: Mapping[str, Any] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}, "string": "1"}


async def next_steps(settings: Settings, file: Path, config: Path | None) -> list[str]:
    """The lines to print after `file` was written.

    :param config: the file of ``--config``, which the commands need, too.
    """
    hms = program()
    option = f" --config {shlex.quote(str(config))}" if config else ""
    spec, document = read_file(file)[0]
    runtime = Runtime(settings, serving=False, writing=False)
    try:
        route = await runtime.binder.bind(Source(str(file), "file", spec, str(file), document))
        await _check_free(runtime, route, file)
    except (Exception, SystemExit) as error:  # a plug-in may fail in any way
        failure = error if isinstance(error, SetupError) else plugin_failure(spec.transform.request, error)
        return ["It can't serve yet:", *(f"  {fault}" for fault in failure.faults)]
    finally:
        await runtime.aclose()
    lines = []
    if not _is_below(file, settings.path(settings.routes)):
        lines.append(f"Routes are served from {settings.path(settings.routes)}; move {file} there.")
    operation = min(route.operations, key=_rank, default=None)
    lines += ["Next, in two terminals:", f"  {hms} serve{option}"]
    if operation is not None:
        lines.append(f"  {_curl(route, operation, _token(settings, spec, f'{hms} token', option))}")
    return lines


async def _check_free(runtime: Runtime, route: BoundRoute, file: Path) -> None:
    """:raises ConflictError: another route of this home has a path of `route`, which was read from `file`."""
    with suppress(SetupError, TimeoutError):  # what is wrong with others is not told here
        async with asyncio.timeout(LOOK):
            await runtime.registry.load()
    for refused, conflict in Table([*_others(runtime, file), route]).refused:
        if refused is route:
            advice = f"change route in {file}, or take the other one away"
            raise ConflictError([replace(fault, reason=f"{fault.reason}; {advice}") for fault in conflict.faults])


def _others(runtime: Runtime, file: Path) -> list[BoundRoute]:
    """The routes of the home that do not stand in `file`."""
    own, home, table = os.path.realpath(file), runtime.settings.home, runtime.registry.table
    routes = [*table.routes.values(), *(refused for refused, _ in table.refused)]
    return [each for each in routes if not each.source.file or os.path.realpath(home / each.source.file) != own]


def _is_below(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _rank(operation: Operation) -> tuple[Any, ...]:
    """The lower, the better as a first call: one that changes nothing and needs little."""
    return (
        operation.method == WEBSOCKET,
        capability(operation.codec, StreamCodec) is not None,
        operation.method != "GET" and not _HARMLESS.match(operation.name.rpartition(".")[2]),
        operation.method != "GET",
        operation.path.count("{"),
    )


def _token(settings: Settings, spec: RouteSpec, command: str, option: str) -> str:
    """The value of ``Authorization`` for a shell; empty where the route wants no token that ``token`` can make."""
    for auth in spec.auth.any if isinstance(spec.auth, AnyAuth) else (spec.auth,):
        if isinstance(auth, NoAuth):
            return ""
        if isinstance(auth, JwtAuth) and settings.local_issuer == "on" and (auth.issuer or LOCAL) == LOCAL:
            audiences = (auth.audience,) if isinstance(auth.audience, str) else auth.audience[:1]
            options = [("--audience", audiences), ("--role", auth.roles[:1]), ("--scope", auth.scopes)]
            options += [("--tenant", (spec.tenant,))] if spec.tenant else []
            words = [f" {name} {shlex.quote(value)}" for name, values in options for value in values if value]
            return f"Bearer $({command}{''.join(words)}{option})"
    return "Bearer $TOKEN"


def _curl(route: BoundRoute, operation: Operation, authorization: str) -> str:
    described: Mapping[str, Any] = operation.describe().operation
    parameters: Sequence[Mapping[str, Any]] = described.get("parameters", ())
    path = route.template(operation)
    for parameter in parameters:
        if parameter["in"] == "path":
            value = quote(_text(parameter), safe="")
            path = re.sub(r"\{" + re.escape(parameter["name"]) + r"\*?\}", value.replace("\\", r"\\"), path)
    path = re.sub(r"\{[^}]*\}", "1", path)
    query = [(each["name"], _text(each)) for each in parameters if each["in"] == "query" and each.get("required")]
    words = ["curl"]
    method = "GET" if operation.method == "*" else operation.method
    content = described.get("requestBody", {}).get("content", {}).get("application/json")
    if content is not None:
        body = content.get("example", {})
        words += ["-X", method] if method != "POST" else []
        words += ["-H", "'Content-Type: application/json'", "-d", shlex.quote(json.dumps(body, ensure_ascii=False))]
    elif method != "GET":
        words += ["-X", method]
    if authorization:
        words[1:1] = ["-H", f'"Authorization: {authorization}"']
    if route.source.spec.host:
        words += ["-H", shlex.quote(f"Host: {route.source.spec.host}")]
    return " ".join([*words, shlex.quote(ADDRESS + path + (f"?{urlencode(query)}" if query else ""))])


def _text(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", {})
    value = parameter.get("example", schema.get("example", schema.get("default")))
    if value is None:
        kind = schema.get("type", "string")
        kinds = kind if isinstance(kind, list) else [kind]
        value = schema["enum"][0] if schema.get("enum") else _SAMPLES.get(kinds[0], "1")
    value = value[0] if isinstance(value, list) and value else value
    return json.dumps(value) if isinstance(value, bool | dict | list) else str(value)
