"""The well-known types whose JSON is not an object of their fields: readers and writers, by ProtoJSON's table.

A reader returns what the parent's constructor takes (a dict of fields, or a message if the constructor would interpret
a dict differently); a writer takes the message and returns a JSON value. Both raise `FieldValueError`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from bridge_grpc.codec.scalars import FieldValueError, kind_of

_EPOCH = dt.date(1970, 1, 1).toordinal()
_DAY = 86_400  # seconds; protobuf's days have no leap seconds
# The parts of a time of day as text. Tables and a cache of days take a third of the time of datetime.
_MINUTES = tuple(f"T{hour:02}:{minute:02}" for hour in range(24) for minute in range(60))
_SECONDS = tuple(f":{second:02}" for second in range(60))
_SECONDS_OF_MINUTE = {text: minute * 60 for minute, text in enumerate(_MINUTES)}
_SECONDS_OF_SECOND = {text: second for second, text in enumerate(_SECONDS)}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_MIN_SECONDS, _MAX_SECONDS = -62135596800, 253402300799  # 0001-01-01T00:00:00Z, 9999-12-31T23:59:59Z
_MAX_DURATION = 315_576_000_000  # about 10,000 years, as duration.proto says

_Json = Any


def _text(value: Any, example: str) -> str:
    if type(value) is not str:
        raise FieldValueError(f'it must be a string such as "{example}", not {kind_of(value)}')
    return value


def _fraction(nanos: int) -> str:
    """0, 3, 6 or 9 digits, as the mapping requires."""
    if not nanos:
        return ""
    if not nanos % 1_000_000:
        return f".{nanos // 1_000_000:03d}"
    return f".{nanos:09d}" if nanos % 1000 else f".{nanos // 1000:06d}"


# --- Timestamp and Duration --------------------------------------------------------------------------------------


@lru_cache(4096)
def _midnight(day: str) -> int:
    """``YYYY-MM-DD`` as seconds since 1970.

    :raises ValueError: it isn't a day of the years 1 to 9999.
    """
    if not _DATE.fullmatch(day):
        raise ValueError("a day has the form YYYY-MM-DD")
    return (dt.date(int(day[:4]), int(day[5:7]), int(day[8:])).toordinal() - _EPOCH) * _DAY


@lru_cache(4096)
def _day(number: int) -> str:
    """Days since 1970 as ``YYYY-MM-DD``."""
    return dt.date.fromordinal(_EPOCH + number).isoformat()


def read_timestamp(value: Any) -> dict[str, int]:
    """RFC 3339, upper-case T and Z, any offset, up to nine digits of a second, years 1 to 9999."""
    text = _text(value, "2026-11-03T20:15:00Z")
    try:
        # Nearly always it is in UTC.
        seconds = _midnight(text[:10]) + _SECONDS_OF_MINUTE[text[10:16]] + _SECONDS_OF_SECOND[text[16:19]]
        if text[19:] == "Z":
            return {"seconds": seconds}
        fraction = text[20:-1]
        if text[19] == "." and text[-1] == "Z" and fraction.isascii() and fraction.isdigit() and len(fraction) <= 9:
            return {"seconds": seconds, "nanos": int(fraction.ljust(9, "0"))}
    except (LookupError, ValueError):
        pass
    return _timestamp(text)


def _timestamp(text: str) -> dict[str, int]:
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise FieldValueError(f"{text[:40]!r} is not a time such as 2026-11-03T20:15:00Z")
    day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        dt.time(int(hour), int(minute), int(second))
        seconds = _midnight(day) + int(hour) * 3600 + int(minute) * 60 + int(second)
    except ValueError as error:
        raise FieldValueError(f"{text!r} is not a time: {error}") from None
    if sign:
        if int(off_hours) > 23 or int(off_minutes) > 59:
            raise FieldValueError(f"{text!r} has no valid offset from UTC")
        offset = int(off_hours) * 3600 + int(off_minutes) * 60
        seconds += offset if sign == "-" else -offset
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise FieldValueError(f"{text!r} lies outside the years 1 to 9999")
    return {"seconds": seconds, "nanos": int(fraction.ljust(9, "0")) if fraction else 0}


def write_timestamp(message: Any) -> str:
    seconds, nanos = message.seconds, message.nanos
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS or not 0 <= nanos < 1_000_000_000:
        raise FieldValueError("a Timestamp lies outside the years 1 to 9999")
    days, seconds = divmod(seconds, _DAY)
    minutes, seconds = divmod(seconds, 60)
    return f"{_day(days)}{_MINUTES[minutes]}{_SECONDS[seconds]}{_fraction(nanos) if nanos else ''}Z"


def read_duration(value: Any) -> dict[str, int]:
    """Seconds with up to nine digits and the suffix ``s``."""
    match = _DURATION.fullmatch(_text(value, "1.5s"))
    if not match:
        raise FieldValueError(f"{value[:40]!r} is not a duration such as 1.5s")
    sign = -1 if match[1] else 1
    seconds, nanos = sign * int(match[2]), sign * int((match[3] or "").ljust(9, "0"))
    if abs(seconds) > _MAX_DURATION:
        raise FieldValueError(f"{value!r} is longer than {_MAX_DURATION}.999999999 seconds")
    return {"seconds": seconds, "nanos": nanos}


def write_duration(message: Any) -> str:
    seconds, nanos = message.seconds, message.nanos
    if (
        abs(seconds) > _MAX_DURATION
        or abs(nanos) >= 1_000_000_000
        or (seconds and nanos and (seconds < 0) != (nanos < 0))
    ):
        raise FieldValueError("a Duration is out of range or has parts of different sign")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


# --- FieldMask ---------------------------------------------------------------------------------------------------

_CAMEL = re.compile(r"[A-Z]")
_SNAKE = re.compile(r"_([a-z])")


def read_field_mask(value: Any) -> dict[str, list[str]]:
    """Comma-separated paths in lowerCamelCase."""
    text = _text(value, "county,ballotCount")
    if "_" in text:
        raise FieldValueError(f"{text[:40]!r}: the paths of a field mask are in lowerCamelCase")
    return read_field_mask_text(text)


def read_field_mask_text(text: str) -> dict[str, list[str]]:
    """The same from a parameter, where the proto's own names are accepted too, since many clients send them."""
    return {"paths": [_CAMEL.sub(lambda at: "_" + at[0].lower(), path) for path in text.split(",")] if text else []}


