"""Dates, times and durations of XML Schema 1.0, part 2, sections 3.2.6 to 3.2.14, compared without loss of digits.

Python's ``datetime`` cannot represent all values (years below 1 or above 9999, nanoseconds, 24:00:00), so values stay
text. Here they are validated and, for bounds and enumerations, converted to seconds.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

#: The clause requires four digits; the limit of eighteen keeps arithmetic cheap.
_YEAR = r"(?P<year>-?(?:[1-9][0-9]{4,17}|[0-9]{4}))"
_MONTH = r"(?P<month>0[1-9]|1[0-2])"
_DAY = r"(?P<day>0[1-9]|[12][0-9]|3[01])"
_CLOCK = (
    r"(?:(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9](?:\.[0-9]+)?)"
    r"|(?P<midnight>24:00:00(?:\.0+)?))"
)
_ZONE = r"(?P<zone>Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))?"
_DURATION = (
    r"(?P<minus>-)?P(?=[0-9T])(?:(?P<years>[0-9]{1,18})Y)?(?:(?P<months>[0-9]{1,18})M)?(?:(?P<days>[0-9]{1,18})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,18})H)?(?:(?P<minutes>[0-9]{1,18})M)?(?:(?P<seconds>[0-9]{1,18}(?:\.[0-9]+)?)S)?)?"
)

#: The lexical form of each type, and an example.
DATES: dict[str, tuple[re.Pattern[str], str]] = {
    "duration": (re.compile(_DURATION), "P1DT2H"),
    "dateTime": (re.compile(f"{_YEAR}-{_MONTH}-{_DAY}T{_CLOCK}{_ZONE}"), "2026-11-03T20:15:00Z"),
    "time": (re.compile(f"{_CLOCK}{_ZONE}"), "20:15:00"),
    "date": (re.compile(f"{_YEAR}-{_MONTH}-{_DAY}{_ZONE}"), "2026-11-03"),
    "gYearMonth": (re.compile(f"{_YEAR}-{_MONTH}{_ZONE}"), "2026-11"),
    "gYear": (re.compile(f"{_YEAR}{_ZONE}"), "2026"),
    "gMonthDay": (re.compile(f"--{_MONTH}-{_DAY}{_ZONE}"), "--11-03"),
    "gDay": (re.compile(f"---{_DAY}{_ZONE}"), "---03"),
    "gMonth": (re.compile(f"--{_MONTH}{_ZONE}"), "--11"),
}

#: Common dates, which need no further validation.
USUAL_DATE = (
    r"(?!0000)[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)"
)
USUAL_DATE_TIME = (
    USUAL_DATE + r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])?"
)
#: Tests for generated code.
usual_date = re.compile(USUAL_DATE).fullmatch
usual_date_time = re.compile(USUAL_DATE_TIME).fullmatch

_WITH_DAY = frozenset(DATES[name][0] for name in ("dateTime", "date", "gMonthDay"))
_LENGTH = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def dated(pattern: re.Pattern[str], text: str) -> bool:
    """Whether `text` matches the pattern and is an existing day. Version 1.0 has no year 0000."""
    match = pattern.fullmatch(text)
    if match is None:
        return False
    if pattern in _WITH_DAY and match["day"] <= "28" and not text.startswith(("0000", "-0000")):
        return True  # days up to 28 exist in every month
    part = match.groupdict()
    year = part.get("year")
    if year is not None and not year.strip("-0"):
        return False
    if part.get("day") and part.get("month"):
        day, month = int(part["day"]), int(part["month"])
        if month == 2 and day == 29:
            # Before year 1 there are two ways to count leap years, as there is no year 0; both are accepted.
            count = int(year) if year else 2000
            return _leap(count) or (count < 0 and _leap(count + 1))
        return day <= _LENGTH[month]
    return True


def _days(year: int, month: int, day: int) -> int:
    """Days of the proleptic Gregorian calendar, from an arbitrary origin."""
    year, month = (year, month) if month > 2 else (year - 1, month + 12)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day


def instant(pattern: re.Pattern[str], text: str) -> tuple[Any, ...]:
    """``(has a zone, seconds)``, or ``(months, seconds)`` for a duration; equal for equal values.

    The seconds are ordered by time. A value without a zone counts as UTC."""
    match = pattern.fullmatch(text)
    if match is None:
        return (False, text)
    part: dict[str, str | None] = match.groupdict()
    if "days" in part:
        return _duration(part)
    days = _days(int(part.get("year") or 2000), int(part.get("month") or 1), int(part.get("day") or 1))
    total = Decimal(86400 * days)
    if part.get("midnight"):
        total += 86400
    elif part.get("hour"):
        total += int(part["hour"] or 0) * 3600 + int(part["minute"] or 0) * 60 + Decimal(part["second"] or 0)
    zone = part["zone"]
    if zone and zone != "Z":
        shift = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        total -= shift if zone[0] == "+" else -shift
    return (zone is not None, total)


def _duration(part: dict[str, str | None]) -> tuple[int, Decimal]:
    months = int(part["years"] or 0) * 12 + int(part["months"] or 0)
    clock = int(part["hours"] or 0) * 3600 + int(part["minutes"] or 0) * 60 + Decimal(part["seconds"] or 0)
    seconds = int(part["days"] or 0) * 86400 + clock
    return (-months, -seconds) if part["minus"] else (months, seconds)


#: The dates to which durations are added to compare them (section 3.2.6.2).
_STARTS = ((1696, 9), (1697, 2), (1903, 3), (1903, 7))


def duration_order(text: str) -> tuple[Decimal, ...]:
    """A duration is less than another if each part of its tuple is less."""
    months, seconds = instant(DATES["duration"][0], text)
    sums = []
    for year, month in _STARTS:
        count = year * 12 + month - 1 + months
        sums.append(86400 * _days(count // 12, count % 12 + 1, 1) + seconds)
    return tuple(sums)
