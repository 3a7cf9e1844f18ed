"""What one run of the bench found, as values: what the table, the page, the plot and ``--json`` are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.side_by_side import machine
from benchmarks.side_by_side.floors.floor import PARTS, Floor
from benchmarks.side_by_side.measure import Lane, Measured
from benchmarks.side_by_side.pairs import Spread, ratio

OURS = "ours"


@dataclass(frozen=True)
class Row:
    """A gateway in a case; medians over the runs.

    :ivar name: the peer's, or `OURS`.
    :ivar cost: microseconds of CPU a request; `rate` requests a second; `p50`, `p99` milliseconds; `peak` megabytes.
    :ivar to_it: our cost to its, of interleaved pairs; `p99_to_it` likewise. None for ours.
    :ivar why: why there are no figures.
    """

    case: str
    title: str
    guarded: bool
    name: str
    gateway: str
    runs: int = 0
    cost: float = 0.0
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    peak: float = 0.0
    to_it: Spread | None = None
    p99_to_it: Spread | None = None
    why: str = ""


@dataclass(frozen=True)
class FloorRow:
    """The whole path beside its parts: medians in microseconds of CPU, and the ratio to their sum, round by round."""

    case: str
    title: str
    guarded: bool
    whole: float
    server: float
    client: float
    parsers: float
    to_sum: Spread


@dataclass
class Result:
    """A run.

    :ivar date: UTC, to the minute.
    :ivar options: the command's, as they were given.
    :ivar versions: by title of the gateway; `guards` likewise, what its guards are.
    :ivar absent: by title, why it isn't here.
    :ivar complaints: what went wrong in our own lane, case by case.
    """

    date: str
    options: str
    machine: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict[str, str])
    guards: dict[str, str] = field(default_factory=dict[str, str])
    absent: dict[str, str] = field(default_factory=dict[str, str])
    rows: list[Row] = field(default_factory=list[Row])
    floors: list[FloorRow] = field(default_factory=list[FloorRow])
    complaints: list[str] = field(default_factory=list[str])

    @classmethod
    def begun(cls, options: Sequence[str]) -> Result:
        """An empty one of now, on this machine."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return cls(now, " ".join(options), machine.description())

    @classmethod
    def read(cls, file: Path) -> Result:
        """What `write` has written.

        :raises msgspec.DecodeError: the file is something else.
        """
        return msgspec.json.decode(file.read_bytes(), type=cls)

    def write(self, file: Path) -> None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def add(self, measured: Measured) -> None:
        """A case's rows, ours first."""
        self.rows.append(_row(measured, measured.ours, OURS))
        self.rows += [_row(measured, lane, lane.peer.name) for lane in measured.peers]

    def add_floor(self, found: Floor) -> None:
        parts = {part: Spread.of(found.costs[part]).median for part in PARTS}
        for guarded in (True, False):
            whole = "guarded" if guarded else "bare"
            self.floors.append(
                FloorRow(
                    found.case.name,
                    found.case.title,
                    guarded,
                    Spread.of(found.costs[whole]).median,
                    parts["server"],
                    parts["client"],
                    parts["parsers"],
                    found.ratio(whole),
                )
            )

    def row(self, case: str, name: str, *, guarded: bool) -> Row | None:
        """The figures of one gateway; None where there are none."""
        rows = (row for row in self.rows if (row.case, row.name, row.guarded) == (case, name, guarded) and row.runs)
        return next(rows, None)


def _row(measured: Measured, lane: Lane, name: str) -> Row:
    case, series = measured.case, lane.runs
    if not series.runs:
        return Row(case.name, case.title, measured.guarded, name, lane.peer.title, why=lane.why or "it was not run")
    paired = name != OURS
    return Row(
        case.name,
        case.title,
        measured.guarded,
        name,
        lane.peer.title,
        runs=len(series.runs),
        cost=series.median("cost"),
        rate=series.median("rate"),
        p50=series.median("p50") / 1000,
        p99=series.median("p99") / 1000,
        peak=lane.peak,
        to_it=ratio(lane.ours, series, "cost") if paired else None,
        p99_to_it=ratio(lane.ours, series, "p99") if paired else None,
    )
