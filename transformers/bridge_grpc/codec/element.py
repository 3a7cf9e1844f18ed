"""The parts that JSON readers are composed of: how one value of a field is read, quickly and when it is judged."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bridge_grpc.codec.scalars import FieldValueError, InDoubt, UnknownEnumName, kind_of

Faults = list[tuple[str, str]]
Read = Callable[[Any], Any]
Judge = Callable[[Any, str, Faults], Any]

#: What the quick way, or the constructor it leads to, may raise when the value must be judged.
DOUBT = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, InDoubt)


class _Dropped:
    """Stands for a value that is left out: an unknown enum name on a route that ignores what is unknown."""


DROPPED = _Dropped()

_SUGGESTED = 40  #: characters of a name for which the nearest one is looked for
_SUGGESTIONS = 10  #: faults that are told with one: among hundreds of fields the search takes milliseconds


class Element(NamedTuple):
    """How one value of a field is read: `kind` is passed on as it is, the rest goes to `read`; `judge` lists faults.

    `nullable`: JSON null is a value here (``google.protobuf.Value``, ``NullValue``), not the absence of one.
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
    """An array of `element`; with `trusted`, the items are left to the constructor's own check."""
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
            where = f"{at}/{index}"
            if item is None and not nullable:
                faults.append((where, "null can't be an item of an array"))
                continue
            made = judge_one(item, where, faults)
            if made is not DROPPED:
                out.append(made)
        return out

    return Element(None, read, judge, False)


def judged(read: Read, ignore: bool) -> Judge:
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


def unknown_field(key: str, known: Sequence[str], faults: Faults) -> str:
    """The reason, with the nearest name where it is not one of very many (the search is slow)."""
    if len(faults) >= _SUGGESTIONS or len(key) > _SUGGESTED:
        return f"there is no field {key[:60]!r}"
    near = difflib.get_close_matches(key, known, n=1)
    return f"there is no field {key[:60]!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def escaped(key: str) -> str:
    """RFC 6901, section 3."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def pointer_of(path: str) -> str:
    """``a.b[0].c``, as protobuf names a missing field, as a pointer."""
    return "/" + path.replace("[", "/").replace("]", "").replace(".", "/")
