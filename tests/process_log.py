"""What `bridge.observe.log.log_to_stderr` changes in a process, put back for the tests that follow."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def restored() -> Iterator[None]:
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
