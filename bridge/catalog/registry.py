"""The live routes: those of the folder and those of the store, bound, and swapped into the gateway as one table.

A change is bound first, tried against all others, committed where it is kept, and only then goes live. Whatever fails
on the way leaves the old table serving. What is registered is decided by the store alone, in its own transaction, since
other processes may write to it, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import orjson

from bridge.api.call import Identity
from bridge.api.spec.route import RouteSpec
from bridge.catalog.bindings import LiveBindings
from bridge.catalog.binds import AT_ONCE, Publishers, each
from bridge.catalog.changes import PendingChanges, SourceJudge
from bridge.catalog.followers import Followers
from bridge.catalog.keys import LiveKeys
from bridge.catalog.live import Live, UnboundRoute, growing, same
from bridge.catalog.spec_folder import SpecFolder
from bridge.catalog.store import REVISIONS, Approval, DeletedRoute, Judge, Revision, Store, StoredRoute
from bridge.config.specfile import Draft, read_value
from bridge.errors import BindError, Fault, NotFound, NotOwned, SettingsError, SetupError, SpecError, StoreError
from bridge.gateway.ownership import check_ownership
from bridge.gateway.table import Binder, BoundRoute, RouteId, Source, Table, spec_json
from bridge.gateway.tenancy import Tenancy

log = logging.getLogger("bridge.routes")

POLL = 0.5  #: seconds between looks at the store for what others wrote: a key revoked there is refused within a second
LOOKS = 2  #: looks for one try to bind what could not be bound
LOCK_WAIT = 5.0  #: seconds that a change waits for others to be committed
OTHERS_WAIT = 5.0  #: seconds that a change waits for what other processes registered to be bound
TURNS = 50  #: tries to commit a change while other processes write
UNREAD = -1  #: in place of the store's version: it is to be read


class Registry:
    """What `Live` holds, kept in step with the folder and the store. A route is bound without the lock, since that may
    mean to wait for a server that hangs. The lock is held to see that nothing has come between, to commit, and to swap
    the table.

    :param warnings: what to say about a route that can serve; nothing by default.
    :param tenancy: what tenants may register.
    """

    def __init__(
        self,
        binder: Binder,
        store: Store,
        folder: Path,
        home: Path,
        warnings: Callable[[BoundRoute], Awaitable[list[str]]] | None = None,
        tenancy: Tenancy | None = None,
    ) -> None:
        self._binder = binder
        self.tenancy = tenancy or Tenancy()
        self._warnings = warnings
        self._store = store
        self._live = Live(binder)
        self._folder = SpecFolder(self._live, folder, home)
        self.keys = LiveKeys(store, self._writing, self._catch_up, self._live.spawn)
        self.bindings = LiveBindings(store, self._writing)
        self.changes = PendingChanges(store, self)
        self._version = UNREAD
        self._catching: set[asyncio.Task[None]] = set()
        #: Of the stored texts that were read, so that they are not read again where another of them has changed.
        self._marks: dict[RouteId, int] = {}
        self._publishers = Publishers()
        #: Broken routes that are being tried again, so many at once.
        self._trying: dict[RouteId, UnboundRoute] = {}
        self._tries = asyncio.Semaphore(AT_ONCE)
        self.spec_files, self.watch, self.reload = self._folder.paths, self._folder.watch, self._folder.reload
        self.followers = Followers(self._live, binder, self.check)

    @property
    def table(self) -> Table:
        return self._live.table

    @property
    def broken(self) -> Mapping[RouteId, UnboundRoute]:
        """The routes that are kept but can't serve."""
        return self._live.broken

    async def warnings(self, route: BoundRoute) -> list[str]:
        """A sentence on each thing that the author of `route` should know, though it can serve."""
        return await self._warnings(route) if self._warnings is not None else []

    def serve_with(self, on_change: Callable[[Table], None]) -> None:
        """Have each new table given to `on_change`, on the event loop."""
        self._live.on_change, self._live.serves = on_change, True

    async def aclose(self) -> None:
        await self._live.aclose()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """The lock, for a change that is committed and goes live in one. Where the store fails on the way, or nobody
        waits for it any more, only the store knows what it holds: `follow` reads all of it again."""
        try:
            async with asyncio.timeout(LOCK_WAIT):
                await self._live.lock.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            yield
        except (StoreError, asyncio.CancelledError):
            self._version = UNREAD
            raise
        finally:
            self._live.lock.release()

    async def load(self) -> None:
        """Bind all there is. What the folder holds must be right; what can't be reached now, and a registered route
        that can't be bound now, is reported and tried again, since its WSDL or its service may only be away.

        :raises SetupError: every fault of every file; what could be bound is in the table all the same. Or the store
            can't be read.
        """
        try:
            with growing():
                await self._load()
        except StoreError as error:
            raise SettingsError(error.cause) from None

    async def _load(self) -> None:
        table, faults = await self._folder.load()
        self._live.swap(table)
        try:
            await self._bind_stored(await self._read_store())
        except StoreError as error:
            if not faults:
                raise
            faults.append(Fault(error.cause))
        if faults:
            raise SetupError(faults)

    # --- the store ----------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """See what other processes wrote to the store, and try again what could not be bound, until cancelled. A store
        that can't be read is told once; what is live goes on serving."""
        cause = ""
        for look in count(1):
            await asyncio.sleep(POLL)
            try:
                await self._catch_up()
            except StoreError as error:
                if error.cause != cause:
                    log.error("%s; what is live goes on serving", error.cause)
                cause = error.cause
            else:
                if cause:
                    log.info("the store can be used again")
                cause = ""
            if look % LOOKS:
                continue
            candidates = [one for one in self._live.broken.values() if isinstance(one.error, BindError)]
            retries = [one for one in candidates if self._trying.get(one.source.id) is not one]
            if retries:
                self._trying |= {broken.source.id: broken for broken in retries}
                self._live.spawn(each(retries, self._try_again))

    async def _catch_up(self) -> None:
        """Take over what other processes wrote to the store. `_catching` then holds what still binds it."""
        async with self._live.lock:
            if await self._store.version() == self._version:
                return
            fresh = await self._read_store()
            if fresh:
                # Under the lock: whoever sees the new version must see this task, too, and wait for it.
                task = self._live.spawn(self._bind_stored(fresh))
                self._catching.add(task)
                task.add_done_callback(self._catching.discard)

    async def _read_store(self) -> list[Source]:
        """Read keys and routes: what is gone goes at once, what is new is returned and stands in `_binding`. Under the
        lock."""
        version = await self._store.version()
        self.keys.take(await self._store.keys())
        self.bindings.take(await self._store.bindings())
        marks: dict[RouteId, int] = {}
        fresh = []
        for row in await self._store.routes():
            if self._marks.get(row.id) != row.mark:
                try:
                    source = _source(row)
                except SpecError as error:
                    log.error("registered route %d can't be read by this version: %s", row.id, error)
                    continue
                known = self._live.broken.get(row.id) or self._live.stored.get(row.id)
                self._live.binding.pop(row.id, None)
                if same(known, source):
                    self._live.stamp(source)
                else:
                    self._live.binding[row.id] = source
                    fresh.append(source)
            marks[row.id] = row.mark
        deleted = [id for id in self._marks if id not in marks]
        for id in deleted:
            self._live.drop(id)
        self._marks, self._version = marks, version
        if deleted:
            self._live.rebuild()
        return fresh

    async def _bind_stored(self, fresh: Sequence[Source]) -> None:
        """Bind what was registered, and let it serve in one swap: routes may have exchanged their paths."""
        outcomes: list[tuple[Source, BoundRoute | UnboundRoute]] = []

        async def bind(source: Source) -> None:
            outcomes.append((source, await self._live.outcome(source)))

        async def apply() -> None:
            async with self._live.lock:
                changes = [self._take_stored(*one) for one in outcomes]
                outcomes.clear()
                if any(changes):
                    self._live.rebuild()

        await each(fresh, bind, meanwhile=apply)
        await apply()

    def _take_stored(self, source: Source, outcome: BoundRoute | UnboundRoute) -> bool:
        """Whether `source` is still what the store says, and is taken over. Under the lock."""
        if self._live.binding.get(source.id) is not source:
            return False
        del self._live.binding[source.id]
        if isinstance(outcome, UnboundRoute):
            log.error("registered route %s can't serve: %s", source.id, outcome.error)
            self._live.stored.pop(source.id, None)
            self._live.broken[source.id] = outcome
        else:
            self._live.stored[source.id] = outcome
            self._live.broken.pop(source.id, None)
        return True

    async def _try_again(self, broken: UnboundRoute) -> None:
        """Nothing is held up meanwhile: it takes a while to find that a service is away."""
        source = broken.source
        try:
            async with self._tries:
                if self._live.broken.get(source.id) is not broken:
                    return
                outcome = await self._live.outcome(source, str(broken.error))
            async with self._live.lock:
                if self._live.broken.get(source.id) is not broken:
                    return  # replaced or deleted meanwhile
                if isinstance(outcome, UnboundRoute):
                    self._live.broken[source.id] = outcome
                    return
                self._live.place(source)[source.id] = outcome
                del self._live.broken[source.id]
                self._live.rebuild()
                log.info("%s serves now", source.file or f"registered route {source.id}")
        finally:
            if self._trying.get(source.id) is broken:
                del self._trying[source.id]

    # --- what publishers do -------------------------------------------------------------------------------------

    async def check(self, source: Source, by: Identity | None = None) -> BoundRoute:
        """Bind `source` and try it against every other route; nothing goes live.

        :param by: the publisher who asks, and waits for a turn.
        :raises SetupError: it can't be bound, or what it claims is taken.
        :raises NotOwned: as `put`.
        :raises RateLimited: too many are being bound for publishers.
        """
        bound = await self._live.bind(source) if by is None else await self._bind_for(source, by)
        self._admit(bound, by)
        return bound

    async def faults_of(self, draft: Draft, source: Source, by: Identity) -> list[Fault]:
        """As `Live.faults_of`, for a publisher who waits for a turn.

        :raises NotOwned: it names what is not the tenant's.
        :raises RateLimited: too many are being bound for publishers.
        """
        if by.tenant:
            for key, reason in self.tenancy.refusals(source.spec):
                if key.partition("/")[0] not in draft.wrong:
                    raise NotOwned(key, reason)
        async with self._publishers.turn(source.spec.tenant or by.subject):
            return await self._live.faults_of(draft, source)

    async def _bind_for(self, source: Source, by: Identity) -> BoundRoute:
        if by.tenant:
            self.tenancy.check(source.spec)  # first, since a bind may ask the service for its contract
        async with self._publishers.turn(source.spec.tenant or by.subject):
            return await self._live.bind(source)

    def _admit(self, bound: BoundRoute, by: Identity | None) -> None:
        """Whether a publisher may have a route where it wants to stand; the operator (no tenant) may anywhere.

        :raises NotOwned: somebody else owns that.
        :raises ConflictError: another route has that.
        """
        if by is not None and by.tenant:
            self.tenancy.check(bound.source.spec, bound.owned)
            others = dict(self._live.occupied())
            _, former = others.pop(bound.source.id, ("", ()))
            new = [place for place in bound.owned if place not in former]
            allotted = self.tenancy.content.tenants is not None
            check_ownership(by.tenant, new, others.values(), allotted=allotted)
        self._live.table.check(bound)

    async def put(
        self,
        source: Source,
        by: Identity,
        judge: SourceJudge | None = None,
        *,
        restores: int | None = None,
        approval: Approval | None = None,
    ) -> BoundRoute:
        """Register a new route (`source.id` 0) or replace one. Returns after the commit, when it is live. It goes on
        to that end whether or not the client still waits for the answer.

        :param judge: given the version that the store has at the commit of a replacement; raises what forbids it.
        :param restores: the revision whose spec `source` has. The route may have been deleted; `judge` then gets None.
        :param approval: of the change that this is. It is asked only whether it still waits, within the transaction.
        :raises SetupError, RateLimited: as `check`.
        :raises NotOwned: a tenant's route would stand where somebody else publishes.
        :raises NotFound: the store has no such route (any more).
        :raises StoreError: it can't be kept, and does not go live.
        """
        bound = await self._bind_for(source, by)
        text = orjson.dumps(spec_json(source.spec)).decode()
        for _ in range(TURNS):
            await self._catch_up()
            others = set(self._catching)
            if others:
                # What others claim must be seen, whether this call or the poll has read it.
                await asyncio.wait(others, timeout=OTHERS_WAIT)
            async with self._writing():
                if self._catching - others:
                    continue  # the poll has read more meanwhile, perhaps what this route claims
                self._admit(bound, by)
                row = StoredRoute(source.id if isinstance(source.id, int) else 0, text, time.time(), by.subject)
                number = await self._store.put_route(
                    row,
                    seen=self._version,
                    judge=self._judge(source.id, judge, may_be_gone=restores is not None),
                    restores=restores,
                    approval=approval,
                )
                if number is None:
                    continue  # another process has written between, perhaps what this route claims
                bound.source = replace(source, id=number, changed_at=row.changed_at)
                self._marks[number] = row.mark
                self._live.binding.pop(number, None)
                self._live.stored[number] = bound
                self._live.broken.pop(number, None)
                self._live.swap(self._live.table.with_route(bound))
                self._live.tell(bound)
                return bound
        raise _busy()

    async def delete(
        self, route_id: int, by: str, judge: SourceJudge | None = None, approval: Approval | None = None
    ) -> None:
        """:param judge, approval: as in `put`.
        :raises NotFound: no registered route has this number.
        :raises StoreError: the store can't be written; the route goes on serving.
        """
        async with self._writing():
            await self._store.delete_route(route_id, by, judge=self._judge(route_id, judge), approval=approval)
            self._marks.pop(route_id, None)
            self._live.drop(route_id)
            self._live.swap(self._live.table.without(route_id))

    def _judge(self, route_id: RouteId, judge: SourceJudge | None, *, may_be_gone: bool = False) -> Judge | None:
        """What is asked within the store's transaction, in its thread: None for a new route."""

        def judged(row: StoredRoute | None) -> None:
            current = None if row is None and may_be_gone else self._written(route_id, row)
            if judge is not None:
                judge(current)

        return judged if route_id else None

    def _written(self, route_id: RouteId, row: StoredRoute | None) -> Source:
        """:raises NotFound: there is no such row, or this version can't read it."""
        if row is not None:
            route = self._live.stored.get(row.id) or self._live.broken.get(row.id)
            if route is not None and self._marks.get(row.id) == row.mark and row.id not in self._live.binding:
                return route.source
            with suppress(SpecError):
                return _source(row)
        raise NotFound(f"No registered route has the number {route_id}.")

    async def current(self, route_id: RouteId) -> Source:
        """A route as it is written down now; of a registered one the store is asked, since another process may have
        changed it a moment ago.

        :raises NotFound: there is no such route.
        :raises StoreError: the store can't be read.
        """
        if isinstance(route_id, str):
            return self.source(route_id)
        row = await self._store.route(route_id)
        if self._marks.get(route_id) != (row and row.mark):
            await self._catch_up()
        return self._written(route_id, row)

    async def history(self, route_id: int) -> Sequence[Revision]:
        """The kept changes of a registered route, also of a deleted one, the newest first, without their specs.

        :raises NotFound: no registered route has or had this number, as far as the store remembers.
        :raises StoreError: the store can't be read.
        """
        revisions = await self._store.history(route_id)
        if not revisions:
            raise NotFound(f"No registered route has the number {route_id}.")
        return revisions

    async def revision(self, route_id: int, number: int) -> tuple[Revision, RouteSpec | None]:
        """One of them with its spec; None for a deletion.

        :raises NotFound: there is none of this number, or it is kept no longer.
        :raises SpecError: this version can't read its spec.
        :raises StoreError: the store can't be read.
        """
        revision = await self._store.revision(route_id, number)
        if revision is None:
            raise NotFound(f"The route {route_id} has no revision {number}; the last {REVISIONS} are kept.")
        if not revision.spec:
            return revision, None
        # A large one takes up to a second to read, in which everybody else is served.
        return revision, await asyncio.to_thread(lambda: read_value(json.loads(revision.spec)))

    async def deleted(self, tenant: str | None) -> Sequence[DeletedRoute]:
        """As `bridge.catalog.store.Store.deleted`."""
        return await self._store.deleted(tenant)

    def source(self, route_id: RouteId) -> Source:
        """:raises NotFound: there is no such route."""
        source = self._live.source(route_id)
        if source is None:
            raise NotFound(f"No route has the id {route_id}.")
        return source


def _source(row: StoredRoute) -> Source:
    """:raises SpecError: this version can't read it."""
    return Source(row.id, "store", read_value(json.loads(row.spec)), changed_at=row.changed_at)


def _busy() -> StoreError:
    return StoreError(
        "Others are changing routes or keys, so nothing was changed. Try again in a moment.",
        f"a change of a route or key waited longer than {LOCK_WAIT:.0f} seconds for others; nothing was written",
        retry_after=2,
    )
