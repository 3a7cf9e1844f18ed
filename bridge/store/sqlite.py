"""Routes and keys in one SQLite file: WAL, full synchronisation, every answer after its commit.

One connection on one thread of its own: SQLite serialises writers anyway, and the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from bridge.errors import Fault, SettingsError
from bridge.guards.api_key import ApiKey
from bridge.store.base import StoredRoute

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE route (id INTEGER PRIMARY KEY, spec TEXT NOT NULL, changed_at REAL NOT NULL, changed_by TEXT NOT NULL);
CREATE TABLE number (last INTEGER NOT NULL);
INSERT INTO number VALUES (0);
CREATE TABLE api_key (id TEXT PRIMARY KEY, record TEXT NOT NULL);
-- Append-only: an auditor asks who published what, also of routes that are gone.
CREATE TABLE history (at REAL NOT NULL, by TEXT NOT NULL, action TEXT NOT NULL, route_id INTEGER NOT NULL, spec TEXT);
"""

T = TypeVar("T")


class SqliteStore:
    """:raises SettingsError: the file can't be opened, is no database, or was written by a newer version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "store")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # It holds hashes of keys and everybody's specs: not for other users' eyes.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = self._thread.submit(self._connect).result()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown(wait=False)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SettingsError(Fault(f"the store can't be opened: {reason}", file=str(path))) from None
        except SettingsError:
            self._thread.shutdown(wait=False)
            raise

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise SettingsError(Fault("a newer version of hms-bridge wrote this store", file=str(self._path)))
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)

    async def routes(self) -> Sequence[StoredRoute]:
        rows = await self._do(
            lambda db: db.execute("SELECT id, spec, changed_at, changed_by FROM route ORDER BY id").fetchall()
        )
        return [StoredRoute(*row) for row in rows]

    async def next_id(self) -> int:
        # Read to the end: the statement commits when it is finished, not when its first row is out.
        rows = await self._do(lambda db: db.execute("UPDATE number SET last = last + 1 RETURNING last").fetchall())
        return int(rows[0][0])

    async def put_route(self, route: StoredRoute) -> None:
        def put(db: sqlite3.Connection) -> None:
            with _transaction(db):
                row = (route.id, route.spec, route.changed_at, route.changed_by)
                db.execute("INSERT OR REPLACE INTO route VALUES (?, ?, ?, ?)", row)
                note = (route.changed_at, route.changed_by, "put", route.id, route.spec)
                db.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?)", note)

        await self._do(put)

    async def delete_route(self, route_id: int, by: str) -> bool:
        def delete(db: sqlite3.Connection) -> bool:
            with _transaction(db):
                gone = db.execute("DELETE FROM route WHERE id = ?", (route_id,)).rowcount > 0
                if gone:
                    note = (time.time(), by, "delete", route_id, None)
                    db.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?)", note)
            return gone

        return await self._do(delete)

    async def keys(self) -> Sequence[ApiKey]:
        rows = await self._do(lambda db: db.execute("SELECT record FROM api_key ORDER BY id").fetchall())
        return [_key(json.loads(record)) for (record,) in rows]

    async def put_key(self, key: ApiKey) -> None:
        record = json.dumps(
            asdict(key), default=lambda value: sorted(value) if isinstance(value, frozenset) else str(value)
        )

        def put(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute("INSERT OR REPLACE INTO api_key VALUES (?, ?)", (key.id, record))

        await self._do(put)

    async def version(self) -> int:
        return int(await self._do(lambda db: db.execute("PRAGMA data_version").fetchone()[0]))

    async def aclose(self) -> None:
        await self._do(lambda db: db.close())
        self._thread.shutdown()


class _transaction:  # noqa: N801  # reads as the statement it is
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _key(record: dict[str, object]) -> ApiKey:
    sets = {name: frozenset(record[name]) for name in ("roles", "scopes")}  # type: ignore[call-overload]
    return ApiKey(**{**record, **sets})
