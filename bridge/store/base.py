"""The store's Protocol: what has been registered stays registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.guards.api_key import ApiKey


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A registered spec as JSON text, with who wrote it and when (Unix seconds)."""

    id: int
    spec: str
    changed_at: float
    changed_by: str


class Store(Protocol):
    """Every writing method returns only after its commit. All of them may be called from the event loop."""

    async def routes(self) -> Sequence[StoredRoute]: ...

    async def next_id(self) -> int:
        """A number that no route has or had, for one about to be bound; unused ones are simply skipped."""
        ...

    async def put_route(self, route: StoredRoute) -> None:
        """Insert or replace."""
        ...

    async def delete_route(self, route_id: int, by: str) -> bool: ...

    async def keys(self) -> Sequence[ApiKey]: ...

    async def put_key(self, key: ApiKey) -> None: ...

    async def version(self) -> int:
        """Differs from the last answer when somebody else has written since."""
        ...

    async def aclose(self) -> None: ...
