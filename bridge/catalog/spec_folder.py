"""The routes of the folder of spec files: read, bound and followed, each file by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bridge.catalog.binds import each
from bridge.catalog.folder import File, Folder, is_spec
from bridge.catalog.folder_watch import FolderWatch
from bridge.catalog.live import Live, UnboundRoute, file_of, placed, same
from bridge.config.stamp import Stamp
from bridge.errors import BindError, Fault, SetupError, SpecError, Unreachable
from bridge.gateway.table import BoundRoute, RouteId, Source, Table
from bridge.plugins import plugin_failure
from bridge.wording import counted

GRACE = 2.0  #: seconds that the folder may be away while another one takes its place
RELOADS = 4  #: reads of the folder under way, of which all but one wait for contracts that hang
#: Seconds since its last change in which a faulty file may still be written: a shell's ``>`` empties a file before the
#: command even starts, and editors and copies write in pieces.
SETTLE = 1.0

log = logging.getLogger("bridge.routes")


@dataclass(slots=True, eq=False)
class Reading:
    """What a spec file said at one look: its routes, those of them to be bound, and what became of these."""

    file: File
    sources: Sequence[Source]
    bind: Sequence[Source]
    outcomes: dict[RouteId, BoundRoute | UnboundRoute] = field(default_factory=dict[RouteId, BoundRoute | UnboundRoute])
    #: False where a route of it can't be bound, so that nothing of the file is taken.
    right: bool = True

    @property
    def name(self) -> str:
        return self.file.name


class WrongFile(NamedTuple):
    """A spec file that can't be read as specs, and why."""

    file: File
    error: SetupError


