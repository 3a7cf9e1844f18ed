"""Any exception -> problem+json (RFC 9457). The only place that does.

Errors that the gateway raises on purpose have a message for the caller. Any other exception is a defect: it is logged
with its traceback, and the caller gets only the trace id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import orjson

from bridge.api.call import Reply
from bridge.errors import Conflict, ConflictError, InvalidSpec, RequestError, SetupError, Unavailable
from bridge.payload.pointer import pointer_of

PROBLEM_TYPE = ("content-type", "application/problem+json")

log = logging.getLogger("bridge")


def problem(error: BaseException, trace_id: str) -> Reply:
    """`error` as a response. Members: type, title, status, code (= status), detail, trace_id and the error's own."""
    if isinstance(error, SetupError):
        return _of_setup(error, trace_id)
    if not isinstance(error, RequestError) or not 400 <= error.status <= 599:
        log.error("trace %s: an unforeseen failure", trace_id, exc_info=error, extra={"trace_id": trace_id})
        error = RequestError("Something went wrong in the gateway. The trace id finds it in our log.")
    detail = error.detail
    if isinstance(error, Unavailable) and error.cause:
        detail = detail.rstrip(".") + ". The line of the gateway's access log with this trace_id names the cause."
    return _render(error.slug, error.title, error.status, detail, trace_id, error.members, error.headers)


def slug_of(error: BaseException) -> str:
    """The end of the ``type`` of the problem that `error` becomes."""
    if isinstance(error, SetupError):
        return (Conflict if isinstance(error, ConflictError) else InvalidSpec).slug
    is_meant = isinstance(error, RequestError) and 400 <= error.status <= 599
    return error.slug if isinstance(error, RequestError) and is_meant else RequestError.slug


def _of_setup(error: SetupError, trace_id: str) -> Reply:
    """A wrong spec: every fault with a JSON pointer into the spec, and its line where known."""
    errors = [
        {"pointer": pointer_of(fault.path), "reason": fault.reason} | ({"line": fault.line} if fault.line else {})
        for fault in error.faults
    ]
    detail = error.faults[0].reason if len(errors) == 1 else f"{len(errors)} things in the spec need mending."
    kind = Conflict if isinstance(error, ConflictError) else InvalidSpec
    return _render(kind.slug, kind.title, kind.status, detail, trace_id, {"errors": errors}, ())


def _render(
    slug: str, title: str, status: int, detail: str, trace_id: str, members: Any, headers: tuple[tuple[str, str], ...]
) -> Reply:
    body = {
        "type": f"urn:bridge:problem:{slug}",
        "title": title,
        "status": status,
        "code": status,
        "detail": detail,
        "trace_id": trace_id,
        **members,
    }
    return Reply(status, [PROBLEM_TYPE, *headers], _dumps(body))


def _dumps(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body, default=str)
    except TypeError:  # a member may contain a lone surrogate or a 70-bit number from foreign text
        return json.dumps(body, default=str, ensure_ascii=False).encode("utf-8", "replace")


def slugs() -> Iterator[tuple[str, int, str]]:
    """Every problem slug with its status and title, for the documentation and its test."""
    known_slugs: set[str] = set()
    stack: list[type[RequestError]] = [RequestError]
    while stack:
        kind = stack.pop(0)
        if kind.slug not in known_slugs:
            known_slugs.add(kind.slug)
            yield kind.slug, kind.status, kind.title
        stack += kind.__subclasses__()
