"""The changes of registered routes, in the same SQLite file and the same transactions as the routes themselves."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from bridge.catalog.store.base import DELETED, REVISIONS, Action, DeletedRoute, Revision, StoredRoute

SCHEMA = """
CREATE TABLE IF NOT EXISTS revision (route_id INTEGER NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
  by TEXT NOT NULL, action TEXT NOT NULL, tenant TEXT, restores INTEGER, spec TEXT NOT NULL, approved_by TEXT,
  PRIMARY KEY (route_id, number));
CREATE INDEX IF NOT EXISTS deletion ON revision (tenant, at) WHERE action = 'delete';
-- The last deletion of each route that is gone.
CREATE VIEW IF NOT EXISTS gone AS SELECT route_id, max(number) AS number, at, tenant FROM revision
  WHERE action = 'delete' AND route_id NOT IN (SELECT id FROM route) GROUP BY route_id;
"""


def migrate(db: sqlite3.Connection) -> None:
    """Bring what versions 1 and 2 of the store kept up to date. Within the caller's transaction."""
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(revision)")]
    if columns and "approved_by" not in columns:
        db.execute("ALTER TABLE revision ADD COLUMN approved_by TEXT")
    _number_changes(db)


def _number_changes(db: sqlite3.Connection) -> None:
    """Number the changes that version 1 of the store kept in `history`."""
    for statement in SCHEMA.split(";\n"):
        db.execute(statement)
    if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'history'").fetchone():
        return
    numbers: dict[int, int] = {}
    tenants: dict[int, str | None] = {}
    rows = db.execute("SELECT at, by, action, route_id, spec FROM history ORDER BY rowid")
    for at, by, action, route_id, spec in rows:
        number = numbers[route_id] = numbers.get(route_id, 0) + 1
        if spec:
            tenants[route_id] = _tenant(spec)
        word: Action = "delete" if action == "delete" else "create" if number == 1 else "replace"
        _insert(db, Revision(route_id, number, at, by, word, tenants.get(route_id), None, spec or ""))
    for route_id, number in numbers.items():
        _trim(db, route_id, number)
    for tenant in set(tenants.values()):
        _forget_deleted(db, tenant)
    db.execute("DROP TABLE history")


def note_put(
    db: sqlite3.Connection, route: StoredRoute, *, is_new: bool, restores: int | None, approved_by: str | None = None
) -> None:
    action: Action = "rollback" if restores is not None else "create" if is_new else "replace"
    number = _next(db, route.id)
    tenant = _tenant(route.spec)
    at, by = route.changed_at, route.changed_by
    _insert(db, Revision(route.id, number, at, by, action, tenant, restores, route.spec, approved_by))
    _trim(db, route.id, number)


def note_delete(db: sqlite3.Connection, route: StoredRoute, by: str, approved_by: str | None = None) -> None:
    number, tenant = _next(db, route.id), _tenant(route.spec)
    _insert(db, Revision(route.id, number, time.time(), by, "delete", tenant, approved_by=approved_by))
    _trim(db, route.id, number)
    _forget_deleted(db, tenant)


def of_route(db: sqlite3.Connection, route_id: int) -> Sequence[Revision]:
    query = """SELECT route_id, number, at, by, action, tenant, restores, '', approved_by FROM revision
      WHERE route_id = ? ORDER BY number DESC"""
    return [Revision(*row) for row in db.execute(query, (route_id,))]


def one(db: sqlite3.Connection, route_id: int, number: int) -> Revision | None:
    query = """SELECT route_id, number, at, by, action, tenant, restores, spec, approved_by FROM revision
      WHERE route_id = ? AND number = ?"""
    row = db.execute(query, (route_id, number)).fetchone()
    return Revision(*row) if row else None


def deleted(db: sqlite3.Connection, tenant: str | None) -> Sequence[DeletedRoute]:
    query = """SELECT one.route_id, one.at, one.by, one.tenant, last.number, last.spec
      FROM gone JOIN revision AS one USING (route_id, number)
      LEFT JOIN revision AS last ON last.route_id = one.route_id AND last.number = one.number - 1
      WHERE ? IS NULL OR one.tenant = ? ORDER BY one.at DESC, one.route_id DESC LIMIT ?"""
    routes = []
    for route_id, at, by, owner, number, spec in db.execute(query, (tenant, tenant, 10 * DELETED)):
        value = _value(spec)
        routes.append(DeletedRoute(route_id, at, by, owner, number, value.get("route"), value.get("host")))
    return routes


def _insert(db: sqlite3.Connection, revision: Revision) -> None:
    one = revision
    row = (one.route_id, one.number, one.at, one.by, one.action, one.tenant, one.restores, one.spec, one.approved_by)
    columns = "route_id, number, at, by, action, tenant, restores, spec, approved_by"
    db.execute(f"INSERT INTO revision ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608


def _next(db: sqlite3.Connection, route_id: int) -> int:
    row = db.execute("SELECT coalesce(max(number), 0) + 1 FROM revision WHERE route_id = ?", (route_id,)).fetchone()
    return int(row[0])


def _trim(db: sqlite3.Connection, route_id: int, last: int) -> None:
    db.execute("DELETE FROM revision WHERE route_id = ? AND number <= ?", (route_id, last - REVISIONS))


def _forget_deleted(db: sqlite3.Connection, tenant: str | None) -> None:
    """Drop what is kept of the tenant's routes that were deleted first."""
    query = """DELETE FROM revision WHERE route_id IN
      (SELECT route_id FROM gone WHERE tenant IS ? ORDER BY at DESC, route_id DESC LIMIT -1 OFFSET ?)"""
    db.execute(query, (tenant, DELETED))


def _tenant(spec: str) -> str | None:
    tenant = _value(spec).get("tenant")
    return tenant if isinstance(tenant, str) else None


def _value(spec: str | None) -> dict[str, Any]:
    try:
        value = json.loads(spec or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
