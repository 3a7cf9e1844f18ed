"""The election that all three services count: one fictional state, one night, one set of figures.

The State of Tamarack votes on 3 November 2026. Times are the precincts' own, six hours behind UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

STATE = "Tamarack"
ELECTION_DAY = datetime(2026, 11, 3, tzinfo=timezone(timedelta(hours=-6)))


@dataclass(frozen=True)
class Candidate:
    code: str
    name: str
    party: str


@dataclass(frozen=True)
class Precinct:
    """`votes` are in the order of `GOVERNOR`; a precinct that has not reported has none and no time."""

    id: str
    name: str
    registered: int
    votes: tuple[int, ...] = ()
    reported_at: datetime | None = None

    @property
    def ballots(self) -> int:
        return sum(self.votes)


@dataclass(frozen=True)
class County:
    fips: str
    name: str
    precincts: tuple[Precinct, ...]

    @property
    def reporting(self) -> tuple[Precinct, ...]:
        return tuple(precinct for precinct in self.precincts if precinct.reported_at)

    @property
    def registered(self) -> int:
        return sum(precinct.registered for precinct in self.precincts)

    @property
    def ballots(self) -> int:
        return sum(precinct.ballots for precinct in self.precincts)

    @property
    def votes(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(*(precinct.votes for precinct in self.reporting), strict=True)))

    @property
    def reported_at(self) -> datetime:
        return max(precinct.reported_at for precinct in self.reporting if precinct.reported_at)


def percent(part: int, whole: int) -> Decimal:
    """Two digits after the point, rounded half up, so that clerks and newspapers agree."""
    return (Decimal(100 * part) / whole if whole else Decimal(0)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _at(hour: int, minute: int, second: int) -> datetime:
    return ELECTION_DAY.replace(hour=hour, minute=minute, second=second)


GOVERNOR = (
    Candidate("WHITCOMB", "Eleanor Whitcomb", "Forward"),
    Candidate("OKAFOR", "Daniel Okafor", "Heritage"),
    Candidate("LINDQVIST", "Maja Lindqvist", "Independent"),
)

COUNTIES = {
    county.fips: county
    for county in (
        County(
            "91001",
            "Alder",
            (
                Precinct("001", "Harbor Ward 1", 2184, (812, 604, 47), _at(20, 41, 7)),
                Precinct("002", "Harbor Ward 2", 1967, (701, 688, 39), _at(20, 58, 22)),
                Precinct("003", "Millrace Township", 1402, (389, 521, 28), _at(21, 3, 55)),
                Precinct("004", "St. Brigid & Old Quay", 1118, (455, 241, 31), _at(21, 17, 40)),
                Precinct("005", "North Alder Lake", 903),
            ),
        ),
        County(
            "91003",
            "Birch Lake",
            (
                Precinct("001", "Birch Lake City", 3310, (1294, 1102, 96), _at(20, 36, 51)),
                Precinct("002", "Eagle Point", 1276, (377, 530, 22), _at(20, 49, 13)),
                Precinct("003", "Sawyer Flats", 688, (171, 304, 9), _at(21, 22, 4)),
            ),
        ),
        County(
            "91005",
            "Cedar Bluffs",
            (
                Precinct("001", "Cedar Bluffs", 1544, (498, 611, 35), _at(21, 9, 30)),
                Precinct("002", "Prairie du Loup", 731),
            ),
        ),
    )
}
