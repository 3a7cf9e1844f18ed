"""The access log: one JSON line a request, who called what and what came of it, written off the hot path.

The event loop only appends a record; a thread makes lines of records, writes, rotates and counts metrics. It wakes by
time and not for each record: to be woken, and to hand the interpreter back and forth, costs more than a line does.
Nothing is dropped: when the disk can't keep up, the queue's end is waited for. `close` writes all that is left.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO

import orjson

from bridge.api.record import Record
from bridge.observe.masking import masked, masked_path, masked_text

QUEUE = 100_000  #: records that wait for the disk before requests do
PAUSE = 0.005  #: seconds for which records gather before they are written
CHUNK = 64  #: records that are formatted at a time; meanwhile the event loop may wait for the GIL

log = logging.getLogger("bridge.access")


def line_of(record: Record) -> bytes:
    """The record as one JSON line; what is not known is left out. Times are milliseconds with three decimals."""
    members: dict[str, object] = {"time": time_of(record.at), "trace_id": record.trace_id}
    if record.route:
        members["route"] = record.route
    if record.operation:
        members["operation"] = record.operation
    if record.tenant:
        members["tenant"] = record.tenant
    if record.subject:
        members["subject"] = record.subject
    if record.peer:
        members["peer"] = record.peer
    members["method"] = record.method
    if record.host:
        members["host"] = record.host
    members["path"] = masked_path(record.path)
    if record.query:
        members["query"] = masked(record.query)
    members["status"] = record.status
    if record.upstream:
        members["upstream"] = record.upstream
    if record.upstream_status is not None:
        members["upstream_status"] = record.upstream_status
    members["bytes_in"] = record.bytes_in
    members["bytes_out"] = record.bytes_out
    if record.messages_up:
        members["messages_up"] = record.messages_up
    if record.messages_down:
        members["messages_down"] = record.messages_down
    if record.close_code:
        members["close_code"] = record.close_code
    members["ms_total"] = round(record.total * 1000, 3)
    members["ms_upstream"] = round(record.waited * 1000, 3)
    members["ms_translation"] = round(record.translated * 1000, 3)
    if record.limit:
        members["limit"] = record.limit
    if record.cache:
        members["cache"] = record.cache
    if record.problem:
        members["problem"] = record.problem
    if record.cause:
        members["cause"] = masked_text(record.cause)
    if record.warnings:
        members["warnings"] = [masked_text(warning) for warning in record.warnings]
    try:
        return orjson.dumps(members, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # half a surrogate pair in a foreign text, or a 70-bit number: stdlib's writer escapes them
        return json.dumps(members, default=str).encode() + b"\n"


def time_of(at: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    second, micros = divmod(round(at * 1_000_000), 1_000_000)
    return f"{_second(second)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


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
        self._records: deque[Record] = deque()
        self._asleep = True
        self._reopens = False
        self._wake, self._ended = threading.Event(), threading.Event()
        self._file = self._open()
        self._written = os.fstat(self._file.fileno()).st_size if self._path else 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, record: Record) -> None:
        """Hand one record over. Takes a fraction of a microsecond."""
        self._records.append(record)
        if self._asleep:
            self._asleep = False
            self._wake.set()
        if len(self._records) > QUEUE:
            while len(self._records) > QUEUE // 2 and self._thread.is_alive():
                time.sleep(0.001)

    def reopen(self) -> None:
        """Open the file anew, as it is called now: another program (logrotate) may have renamed it."""
        self._reopens = True
        self._wake.set()

    def close(self) -> None:
        """Write all that was handed over, then close the file. May be called twice."""
        self._ended.set()
        self._wake.set()
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
        records = self._records
        while records or not self._ended.is_set():
            # First said, then looked: whoever appends in between wakes us.
            self._asleep = True
            if not records:
                self._wake.wait()
            self._asleep = False
            self._wake.clear()
            if self._reopens:
                self._reopens = False
                self._open_again()
            self._ended.wait(PAUSE)
            while records:
                # Between two chunks the file is written, and whoever waits for the interpreter has it.
                self._write(b"".join([self._line(records.popleft()) for _ in range(min(CHUNK, len(records)))]))

    def _line(self, record: Record) -> bytes:
        """Its line, and it is counted; nothing for a record of which there can't be one."""
        line = b""
        try:
            line = line_of(record)
            self._also(record)
        except Exception:  # one record that can't be written must not end the log of all others
            log.exception("trace %s: its record can't be written", record.trace_id, extra={"trace_id": record.trace_id})
        return line

    def _write(self, lines: bytes) -> None:
        try:
            if self._path and self._written and self._written + len(lines) > self._size:
                self._rotate()
            if self._file.closed:
                self._file = self._open()
            while lines:
                # Unbuffered files may take less than all of it.
                written = self._file.write(lines)
                self._written += written
                lines = lines[written:]
            self._file.flush()
        except (OSError, ValueError) as error:  # ValueError: standard output was closed
            # The gateway goes on without its access log, and says so in its own log.
            log.error("the access log can't be written: %s; %d bytes are lost", error, len(lines))

    def _open_again(self) -> None:
        if self._path is None:
            return
        try:
            file = self._open()
        except OSError as error:
            log.error("the access log can't be opened again: %s; the file before it is kept", error)
            return
        self._file.close()
        self._file, self._written = file, os.fstat(file.fileno()).st_size

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
