"""The parts of JSON readers: how one value of a field is read, by the fast path and by the judging path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from bridge.api import pointer_of
from bridge_grpc.codec.scalars import FieldValueError, InDoubt, UnknownEnumName, kind_of

Faults = list[tuple[str, str]]
Read = Callable[[Any], Any]
Judge = Callable[[Any, str, Faults], Any]

#: Exceptions of the fast path or the constructor, after which the value must be judged.
DOUBT = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, DecodeError, InDoubt)


class _Dropped:
    """A value to leave out: an unknown enum name on a route that ignores unknown values."""


DROPPED = _Dropped()

_SUGGESTED = 40  #: longest name, in characters, for which a suggestion is searched
_SUGGESTIONS = 10  #: faults with a suggestion: among hundreds of fields the search takes milliseconds


class Element(NamedTuple):
    """How one value of a field is read: values of type `kind` need no conversion, others go to `read`; `judge` lists
    faults. `nullable`: JSON null is a value (``google.protobuf.Value``, ``NullValue``), not an unset field.
    """

    kind: type | None
    read: Read
    judge: Judge
    nullable: bool


class FieldReader(NamedTuple):
    name: str
    json_name: str
    element: Element
    oneof: str


def repeated(element: Element, *, trusted: bool) -> Element:
    """An array of `element`; with `trusted`, only the constructor checks the items."""
    kind, read_one, judge_one, nullable = element

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise InDoubt
        if trusted:
            return value
        return [item if type(item) is kind else read_one(item) for item in value]

    def judge(value: Any, at: str, faults: Faults) -> Any:
        if type(value) is not list:
            faults.append((at, f"it must be an array, not {kind_of(value)}"))
            return []
        out = []
        for index, item in enumerate(value):
            pointer = f"{at}/{index}"
            if item is None and not nullable:
                faults.append((pointer, "null can't be an item of an array"))
                continue
            result = judge_one(item, pointer, faults)
            if result is not DROPPED:
                out.append(result)
        return out

    return Element(None, read, judge, False)


def judge_with(read: Read, ignore: bool) -> Judge:
    def judge(value: Any, at: str, faults: Faults) -> Any:
        try:
            return read(value)
        except UnknownEnumName as error:
            if ignore:
                return DROPPED
            faults.append((at, str(error)))
        except FieldValueError as error:
            faults.append((at, str(error)))
        return None

    return judge


def unknown_field(key: str, names: Sequence[str], faults: Faults) -> str:
    """The reason, with the closest name for the first few faults (the search is slow)."""
    if len(faults) >= _SUGGESTIONS or len(key) > _SUGGESTED:
        return f"there is no field {key[:60]!r}"
    near = difflib.get_close_matches(key, names, n=1)
    return f"there is no field {key[:60]!r}" + (f"; did you mean {near[0]!r}?" if near else "")


#: A key of a map, a place in a list (or a key that is no text), a field.
_MISSING_STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[([^\]]*)\]|([^.\[\]]+)', re.DOTALL)


def pointer_of_missing(path: str) -> str:
    """``a.b[0].c`` or ``map["key"].c``, as protobuf names a missing field, as a pointer. In a key, protobuf puts a
    backslash before a quotation mark, and before nothing else."""
    steps = (key.replace('\\"', '"') or place or name for key, place, name in _MISSING_STEP.findall(path))
    return pointer_of(steps)
