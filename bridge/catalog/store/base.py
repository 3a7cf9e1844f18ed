"""The store's Protocol: what has been registered stays registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bridge.stages.auth.stored_key import StoredKey


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A registered spec as JSON text, with who wrote it and when (Unix seconds)."""

    id: int
    spec: str
    changed_at: float
    changed_by: str

    @property
    def mark(self) -> int:
        """Differs between two versions of a route."""
        return hash((self.spec, self.changed_at))


Action = Literal["create", "replace", "rollback", "delete"]

#: How many revisions of a route are kept; the oldest go first.
REVISIONS = 50
#: How many deleted routes of each tenant (and of those without one) keep their revisions: those deleted last.
DELETED = 100


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of a registered route.

    :ivar number: counts the changes of this route, from 1; the highest is the current one.
    :ivar at: Unix seconds.
    :ivar by: the subject (`sub`) of whoever made the change.
    :ivar tenant: the tenant that the route belonged to after the change, or before it was deleted.
    :ivar restores: of a rollback, the number of the revision whose spec was taken.
    :ivar spec: as JSON text; "" for a deletion, and in lists.
    """

    route_id: int
    number: int
    at: float
    by: str
    action: Action
    tenant: str | None = None
    restores: int | None = None
    spec: str = ""


@dataclass(frozen=True, slots=True)
class DeletedRoute:
    """A registered route that is gone and can be restored.

    :ivar revision: the number of the last revision that has a spec; None if that is kept no longer.
    :ivar route: its public path, and `host`, of that spec.
    """

    id: int
    at: float
    by: str
    tenant: str | None = None
    revision: int | None = None
    route: str | None = None
    host: str | None = None


#: Given a route as the store has it at the moment of a change, or None where it has none; raises what forbids the
#: change. Called within the transaction and perhaps in another thread, so it must be quick and change nothing.
Judge = Callable[[StoredRoute | None], None]


#: How many keys of each tenant (and of those without one) are kept, and of all together. Those whose validity has ended
#: count, too, but give way to new ones.
KEYS = 1000
ALL_KEYS = 10_000

#: Given a key as the store has it at the moment of a change: the keys to store, itself and at most one new one. It
#: raises what forbids the change, and is called as `Judge` is.
KeyChange = Callable[[StoredKey], Sequence[StoredKey]]


class Store(Protocol):
    """Every writing method returns only after its commit. All of them may be called from the event loop.

    Each raises `bridge.errors.StoreError` where the store is locked, gone or damaged, and `InsufficientStorage` where
    it can't be written; then nothing has been changed.
    """

    async def routes(self) -> Sequence[StoredRoute]: ...

    async def route(self, route_id: int) -> StoredRoute | None: ...

    async def put_route(
        self, route: StoredRoute, *, seen: int, judge: Judge | None = None, restores: int | None = None
    ) -> int | None:
        """Replace a route, or insert one whose `id` is 0, if `judge` has nothing against it.

        :param seen: the `version` that the change was checked against.
        :param restores: the number of the revision that has this spec, for a rollback; it may insert a deleted route
            again.
        :returns: the route's number, for a new one a number that no route had before; None where somebody else has
            written since `seen`, and nothing was changed.
        :raises Exception: what `judge` raises; nothing was changed.
        """
        ...

    async def delete_route(self, route_id: int, by: str, *, judge: Judge | None = None) -> bool:
        """Whether there was such a route, and it is gone now.

        :raises Exception: what `judge` raises; nothing was changed.
        """
        ...

    async def history(self, route_id: int) -> Sequence[Revision]:
        """The last `REVISIONS` changes of a route, also of a deleted one, the newest first, without their specs."""
        ...

    async def revision(self, route_id: int, number: int) -> Revision | None:
        """One of them, with its spec."""
        ...

    async def deleted(self, tenant: str | None) -> Sequence[DeletedRoute]:
        """The routes of `tenant` that were deleted last, the newest first; None: of all, at most `10 * DELETED`."""
        ...

    async def keys(self) -> Sequence[StoredKey]: ...

    async def add_key(self, key: StoredKey) -> None:
        """Keep a new key. Where there are as many as there may be, the one goes whose validity ended first.

        :raises Conflict: there are `KEYS` valid keys of its tenant (or without one), or `ALL_KEYS`.
        """
        ...

    async def change_key(self, key_id: str, change: KeyChange) -> Sequence[StoredKey]:
        """Do what `change` makes of a key.

        :returns: what `change` returned; it is stored.
        :raises Conflict: as `add_key`.
        :raises NotFound: there is no such key.
        :raises Exception: what `change` raises; nothing was changed.
        """
        ...

    async def version(self) -> int:
        """Differs from the last answer when somebody else has written since."""
        ...

    async def aclose(self) -> None: ...
