"""The store's Protocol: what has been registered stays registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from bridge.config.role_binding import RoleBinding
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
    :ivar approved_by: the subject of whoever approved of the change; None where nobody had to.
    """

    route_id: int
    number: int
    at: float
    by: str
    action: Action
    tenant: str | None = None
    restores: int | None = None
    spec: str = ""
    approved_by: str | None = None


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


ChangeStatus = Literal["PENDING", "APPROVED", "REJECTED", "EXPIRED"]


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A change of a registered route that a second person has to approve of.

    :ivar route_id: the route; 0 for a new one that is not registered yet.
    :ivar base: the entity tag of the version that it was made against; "" where there was none.
    :ivar spec: as JSON text; "" for a deletion, and in lists.
    :ivar restores: of a rollback, the number of the revision whose spec it is.
    :ivar by: the subject of its author, and `author` the same with the issuer (`bridge.api.call.Identity.key`).
    :ivar decided_by: the subject of whoever approved of it or rejected it.
    """

    id: int
    tenant: str
    action: Action
    route_id: int
    base: str
    spec: str
    restores: int | None
    at: float
    by: str
    author: str
    status: ChangeStatus = "PENDING"
    decided_at: float | None = None
    decided_by: str = ""
    reason: str = ""

    def expired(self) -> RouteChange:
        return replace(self, status="EXPIRED")


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody approves of a `RouteChange`, which is made with it. :ivar by: the subject."""

    change_id: int
    by: str


BINDINGS = 1000  #: role bindings that each tenant may have
BINDINGS_SIZE = 4 << 20  #: characters that they may have together, since each process reads all of them


@dataclass(frozen=True, slots=True)
class StoredBinding:
    """:ivar at: when it was written last (Unix seconds). :ivar by: the subject of who did."""

    id: int
    binding: RoleBinding
    at: float
    by: str


@dataclass(frozen=True, slots=True)
class BindingRevision:
    """One change of a role binding. :ivar record: as it was made, or what was deleted."""

    number: int
    at: float
    by: str
    action: Literal["create", "replace", "delete"]
    record: Mapping[str, Any]


#: Given a role binding as the store has it at the moment of a change; raises what forbids it. Called as `Judge` is.
BindingJudge = Callable[[StoredBinding], None]

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
        self,
        route: StoredRoute,
        *,
        seen: int,
        judge: Judge | None = None,
        restores: int | None = None,
        approval: Approval | None = None,
    ) -> int | None:
        """Replace a route, or insert one whose `id` is 0, if `judge` has nothing against it.

        :param seen: the `version` that the change was checked against.
        :param restores: the number of the revision that has this spec, for a rollback; it may insert a deleted route
            again.
        :param approval: of the change that this is; in the same transaction it waits no more.
        :returns: the route's number, for a new one a number that no route had before; None where somebody else has
            written since `seen`, and nothing was changed.
        :raises Conflict: the change waits no more.
        :raises Exception: what `judge` raises; nothing was changed.
        """
        ...

    async def delete_route(
        self, route_id: int, by: str, *, judge: Judge | None = None, approval: Approval | None = None
    ) -> bool:
        """Whether there was such a route, and it is gone now.

        :param approval: as in `put_route`.
        :raises Conflict: the change waits no more.
        :raises Exception: what `judge` raises; nothing was changed.
        """
        ...

    async def add_change(self, change: RouteChange) -> int:
        """Keep a change that waits for approval. Its `id` is chosen here and returned.

        :raises Conflict: as many changes of its tenant wait as may.
        """
        ...

    async def changes(self, tenant: str | None) -> Sequence[RouteChange]:
        """Those of a tenant that wait, and the last ones that were decided: the newest first, without their specs.
        None: of all tenants, at most 1,000."""
        ...

    async def change(self, change_id: int) -> RouteChange | None: ...

    async def reject_change(self, change_id: int, by: str, reason: str) -> None:
        """:raises Conflict: it waits no more. :raises NotFound: there is no such change."""
        ...

    async def bindings(self) -> Sequence[StoredBinding]: ...

    async def put_binding(
        self, binding_id: int, binding: RoleBinding, by: str, judge: BindingJudge | None = None
    ) -> StoredBinding:
        """Replace a role binding, or make one where `binding_id` is 0.

        :raises NotFound: there is none of this id.
        :raises Conflict: the tenant has `BINDINGS` already, or they would have more than `BINDINGS_SIZE`.
        :raises Exception: what `judge` raises; nothing was changed.
        """
        ...

    async def delete_binding(self, binding_id: int, by: str, judge: BindingJudge) -> None:
        """:raises NotFound: there is none of this id. :raises Exception: what `judge` raises; nothing was changed."""
        ...

    async def binding_history(self, binding_id: int) -> Sequence[BindingRevision]:
        """The last changes of a role binding, also of a deleted one, the newest first."""
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
