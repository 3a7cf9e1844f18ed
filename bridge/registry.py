"""The live routes: those of the folder and those of the store, bound, and swapped into the gateway as one table.

A change is bound first, tried against all others, committed where it is kept, and only then goes live. Whatever fails
on the way leaves the old table serving.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from bridge.errors import BindError, ConflictError, Fault, NotFound, SetupError, SpecError, Unreachable
from bridge.folder import File, Folder, is_spec
from bridge.guards.api_key import ApiKey
from bridge.specfile import read_value
from bridge.store import Store, StoredRoute
from bridge.table import Binder, BoundRoute, RouteId, Source, Table, spec_json

log = logging.getLogger("bridge.routes")

POLL = 1.0  #: seconds between looks at the store for what others wrote, and tries to bind what could not be bound


@dataclass(frozen=True, slots=True)
class Broken:
    """A route that is kept but can't serve, and why."""

    source: Source
    error: SetupError


class Registry:
    """:ivar on_change: called with each new table, on the event loop."""

    def __init__(self, binder: Binder, store: Store, folder: Path, home: Path) -> None:
        self._binder = binder
        self._store = store
        self._folder = Folder(folder, home)
        self.on_change: Callable[[Table], None] = lambda table: None
        self._lock = asyncio.Lock()
        self._files: dict[RouteId, BoundRoute] = {}
        self._stored: dict[RouteId, BoundRoute] = {}
        self.broken: dict[RouteId, Broken] = {}
        self.keys: dict[str, ApiKey] = {}
        self.table = Table()
        self._version = 0
        #: Of the stored texts that were read, so that they are not read again where another of them has changed.
        self._marks: dict[RouteId, int] = {}

    # --- at start -----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Bind all there is. What the folder holds must be right; what can't be reached now, and a registered route
        that can't be bound now, is reported and tried again, since its WSDL or its service may only be away.

        :raises SetupError: every fault of every file; what could be bound is in the table all the same.
        """
        with _growing():
            await self._load()

    async def _load(self) -> None:
        faults: list[Fault] = []
        for file in self._folder.look():
            try:
                for source in self._folder.read(file):
                    try:
                        self._files[source.id] = await self._bind(source)
                    except Unreachable as error:
                        log.error("%s can't serve yet: %s", source.file, error)
                        self.broken[source.id] = Broken(source, error)
            except SetupError as error:
                faults += error.faults
        table = Table(self._files.values())
        faults += [placed(fault, route.source) for route, error in table.refused for fault in error.faults]
        await self._load_stored()
        self._swap(table.over([*self._files.values(), *self._stored.values()]))
        if faults:
            raise SetupError(faults)

    async def _load_stored(self) -> None:
        self._version = await self._store.version()
        self.keys = {key.id: key for key in await self._store.keys()}
        known, waiting, marks = self._stored, self.broken, self._marks
        self._stored, self._marks = {}, {}
        self.broken = {id: broken for id, broken in waiting.items() if broken.source.kind == "file"}
        for row in await self._store.routes():
            old, broken, mark = known.get(row.id), waiting.get(row.id), hash(row.spec)
            if marks.get(row.id) == mark and (old is not None or broken is not None):
                self._marks[row.id] = mark
                if old is not None:
                    self._stored[row.id] = old
                elif broken is not None:
                    self.broken[row.id] = broken
                continue
            try:
                source = Source(row.id, "store", read_value(json.loads(row.spec)))
            except SpecError as error:
                log.error("registered route %d can't be read by this version: %s", row.id, error)
                continue
            self._marks[row.id] = mark
            if old is not None and old.source.etag == source.etag:
                self._stored[row.id] = old
            elif broken is not None and broken.source.etag == source.etag:
                self.broken[row.id] = broken
            else:
                try:
                    self._stored[row.id] = await self._bind(source)
                except SetupError as error:
                    log.error("registered route %s can't serve: %s", row.id, error)
                    self.broken[row.id] = Broken(source, error)

    async def _bind(self, source: Source) -> BoundRoute:
        try:
            return await self._binder.bind(source, self.table.routes.get(source.id))
        except SetupError as error:
            raise type(error)([placed(fault, source) for fault in error.faults]) from error

    def _rebuild(self) -> None:
        self._swap(self.table.over([*self._files.values(), *self._stored.values()]))

    def _swap(self, table: Table) -> None:
        """Let `table` serve, and say which routes it leaves out that the one before didn't."""
        told = {route.source.id: str(error) for route, error in self.table.refused}
        self.broken = {id: broken for id, broken in self.broken.items() if not isinstance(broken.error, ConflictError)}
        for route, error in table.refused:
            if told.get(route.source.id) != str(error):
                log.error("%s is left out: %s", route.source.file or f"registered route {route.source.id}", error)
            self.broken[route.source.id] = Broken(route.source, error)
        self.table = table
        self.on_change(table)

    # --- the folder ---------------------------------------------------------------------------------------------

    def spec_files(self) -> list[Path]:
        """Every spec file of the folder, in the order they are read."""
        return self._folder.files()

    async def watch(self, contracts: Iterable[Path]) -> None:
        """Follow the folder, and `contracts` (WSDLs, protos) that its specs name, until cancelled."""
        folders = [folder for folder in (self._folder.path, *contracts) if folder.is_dir()]
        if not folders:
            return
        from watchfiles import Change, DefaultFilter, awatch  # heavy, and only a gateway that serves watches

        async for changes in awatch(*folders, debounce=200, step=50, watch_filter=DefaultFilter()):
            paths = {Path(path) for kind, path in changes if kind in Change}
            specs = {path for path in paths if is_spec(path.name) and path.is_relative_to(self._folder.path)}
            await self.reload(rebind=bool(paths - specs))

    async def reload(self, *, rebind: bool = False) -> None:
        """Read the folder again; with `rebind`, compile also what has not changed itself (its WSDL or proto has)."""
        async with self._lock:
            files: dict[RouteId, BoundRoute] = {}
            waiting: dict[RouteId, Broken] = {}
            for number, file in enumerate(await asyncio.to_thread(self._folder.look)):
                name = file.name
                if not number % 256:
                    await asyncio.sleep(0)  # with thousands of files, calls are answered between them
                try:
                    fresh, away = await self._read_again(file, rebind)
                except SetupError as error:
                    log.error("%s is not taken; what it said before goes on serving: %s", name, error)
                    fresh = {id: old for id, old in self._files.items() if str(id).partition("#")[0] == name}
                    away = {id: old for id, old in self.broken.items() if str(id).partition("#")[0] == name}
                files |= fresh
                waiting |= away
            if rebind:
                for id, old in list(self._stored.items()):
                    try:
                        self._stored[id] = await self._bind(old.source)
                    except SetupError as error:
                        log.error("registered route %s is not compiled again: %s", id, error)
            changed = files != self._files or rebind
            self._files = files
            self.broken = waiting | {id: broken for id, broken in self.broken.items() if broken.source.kind == "store"}
            if changed:
                self._rebuild()
                log.info("%d routes are live", len(self.table.routes))

    async def _read_again(self, file: File, rebind: bool) -> tuple[dict[RouteId, BoundRoute], dict[RouteId, Broken]]:
        """What of a spec file serves now, and what waits for a contract that is away; what served until now goes on
        while its new word waits.

        :raises SetupError: the file, or a route of it, is wrong.
        """
        fresh: dict[RouteId, BoundRoute] = {}
        away: dict[RouteId, Broken] = {}
        for source in self._folder.read(file):
            old, waits = self._files.get(source.id), self.broken.get(source.id)
            same = old is not None and (old.source is source or old.source.etag == source.etag)
            if old is not None:
                fresh[source.id] = old
            if same and not rebind:
                continue
            if waits is not None and waits.source.etag == source.etag and isinstance(waits.error, Unreachable):
                away[source.id] = waits  # `follow` is at it
                continue
            try:
                fresh[source.id] = await self._bind(source)
            except Unreachable as error:
                log.error("%s can't serve yet: %s", source.file, error)
                if not same:
                    away[source.id] = Broken(source, error)
        return fresh, away

    # --- the store ----------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """See what other processes wrote to the store, and try again what could not be bound, until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            async with self._lock:
                if await self._store.version() != self._version:
                    await self._load_stored()
                    self._rebuild()
            for broken in [broken for broken in self.broken.values() if isinstance(broken.error, BindError)]:
                await self._try_again(broken)

    async def _try_again(self, broken: Broken) -> None:
        """Nothing is held up meanwhile: it takes a while to find that a service is away."""
        source = broken.source
        outcome: BoundRoute | Broken
        try:
            outcome = await self._bind(source)
        except SetupError as error:
            outcome = Broken(source, error)
        async with self._lock:
            if self.broken.get(source.id) is not broken:
                return  # replaced or deleted meanwhile
            if isinstance(outcome, Broken):
                self.broken[source.id] = outcome
                return
            place = self._files if source.kind == "file" else self._stored
            place[source.id] = outcome
            del self.broken[source.id]
            self._rebuild()
            log.info("%s serves now", source.file or f"registered route {source.id}")

    async def refresh(self) -> None:
        """See where a live server's contract has changed, and bind its routes anew, until cancelled. What can't be
        bound to the new one goes on serving by the old one, and is told once."""
        told: dict[RouteId, str] = {}
        while True:
            await asyncio.sleep(POLL)
            following = [route for route in self.table.routes.values() if route.follows]
            stale = [route for route in following if await self._changed(route, told)]
            if not stale:
                continue
            async with self._lock:
                rebound = [route for route in stale if await self._rebind(route, told)]
                if rebound:
                    self._rebuild()
                    log.info("%d routes follow what their services say of themselves now", len(rebound))

    async def _changed(self, route: BoundRoute, told: dict[RouteId, str]) -> bool:
        try:
            return await self._binder.changed(route)
        except Exception as error:  # a plug-in may fail in any way; the others' contracts are followed all the same
            if told.get(route.source.id) != str(error):
                log.exception("whether the contract of route %s has changed can't be seen", route.source.id)
                told[route.source.id] = str(error)
            return False

    async def _rebind(self, route: BoundRoute, told: dict[RouteId, str]) -> bool:
        """Whether `route`, if it still is what serves, is bound anew and fits among the others."""
        id = route.source.id
        place = self._files if route.source.kind == "file" else self._stored
        if place.get(id) is not route:
            return False  # replaced meanwhile
        try:
            place[id] = await self.check(route.source)
        except Exception as error:  # as above
            if told.get(id) != str(error):
                log.error("route %s goes on with what its service said before: %s", id, error)
                told[id] = str(error)
            return False
        told.pop(id, None)
        return True

    async def check(self, source: Source) -> BoundRoute:
        """Bind `source` and try it against every other route; nothing goes live.

        :raises SetupError: it can't be bound, or what it claims is taken.
        """
        bound = await self._bind(source)
        self.table.check(bound)
        return bound

    async def put(self, source: Source, by: str) -> BoundRoute:
        """Register a new route (`source.id` 0) or replace one. Returns after the commit, when it is live.

        :raises SetupError: as `check`.
        """
        async with self._lock:
            new = source if source.id else replace(source, id=await self._store.next_id())
            bound = await self.check(new)
            assert isinstance(new.id, int)
            text = orjson.dumps(spec_json(new.spec)).decode()
            await self._store.put_route(StoredRoute(new.id, text, time.time(), by))
            self._marks[new.id] = hash(text)
            self._stored[new.id] = bound
            self.broken.pop(new.id, None)
            self._swap(self.table.with_route(bound))
            return bound

    async def delete(self, route_id: int, by: str) -> None:
        """:raises NotFound: no registered route has this number."""
        async with self._lock:
            if not await self._store.delete_route(route_id, by):
                raise NotFound(f"No registered route has the number {route_id}.")
            self._stored.pop(route_id, None)
            self._marks.pop(route_id, None)
            self.broken.pop(route_id, None)
            self._swap(self.table.without(route_id))

    def source(self, route_id: RouteId) -> Source:
        """:raises NotFound: there is no such route."""
        for place in (self._files, self._stored, self.broken):
            found = place.get(route_id)
            if found is not None:
                return found.source
        raise NotFound(f"No route has the id {route_id}.")

    def find(self, key_id: str) -> ApiKey | None:
        """An API key by its id (`bridge.guards.api_key.KeyStore`)."""
        return self.keys.get(key_id)


@contextmanager
def _growing() -> Iterator[None]:
    """Have the collector of garbage look less often: of thousands of routes nearly all that is made stays, and looking
    it through again and again took a third of the time."""
    threshold = gc.get_threshold()
    gc.set_threshold(max(50_000, threshold[0]), *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


def placed(fault: Fault, source: Source) -> Fault:
    """`fault` with the spec's own file and line where it names no other file."""
    if fault.file or not source.file:
        return fault
    from bridge.specfile import line_of

    return replace(fault, file=source.file, line=line_of(source.document, fault.key.split(".") if fault.key else ()))
