"""The log of the tests' process."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Puts back what `bridge.observe.log.log_to_stderr` changes."""
    root, own = logging.getLogger(), logging.getLogger("bridge")
    handlers, levels = root.handlers[:], (root.level, own.level)
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    shown = warnings.showwarning
    try:
        yield
    finally:
        logging.captureWarnings(False)
        warnings.showwarning = shown
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        root.handlers[:] = handlers
        for logger, level in zip((root, own), levels, strict=True):
            logger.setLevel(level)  # not `level`: loggers keep what they found


def without_services(records: Iterable[logging.LogRecord], level: int = logging.WARNING) -> list[str]:
    """Messages from `level` up, without those of services here: gRPC's server logs clients that have left."""
    ours = [record for record in records if record.name.partition(".")[0] != "grpc"]
    return [record.getMessage() for record in ours if record.levelno >= level]
