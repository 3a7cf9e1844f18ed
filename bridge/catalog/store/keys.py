"""API keys in the SQLite file: a JSON text each, by id. Called in the store's thread, within its transactions."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bridge.api.call import CallerLimit
from bridge.catalog.store.base import ALL_KEYS, KEYS, KeyChange
from bridge.errors import Conflict, NotFound
from bridge.stages.auth.stored_key import StoredKey

log = logging.getLogger("bridge.store")


class KeyTable:
    """The table of keys. A record that was read before is not parsed again, since all of them are read whenever
    another process has written anything."""

    def __init__(self) -> None:
        self._read: Mapping[tuple[str, str], StoredKey | None] = {}

    def all(self, db: sqlite3.Connection) -> Sequence[StoredKey]:
        """By id; without those that this version can't read, which are so refused."""
        rows = db.execute("SELECT id, record FROM api_key ORDER BY id").fetchall()
        known = self._read
        self._read = {row: known[row] if row in known else _key(*row) for row in rows}
        return [key for key in self._read.values() if key is not None]

    def add(self, db: sqlite3.Connection, key: StoredKey) -> None:
        """:raises Conflict: there is no room for one more."""
        self._make_room(db, key)
        db.execute("INSERT INTO api_key VALUES (?, ?)", (key.id, _record(key)))

    def change(self, db: sqlite3.Connection, key_id: str, change: KeyChange) -> Sequence[StoredKey]:
        """:raises NotFound: there is no such key. :raises Conflict: as `add`."""
        row = db.execute("SELECT id, record FROM api_key WHERE id = ?", (key_id,)).fetchone()
        current = _key(*row) if row else None
        if current is None:
            raise NotFound(f"No API key has the id {key_id}.")
        keys = change(current)
        for key in keys:
            if key.id == key_id:
                db.execute("UPDATE api_key SET record = ? WHERE id = ?", (_record(key), key_id))
        for key in keys:
            if key.id != key_id:
                self.add(db, key)
        return keys

    def _make_room(self, db: sqlite3.Connection, new: StoredKey) -> None:
        keys = self.all(db)
        own = [key for key in keys if key.tenant == new.tenant]
        whose = f"of the tenant {new.tenant}" if new.tenant else "without a tenant"
        for some, most, what in ((own, KEYS, f"keys {whose}"), (keys, ALL_KEYS, "keys")):
            if len(some) < most:
                continue
            ended = [(at, key.id) for key in some if (at := key.ended(new.created)) is not None]
            if not ended:
                raise Conflict(f"There are {most:,} valid API {what}, and no more are kept. Revoke one first.")
            db.execute("DELETE FROM api_key WHERE id = ?", (min(ended)[1],))
            return


def _record(key: StoredKey) -> str:
    return json.dumps(asdict(key), default=lambda value: sorted(value) if isinstance(value, frozenset) else str(value))


def _key(key_id: str, record: str) -> StoredKey | None:
    try:
        values: dict[str, Any] = json.loads(record)
        for name in ("roles", "scopes"):
            values[name] = frozenset(values[name])
        limit = values.get("limit")
        values["limit"] = CallerLimit(**limit) if limit else None
        return StoredKey(**values)
    except (ValueError, TypeError, KeyError) as error:
        log.error("the API key %s can't be read by this version, and is refused: %s", key_id, type(error).__name__)
        return None
