"""Protobuf scalars whose JSON isn't the value itself: bytes, floats and enums."""

from __future__ import annotations

import binascii
import math
import struct

from google.protobuf.descriptor import EnumDescriptor

from bridge_grpc.codec.scalars import short_names

_FLOAT32 = struct.Struct("<f")


def base64(value: bytes) -> str:
    """The standard alphabet, padded."""
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def double(value: float) -> float | str:
    """JSON has no NaN and no infinities, so those are strings."""
    if value - value == 0:
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def single(value: float) -> float | str:
    """The shortest decimal that reads back as the same 32-bit float: 0.1, not 0.10000000149011612."""
    if value - value != 0:
        return double(value)
    if value == int(value) and abs(value) < 1e7:
        return value
    encoding = _FLOAT32.pack(value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if _FLOAT32.pack(short) == encoding:
                return short
        except OverflowError:
            continue
    return float(f"{value:.9g}")


def set_zero(value: float) -> bool:
    """Whether a zero is negative: a float without presence counts as set unless it is +0.0."""
    return math.copysign(1.0, value) < 0


class Names(dict[int, str]):
    """An enum's names by number; the first one of aliases; an unknown number is written as a number.

    :param short: whether its `short_names` are written.
    """

    def __init__(self, enum: EnumDescriptor, *, short: bool = False) -> None:
        super().__init__()
        names = short_names(enum) if short else {}
        for value in enum.values:
            self.setdefault(value.number, names.get(value.name, value.name))

    def __missing__(self, number: int) -> int:
        return number
