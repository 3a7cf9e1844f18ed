"""Large values are taken apart in steps: freeing millions of objects in one go keeps the interpreter's lock for tens of
milliseconds, which every other call waits for."""

from __future__ import annotations

from typing import Any

STEP = 1000  #: items that are freed at a time
_SEARCHED = 10_000  #: small containers that are looked into for large ones


def dismantle(value: Any) -> None:
    """Free what `value` holds: JSON's objects and arrays, which nobody else uses. They are empty afterwards, as far as
    they were large.

    Large containers are found within small ones near the root only, since looking into all takes longer than freeing.
    """
    pending, searched = [value], 0
    del value
    while pending:
        node = pending.pop()
        if type(node) is dict:
            if len(node) <= STEP and searched < _SEARCHED:
                searched += len(node) + 1
                pending += [child for child in node.values() if type(child) is dict or type(child) is list]
                continue
            items = list(node.values())
            while len(node) > STEP:
                for _ in range(STEP):
                    node.popitem()
            node.clear()
        elif type(node) is list:
            items = node
        else:
            continue
        while items:
            step = items[-STEP:]
            del items[-STEP:]
            if searched < _SEARCHED:
                searched += len(step)
                pending += [child for child in step if type(child) is dict or type(child) is list]
            del step
