"""Scalars from JSON or text to Python values: the rules of the protobuf JSON mapping (ProtoJSON), as a table.

A reader takes a JSON value (of `bridge.api.parse_json`, exact or not) or the text of a parameter. It returns a value
for the message's constructor; ``null`` is None and means "not set". It raises `FieldValueError` with a reason.
"""

from __future__ import annotations

import binascii
import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Reader = Callable[[Any], Any]


class FieldValueError(ValueError):
    """The field doesn't take the value; the message says why."""


class UnknownEnumName(FieldValueError):
    """The enum has no such name. The value is dropped if the route ignores unknown values."""


class InDoubt(Exception):
    """The fast path can't decide; the value must be judged with all its digits."""


_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_INTEGER = re.compile(r"-?[0-9]{1,40}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,6})?")
_BASE64_URL = str.maketrans("-_", "+/")
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT32 = struct.Struct("<f")

_T = FieldDescriptor
INTEGERS = {
    _T.TYPE_INT32: (-(2**31), 2**31 - 1),
    _T.TYPE_SINT32: (-(2**31), 2**31 - 1),
    _T.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    _T.TYPE_UINT32: (0, 2**32 - 1),
    _T.TYPE_FIXED32: (0, 2**32 - 1),
    _T.TYPE_INT64: (-(2**63), 2**63 - 1),
    _T.TYPE_SINT64: (-(2**63), 2**63 - 1),
    _T.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    _T.TYPE_UINT64: (0, 2**64 - 1),
    _T.TYPE_FIXED64: (0, 2**64 - 1),
}
INT64S = frozenset({_T.TYPE_INT64, _T.TYPE_SINT64, _T.TYPE_SFIXED64, _T.TYPE_UINT64, _T.TYPE_FIXED64})
MESSAGES = frozenset({_T.TYPE_MESSAGE, _T.TYPE_GROUP})


def integer(low: int, high: int) -> Reader:
    """A number without a fraction, or a string with one; exponents and trailing zeros are allowed in both."""

    def read(value: Any) -> Any:
        kind = type(value)
        if kind is str:
            if (value.isascii() and value.isdigit() and len(value) < 40) or _INTEGER.fullmatch(value):
                value = int(value)
            elif _NUMBER.fullmatch(value):
                value = _whole(Decimal(value))
            else:
                raise FieldValueError(f"{_quote(value)} is not a whole number")
        elif kind is float:
            if not value.is_integer():
                raise FieldValueError(f"{value!r} is not a whole number")
            if abs(value) > 2**53:
                raise InDoubt
            value = int(value)
        elif isinstance(value, Decimal):
            value = _whole(value)
        elif value is None:
            return None
        elif kind is not int:
            raise FieldValueError(f"it must be a whole number, not {_kind(value)}")
        if not low <= value <= high:
            raise FieldValueError(f"{_quote(value)} is out of range; it must be from {low} to {high}")
        return value

    return read


def _whole(value: Decimal) -> int:
    # Large exponents are not expanded: 1e999999 would be a megabyte of digits.
    if value and value.adjusted() > 40:
        raise FieldValueError(f"{value} is out of range")
    if value != value.to_integral_value():
        raise FieldValueError(f"{value} is not a whole number")
    return int(value)


def double(value: Any) -> Any:
    """A number, a string of one, or ``"NaN"``, ``"Infinity"``, ``"-Infinity"``."""
    kind = type(value)
    if kind is float:
        return value
    if kind is str:
        if value in _WORDS:
            return _WORDS[value]
        if not _NUMBER.fullmatch(value):
            raise FieldValueError(f"{_quote(value)} is not a number")
    elif value is None:
        return None
    elif kind is not int and not isinstance(value, Decimal):
        raise FieldValueError(f"it must be a number, not {_kind(value)}")
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise FieldValueError("it is out of range for a double")
    return value


def single(value: Any) -> Any:
    """As `double`, within the range of a 32-bit float; values that round to the largest one are in range."""
    value = double(value)
    if value is not None:
        try:
            _FLOAT32.pack(value)
        except OverflowError:
            raise FieldValueError(f"{value!r} is out of range for a float") from None
    return value


def boolean(value: Any) -> Any:
    if value is None or value is True or value is False:
        return value
    raise FieldValueError(f"it must be true or false, not {_kind(value)}")


def boolean_text(value: str) -> bool:
    """A map key, or a parameter of a path or query."""
    if value == "true":
        return True
    if value == "false":
        return False
    raise FieldValueError(f"{_quote(value)} is neither true nor false")


