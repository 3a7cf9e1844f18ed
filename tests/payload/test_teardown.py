"""Large values are freed in steps."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest

from bridge.api import dismantle
from bridge.payload.teardown import STEP


class Leaf:
    """Stands for a value whose end can be seen."""


def rows(count: int, seen: list[weakref.ref[Leaf]]) -> list[Any]:
    made: list[Any] = []
    for number in range(count):
        leaf = Leaf()
        seen.append(weakref.ref(leaf))
        made.append({"number": number, "leaf": leaf, "inner": [leaf]})
    return made


SHAPES: dict[str, Any] = {
    "a list": lambda items: items,
    "a list in objects": lambda items: {"a": {"b": items}},
    "lists in a list": lambda items: [items[: len(items) // 2], [1], items[len(items) // 2 :]],
    "an object of many names": lambda items: {str(number): item for number, item in enumerate(items)},
    "small ones": lambda items: [{"a": [item]} for item in items],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_is_freed(shape: str) -> None:
    seen: list[weakref.ref[Leaf]] = []
    value = SHAPES[shape](rows(25_000, seen))
    gc.disable()  # by reference counting alone
    try:
        dismantle(value)
        del value
        assert sum(ref() is not None for ref in seen) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", ["a list in objects", "lists in a list", "an object of many names"])
def test_in_steps(shape: str) -> None:
    """Between two lines of Python, in which other threads can run, no more than a step is freed."""
    freed, most = 0, 0

    class Counted(Leaf):
        def __del__(self) -> None:
            nonlocal freed
            freed += 1

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal freed, most
        most, freed = max(most, freed), 0
        return trace

    value = SHAPES[shape]([[Counted()] for _ in range(25_000)])
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        dismantle(value)
    finally:
        sys.settrace(before)
    assert 0 < most <= STEP


@pytest.mark.parametrize("value", [None, 5, "text", b"bytes", (), {}, [], {"a": 1}])
def test_other_values_stay(value: Any) -> None:
    dismantle(value)
    assert value in (None, 5, "text", b"bytes", (), {}, [], {"a": 1})
