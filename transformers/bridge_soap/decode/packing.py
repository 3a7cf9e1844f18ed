"""Values that are JSON before all of a reply is read, so that they don't pile up as Python's."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import msgspec

#: Decimals and long integers in native mode are already digits; this writes the rest.
to_json = msgspec.json.Encoder().encode

#: How many bytes of JSON may come of one large reply: what is written of it is there twice for a moment.
MAX_JSON = 96 * 1024 * 1024
TOO_LARGE = "The service's answer is too large to be read in this form."

#: How many characters of a long text are written at a time.
_PIECE = 128 * 1024


def pack(items: list[Any], start: int) -> tuple[int, int]:
    """Make JSON of an array's items from `start` on, one `msgspec.Raw` that holds them all; gives back how many it
    stands for beyond one, and its bytes."""
    more = len(items) - start - 1
    text = to_json(items[start:])[1:-1]
    items[start:] = [msgspec.Raw(text)]
    return more, len(text)


def packing(array: str, place: str, step: int) -> tuple[str, ...]:
    """Lines of generated code that pack the array `found` each time that `step` characters were read. ``mark`` is
    `place` when that is next, ``more`` how many items the array has beyond what it holds, ``packed`` the bytes of all.
    """
    return (
        f"if {place} > {array}_mark:",
        f"    {array}_mark = {place} + {step}",
        f"    n, size = pack({array}, {array}_done)",
        f"    {array}_more += n; {array}_done = len({array}); packed += size",
        f"    if packed > {MAX_JSON}: return A",
    )


def dump(value: Any) -> bytes:
    """`value` as JSON. Its packed arrays are given up on the way, so that they and what they become are not both there.

    :param value: as `to_json` takes it; what it holds is gone afterwards.
    """
    out = io.BytesIO()
    _dump(value, out.write)
    return out.getvalue()


def _dump(value: Any, put: Callable[[Any], object]) -> None:
    if value.__class__ is dict:
        mark = b"{"
        for key, item in value.items():
            put(mark + to_json(key) + b":")
            _dump(item, put)
            mark = b","
        put(b"}" if value else b"{}")
    elif value.__class__ is list and any(item.__class__ in _DEEP for item in value):
        mark = b"["
        for number, item in enumerate(value):
            put(mark)
            _dump(item, put)
            value[number] = None
            mark = b","
        put(b"]")
    elif value.__class__ is msgspec.Raw:
        put(value)
    elif value.__class__ is str and len(value) > _PIECE:
        put(b'"')
        for at in range(0, len(value), _PIECE):  # as a whole it would be kept once more, in UTF-8
            put(to_json(value[at : at + _PIECE])[1:-1])
        put(b'"')
    else:
        put(to_json(value))


_DEEP = (dict, list, msgspec.Raw)
