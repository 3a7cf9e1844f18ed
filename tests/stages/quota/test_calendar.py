"""Quotas of days and months: their borders, against the calendar of the standard library, and what is kept of them."""

from __future__ import annotations

import json
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.stages.quota.calendar import Window, period
from bridge.stages.quota.counters import QuotaCounter, QuotaCounts
from bridge.stages.quota.quota_file import QuotaFile


def unix(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@given(st.datetimes(datetime(1970, 1, 2), datetime(2400, 1, 1), timezones=st.just(UTC)))
def test_a_moment_lies_in_its_day_and_month(moment: datetime) -> None:
    start, end = period("day", moment.timestamp())
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    assert (start, end) == (midnight.timestamp(), (midnight + timedelta(days=1)).timestamp())
    start, end = period("month", moment.timestamp())
    assert start == midnight.replace(day=1).timestamp()
    assert end - start == monthrange(moment.year, moment.month)[1] * 86400


@pytest.mark.parametrize(
    ("window", "last", "first"),
    [
        ("day", "2026-12-31T23:59:59.999", "2027-01-01T00:00:00"),
        ("month", "2026-12-31T23:59:59.999", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T23:59:59.999", "2028-03-01T00:00:00"),  # a leap day
        ("month", "2027-02-28T23:59:59.999", "2027-03-01T00:00:00"),
        ("day", "2028-02-28T23:59:59.999", "2028-02-29T00:00:00"),
        ("month", "2100-02-28T23:59:59.999", "2100-03-01T00:00:00"),  # no leap year
    ],
)
def test_a_quota_begins_anew_at_the_border(window: Window, last: str, first: str) -> None:
    now = [unix(last)]
    counter = QuotaCounter(2, "q", QuotaCounts(window, lambda: now[0]))
    assert [counter.take("a", 0.0, 1).allowed for _ in range(3)] == [True, True, False]
    refused = counter.take("a", 0.0, 1)
    assert 0 < refused.retry_after < 0.01
    assert dict(refused.headers())["retry-after"] == "1"
    now[0] = unix(first)
    assert counter.take("a", 0.0, 2).allowed
    now[0] -= 60  # the clock is set
    assert not counter.take("a", 0.0, 1).allowed


def test_seconds_to_the_reset() -> None:
    counts = QuotaCounts("month", lambda: unix("2028-02-28T12:00:00"))
    verdict = QuotaCounter(10, "m", counts).take("a", 0.0, 3)
    assert (verdict.remaining, verdict.reset_after, verdict.window) == (7, 1.5 * 86400, 29 * 86400)


def test_the_callers_of_a_quota_are_bounded() -> None:
    counts = QuotaCounts("day", lambda: 86400.0, max_callers=10)
    counter = QuotaCounter(5, "q", counts)
    for number in range(100):
        counter.take(f"{number}", 0.0, 1)
    assert list(counts.used) == [f"{number}" for number in range(90, 100)]


async def test_quotas_outlast_the_gateway(tmp_path: Path) -> None:
    path = tmp_path / ".bridge" / "quotas.json"
    kept = QuotaFile(path)
    counter = QuotaCounter(5, "q", kept.counts("q:1", "month"))
    for _ in range(3):
        counter.take("ann", 0.0, 1)
    QuotaCounter(5, "q", kept.counts("gone:1", "day")).take("bob", 0.0, 1)
    await kept.write()
    assert path.stat().st_mode & 0o777 == 0o600
    again = QuotaFile(path)
    assert QuotaCounter(5, "q", again.counts("q:1", "month")).take("ann", 0.0, 1).remaining == 1
    await again.write()
    assert set(json.loads(path.read_text())) == {"q:1:month", "gone:1:day"}
    assert not again.counts("q:1", "month").changed


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"q:1:month": 5}', '{"q:1:month": {"start": 0, "used": {"ann": 9}}}']
)
async def test_what_is_no_such_file_counts_for_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "quotas.json"
    path.write_text(content)
    counts = QuotaFile(path).counts("q:1", "month")
    assert QuotaCounter(5, "q", counts).take("ann", 0.0, 1).remaining == 4


async def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    kept = QuotaFile(tmp_path / "file" / "quotas.json")
    for _ in range(2):
        kept.counts("q:1", "day").add("ann", 1)
        await kept.write()
    assert [record.message for record in caplog.records if "can't be written" in record.message][1:] == []
    assert "quotas begin anew" in caplog.text


async def test_what_no_route_asks_for_is_kept_while_its_period_lasts(tmp_path: Path) -> None:
    path = tmp_path / "quotas.json"
    kept = QuotaFile(path)
    QuotaCounter(5, "q", kept.counts("gone:1", "month")).take("ann", 0.0, 1)
    await kept.write()
    over = {"over:1:day": {"start": 0, "used": {"ann": 9}}, "over:1:month": {"start": 0}, "strange": 5, "x:day": []}
    path.write_text(json.dumps({**json.loads(path.read_text()), **over}))
    again = QuotaFile(path)
    QuotaCounter(5, "q", again.counts("q:1", "day")).take("bob", 0.0, 1)
    await again.write()
    assert set(json.loads(path.read_text())) == {"gone:1:month", "q:1:day"}


async def test_a_write_that_failed_is_tried_again_without_another_call(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.touch()
    kept = QuotaFile(folder / "quotas.json")
    QuotaCounter(5, "q", kept.counts("q:1", "month")).take("ann", 0.0, 1)
    await kept.write()
    folder.unlink()
    await kept.write()
    assert QuotaFile(folder / "quotas.json").counts("q:1", "month").used == {"ann": 1}
