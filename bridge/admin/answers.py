"""How the admin API answers and what it reads: JSON, specs as JSON or YAML, bodies within a size and a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bridge.admin.recorder import TRUSTED_PROXY
from bridge.api.spec.route import RouteSpec
from bridge.config import yaml
from bridge.config.specfile import MAX_SPEC
from bridge.errors import ClientDisconnected, RequestTimeout, TooLarge
from bridge.gateway.table import BoundRoute, spec_json
from bridge.http.public_address import public_prefix

SPEC_TIMEOUT = 30.0  #: seconds that a publisher may take to send a spec
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "application/vnd.yaml")


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    return Response(
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str), status, headers, "application/json"
    )


def active(bound: BoundRoute, warnings: Sequence[str], status: int = 200, **headers: str) -> Response:
    """The answer to a change after which `bound` is live.

    :param warnings: what its author should know, a sentence each.
    """
    body: dict[str, Any] = {"route_id": bound.source.id, "status": "ACTIVE"}
    if warnings:
        body["warnings"] = list(warnings)
    return json_response(body, status, etag=f'"{bound.source.etag}"', **headers)


def wants_yaml(request: Request) -> bool:
    """Whether ``Accept`` names a YAML type before JSON."""
    kinds = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    first = next((kind for kind in kinds if kind in YAML_TYPES or kind in ("application/json", "*/*")), "")
    return first in YAML_TYPES


async def yaml_response(spec: RouteSpec, **headers: str) -> Response:
    """A spec as YAML, as it may be sent back."""
    # A large one takes a while to write, in which everybody else is served.
    text = await asyncio.to_thread(yaml_text, spec)
    return Response(text, 200, headers, "application/yaml")


def yaml_text(spec: RouteSpec) -> str:
    """A spec as YAML, as it may be sent back. A large one takes a while."""
    return yaml.dump(_short(spec_json(spec)))


def time_text(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _short(value: Any) -> Any:
    """`value` with whole numbers as people write them: 50, not 50.0."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


async def read_body(request: Request, max_body: int = MAX_SPEC, what: str = "A route spec") -> bytes:
    """The whole body, within a size in bytes and `SPEC_TIMEOUT`.

    :param what: is sent, for messages.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SPEC_TIMEOUT):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_body:
                    raise TooLarge(f"{what} has at most {max_body // 1024} kB.")
                chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeout(f"{what} did not arrive in time.") from None
    except ClientDisconnect:
        raise ClientDisconnected() from None
    return b"".join(chunks)


def fields_of(request: Request) -> list[tuple[str, str]]:
    """The request's header fields."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]


def prefix_of(request: Request) -> str:
    """What a trusted proxy has removed from the path's beginning."""
    return public_prefix(fields_of(request)) if request.scope.get(TRUSTED_PROXY) else ""
