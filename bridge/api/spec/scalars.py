"""Values that several blocks of a spec have: durations, sizes, names, rates."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
LONGEST = 100 * 365 * 86400.0  #: seconds; a bound that timers, dates and JSON can represent
SHORTEST = 0.001  #: seconds; nothing can be done in less


def seconds(value: object) -> object:
    """A duration such as ``500ms``, ``5s``, ``2m`` or ``1h`` (or a number of seconds) as seconds.

    :raises ValueError: it is none, or longer than `LONGEST`.
    """
    if isinstance(value, bool):
        raise ValueError("true and false are no durations; write 500ms, 5s, 2m or 1h")
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is no duration; write 500ms, 5s, 2m or 1h")
        value = float(match[1]) * _UNIT[match[2]]
    if isinstance(value, int | float) and value > LONGEST:
        raise ValueError("it is longer than a hundred years")
    return value


def size(value: object) -> object:
    """``64M``, ``512k`` or a number of bytes as bytes.

    :raises ValueError: it is no size.
    """
    if isinstance(value, bool):
        raise ValueError("true and false are no sizes; write a number of bytes, 512k or 64M")
    if isinstance(value, str):
        number, unit = value.strip().lower().removesuffix("b"), ""
        if number and number[-1] in _SIZE:
            number, unit = number[:-1], number[-1]
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise ValueError(f"{value!r} is no size; write a number of bytes, 512k or 64M")
        return int(number) * _SIZE[unit]
    return value


def lasting(value: float) -> float:
    """:raises ValueError: a duration is shorter than `SHORTEST`."""
    if value < SHORTEST:
        raise ValueError("it is shorter than a millisecond")
    return value


def check_name(name: str) -> str:
    """:raises ValueError: it can't be a host's name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be a host's name")
    return name


#: The methods of HTTP that routes publish (RFC 9110, section 9.3; RFC 5789).
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False), AfterValidator(lasting)]
Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v), Field(strict=False)
]


MOST = 1_000_000_000  #: calls; more than any machine can handle, and exact in every number format


def _often(rate: float) -> float:
    if rate < 1 / LONGEST:
        raise ValueError("it is less than one call in a hundred years")
    return rate


Rate = Annotated[float, Field(gt=0, le=MOST), AfterValidator(_often)]
