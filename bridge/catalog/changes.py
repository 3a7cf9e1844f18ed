"""Changes of routes that wait for a second person (two eyes), and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import orjson

from bridge.api.call import Identity
from bridge.api.spec.route import RouteSpec
from bridge.catalog.store import Approval, RouteChange, Store
from bridge.catalog.store.base import Action
from bridge.config.specfile import read_value
from bridge.errors import Conflict, Forbidden, NotFound
from bridge.gateway.table import BoundRoute, Source, spec_json

NOBODY = "Your token names nobody (sub), and a change that a second person approves of needs two."


#: Given the version of a route that a change replaces, or None where a rollback restores a deleted one; raises what
#: forbids the change.
SourceJudge = Callable[[Source | None], None]


class Publishing(Protocol):
    """What makes a change (`bridge.catalog.registry.Registry`)."""

    async def put(
        self,
        source: Source,
        by: Identity,
        judge: SourceJudge | None = None,
        *,
        restores: int | None = None,
        approval: Approval | None = None,
    ) -> BoundRoute: ...

    async def delete(
        self, route_id: int, by: str, judge: SourceJudge | None = None, approval: Approval | None = None
    ) -> None: ...


class PendingChanges:
    """:param routes: where an approved change is made."""

    def __init__(self, store: Store, routes: Publishing) -> None:
        self._store, self._routes = store, routes

    async def propose(
        self,
        action: Action,
        who: Identity,
        current: Source | None,
        spec: RouteSpec | None = None,
        *,
        route_id: int = 0,
        restores: int | None = None,
    ) -> int:
        """Keep a change until somebody else approves of it; its number.

        :param current: the route as it is now; None for a new or deleted one.
        :param spec: as it would be; None for a deletion.
        :raises Forbidden: `who` has no name.
        :raises Conflict: too many changes of the tenant wait.
        """
        if not who.key or not who.subject:
            raise Forbidden(NOBODY)
        text = orjson.dumps(spec_json(spec)).decode() if spec is not None else ""
        base = current.etag if current is not None else ""
        change = RouteChange(0, who.tenant, action, route_id, base, text, restores, time.time(), who.subject, who.key)
        return await self._store.add_change(change)

    async def all(self, tenant: str | None) -> Sequence[RouteChange]:
        """As `bridge.catalog.store.Store.changes`."""
        return await self._store.changes(tenant)

    async def find(self, change_id: int) -> RouteChange:
        """:raises NotFound: there is none of this number, or it is kept no longer."""
        change = await self._store.change(change_id)
        if change is None:
            raise NotFound(f"No change has the number {change_id}.")
        return change

    @staticmethod
    async def spec(change: RouteChange) -> RouteSpec | None:
        """What the route would be; None for a deletion.

        :raises SpecError: this version can't read it.
        """
        if not change.spec:
            return None
        # A large one takes up to a second to read, in which everybody else is served.
        return await asyncio.to_thread(lambda: read_value(json.loads(change.spec)))

    async def approve(self, change: RouteChange, who: Identity) -> BoundRoute | None:
        """Make a change, which is judged as if it were asked for now; the route, or None that is deleted now.

        :raises Forbidden: `who` is the change's author, or has no name.
        :raises Conflict: it waits no more, or its route is not the version that it was made against.
        :raises RequestError, SetupError: as a change that needs no approval.
        """
        if change.status != "PENDING":
            raise Conflict(f"The change {change.id} does not wait any more: it is {change.status}.")
        if not who.key or not who.subject:
            raise Forbidden(NOBODY)
        if who.key == change.author:
            raise Forbidden("You made this change; somebody else has to approve of it.")

        def judge(current: Source | None) -> None:
            if current is not None and current.spec.tenant != change.tenant:
                raise NotFound(f"No registered route has the number {change.route_id}.")
            if (current.etag if current is not None else "") != change.base:
                raise Conflict(
                    f"The route {change.route_id} has changed since the change {change.id} was made. "
                    "Reject it, and have it made again against the current version."
                )

        approval = Approval(change.id, who.subject)
        spec = await self.spec(change)
        if spec is None:
            await self._routes.delete(change.route_id, change.by, judge, approval)
            return None
        author = Identity(subject=change.by, tenant=change.tenant, key=change.author)
        source = Source(change.route_id, "store", spec)
        return await self._routes.put(source, author, judge, restores=change.restores, approval=approval)

    async def reject(self, change: RouteChange, who: Identity, reason: str) -> None:
        """Have a change never made; its author may do so, too.

        :raises Conflict: it waits no more.
        """
        await self._store.reject_change(change.id, who.subject, reason)