class SpecFolder:
    """:param home: what the files' names are shown below."""

    def __init__(self, live: Live, folder: Path, home: Path) -> None:
        self._live = live
        self._folder = Folder(folder, home)
        #: The spec files of the last look at the folder, in order; one look at a time.
        self._listing: list[str] = []
        self._looking = asyncio.Lock()
        #: The stamp of a file that can't be read as specs, and what was logged about it, by its name.
        self._told: dict[str, tuple[Stamp, str]] = {}

    async def load(self) -> tuple[Table, list[Fault]]:
        """Bind all files. A table of them, and every fault of every file.

        What can't be reached now is reported and waits to be tried again.
        """
        files = self._folder.look()
        self._listing = [file.name for file in files]
        self._live.files = {name: {} for name in self._listing}
        faults: dict[str, Sequence[Fault]] = {}

        async def bind(file: File) -> None:
            try:
                for source in self._folder.read(file):
                    try:
                        bound = self._live.files[file.name][source.id] = await self._live.bind(source)
                        self._live.tell(bound)
                    except Unreachable as error:
                        log.error("%s can't serve yet: %s", source.file, error)
                        self._live.broken[source.id] = UnboundRoute(source, error)
                    except SetupError as error:
                        faults[file.name] = [*faults.get(file.name, ()), *error.faults]
                    except (Exception, SystemExit) as error:  # a plug-in may fail in any way
                        log.debug("%s can't be bound", source.file, exc_info=error)
                        [fault] = plugin_failure(source.spec.transform.request, error).faults
                        faults[file.name] = [*faults.get(file.name, ()), placed(fault, source)]
            except SetupError as error:
                if file.is_empty and file.age() < SETTLE:
                    log.warning("%s is empty; it is read again when it changes", self._folder.label(file))
                else:
                    faults[file.name] = await self._all_faults(file) or error.faults

        await each(files, bind)
        all_faults = [fault for file in files for fault in faults.get(file.name, ())]
        table = Table(self._live.all())
        all_faults += [placed(fault, route.source) for route, error in table.refused for fault in error.faults]
        return table, all_faults

    async def _all_faults(self, file: File) -> list[Fault]:
        """What is wrong with a file that can't be read as specs, with what only binding its documents finds."""
        drafts, of_file = await asyncio.to_thread(self._folder.drafts, file)
        faults: list[Fault] = []
        for draft, source in drafts:
            faults += draft.faults if source is None else await self._live.faults_of(draft, source)
        return [*faults, *of_file]

    def paths(self) -> list[Path]:
        """Every spec file of the folder, in the order they are read."""
        return self._folder.files()

    async def watch(self, contracts: Iterable[Path]) -> None:
        """Follow the folder, and the folders of `contracts` (WSDLs, protos) that its specs name, until cancelled. None
        of them need exist yet."""
        specs, folders = self._folder.path.absolute(), [folder.absolute() for folder in contracts]
        reloads: set[asyncio.Task[None]] = set()
        async for paths in FolderWatch([specs, *folders], again=[specs]).changes():
            other = {path for path in paths if not (path.is_relative_to(specs) and is_spec(path.name))} - {specs}
            rebind = any(path.is_relative_to(folder) for path in other for folder in folders)
            if len(reloads) >= RELOADS:
                _, reloads = await asyncio.wait(reloads, return_when=asyncio.FIRST_COMPLETED)
            reloads = {task for task in reloads if not task.done()}
            reloads.add(self._live.spawn(self._follow_change(rebind=rebind)))

    async def _follow_change(self, *, rebind: bool) -> None:
        """As `reload`. A faulty file that may still be written is read again once it has settled, and then reported."""
        unsettled = await self.reload(rebind=rebind, settle=SETTLE)
        while unsettled:
            await asyncio.sleep(max(SETTLE - min(file.age() for file in unsettled), 0.05))
            unsettled = await self.reload(settle=SETTLE)

    async def reload(self, *, rebind: bool = False, settle: float = 0.0) -> list[File]:
        """Read the folder again; with `rebind`, compile also what has not changed itself (its WSDL or proto has).
        Several may run at once: a file whose contract hangs delays no other, and its latest version counts.

        :param settle: seconds since its last change in which a faulty file is not reported.
        :returns: the files that are faulty and younger than that.
        """
        outcomes: list[Reading | tuple[BoundRoute, BoundRoute]] = []
        async with self._looking:
            await self._wait_for_folder()
            try:
                readings, gone, wrong, unsettled = await self._look_again(rebind, settle)
            except SetupError as error:
                log.error("the routes are not read again; what is live goes on serving: %s", error)
                return []
        stored = list(self._live.stored.values()) if rebind else []

        async def bind(item: Reading | BoundRoute | WrongFile) -> None:
            if isinstance(item, WrongFile):
                error = SpecError(await self._all_faults(item.file) or item.error.faults)
                message = (item.file.stamp, str(error))
                # One change may be noticed twice; who asks by SIGHUP is told again.
                if not settle or self._told.get(item.file.name) != message:
                    self._told[item.file.name] = message
                    self._report(item.file.name, error)
                return
            if isinstance(item, Reading):
                if not await self._bind_file(item, settle):
                    unsettled.append(item.file)
                outcomes.append(item)
                return
            outcome = await self._live.outcome(item.source)
            if isinstance(outcome, UnboundRoute):
                log.error("registered route %s is not compiled again: %s", item.source.id, outcome.error)
            else:
                outcomes.append((item, outcome))

        async def apply() -> None:
            async with self._live.lock:
                is_changed = self._forget(gone)
                for item in outcomes:
                    if self._take_file(item) if isinstance(item, Reading) else self._live.replace(*item):
                        is_changed = True
                outcomes.clear()
                if is_changed:
                    self._live.rebuild()
                    log.info("%s live", counted(len(self._live.table.routes), "route is", "routes are"))

        items: list[Reading | BoundRoute | WrongFile] = [*readings, *stored, *wrong]
        await each(items, bind, meanwhile=apply)
        await apply()
        return unsettled

    async def _wait_for_folder(self) -> None:
        """If the folder is away, wait for the one that may be about to take its place."""
        deadline = time.monotonic() + GRACE
        while self._listing and not self._folder.path.is_dir():
            if time.monotonic() > deadline:
                log.warning("%s is gone, and its routes with it", self._folder.path)
                return
            await asyncio.sleep(0.05)

    async def _look_again(
        self, rebind: bool, settle: float
    ) -> tuple[list[Reading], set[str], list[WrongFile], list[File]]:
        """The files to be bound, those that are gone, those that are faulty, and those that are faulty and younger than
        `settle` seconds."""
        files = await asyncio.to_thread(self._folder.look)
        self._listing = [file.name for file in files]
        gone = (self._live.files.keys() | {id for id in self._live.binding if isinstance(id, str)}) - set(self._listing)
        for name in gone:
            self._live.binding.pop(name, None)
            self._told.pop(name, None)
        waiting: dict[str, list[UnboundRoute]] = {}
        for broken in self._live.broken.values():
            waiting.setdefault(file_of(broken.source.id), []).append(broken)
        readings: list[Reading] = []
        wrong: list[WrongFile] = []
        unsettled: list[File] = []
        for number, file in enumerate(files):
            if not number % 256:
                await asyncio.sleep(0)  # with thousands of files, calls are answered between them
            try:
                reading = self._read_again(file, waiting.get(file.name, ()), rebind)
            except SetupError as error:
                if file.age() < settle:
                    unsettled.append(file)
                else:
                    wrong.append(WrongFile(file, error))
                continue
            if reading is not None:
                self._live.binding[file.name] = reading
                readings.append(reading)
        return readings, gone, wrong, unsettled

    def _read_again(self, file: File, waiting: Iterable[UnboundRoute], rebind: bool) -> Reading | None:
        """What `file` says, if that is not what serves, waits or is being bound.

        :param waiting: what of the file does not serve.
        :raises SpecError: the file is wrong.
        """
        sources = self._folder.read(file)
        under_way = self._live.binding.get(file.name)
        if isinstance(under_way, Reading) and not rebind and _alike(under_way.sources, sources):
            return None
        self._live.binding.pop(file.name, None)
        current = self._live.files.get(file.name, {})
        bind = [source for source in sources if rebind or not same(current.get(source.id), source)]
        # What waits for a contract that is away is `follow`'s to try.
        bind = [source for source in bind if not self._waits(source)]
        by_id = {source.id: source for source in sources}
        stale = [id for id in current if id not in by_id]
        stale += [one.source.id for one in waiting if one.source.id not in by_id or not same(one, by_id[one.source.id])]
        return Reading(file, sources, bind) if bind or stale else None

    def _waits(self, source: Source) -> bool:
        broken = self._live.broken.get(source.id)
        return broken is not None and isinstance(broken.error, Unreachable) and same(broken, source)

    async def _bind_file(self, reading: Reading, settle: float) -> bool:
        """Bind what is new in a file: all of it, or nothing where anything is wrong.

        :returns: False if it is wrong and younger than `settle` seconds, so that nothing is reported.
        """
        faults: list[Fault] = []
        for source in reading.bind:
            outcome = reading.outcomes[source.id] = await self._live.outcome(source)
            if isinstance(outcome, UnboundRoute):
                if isinstance(outcome.error, Unreachable):
                    log.error("%s can't serve yet: %s", source.file, outcome.error)
                    continue
                reading.right = False
                if reading.file.age() < settle:
                    return False
                faults += outcome.error.faults
        if faults:
            self._report(reading.name, BindError(faults))
        return True

    def _report(self, name: str, error: SetupError) -> None:
        """Log why a file is not taken."""
        earlier = "; its earlier routes stay live" if self._live.files.get(name) else ""
        shown = name.encode("utf-8", "backslashreplace").decode()  # a file's name may be any bytes
        log.error("%s is not taken%s: %s", shown, earlier, error)

    def _take_file(self, reading: Reading) -> bool:
        """Serve what was bound of a file; false where it has changed since, or is wrong. Under the lock."""
        name = reading.name
        if self._live.binding.get(name) is not reading:
            return False
        del self._live.binding[name]
        if not reading.right:
            return False
        current, routes = self._live.files.get(name, {}), dict[RouteId, BoundRoute]()
        for source in reading.sources:
            old, outcome = current.get(source.id), reading.outcomes.get(source.id)
            if isinstance(outcome, BoundRoute):
                routes[source.id] = outcome
            elif old is not None:
                routes[source.id] = old
            if isinstance(outcome, UnboundRoute) and not same(old, source):
                self._live.broken[source.id] = outcome
            elif not self._waits(source):
                self._live.broken.pop(source.id, None)
        ids = {source.id for source in reading.sources}
        self._live.broken = {id: broken for id, broken in self._live.broken.items() if file_of(id) != name or id in ids}
        self._live.files[name] = routes
        return True

    def _forget(self, gone: set[str]) -> bool:
        """Drop the routes of the files in `gone` that are still missing; whether there were any. Under the lock."""
        names = set(self._listing)
        remaining = {name: routes for name, routes in self._live.files.items() if name in names or name not in gone}
        dropped = self._live.files.keys() - remaining.keys()
        if dropped:
            self._live.broken = {id: broken for id, broken in self._live.broken.items() if file_of(id) not in dropped}
        self._live.files = {name: remaining.pop(name, {}) for name in self._listing} | remaining
        return bool(dropped)


def _alike(some: Sequence[Source], others: Sequence[Source]) -> bool:
    return [(source.id, source.digest) for source in some] == [(source.id, source.digest) for source in others]
