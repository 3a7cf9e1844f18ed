"""When a server may be asked that calls depend on: token endpoints, introspection endpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Backoff:
    """The failures of one server. After a failure nothing is asked for some seconds; then one request at a time finds
    out whether the server works again, and each further failure doubles the seconds.

    :param clock: seconds, monotonic.
    :param first: seconds after the first failure. :param longest: after any later one.
    :ivar retry_at: when it may be asked again, by `clock`.
    """

    def __init__(self, clock: Callable[[], float], first: float, longest: float) -> None:
        self._clock, self._first, self._longest = clock, first, longest
        self._waits = 0  # back-offs since it last worked
        self._tolerated = 0  # failures since it last worked that caused none
        self._trying = 0
        self.retry_at = 0.0

    @property
    def open(self) -> bool:
        """Whether the server may be asked."""
        return not self._waits or (self._clock() >= self.retry_at and not self._trying)

    @property
    def retry_after(self) -> int:
        """Whole seconds until it may be asked again; at least 1."""
        return max(1, math.ceil(self.retry_at - self._clock()))

    @contextmanager
    def trying(self) -> Iterator[None]:
        """The server is asked within it."""
        self._trying += 1
        try:
            yield
        finally:
            self._trying -= 1

    def worked(self) -> bool:
        """The server gave an answer that can be used. Whether it had been in a back-off."""
        waited, self._waits, self._tolerated = self._waits > 0, 0, 0
        return waited

    def failed(self, *, tolerance: int = 0) -> float | None:
        """The server failed.

        :param tolerance: failures in a row that cause no back-off: those that one request may cause by what is in it.
        :returns: the seconds until it may be asked again; None if this failure changes nothing, because it is tolerated
            or was under way when another one failed.
        """
        now = self._clock()
        if self._waits and now < self.retry_at:
            return None
        if not self._waits and self._tolerated < tolerance:
            self._tolerated += 1
            return None
        wait = min(self._first * 2.0 ** min(self._waits, 10), self._longest)
        self._waits += 1
        self.retry_at = now + wait
        return wait
