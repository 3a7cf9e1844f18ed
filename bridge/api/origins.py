"""Which pages of other origins may call a route: the interface of a route's ``cors``."""

from __future__ import annotations

from typing import Protocol


class OriginPolicy(Protocol):
    """Made once for a route. Fields are those of responses (Fetch standard, section 3.3.3)."""

    def allows(self, origin: str) -> bool:
        """Whether scripts of pages with this `origin`, as the browser sends it, may call."""
        ...

    def trusts(self, origin: str) -> bool:
        """Whether they may also use the cookies of their users."""
        ...

    def fields(self, origin: str | None, method: str) -> list[tuple[str, str]]:
        """Of the response to a request that is no preflight. None: it has no ``Origin``."""
        ...

    def preflight(self, origin: str, requested: str) -> list[tuple[str, str]]:
        """Of the response to a preflight. :param requested: ``Access-Control-Request-Headers``."""
        ...
