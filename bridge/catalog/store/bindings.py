"""Role bindings that the admin API made, in the same SQLite file as the routes. Called in the store's thread."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Sequence

from bridge.catalog.store.base import BINDINGS, BINDINGS_SIZE, BindingJudge, BindingRevision, StoredBinding
from bridge.config.role_binding import RoleBinding
from bridge.errors import Conflict, NotFound

KEPT = 50  #: revisions of one binding that are kept
DELETED = 1000  #: revisions of deleted bindings that are kept, of all tenants together

SCHEMA = """
CREATE TABLE IF NOT EXISTS role_binding (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL,
  record TEXT NOT NULL, at REAL NOT NULL, by TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS binding_revision (binding_id INTEGER NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
  by TEXT NOT NULL, action TEXT NOT NULL, tenant TEXT NOT NULL, record TEXT NOT NULL,
  PRIMARY KEY (binding_id, number));
"""

log = logging.getLogger("bridge.store")


def of_all(db: sqlite3.Connection) -> Sequence[StoredBinding]:
    """By id; without those that this version can't read, which so give nobody a role."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'role_binding'").fetchone():
        return []  # a store that an older version wrote, and that could not be brought up to date yet
    rows = db.execute("SELECT id, record, at, by FROM role_binding ORDER BY id").fetchall()
    bindings = []
    for row in rows:
        try:
            bindings.append(_binding(*row))
        except ValueError:
            log.error("the role binding %d can't be read by this version; it gives nobody a role", row[0])
    return bindings


def put(
    db: sqlite3.Connection, binding_id: int, binding: RoleBinding, by: str, judge: BindingJudge | None
) -> StoredBinding:
    """:raises NotFound: there is none of this id. :raises Conflict: there is no room for one more, or for its size."""
    record, now = _record(binding), time.time()
    if binding_id:
        _judged(db, binding_id, judge)
    query = "SELECT count(*), coalesce(sum(length(record)), 0) FROM role_binding WHERE tenant = ? AND id <> ?"
    count, size = db.execute(query, (binding.tenant, binding_id)).fetchone()
    if count >= BINDINGS:
        raise Conflict(f"There are {BINDINGS} role bindings already; delete some, or name several subjects in one.")
    if size + len(record) > BINDINGS_SIZE:
        raise Conflict(f"The role bindings of a tenant have at most {BINDINGS_SIZE >> 20} MB; delete some.")
    if binding_id:
        db.execute(
            "UPDATE role_binding SET tenant = ?, record = ?, at = ?, by = ? WHERE id = ?",
            (binding.tenant, record, now, by, binding_id),
        )
    else:
        row = (binding.tenant, record, now, by)
        cursor = db.execute("INSERT INTO role_binding (tenant, record, at, by) VALUES (?, ?, ?, ?)", row)
        assert cursor.lastrowid is not None
        _note(db, cursor.lastrowid, now, by, "create", binding.tenant, record)
        return StoredBinding(cursor.lastrowid, binding, now, by)
    _note(db, binding_id, now, by, "replace", binding.tenant, record)
    return StoredBinding(binding_id, binding, now, by)


def delete(db: sqlite3.Connection, binding_id: int, by: str, judge: BindingJudge) -> None:
    """:raises NotFound: there is none of this id."""
    binding = _judged(db, binding_id, judge).binding
    db.execute("DELETE FROM role_binding WHERE id = ?", (binding_id,))
    _note(db, binding_id, time.time(), by, "delete", binding.tenant, _record(binding))
    db.execute(
        """DELETE FROM binding_revision WHERE rowid IN (SELECT rowid FROM binding_revision
          WHERE binding_id NOT IN (SELECT id FROM role_binding) ORDER BY at DESC LIMIT -1 OFFSET ?)""",
        (DELETED,),
    )


def history(db: sqlite3.Connection, binding_id: int) -> Sequence[BindingRevision]:
    """The newest first."""
    query = "SELECT number, at, by, action, record FROM binding_revision WHERE binding_id = ? ORDER BY number DESC"
    rows = db.execute(query, (binding_id,)).fetchall()
    return [BindingRevision(number, at, by, action, json.loads(record)) for number, at, by, action, record in rows]


def _judged(db: sqlite3.Connection, binding_id: int, judge: BindingJudge | None) -> StoredBinding:
    row = db.execute("SELECT id, record, at, by FROM role_binding WHERE id = ?", (binding_id,)).fetchone()
    if row is None:
        raise NotFound(f"No role binding has the id {binding_id}.")
    binding = _binding(*row)
    if judge is not None:
        judge(binding)
    return binding


def _note(db: sqlite3.Connection, binding_id: int, at: float, by: str, action: str, tenant: str, record: str) -> None:
    last = db.execute("SELECT max(number) FROM binding_revision WHERE binding_id = ?", (binding_id,)).fetchone()[0] or 0
    row = (binding_id, last + 1, at, by, action, tenant, record)
    db.execute("INSERT INTO binding_revision VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("DELETE FROM binding_revision WHERE binding_id = ? AND number <= ?", (binding_id, last + 1 - KEPT))


def _record(binding: RoleBinding) -> str:
    return json.dumps(binding.model_dump(mode="json", exclude_none=True))


def _binding(binding_id: int, record: str, at: float, by: str) -> StoredBinding:
    """:raises ValueError: this version can't read it."""
    return StoredBinding(binding_id, RoleBinding.model_validate(json.loads(record)), at, by)
