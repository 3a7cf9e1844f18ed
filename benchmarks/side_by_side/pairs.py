"""Runs of two gateways by turns, and what their ratios say."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """How much is run: `pairs` of `seconds` each, after a warm-up, which a mere trial cuts short (`trial`)."""

    pairs: int
    seconds: float
    trial: bool = False

    def warmup(self, wanted: float) -> float:
        """Seconds of load before anything counts, for a gateway that wants so many."""
        return min(wanted, self.seconds) if self.trial else wanted


@dataclass(frozen=True)
class Run:
    """One gateway under load for a few seconds.

    :ivar cpu: seconds of CPU that its processes used meanwhile.
    :ivar p50: microseconds; so is `p99`.
    """

    requests: int
    seconds: float
    cpu: float
    p50: float
    p99: float

    @property
    def cost(self) -> float:
        """Microseconds of CPU a request."""
        return self.cpu / self.requests * 1e6

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Spread:
    """The median of some ratios, and the least and the greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """:raises statistics.StatisticsError: of nothing."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Series:
    """The runs of one gateway in one case, one after the other."""

    runs: list[Run] = field(default_factory=list[Run])

    def median(self, name: str) -> float:
        """Of the runs' `name`: ``cost``, ``rate``, ``p50``, ``p99``."""
        return statistics.median(float(getattr(run, name)) for run in self.runs)


def ratio(ours: Series, theirs: Series, name: str = "cost") -> Spread:
    """Ours to theirs, each pair on its own: what troubles the machine for a while troubles both of a pair.

    :raises ValueError: they were not run equally often.
    """
    values = [
        float(getattr(one, name)) / float(getattr(other, name))
        for one, other in zip(ours.runs, theirs.runs, strict=True)
    ]
    return Spread.of(values)
