"""A service's actual requests and replies, one JSON line each, in the file of ``--wire``.

The demo shows these lines, so that it prints the actual messages.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_MOST_KEPT = 1024 * 1024  # bytes of a request's body


class Wire:
    """Appends to `file`; does nothing without one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()

    def note(self, *, trace_id: str, target: str, request: str, reply: str, status: str) -> None:
        """One exchange. `target` is the method and path, `request` and `reply` the bodies as text."""
        if self._file:
            entry = {"trace_id": trace_id, "target": target, "request": request, "reply": reply, "status": status}
            with self._lock, self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry, ensure_ascii=False) + "\n")


Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


def recorded(app: Wsgi, wire: Wire) -> Wsgi:
    """`app`, with each exchange recorded."""

    def record(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"] = source = _Kept(environ["wsgi.input"])
        statuses: list[str] = []

        def start(status: str, *rest: Any) -> Any:
            statuses.append(status)
            return start_response(status, *rest)

        answer = b"".join(app(environ, start))
        wire.note(
            trace_id=environ.get("HTTP_X_TRACE_ID", ""),
            target=f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}",
            request=source.seen.decode("utf-8", "replace"),
            reply=answer.decode("utf-8", "replace"),
            status=statuses[-1],
        )
        return [answer]

    return record


class _Kept:
    """The request's body, which keeps the bytes that the application reads, up to a limit."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.seen = b""

    def read(self, size: int = -1) -> bytes:
        part: bytes = self._source.read(size)
        self.seen += part[: _MOST_KEPT - len(self.seen)]
        return part
