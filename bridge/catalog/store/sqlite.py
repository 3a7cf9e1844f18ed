"""Routes and keys in one SQLite file: WAL, full synchronisation, every answer after its commit.

One connection on one thread of its own: SQLite serialises writers anyway, and the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from bridge.catalog.store import bindings, changes, revisions
from bridge.catalog.store.base import (
    Approval,
    BindingJudge,
    BindingRevision,
    DeletedRoute,
    Judge,
    KeyChange,
    Revision,
    RouteChange,
    StoredBinding,
    StoredRoute,
)
from bridge.catalog.store.keys import KeyTable
from bridge.config.owner import owner_hint
from bridge.config.role_binding import RoleBinding
from bridge.errors import Fault, InsufficientStorage, SettingsError, StoreError
from bridge.stages.auth.stored_key import StoredKey

WAIT = 5.0  #: seconds to wait for another process's lock

#: 2 has no role bindings and no changes that wait; 1 has `history` in place of `revision`, without numbers.
SCHEMA_VERSION = 3
_SCHEMA = """
CREATE TABLE route (id INTEGER PRIMARY KEY, spec TEXT NOT NULL, changed_at REAL NOT NULL, changed_by TEXT NOT NULL);
CREATE TABLE number (last INTEGER NOT NULL);
INSERT INTO number VALUES (0);
CREATE TABLE api_key (id TEXT PRIMARY KEY, record TEXT NOT NULL);
"""

T = TypeVar("T")

#: Device and inode of the database, its log and its index.
Identity = tuple[tuple[int, int], ...]


class _LockedError(Exception):
    """Another process holds a lock; the work has changed nothing and can be done again."""


class SqliteStore:
    """:raises SettingsError: the file can't be opened, is no database, or was written by a newer version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "store")
        #: None after its file was replaced by one that can't be opened.
        self._db: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        #: Counts the files that were opened, since each counts its own versions.
        self._opened = 0
        self._keys = KeyTable()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # It holds hashes of keys and everybody's specs: not for other users' eyes.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._thread.submit(self._open, WAIT).result()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown(wait=False)
            reason = f"the store can't be opened: {reason_of(error)}{owner_hint(path)}"
            raise SettingsError(Fault(reason, file=str(path))) from None
        except SettingsError:
            self._thread.shutdown(wait=False)
            raise

    # --- in the thread ------------------------------------------------------------------------------------------

    def _open(self, wait: float = 0, *, create: bool = True) -> sqlite3.Connection:
        """Connect to the file that is there, and make its tables if it has none and `create` says so.

        :param wait: seconds to wait for another process's lock.
        """
        url = f"file:{quote(str(self._path.absolute()))}?mode=rw"
        db = sqlite3.connect(url, uri=True, isolation_level=None, timeout=wait)
        try:
            # Read without a lock: a store that another process is writing can be opened and read all the same.
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not create:
                raise SettingsError(Fault("the file is not a store of hms-bridge", file=str(self._path)))
            if version > SCHEMA_VERSION:
                raise SettingsError(Fault("a newer version of hms-bridge wrote this store", file=str(self._path)))
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            if version == 0:
                self._make_tables(db)
            elif version < SCHEMA_VERSION:
                with suppress(sqlite3.Error):  # locked or read-only now; the first change tries again
                    self._migrate(db)
            db.execute("PRAGMA busy_timeout=0")  # from now on `_do` waits, and holds no thread meanwhile
            identity = self._look()
        except BaseException:
            db.close()
            raise
        self._db, self._identity = db, identity
        self._opened += 1
        return db

    @staticmethod
    def _make_tables(db: sqlite3.Connection) -> None:
        with _transaction(db):
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:  # else another process has been faster
                for statement in f"{_SCHEMA}{revisions.SCHEMA}{bindings.SCHEMA}{changes.SCHEMA}".split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @staticmethod
    def _migrate(db: sqlite3.Connection) -> None:
        """Bring a store that an older version wrote up to date. Its routes can be read before that, too."""
        if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
            with _transaction(db):
                if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
                    revisions.migrate(db)
                    for statement in f"{bindings.SCHEMA}{changes.SCHEMA}".split(";\n"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _look(self) -> Identity | None:
        """What lies at the store's path now; None where there is nothing, or an empty file.

        SQLite itself goes on writing to files that have been deleted or replaced. Only `stat` is used: POSIX drops
        all of a process's locks on a file when any descriptor of it is closed.
        """
        inodes = []
        real = os.path.realpath(self._path)
        try:
            for suffix in ("", "-wal", "-shm"):
                stat = os.stat(real + suffix)
                if not suffix and not stat.st_size:
                    return None
                inodes.append((stat.st_dev, stat.st_ino))
        except OSError:
            return tuple(inodes) or None  # without its log, it is another than the one that was opened
        return tuple(inodes)

    def _connection(self) -> sqlite3.Connection:
        """The connection to the file that is at the store's path, which is opened again where it was replaced.

        :raises StoreError: there is none, or none that can be opened.
        """
        identity = self._look()
        if self._db is not None and identity is not None and identity == self._identity:
            return self._db
        if identity is None:
            # The connection is kept: a file that was moved away may come back.
            raise StoreError(
                "The gateway's store is gone from its place, so nothing was changed. What was live stays live.",
                f"{self._path}: the store's file is gone or empty; put it back from a backup",
                retry_after=10,
            )
        try:
            if self._db is not None:
                # SQLite sees that the database was moved, and then deletes no log that belongs to the new one. Where
                # only the log is gone, closing writes into the database what the log held.
                self._db.close()
                self._db = None
                self._clear(identity)
            return self._open(create=False)
        except sqlite3.Error as error:
            raise self._explained(error) from None
        except SettingsError as error:
            raise StoreError(
                "The gateway's store was replaced by a file that can't be used, so nothing was changed.",
                str(error),
                retry_after=10,
            ) from None

    def _clear(self, identity: Identity) -> None:
        """Delete the log and the index that the store, closed just now, left beside the file which replaced it: SQLite
        would write what they hold over that file.

        :param identity: as it was before closing, so that no other file could have the same inode.
        """
        if self._identity and identity[0] != self._identity[0]:
            for suffix, inode in zip(("-wal", "-shm"), identity[1:], strict=False):
                if inode in self._identity[1:]:
                    with suppress(OSError):
                        os.unlink(os.path.realpath(self._path) + suffix)

    def _work(self, work: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        db = self._connection()
        if writes and not os.access(self._path, os.W_OK):
            raise self._unwritable("the file is read-only")
        try:
            if writes:
                self._migrate(db)
            result = work(db)
        except sqlite3.Error as error:
            raise self._explained(error) from None
        if writes and self._look() != self._identity:
            # Deleted or replaced between the look before and the commit: nobody will ever read what was written.
            raise StoreError(
                "The gateway's store was taken away while it was written. What was live stays live.",
                f"{self._path}: the store's file was deleted or replaced while it was written",
                retry_after=10,
            )
        return result

    def _explained(self, error: sqlite3.Error) -> Exception:
        """What SQLite says, as the gateway says it. A defect of ours stays what it is."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            return error
        if code & 0xFF in _LOCKED:
            return _LockedError()
        if code & 0xFF in _UNWRITABLE or code in _UNWRITABLE:
            return self._unwritable(reason_of(error))
        return StoreError(
            "The gateway's store can't be read, so nothing was changed. What was live stays live.",
            f"{self._path}: the store can't be used: {reason_of(error)}",
            retry_after=10,
        )

    def _unwritable(self, reason: str) -> StoreError:
        return InsufficientStorage(
            "The gateway's store can't be written: its disk is full or read-only, or a quota or a limit on file sizes "
            "is reached. Nothing was changed.",
            f"{self._path}: the store can't be written: {reason}; free space on its disk, or let it be written",
            retry_after=30,
        )

    # --- on the event loop --------------------------------------------------------------------------------------

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """`work` in the store's thread, again and again while another process holds a lock."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + WAIT, 0.005
        while True:
            try:
                return await loop.run_in_executor(self._thread, self._work, work, writes)
            except _LockedError:
                if loop.time() + pause > until:
                    raise self.locked() from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.1)

    def locked(self) -> StoreError:
        return StoreError(
            "Another process holds the gateway's store, so nothing was changed. Try again in a moment.",
            f"{self._path}: another process has held the store's lock for more than {WAIT:.0f} seconds; nothing was "
            "written",
            retry_after=2,
        )

    async def routes(self) -> Sequence[StoredRoute]:
        rows = await self._do(
            lambda db: db.execute("SELECT id, spec, changed_at, changed_by FROM route ORDER BY id").fetchall()
        )
        return [StoredRoute(*row) for row in rows]

    async def route(self, route_id: int) -> StoredRoute | None:
        return await self._do(lambda db: _row(db, route_id))

    async def put_route(
        self,
        route: StoredRoute,
        *,
        seen: int,
        judge: Judge | None = None,
        restores: int | None = None,
        approval: Approval | None = None,
    ) -> int | None:
        def put(db: sqlite3.Connection) -> int | None:
            with _transaction(db):
                if self._version(db) != seen:
                    return None
                number = route.id
                if not number:
                    number = db.execute("UPDATE number SET last = last + 1 RETURNING last").fetchall()[0][0]
                former = _row(db, number)
                if judge is not None:
                    judge(former)
                row = StoredRoute(number, route.spec, route.changed_at, route.changed_by)
                db.execute("INSERT OR REPLACE INTO route VALUES (?, ?, ?, ?)", astuple(row))
                if approval is not None:
                    changes.settle(db, approval, number)
                approved_by = approval.by if approval is not None else None
                revisions.note_put(db, row, is_new=former is None, restores=restores, approved_by=approved_by)
            return int(number)

        return await self._do(put, writes=True)

    async def delete_route(
        self, route_id: int, by: str, *, judge: Judge | None = None, approval: Approval | None = None
    ) -> bool:
        def delete(db: sqlite3.Connection) -> bool:
            with _transaction(db):
                former = _row(db, route_id)
                if judge is not None:
                    judge(former)
                if former is not None:
                    if approval is not None:
                        changes.settle(db, approval, route_id)
                    db.execute("DELETE FROM route WHERE id = ?", (route_id,))
                    revisions.note_delete(db, former, by, approval.by if approval is not None else None)
            return former is not None

        return await self._do(delete, writes=True)

    async def history(self, route_id: int) -> Sequence[Revision]:
        return await self._read_revisions(lambda db: revisions.of_route(db, route_id))

    async def revision(self, route_id: int, number: int) -> Revision | None:
        return await self._read_revisions(lambda db: revisions.one(db, route_id, number))

    async def deleted(self, tenant: str | None) -> Sequence[DeletedRoute]:
        return await self._read_revisions(lambda db: revisions.deleted(db, tenant))

    async def _read_revisions(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` on a store that has its revisions: one that an older version wrote gets them first."""

        def read(db: sqlite3.Connection) -> T:
            self._migrate(db)
            return work(db)

        return await self._do(read)

    async def add_change(self, change: RouteChange) -> int:
        return await self._change(lambda db: changes.add(db, change))

    async def changes(self, tenant: str | None) -> Sequence[RouteChange]:
        return await self._read_revisions(lambda db: changes.of_tenant(db, tenant))

    async def change(self, change_id: int) -> RouteChange | None:
        return await self._read_revisions(lambda db: changes.one(db, change_id))

    async def reject_change(self, change_id: int, by: str, reason: str) -> None:
        await self._change(lambda db: changes.decide(db, change_id, "REJECTED", by, reason))

    async def bindings(self) -> Sequence[StoredBinding]:
        return await self._do(bindings.of_all)

    async def put_binding(
        self, binding_id: int, binding: RoleBinding, by: str, judge: BindingJudge | None = None
    ) -> StoredBinding:
        return await self._change(lambda db: bindings.put(db, binding_id, binding, by, judge))

    async def delete_binding(self, binding_id: int, by: str, judge: BindingJudge) -> None:
        await self._change(lambda db: bindings.delete(db, binding_id, by, judge))

    async def binding_history(self, binding_id: int) -> Sequence[BindingRevision]:
        return await self._read_revisions(lambda db: bindings.history(db, binding_id))

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in a transaction of its own."""

        def change(db: sqlite3.Connection) -> T:
            with _transaction(db):
                return work(db)

        return await self._do(change, writes=True)

    async def keys(self) -> Sequence[StoredKey]:
        return await self._do(self._keys.all)

    async def add_key(self, key: StoredKey) -> None:
        def add(db: sqlite3.Connection) -> None:
            with _transaction(db):
                self._keys.add(db, key)

        await self._do(add, writes=True)

    async def change_key(self, key_id: str, change: KeyChange) -> Sequence[StoredKey]:
        def do(db: sqlite3.Connection) -> Sequence[StoredKey]:
            with _transaction(db):
                return self._keys.change(db, key_id, change)

        return await self._do(do, writes=True)

    def _version(self, db: sqlite3.Connection) -> int:
        return self._opened << 32 | int(db.execute("PRAGMA data_version").fetchone()[0])

    async def version(self) -> int:
        return await self._do(self._version)

    async def aclose(self) -> None:
        def close() -> None:
            if self._db is not None:
                with suppress(sqlite3.Error):  # what was answered is committed; there is nothing left to lose
                    self._db.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown()


class _transaction:  # noqa: N801  # reads as the statement it is
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block or the commit fails."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # a full disk, for one, makes SQLite roll back by itself
                self._db.execute("ROLLBACK")


#: Primary result codes of SQLite: another connection has a lock.
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
#: Result codes, primary and extended: no room, or no leave to write. A quota (EDQUOT) and a limit on file sizes (EFBIG)
#: are SQLITE_IOERR_WRITE, since SQLite knows ENOSPC only.
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)


def reason_of(error: Exception) -> str:
    """Why the store can't be used, for the operator."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _LOCKED:
        return f"another process holds its lock for more than {WAIT:.0f} seconds; end that process, or try again"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{error}; put back a backup"
    return str(error)


def _row(db: sqlite3.Connection, route_id: int) -> StoredRoute | None:
    row = db.execute("SELECT id, spec, changed_at, changed_by FROM route WHERE id = ?", (route_id,)).fetchone()
    return StoredRoute(*row) if row else None
