"""Whether the operator's files are in force as they are written; told by the metric ``bridge_config_file_current``."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class ConfigFiles:
    """What became of each file when it was read last. A file that can't be used leaves the one before it in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: dict[str, bool] = {}

    def told(self, name: str, *, current: bool) -> None:
        """:param name: as the operator knows the file: ``issuers.yml``.
        :param current: the file is in force as it is written now. To be called in any thread.
        """
        with self._lock:
            self._current[name] = current

    def states(self) -> Sequence[tuple[str, bool]]:
        """Each file that was read, and whether it is in force as it is written."""
        with self._lock:
            return sorted(self._current.items())
