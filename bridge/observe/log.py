"""The gateway's own log on standard error: one event a line, as text or as JSON (``BRIDGE_LOG_LEVEL``,
``BRIDGE_LOG_FORMAT``).

An event of one call has the call's trace id as ``extra={"trace_id": …}``, which in JSON is a member of its own. Secrets
are masked as in the access log, and control characters from outside are escaped, so that nobody can forge a line.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import orjson

from bridge.config.settings import LogFormat, LogLevel
from bridge.observe.access import time_of
from bridge.observe.masking import masked_text

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}

log = logging.getLogger("bridge")


class TextLogFormatter(logging.Formatter):
    """``12:00:00 INFO bridge.routes: message``, in local time; the lines of a traceback follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname} {record.name}: {message_of(record)}"
        return "\n  ".join([line, *(text.translate(_CONTROLS) for text in self.trace(record).splitlines())])

    def trace(self, record: logging.LogRecord) -> str:
        """The traceback and the stack that `record` carries, masked; ``""`` without one."""
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return masked_text("\n".join(parts))


class JsonLogFormatter(TextLogFormatter):
    """``{"time", "level", "logger", "message"}``, with ``trace_id`` and ``exception`` (a traceback) where there is one.

    ``time`` is as in the access log: UTC, with milliseconds.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = message_of(record)
        event = {"time": time_of(record.created), "level": record.levelname.lower(), "logger": record.name}
        trace_id = str(getattr(record, "trace_id", ""))
        event["message"] = message.removeprefix(f"trace {trace_id}: ") if trace_id else message
        if trace_id:
            event["trace_id"] = trace_id
        if trace := self.trace(record):
            event["exception"] = trace
        return orjson.dumps({name: _encodable(text) for name, text in event.items()}).decode()


def message_of(record: logging.LogRecord) -> str:
    """Its message on one line: the lines of several faults are joined by ``; ``."""
    try:
        message = record.getMessage()
    except Exception:  # a plug-in's mistake must not lose its event, nor print a traceback between events
        message = f"{record.msg} (its arguments don't fit)"
    text = "; ".join(line.strip() for line in message.splitlines() if line.strip())
    return masked_text(text.translate(_CONTROLS))


def log_to_stderr(level: LogLevel = "info", form: LogFormat = "text") -> None:
    """Write the process's log to standard error: the gateway's from `level` up, that of libraries and plug-ins from
    ``warning`` up. What nobody catches, in any thread, is logged too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter() if form == "json" else TextLogFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger("bridge").setLevel(threshold)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the gateway failed", exc_info=(kind, error, trace))


def _uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread else "unknown"
    log.error("the thread %s failed", name, exc_info=failure.exc_value)


def _unraisable(failure: Any) -> None:
    log.error("%s: %r", failure.err_msg or "an exception was ignored in", failure.object, exc_info=failure.exc_value)


def _encodable(text: str) -> str:
    """`text` without halves of surrogate pairs, which foreign text may contain and UTF-8 can't."""
    return text.encode("utf-8", "backslashreplace").decode()
