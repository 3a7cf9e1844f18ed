"""The file of a SQLite store, for commands that only look at it: nothing is created, locked or written."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from bridge.catalog.store.keys import KeyTable
from bridge.catalog.store.sqlite import SCHEMA_VERSION, SqliteStore, reason_of
from bridge.config.owner import owner_hint
from bridge.errors import Fault, SettingsError, StoreError

T = TypeVar("T")


class SqliteReader(SqliteStore):
    """Each read opens the file anew. No file is as good as an empty store, and every writing method fails.

    :param path: of the store's file.
    """

    def __init__(self, path: Path) -> None:  # not the base's, which creates and opens the file
        self._path = path
        self._opened = 0
        self._keys = KeyTable()

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        if writes:
            raise self._unwritable("this command only reads it")
        return await asyncio.to_thread(self._look_at, work)

    def _look_at(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with ExitStack() as stack:
                db = self._connected(stack)
                if db.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
                    raise SettingsError(Fault("a newer version of hms-bridge wrote this store", file=str(self._path)))
                return work(db)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                "The gateway's store can't be read.",
                f"{self._path}: the store can't be read: {reason_of(error)}{owner_hint(self._path)}",
                retry_after=10,
            ) from None

    def _connected(self, stack: ExitStack) -> sqlite3.Connection:
        """A connection that is closed with `stack`."""
        path = Path(os.path.realpath(self._path))
        if not _size(path):
            db = stack.enter_context(closing(sqlite3.connect(":memory:", isolation_level=None)))
            self._make_tables(db)
            return db
        log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
        mode = "ro"
        if not _size(log):
            mode = "ro&immutable=1"  # without a log, SQLite would create one beside the file
        elif not index.exists():
            # Left by a gateway that was killed. SQLite would create the index of the log; it may, in a copy.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-store-")))
            for file in (path, log):
                shutil.copyfile(file, folder / file.name)
            path, mode = folder / path.name, "rw"
        url = f"file:{quote(str(path))}?mode={mode}"
        return stack.enter_context(closing(sqlite3.connect(url, uri=True, isolation_level=None)))


def _size(file: Path) -> int:
    """Bytes of a file; 0 where there is none.

    :raises OSError: it may not be looked at.
    """
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
