"""A JSON body as ProtoJSON wants it: one value for one name. To keep the last of two would hide a mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from bridge import InvalidBody, parse_json

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def read(body: bytes, *, exact: bool = False) -> Any:
    """`body` as Python values; numbers with a fraction are float, or `decimal.Decimal` with `exact`.

    :raises bridge.InvalidBody: no JSON, nested too deep, or a name stands twice in one object.
    """
    value = parse_json(body, exact=exact)
    if not exact and _has_duplicates(body, value):
        raise InvalidBody(list(_duplicates(json.loads(body, object_pairs_hook=_Pairs), "")))
    return value


def _has_duplicates(body: bytes, value: Any) -> bool:
    """Whether the parser dropped a name: then fewer colons are left when `value` is written again."""
    colons = body.count(b":")
    if not colons:
        return False
    try:
        again = orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits
        again = json.dumps(value).encode()
    if b"\\" not in body:
        # Colons within strings are as many on both sides, but for those in what was dropped, which only adds to it.
        return again.count(b":") != colons
    return _STRING.sub(b"", body).count(b":") != _STRING.sub(b"", again).count(b":")


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
