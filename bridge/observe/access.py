"""The access log: one JSON line a request, who called what and what came of it, written off the hot path.

The event loop only appends a record to a queue; a thread makes lines of records, writes, rotates and counts metrics.
Nothing is dropped: when the disk can't keep up, the queue's end is waited for. `close` writes all that is left.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import orjson

QUEUE = 100_000
_SECRET = re.compile(
    r"token|secret|passw|passwd|pwd|api[-_]?key|apikey|credential|signature|\bsig\b|\bkey\b|auth|code", re.I
)

log = logging.getLogger("bridge.access")


@dataclass(slots=True)
class Record:
    """One request, filled in as it goes its way. Times are seconds; sizes bytes; a status of 0 is "never got there"."""

    at: float
    trace_id: str
    method: str
    path: str
    query: str = ""
    host: str = ""
    peer: str = ""
    route: str = ""
    operation: str = ""
    tenant: str = ""
    subject: str = ""
    upstream: str = ""
    status: int = 0
    upstream_status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    total: float = 0.0
    waited: float = 0.0
    translated: float = 0.0
    messages_up: int = 0
    messages_down: int = 0
    cache: str = ""
    cause: str = ""
    warnings: tuple[str, ...] = ()


def masked(query: str) -> str:
    """`query` with the values of parameters that sound like secrets replaced by ``***``."""
    if "=" not in query or not _SECRET.search(unquote(query)):
        return query
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}=***" if equals and _SECRET.search(unquote(name)) else part)
    return "&".join(parts)


def line_of(record: Record) -> bytes:
    """The record as one JSON line; what is not known is left out. Times are milliseconds with three decimals."""
    entry: dict[str, object] = {
        "time": datetime.fromtimestamp(record.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "trace_id": record.trace_id,
        "route": record.route or None,
        "operation": record.operation or None,
        "tenant": record.tenant or None,
        "subject": record.subject or None,
        "peer": record.peer or None,
        "method": record.method,
        "host": record.host or None,
        "path": record.path,
        "query": masked(record.query) or None,
        "status": record.status,
        "upstream": record.upstream or None,
        "upstream_status": record.upstream_status,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "messages_up": record.messages_up or None,
        "messages_down": record.messages_down or None,
        "ms_total": round(record.total * 1000, 3),
        "ms_upstream": round(record.waited * 1000, 3),
        "ms_translation": round(record.translated * 1000, 3),
        "cache": record.cache or None,
        "cause": record.cause or None,
        "warnings": record.warnings or None,
    }
    known = {key: value for key, value in entry.items() if value is not None}
    try:
        return orjson.dumps(known, default=str) + b"\n"
    except TypeError:  # half a surrogate pair in a foreign text, or a 70-bit number: stdlib's writer escapes them
        return json.dumps(known, default=str).encode() + b"\n"


class AccessLog:
    """Writes records to `target`, a file or ``-`` for standard output.

    :param size: bytes after which the file becomes ``NAME.1``, the former ``NAME.1`` ``NAME.2``, and so on.
    :param keep: how many such files stay.
    :param also: called with each record on the writer's thread (metrics).
    :raises OSError: the file can't be opened.
    """

    def __init__(
        self, target: str, *, size: int, keep: int, also: Callable[[Record], None] = lambda record: None
    ) -> None:
        self._path = None if target == "-" else Path(target)
        self._size, self._keep, self._also = size, keep, also
        self._queue: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._file = self._open()
        self._written = os.fstat(self._file.fileno()).st_size if self._path else 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, record: Record) -> None:
        """Hand one record over. Takes about a microsecond."""
        if self._queue.qsize() > QUEUE:
            while self._queue.qsize() > QUEUE // 2 and self._thread.is_alive():
                time.sleep(0.001)
        self._queue.put(record)

    def close(self) -> None:
        """Write all that was handed over, then close the file. May be called twice."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._path:
            self._file.close()

    def _open(self) -> IO[bytes]:
        if self._path is None:
            return sys.stdout.buffer
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Append-only, and not for everybody's eyes: it says who called what.
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "ab", buffering=0)

    def _run(self) -> None:
        while True:
            record = self._queue.get()
            lines: list[bytes] = []
            stop = record is None
            while record is not None:
                try:
                    lines.append(line_of(record))
                    self._also(record)
                except Exception:  # one record that can't be written must not end the log of all others
                    log.exception("trace %s: its record can't be written", record.trace_id)
                try:
                    record = self._queue.get_nowait() if len(lines) < 1000 else None
                except queue.Empty:
                    break
                stop = record is None and len(lines) < 1000
            self._write(b"".join(lines))
            if stop:
                return

    def _write(self, lines: bytes) -> None:
        try:
            if self._path and self._written and self._written + len(lines) > self._size:
                self._rotate()
            if self._file.closed:
                self._file = self._open()
            while lines:
                # Unbuffered files may take less than all of it.
                taken = self._file.write(lines)
                self._written += taken
                lines = lines[taken:]
            self._file.flush()
        except (OSError, ValueError) as error:  # ValueError: standard output was closed
            # The service goes on without its log rather than not at all, but never in silence.
            log.error("the access log can't be written: %s; %d bytes are lost", error, len(lines))

    def _rotate(self) -> None:
        assert self._path
        self._file.close()
        for number in range(self._keep, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        self._file = self._open()
        self._written = 0
