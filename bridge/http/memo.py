"""Results that are kept because the same keys come again and again. Peers choose the keys, so the number is bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(OrderedDict[K, V]):
    """A dict of at most `max_size` entries: setting one more removes the oldest. Reading is as fast as in any dict.

    Several threads may use one. Only ``memo[key] = value`` keeps the bound; ``update`` and ``setdefault`` don't.
    """

    __slots__ = ("_max_size",)

    def __init__(self, max_size: int) -> None:
        super().__init__()
        self._max_size = max_size

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self._max_size and key not in self:
            # In a plain dict, removing the first entry takes longer the more were removed before it.
            self.popitem(last=False)
        super().__setitem__(key, value)
