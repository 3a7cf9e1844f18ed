"""Medians and ratios of runs by turns."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from benchmarks.side_by_side.pairs import Run, Series, ratio


def runs(*costs: float, p99: float = 1000) -> Series:
    """A second of 1,000 requests each, at so many microseconds of CPU."""
    return Series([Run(1000, 1.0, cost / 1000, p99 / 2, p99) for cost in costs])


def test_a_runs_cost_and_rate() -> None:
    run = Run(requests=500, seconds=2.0, cpu=0.25, p50=1, p99=2)
    assert (run.cost, run.rate) == (500, 250)


def test_a_series_is_its_median() -> None:
    assert runs(100, 900, 130).median("cost") == pytest.approx(130)
    assert runs(100, 130, p99=80).median("p99") == 80


def test_a_pair_is_a_ratio_of_its_own() -> None:
    """In the second pair all was three times as slow; the ratio doesn't mind."""
    spread = ratio(runs(50, 150, 60), runs(100, 300, 100))
    assert astuple(spread) == pytest.approx((0.5, 0.5, 0.6))


def test_what_was_not_run_by_turns_has_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio(runs(1, 2), runs(1))
