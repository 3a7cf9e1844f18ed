"""Values that become JSON before the whole reply is read, so that Python values do not accumulate."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import msgspec

#: Decimals and long integers in native mode are already digits; this writes the rest.
to_json = msgspec.json.Encoder().encode

#: The limit on JSON bytes from one large reply; for a moment, its output exists twice.
MAX_JSON = 96 * 1024 * 1024
TOO_LARGE = "The service's answer is too large to be read in this form."

#: Characters of a long text that are written at a time.
_PIECE = 128 * 1024


def pack(items: list[Any], start: int) -> tuple[int, int]:
    """Replace the items of an array from `start` on by one `msgspec.Raw` with all of them. Returns the number of items
    it stands for beyond one, and its bytes."""
    more = len(items) - start - 1
    text = to_json(items[start:])[1:-1]
    items[start:] = [msgspec.Raw(text)]
    return more, len(text)


def packing(array: str, place: str, step: int) -> tuple[str, ...]:
    """Lines of generated code that pack `array` after every `step` characters. ``mark`` is the `place` of the next
    packing, ``more`` the number of items beyond those in the array, ``packed`` the total bytes."""
    return (
        f"if {place} > {array}_mark:",
        f"    {array}_mark = {place} + {step}",
        f"    n, size = pack({array}, {array}_done)",
        f"    {array}_more += n; {array}_done = len({array}); packed += size",
        f"    if packed > {MAX_JSON}: return A",
    )


def dump(value: Any) -> bytes:
    """`value` as JSON. Its packed arrays are released on the way, so that they and their output do not exist at once.

    :param value: as `to_json` takes it; its content is lost.
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
        for at in range(0, len(value), _PIECE):  # in one piece, another UTF-8 copy would be kept
            put(to_json(value[at : at + _PIECE])[1:-1])
        put(b'"')
    else:
        put(to_json(value))


_DEEP = (dict, list, msgspec.Raw)
