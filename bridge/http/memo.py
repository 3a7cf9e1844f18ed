"""Results that are kept because the same keys come again and again. Peers choose the keys, so the number is bounded."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """A dict of at most `most` entries: setting one more removes the oldest. Reading costs what it costs in any dict.

    Only ``memo[key] = value`` keeps the bound; ``update`` and ``setdefault`` don't.
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self._most:
            del self[next(iter(self))]
        super().__setitem__(key, value)
