"""A JSON body as ProtoJSON wants it: one value for one name. To keep the last of two would hide a mistake.

Nothing is walked in Python: the parsed value is written again, and the two texts are compared, at worst by counting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from bridge.api import InvalidBody, check_json, parse_json, read_in_slices

MAX_DEPTH = 64  # protobuf itself reads no more than 100 messages in one another
LARGE = 256 * 1024  #: bytes of a body that is not read in one go, which keeps other threads waiting
MAX_FAULTS = 100  # a body may hold a million; nobody mends more than these at once

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MARGIN = b"\n" + b"  " * (MAX_DEPTH + 1)


def read(body: bytes, *, bounded: bool = False) -> Any:
    """`body` as Python values; numbers with a fraction, an exponent or more than 64 bits are float.

    :param bounded: the reader of the value bounds its depth itself, so it isn't looked at here.
    :raises bridge.api.InvalidBody: no JSON, nested too deep, or a name stands twice in one object.
    :raises bridge.api.TooLarge: it holds more values than are read at one time.
    """
    if len(body) > LARGE:
        return _read_large(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = parse_json(body, exact=False)  # says why, or knows better: a byte order mark
    if bounded or len(body) <= 2 * MAX_DEPTH or body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        try:
            again = orjson.dumps(value)
        except orjson.JSONEncodeError:
            again = _written(value)
        if again == body:
            return value
    else:
        if _deep(value):
            raise InvalidBody([("", f"it is nested deeper than {MAX_DEPTH} levels")])
        again = _written(value)
    once(body, again)
    return value


def _read_large(body: bytes) -> Any:
    check_json(body, depth=MAX_DEPTH)
    try:
        value = read_in_slices(body, orjson.loads)
    except orjson.JSONDecodeError:
        value = parse_json(body, exact=False)
    again = _written(value)
    if again != body:
        once(body, again)
    return value


def once(body: bytes, again: bytes) -> None:
    """That each name stands once in its object.

    :param again: the value of `body`, written by orjson.
    :raises bridge.api.InvalidBody: a name stands twice.
    """
    if b"\\" in body:
        dropped = _STRING.sub(b"", body).count(b":") != _STRING.sub(b"", again).count(b":")
    else:
        # Colons within strings are as many on both sides, but for those in what was dropped, which only adds to it.
        dropped = again.count(b":") != body.count(b":")
    if dropped:
        raise InvalidBody(first(_duplicates(json.loads(body, object_pairs_hook=_Pairs), "")))


def first(faults: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first `MAX_FAULTS`, and a last entry that says so where there are more."""
    kept = list(islice(faults, MAX_FAULTS + 1))
    return kept if len(kept) <= MAX_FAULTS else [*kept[:MAX_FAULTS], ("", "there are more faults than these")]


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # deeper than 254 levels, or an integer of more than 64 bits, from parse_json
        if _deep(value):
            raise InvalidBody([("", f"it is nested deeper than {MAX_DEPTH} levels")]) from None
        return json.dumps(value).encode()


def _deep(value: Any) -> bool:
    """Whether `value` is nested deeper than `MAX_DEPTH`: written with indentation, its margins show it."""
    try:
        return _MARGIN in orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except orjson.JSONEncodeError:
        pass
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return bool(level)


class _Pairs(list[tuple[str, Any]]):
    """An object with all that was written in it."""


def _duplicates(value: Any, at: str) -> Iterator[tuple[str, str]]:
    items: Any
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, _ in value:
            if key in seen:
                yield f"{at}/{key.replace('~', '~0').replace('/', '~1')}", f"{key[:60]!r} is given twice"
            seen.add(key)
        items = value
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return
    for key, item in items:
        yield from _duplicates(item, f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}")
