"""Reads a JSON body and refuses duplicate names: keeping the last value would hide a client's mistake.

Values are not traversed in Python: the parsed value is written again, and the two texts are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from bridge.api import InvalidBody, check_json, parse_json, pointer_token, read_in_slices, unquoted

#: Levels of JSON, in and out: protobuf reads at most 100 nested messages, and a list of messages is two levels.
MAX_DEPTH = 200
MAX_MESSAGES = 100  #: nested in one another; a level of a Struct is three of them, a level of another message is one
ITEMS = 1000  #: of an array, which are written or built in one go
_OPENED = 3  #: levels of objects in which long arrays are looked for
LARGE = 256 * 1024  #: bytes of a body from which on it is read in slices, so that other threads can run
TOO_MANY_MESSAGES = f"more than {MAX_MESSAGES} messages are nested in one another"
MAX_FAULTS = 100  # a body may have a million

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def read(body: bytes, *, bounded: bool = False) -> Any:
    """`body` as Python values; numbers with a fraction, an exponent or more than 64 bits are float.

    :param bounded: the reader of the value limits the depth, so it isn't checked here.
    :raises bridge.api.InvalidBody: invalid JSON, nested too deep, or duplicate names in an object.
    :raises bridge.api.TooLarge: it holds too many values.
    """
    if len(body) > LARGE:
        return _read_large(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = parse_json(body, exact=False)  # gives the reason, or accepts it: a byte order mark
    if bounded or len(body) <= 2 * MAX_DEPTH or body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        try:
            again = orjson.dumps(value)
        except orjson.JSONEncodeError:
            again = _write(value, body)
        if again == body:
            return value
    else:
        check_json(body, depth=MAX_DEPTH)
        again = _write(value, body)
    check_unique(body, again)
    return value


def _read_large(body: bytes) -> Any:
    check_json(body, depth=MAX_DEPTH)
    try:
        value = read_in_slices(body, orjson.loads)
    except orjson.JSONDecodeError:
        value = parse_json(body, exact=False)
    again = _write_large(value, body)
    if again != body:
        check_unique(body, again)
    return value


def is_shallow(body: bytes) -> bool:
    """Whether the message of the large `body` surely has no more than `MAX_MESSAGES` levels."""
    try:
        check_json(body, depth=MAX_MESSAGES // 3)
    except InvalidBody:
        return False
    return True


def may_nest(body: bytes) -> bool:
    """Whether the message of `body` may have more than `MAX_MESSAGES` levels."""
    return body.count(b"{") + body.count(b"[") > MAX_MESSAGES // 3 - 1


def check_unique(body: bytes, again: bytes) -> None:
    """Checks that no object has duplicate names.

    :param again: the value of `body`, written by orjson.
    :raises bridge.api.InvalidBody: a name occurs twice.
    """
    if len(body) > LARGE:
        duplicate = _colons(body) != _colons(again)
    elif b"\\" in body:
        duplicate = _STRING.sub(b"", body).count(b":") != _STRING.sub(b"", again).count(b":")
    else:
        # Strings have the same colons in both texts, except in dropped values, which only increase the difference.
        duplicate = again.count(b":") != body.count(b":")
    if duplicate:
        raise InvalidBody(first(_duplicates(json.loads(body, object_pairs_hook=_Pairs), "")))


def first(faults: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first `MAX_FAULTS`, and one more entry if there are more."""
    entries = list(islice(faults, MAX_FAULTS + 1))
    return entries if len(entries) <= MAX_FAULTS else [*entries[:MAX_FAULTS], ("", "there are more faults than these")]


def _colons(text: bytes) -> int:
    """How many of them stand outside of strings, counted in slices."""
    return sum([part.count(b":") for part in unquoted(text)])


def _write_large(value: Any, body: bytes) -> bytes:
    """As `_write`, some items at a time, so that other threads can run."""
    try:
        return b"".join(_pieces(value, 0))
    except orjson.JSONEncodeError:
        return _write(value, body)


def _pieces(value: Any, level: int) -> Iterator[bytes]:
    kind = type(value)
    if level < _OPENED and kind is dict and 0 < len(value) <= ITEMS:
        before = b"{"
        for name, member in value.items():
            yield before + orjson.dumps(name) + b":"
            yield from _pieces(member, level + 1)
            before = b","
        yield b"}"
    elif level < _OPENED and kind is list and len(value) > ITEMS:
        before = b"["
        for at in range(0, len(value), ITEMS):
            yield before + orjson.dumps(value[at : at + ITEMS])[1:-1]
            before = b","
        yield b"]"
    else:
        yield orjson.dumps(value)


def _write(value: Any, body: bytes) -> bytes:
    """The text of `value`, which `body` holds."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # deeper than 254 levels, or an integer of more than 64 bits, from parse_json
        check_json(body, depth=MAX_DEPTH)
        return json.dumps(value).encode()


class _Pairs(list[tuple[str, Any]]):
    """An object with duplicate names kept."""


def _duplicates(value: Any, at: str) -> Iterator[tuple[str, str]]:
    items: Any
    if isinstance(value, _Pairs):
        names: set[str] = set()
        for key, _ in value:
            if key in names:
                yield f"{at}/{pointer_token(key)}", f"{key[:60]!r} is given twice"
            names.add(key)
        items = value
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return
    for key, item in items:
        yield from _duplicates(item, f"{at}/{pointer_token(str(key))}")
