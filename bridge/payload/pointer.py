"""JSON pointers (RFC 6901): the one place that writes and reads them."""

from __future__ import annotations

from collections.abc import Iterable


def pointer_of(path: Iterable[object]) -> str:
    """The pointer to the value that the steps of `path` (keys, and places in arrays from 0) lead to."""
    return "".join([f"/{pointer_token(str(step))}" for step in path])


def pointer_token(step: str) -> str:
    """One reference token of a pointer (section 3)."""
    return step.replace("~", "~0").replace("/", "~1") if "~" in step or "/" in step else step


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """The steps of `pointer` (section 4); places in arrays are digits.

    :raises ValueError: it is neither empty nor begins with a slash.
    """
    if not pointer:
        return ()
    if pointer[0] != "/":
        raise ValueError(f"{pointer!r} is not a JSON pointer")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))