def write_field_mask(message: Any) -> str:
    paths = []
    for path in message.paths:
        camel = _SNAKE.sub(lambda at: at[1].upper(), path)
        if "_" in camel or _CAMEL.search(path):
            raise FieldValueError(f"the path {path[:60]!r} of a FieldMask can't be written as JSON")
        paths.append(camel)
    return ",".join(paths)


# --- Struct, Value, ListValue ------------------------------------------------------------------------------------


def value_readers(struct: Any, value: Any, listing: Any) -> dict[str, Callable[[_Json], Any]]:
    """Readers for the three types, which create messages of the given classes (each pool has its own)."""

    def read_value(source: _Json) -> Any:
        kind = type(source)
        if kind is str:
            return value(string_value=source)
        if source is None:
            return value(null_value=0)
        if kind is bool:
            return value(bool_value=source)
        if kind is dict:
            return value(struct_value=read_struct(source))
        if kind is list:
            return value(list_value=read_list(source))
        return value(number_value=_finite(source))

    def read_struct(source: _Json) -> Any:
        if type(source) is not dict:
            raise FieldValueError(f"it must be an object, not {kind_of(source)}")
        message = struct()
        fields = message.fields
        for key, item in source.items():
            fields[key].CopyFrom(read_value(item))
        return message

    def read_list(source: _Json) -> Any:
        if type(source) is not list:
            raise FieldValueError(f"it must be an array, not {kind_of(source)}")
        return listing(values=[read_value(item) for item in source])

    return {
        "google.protobuf.Struct": _within_depth(read_struct),
        "google.protobuf.Value": _within_depth(read_value),
        "google.protobuf.ListValue": _within_depth(read_list),
    }


def _within_depth(read: Callable[[_Json], Any]) -> Callable[[_Json], Any]:
    def reading(source: _Json) -> Any:
        try:
            return read(source)
        except DecodeError:  # a message is copied into another one by its serialised form
            reason = "more than 100 messages are nested in one another: an object in an object is three of them"
            raise FieldValueError(reason) from None

    return reading


def _finite(value: int | float | Decimal) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise FieldValueError("it is out of range for a double")
    return number


def write_value(message: Any) -> _Json:
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "string_value":
        return message.string_value
    if kind == "bool_value":
        return message.bool_value
    if kind == "struct_value":
        return write_struct(message.struct_value)
    if kind == "list_value":
        return write_list(message.list_value)
    number = message.number_value
    if not math.isfinite(number):
        raise FieldValueError("a Value holds NaN or Infinity, which JSON has no number for")
    return number


def write_struct(message: Any) -> dict[str, _Json]:
    return {key: write_value(item) for key, item in message.fields.items()}


def write_list(message: Any) -> list[_Json]:
    return [write_value(item) for item in message.values]


#: Types whose reader needs no message classes.
READERS: dict[str, Callable[[_Json], Any]] = {
    "google.protobuf.Timestamp": read_timestamp,
    "google.protobuf.Duration": read_duration,
    "google.protobuf.FieldMask": read_field_mask,
}
WRITERS: dict[str, Callable[[Any], _Json]] = {
    "google.protobuf.Timestamp": write_timestamp,
    "google.protobuf.Duration": write_duration,
    "google.protobuf.FieldMask": write_field_mask,
    "google.protobuf.Struct": write_struct,
    "google.protobuf.Value": write_value,
    "google.protobuf.ListValue": write_list,
}
ANY = "google.protobuf.Any"
VALUES = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})
WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
#: Types that ``Any`` writes under ``"value"``, since their JSON is not an object that could contain ``@type``.
SPECIAL = frozenset({*WRITERS, ANY, *WRAPPERS})
