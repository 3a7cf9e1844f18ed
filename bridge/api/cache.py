"""Replies that are kept for a while: the interface of a route's ``cache``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from bridge.api.call import Call, Reply


class ReplyCache(Protocol):
    """The replies of one route, wherever they are stored."""

    def known(self, key: str, call: Call) -> Reply | None:
        """A stored reply that is available without waiting; else None, and `get_or_call` must be awaited."""
        ...

    async def get_or_call(
        self, key: str, fetch: Callable[[], Awaitable[Reply]], call: Call, *, deadline: float | None = None
    ) -> tuple[Reply, bool]:
        """The reply for `key`, and whether it was stored.

        :param call: its header fields count for replies with ``Vary``.
        :param deadline: in the loop's `time()`, for waiting for another call's reply; `fetch` has its own.
        :raises Exception: what `fetch` raises; a failure is never stored.
        """
        ...
