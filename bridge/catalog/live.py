"""The routes that serve and those that wait, which `bridge.catalog.registry` and `bridge.catalog.spec_folder` keep up
to date."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from bridge.config.specfile import Draft
from bridge.config.yaml import NO_LINES
from bridge.errors import ConflictError, Fault, SetupError
from bridge.gateway.ownership import Holding, owned_paths
from bridge.gateway.table import Binder, BoundRoute, RouteId, Source, Table
from bridge.plugins import plugin_failure

LOGGED = 20  #: warnings of one route that are logged

log = logging.getLogger("bridge.routes")


@dataclass(frozen=True, slots=True)
class UnboundRoute:
    """A route that is kept but can't serve, and why."""

    source: Source
    error: SetupError


class Live:
    """:ivar on_change: called with each new table, on the event loop.
    :ivar serves: whether its routes are called, not only looked at by a command.
    :ivar lock: held while what is here changes, never while a route is bound: that may mean to wait for a server that
        hangs.
    :ivar files: by spec file, in the order of the folder.
    :ivar binding: what is being bound now, by spec file or number. A bind whose source (or file as it was read) is not
        here any more comes too late.
    """

    def __init__(self, binder: Binder) -> None:
        self._binder = binder
        self.on_change: Callable[[Table], None] = lambda table: None
        self.serves = False
        self.lock = asyncio.Lock()
        self.files: dict[str, dict[RouteId, BoundRoute]] = {}
        self.stored: dict[RouteId, BoundRoute] = {}
        self.broken: dict[RouteId, UnboundRoute] = {}
        self.binding: dict[RouteId, object] = {}
        self.table = Table()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background until it ends or the registry is closed."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def bind(self, source: Source, *, serves: bool = True) -> BoundRoute:
        try:
            return await self._binder.bind(source, self.table.routes.get(source.id), serves=serves)
        except SetupError as error:
            raise type(error)([placed(fault, source) for fault in error.faults]) from error

    async def faults_of(self, draft: Draft, source: Source) -> list[Fault]:
        """What is wrong with a document: what its keys say, and what only binding `source`, its spec, finds."""
        faults = list(draft.faults)
        try:
            await self.bind(source, serves=False)
        except SetupError as error:
            faults += [fault for fault in error.faults if draft.is_known(fault)]
        except Exception:  # a plug-in's, perhaps of what is wrong anyway
            log.debug("route %s can't be bound", source.id, exc_info=True)
        return faults

    def tell(self, bound: BoundRoute) -> None:
        """Log what the author of a route that goes live should know."""
        if bound.warnings and self.serves:
            count = len(bound.warnings)
            more = f" (and {count - LOGGED} more)" if count > LOGGED else ""
            name = bound.source.file or f"registered route {bound.source.id}"
            log.warning("%s: %s%s", name, "; ".join(bound.warnings[:LOGGED]), more)

    async def outcome(self, source: Source, before: str = "") -> BoundRoute | UnboundRoute:
        """The result of binding a route in the background. Whatever a plug-in raises, other routes are still bound.

        :param before: the error of the last try, which is not logged again.
        """
        try:
            bound = await self.bind(source)
        except SetupError as error:
            return UnboundRoute(source, error)
        except Exception as error:
            failed = plugin_failure(source.spec.transform.request, error)
            if str(failed) != before:
                log.exception("route %s can't be bound", source.id)
            return UnboundRoute(source, failed)
        self.tell(bound)
        return bound

    def all(self) -> list[BoundRoute]:
        return [*chain.from_iterable(routes.values() for routes in self.files.values()), *self.stored.values()]

    def occupied(self) -> Iterator[tuple[RouteId, Holding]]:
        """The paths of every route, also of those that can't serve (yet): they are not free."""
        for source in (*self.binding.values(), *(broken.source for broken in self.broken.values())):
            if isinstance(source, Source):
                yield source.id, (source.spec.tenant or "", owned_paths(source.spec))
        for bound in self.all():
            yield bound.source.id, (bound.source.spec.tenant or "", bound.owned)

    def place(self, source: Source) -> dict[RouteId, BoundRoute]:
        """Where the route of `source` lives, if it is written down anywhere."""
        return self.stored if source.kind == "store" else self.files.get(file_of(source.id), {})

    def rebuild(self) -> None:
        self.swap(self.table.over(self.all()))

    def swap(self, table: Table) -> None:
        """Let `table` serve, and say which routes it leaves out that the one before didn't."""
        reasons = {route.source.id: str(error) for route, error in self.table.refused}
        self.broken = {id: broken for id, broken in self.broken.items() if not isinstance(broken.error, ConflictError)}
        for route, error in table.refused:
            if reasons.get(route.source.id) != str(error):
                log.error("%s is left out: %s", route.source.file or f"registered route {route.source.id}", error)
            self.broken[route.source.id] = UnboundRoute(route.source, error)
        self.table = table
        self.on_change(table)

    def source(self, id: RouteId) -> Source | None:
        """The source of the route `id`, whether it serves or not."""
        for place in (self.files.get(file_of(id), {}), self.stored, self.broken):
            route = place.get(id)
            if route is not None:
                return route.source
        return None

    def drop(self, id: RouteId) -> None:
        """Forget a registered route; the table has it until the next. Under the lock."""
        for place in (self.stored, self.broken, self.binding):
            place.pop(id, None)

    def stamp(self, source: Source) -> None:
        """Take over when a registered route was written that says the same as before. Under the lock."""
        bound, broken = self.stored.get(source.id), self.broken.get(source.id)
        if bound is not None:
            bound.source = replace(bound.source, changed_at=source.changed_at)
        if broken is not None:
            self.broken[source.id] = UnboundRoute(replace(broken.source, changed_at=source.changed_at), broken.error)

    def replace(self, old: BoundRoute, new: BoundRoute) -> bool:
        """Whether `old` is still what serves, and `new` is in its place. Under the lock."""
        place = self.place(old.source)
        if place.get(old.source.id) is not old:
            return False
        place[old.source.id] = new
        return True


def file_of(id: RouteId) -> str:
    """The spec file of a file's route; of a registered route, what no file is called."""
    return str(id).partition("#")[0]


def same(known: BoundRoute | UnboundRoute | None, source: Source) -> bool:
    """Whether `known` is what `source` says."""
    return known is not None and (known.source is source or known.source.digest == source.digest)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # nothing awaits the task, so it would go unseen
        log.exception("a change of routes was not taken over")


def placed(fault: Fault, source: Source) -> Fault:
    """`fault` with the file and line of the spec. A fault in another file, which the spec names, has that file in its
    reason; a publisher is told its name only, and not where on this machine it lies."""
    if fault.file == source.file and fault.file:
        return fault
    reason = fault.reason
    if fault.file:
        name = fault.file if source.kind == "file" or not fault.file.startswith("/") else Path(fault.file).name
        reason = f"{name}:{fault.line}: {reason}" if fault.line else f"{name}: {reason}"
    lines = source.document.lines() if source.document else NO_LINES
    return Fault(reason, fault.path, source.file, lines.at(fault.path).line)


@contextmanager
def growing() -> Iterator[None]:
    """Run the garbage collector less often: when thousands of routes are bound nearly every object stays, and repeated
    collections took a third of the time."""
    threshold = gc.get_threshold()
    gc.set_threshold(max(50_000, threshold[0]), *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
