"""Calendar days and months in UTC: the windows of quotas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

Window = Literal["day", "month"]
DAY = 86400.0


def period(window: Window, now: float) -> tuple[float, float]:
    """Beginning and end, in Unix seconds, of the day or month in which `now` lies."""
    if window == "day":
        start = now // DAY * DAY
        return start, start + DAY
    moment = datetime.fromtimestamp(now, UTC)
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return first.timestamp(), datetime(year, month, 1, tzinfo=UTC).timestamp()
