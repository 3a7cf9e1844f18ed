"""`description`, `tags`, `deprecated` and `sunset`: what a route says of itself to those who call it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from bridge.api.spec.scalars import Model, Names

MAX_TAGS = 20
_MAX_TAG = 100  #: characters
_FIRST_YEAR = 1970  #: of dates that every HTTP library reads
# RFC 3339, section 5.6: full-date, or date-time with its offset from UTC.
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)
_LINK = re.compile(r"https?://[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")  # RFC 3986, section 2
_WANTED = "write a date, as 2027-01-31, or a time with its offset, as 2027-01-31T12:00:00Z"


def _moment(value: object) -> object:
    """A date (its beginning in UTC) or a time with an offset, as a time in UTC; fractions of seconds are dropped.

    :raises ValueError: it is neither.
    """
    if isinstance(value, datetime):
        return value
    match = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no date; {_WANTED}")
    day, time, offset = match[1], match[2] or "00:00:00", (match[3] or "Z").upper()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no date of the calendar; {_WANTED}") from None
    if moment.year < _FIRST_YEAR:
        raise ValueError(f"{value!r} is before {_FIRST_YEAR}")
    return moment


def moment_text(moment: datetime) -> str:
    """A time in UTC as a spec writes it: ``2027-01-31`` for the beginning of a day, else ``2027-01-31T12:00:00Z``."""
    is_day = moment.time() == datetime.min.time()
    return moment.strftime("%Y-%m-%d" if is_day else "%Y-%m-%dT%H:%M:%SZ")


def _link(link: str) -> str:
    """:raises ValueError: it can't be the target of a Link field (RFC 8288, section 3.1)."""
    if not _LINK.fullmatch(link):
        raise ValueError(f"{link[:80]!r} is no URL of a page; write https://…, with all other characters encoded")
    return link


def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    if not tags:
        raise ValueError("an empty list has no tag; leave tags out for the usual one")
    if len(tags) > MAX_TAGS:
        raise ValueError(f"there are more than {MAX_TAGS} tags")
    for tag in tags:
        if not tag.strip() or len(tag) > _MAX_TAG or not tag.isprintable():
            raise ValueError(f"{tag[:_MAX_TAG]!r} is no tag: a tag has 1 to {_MAX_TAG} printable characters")
    if len(set(tags)) < len(tags):
        raise ValueError("a tag stands in it twice")
    return tags


Moment = Annotated[datetime, BeforeValidator(_moment), PlainSerializer(moment_text)]
Link = Annotated[str, Field(max_length=2048), AfterValidator(_link)]
Description = Annotated[str, Field(min_length=1, max_length=16 * 1024)]
Tags = Annotated[Names, AfterValidator(_tags)]


class DeprecationSpec(Model):
    """RFC 9745. The date may be in the future: the route will be deprecated then."""

    since: Moment | None = None  #: None: it is deprecated, and nobody says since when
    link: Link | None = None  #: a page for people: why, and what to use instead


class SunsetSpec(Model):
    """RFC 8594: when the route is expected to be gone. The gateway goes on serving it."""

    date: Moment
    link: Link | None = None  #: a page for people: what happens then


def _deprecation(value: object) -> object:
    """``true``, ``false`` and a date as the mapping that they are short for."""
    if isinstance(value, bool):
        return {} if value else None
    if value is None or isinstance(value, dict | DeprecationSpec):
        return value
    return {"since": _moment(value)}


def _short_deprecation(value: DeprecationSpec | None) -> Any:
    if value is None:
        return False
    if value.link is None:
        return True if value.since is None else moment_text(value.since)
    return value.model_dump(mode="json", exclude_unset=True)


def _sunset(value: object) -> object:
    return value if value is None or isinstance(value, dict | SunsetSpec) else {"date": _moment(value)}


def _short_sunset(value: SunsetSpec | None) -> Any:
    if value is None or value.link is not None:
        return value and value.model_dump(mode="json", exclude_unset=True)
    return moment_text(value.date)


Deprecated = Annotated[DeprecationSpec | None, BeforeValidator(_deprecation), PlainSerializer(_short_deprecation)]
Sunset = Annotated[SunsetSpec | None, BeforeValidator(_sunset), PlainSerializer(_short_sunset)]


def check_order(deprecated: DeprecationSpec | None, sunset: SunsetSpec | None) -> None:
    """:raises ValueError: the sunset is earlier than the deprecation (RFC 9745, section 4)."""
    if deprecated is not None and sunset is not None and deprecated.since and sunset.date < deprecated.since:
        raise ValueError(
            f"it is {moment_text(sunset.date)}, before the route is deprecated ({moment_text(deprecated.since)})"
        )


def lifecycle_warnings(
    deprecated: DeprecationSpec | None, sunset: SunsetSpec | None, now: datetime | None = None
) -> list[str]:
    """What the author of a route should know of its dates, a sentence each.

    :param now: default: the current time.
    """
    warnings = []
    if deprecated is not None and deprecated.since is None:
        warnings.append(
            "deprecated: it has no date, so responses have no Deprecation field; write the date since when it is"
        )
    today = now or datetime.now(UTC)
    if sunset is not None and sunset.date <= today:
        days = (today - sunset.date) // timedelta(days=1)
        ago = f", {days} {'day' if days == 1 else 'days'} ago" if days else ""
        warnings.append(
            f"sunset: it was on {moment_text(sunset.date)}{ago}, and the route still serves; "
            "remove the route, or write a later date"
        )
    return warnings