def string(value: Any) -> Any:
    if value is None:
        return None
    if type(value) is not str:
        raise FieldValueError(f"it must be a string, not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FieldValueError("it holds half of a surrogate pair") from None
    return value


def octets(value: Any) -> Any:
    """Base64, in the standard or the URL-safe alphabet, with all of its padding or without any (RFC 4648, 3.2)."""
    if type(value) is not str:
        if value is None:
            return None
        raise FieldValueError(f"it must be a base64 string, not {_kind(value)}")
    bare = value.rstrip("=")
    padding = -len(bare) % 4
    if len(value) - len(bare) in (0, padding):  # Python's strict mode accepts some excess padding
        text = bare.translate(_BASE64_URL) if "-" in bare or "_" in bare else bare
        try:
            return binascii.a2b_base64(text + "=" * padding, strict_mode=True)
        except ValueError:
            pass
    raise FieldValueError("it is not base64")


def short_names(enum: EnumDescriptor) -> dict[str, str]:
    """The names of an enum's values that begin with its own name, without that: ``STATE_OPEN`` of ``State`` is
    ``OPEN``. A value whose short name would begin with a digit, or be another value's name, has none."""
    prefix = _WORD_BREAK.sub("_", enum.name).upper() + "_"
    shorts = {name: name.removeprefix(prefix) for name in enum.values_by_name if name.startswith(prefix)}
    return {name: short for name, short in shorts.items() if short[:1].isalpha() and short not in enum.values_by_name}


def enumeration(enum: EnumDescriptor, *, short: bool = False) -> Reader:
    """A value by name or number. A closed enum (proto2) takes only its own numbers, an open one any int32.

    :param short: whether its `short_names` are read, too.
    """
    names = {name: value.number for name, value in enum.values_by_name.items()}
    if short:
        names = {**{each: names[name] for name, each in short_names(enum).items()}, **names}
    numbers = frozenset(enum.values_by_number)
    number = integer(-(2**31), 2**31 - 1)
    null = enum.full_name == "google.protobuf.NullValue"
    closed = enum.is_closed

    def read(value: Any) -> Any:
        if value is None:
            return 0 if null else None
        if type(value) is str and (number_of := names.get(value)) is not None:
            return number_of
        if type(value) is str and not _INTEGER.fullmatch(value):
            raise UnknownEnumName(f"{_quote(value)} is not one of {_summary(names)}")
        if type(value) is bool:
            raise FieldValueError("it must be a name or a number, not a boolean")
        value = number(value)
        if closed and value not in numbers:
            raise FieldValueError(f"{value} is not a number of {enum.full_name}")
        return value

    return read


def reader(field: FieldDescriptor, *, short: bool = False) -> Reader:
    """The reader for a field's element type, which is not a message. `short`: of an enum, as in `enumeration`."""
    kind = field.type
    if kind in INTEGERS:
        return integer(*INTEGERS[kind])
    if kind == _T.TYPE_ENUM:
        assert field.enum_type is not None
        return enumeration(field.enum_type, short=short)
    return _READERS[kind]


def text_reader(field: FieldDescriptor, *, short: bool = False) -> Reader:
    """The reader for the same value written as a parameter or a map key."""
    return boolean_text if field.type == _T.TYPE_BOOL else reader(field, short=short)


_READERS: dict[int, Reader] = {
    _T.TYPE_DOUBLE: double,
    _T.TYPE_FLOAT: single,
    _T.TYPE_BOOL: boolean,
    _T.TYPE_STRING: string,
    _T.TYPE_BYTES: octets,
}

#: The JSON type that is passed to the constructor unchanged, since protobuf checks the rest: unknown enum names and
#: integers out of range raise ValueError there.
QUICK: dict[int, type] = {
    **dict.fromkeys(INTEGERS, int),
    _T.TYPE_DOUBLE: float,
    _T.TYPE_BOOL: bool,
    _T.TYPE_STRING: str,
    _T.TYPE_ENUM: str,
}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (str, "a string"), (dict, "an object"), (list, "an array")):
        if isinstance(value, kind):
            return name
    return "a number"


kind_of = _kind


def _quote(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "…") if isinstance(value, str) else text[:60]


def _summary(names: dict[str, int]) -> str:
    entries = list(names)
    return ", ".join(entries[:8]) + (f" and {len(entries) - 8} more" if len(entries) > 8 else "")
