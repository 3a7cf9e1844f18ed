"""Words of messages."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`number` and what is counted: ``1 route``, ``2 routes``.

    :param one: for 1: ``route``, ``route is``.
    :param many: for every other number; `one` with an ``s`` if left out.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
