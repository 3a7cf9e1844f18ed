"""The figures that the house has set itself, and which of them a result misses."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.side_by_side.result import OURS, Result

#: Case, peer, and what our CPU may be of its, guards on.
COSTS = (
    ("grpc-small", "envoy", 0.95),
    ("soap-5", "fastapi-zeep", 1 / 14),
    ("soap-5", "express-soap", 1 / 5),
    ("soap-5", "camel-cxf", 1.0),
)
P99 = (("grpc-small", "envoy", 1.0),)
TO_SUM = 1.25  #: the whole path, of the sum of its floors
FLOORS = ("grpc-small", "soap-5")


def missed(result: Result) -> Iterator[str]:
    """A sentence for each figure that isn't reached, or isn't there."""
    for case, name, most in COSTS:
        row = result.row(case, name, guarded=True)
        if row is None or row.to_it is None:
            yield f"{case}: there is no figure beside {name}"
        elif row.to_it.median > most:
            got = f"{row.to_it.median:.3f} of the CPU of {row.gateway}"
            yield f"{row.title}, guards on: {got}, and {most:.3f} is the most"
    for case, name, most in P99:
        row = result.row(case, name, guarded=True)
        if row is not None and row.p99_to_it is not None and row.p99_to_it.median > most:
            ours = result.row(case, OURS, guarded=True)
            p99 = ours.p99 if ours else 0.0
            yield (
                f"{row.title}, guards on: p99 is {row.p99_to_it.median:.2f} of that of {row.gateway}, pair by pair "
                f"(medians {p99:.1f} and {row.p99:.1f} ms)"
            )
    for case in FLOORS:
        found = [row for row in result.floors if row.case == case]
        if not found:
            yield f"{case}: its floors were not measured"
        for floor in found:
            if floor.to_sum.median > TO_SUM:
                guards = "guards on" if floor.guarded else "bare"
                got = f"the whole path costs {floor.to_sum.median:.2f} of the sum of its floors"
                yield f"{floor.title}, {guards}: {got}, and {TO_SUM} is the most"
    yield from result.complaints
