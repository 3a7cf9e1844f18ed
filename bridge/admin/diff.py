"""What differs between two specs: by key, or as lines of their YAML."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bridge.admin.answers import json_response, yaml_text
from bridge.api.spec.route import RouteSpec
from bridge.gateway.table import spec_json
from bridge.payload.pointer import pointer_of

#: Lines on either side, beyond what both begin and end with, that are compared one by one; the time grows with more
#: than their square. If there are more, all are removed and added.
MAX_LINES = 500
TEXT_TYPES = ("text/x-diff", "text/plain")

_ABSENT: Any = object()


def differences(before: RouteSpec | None, after: RouteSpec | None) -> list[dict[str, Any]]:
    """Each key with another value as ``{"path": JSON Pointer (RFC 6901), "before": …, "after": …}``. A member is left
    out where the key is. Lists are compared as a whole."""
    pairs = [spec_json(spec) if spec is not None else _ABSENT for spec in (before, after)]
    return [
        {"path": pointer_of(path)}
        | {name: value for name, value in (("before", was), ("after", becomes)) if value is not _ABSENT}
        for path, was, becomes in _differing((), *pairs)
    ]


def _differing(path: tuple[str, ...], before: Any, after: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _differing((*path, key), before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif (
        before is _ABSENT or after is _ABSENT or before != after or isinstance(before, bool) != isinstance(after, bool)
    ):
        yield path, before, after


def unified(before: RouteSpec | None, after: RouteSpec | None, names: tuple[str, str]) -> str:
    """The difference of their YAML as ``diff -u`` prints it; ``""`` where there is none.

    :param names: of both, in the head.
    """
    old, new = (yaml_text(spec).splitlines(keepends=True) if spec is not None else [] for spec in (before, after))
    same = min(len(old), len(new))
    head = next((at for at in range(same) if old[at] != new[at]), same)
    tail = next((at for at in range(same - head) if old[-1 - at] != new[-1 - at]), same - head)
    if max(len(old), len(new)) - head - tail > MAX_LINES:
        lines = [f"--- {names[0]}\n", f"+++ {names[1]}\n", f"@@ -1,{len(old)} +1,{len(new)} @@\n"]
        return "".join([*lines, *(f"-{line}" for line in old), *(f"+{line}" for line in new)])
    return "".join(difflib.unified_diff(old, new, *names))


async def diff_response(
    request: Request, before: RouteSpec | None, after: RouteSpec | None, names: tuple[str, str], /, **members: Any
) -> Response:
    """JSON with `members` and ``diff``; the text of `unified` where ``Accept`` names one of `TEXT_TYPES` first."""
    kinds = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    first = next((kind for kind in kinds if kind in TEXT_TYPES or kind in ("application/json", "*/*")), "")
    if first in TEXT_TYPES:
        # Large ones take a while, in which everybody else is served.
        text = await asyncio.to_thread(unified, before, after, names)
        return Response(text, 200, {"vary": "accept"}, first)
    changes = await asyncio.to_thread(differences, before, after)
    return json_response(members | {"diff": changes}, vary="accept")
