"""Changes of routes that wait for a second person, in the same SQLite file and the same transactions as the routes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from bridge.catalog.store.base import Approval, RouteChange
from bridge.errors import Conflict, NotFound

PENDING = 100  #: changes of one tenant that may wait
KEPT = 100  #: changes of one tenant that are kept once they were decided, or are too old
LIFETIME = 7 * 86400.0  #: seconds that a change may wait

SCHEMA = """
CREATE TABLE IF NOT EXISTS change (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, action TEXT NOT NULL,
  route_id INTEGER NOT NULL, base TEXT NOT NULL, spec TEXT NOT NULL, restores INTEGER, at REAL NOT NULL,
  by TEXT NOT NULL, author TEXT NOT NULL, status TEXT NOT NULL, decided_at REAL, decided_by TEXT NOT NULL,
  reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS change_of_tenant ON change (tenant, status);
"""
_FIELDS = "id, tenant, action, route_id, base, spec, restores, at, by, author, status, decided_at, decided_by, reason"
_LISTED = _FIELDS.replace(" spec,", " '',")


def add(db: sqlite3.Connection, change: RouteChange) -> int:
    """Its number.

    :raises Conflict: as many changes of the tenant wait as may.
    """
    _expire(db)
    query = "SELECT count(*) FROM change WHERE tenant = ? AND status = 'PENDING'"
    if db.execute(query, (change.tenant,)).fetchone()[0] >= PENDING:
        raise Conflict(f"{PENDING} changes wait for approval already; approve of some, or reject them.")
    one = change
    row = (
        one.tenant, one.action, one.route_id, one.base, one.spec, one.restores, one.at, one.by, one.author, one.status,
        one.decided_at, one.decided_by, one.reason,
    )  # fmt: skip
    marks = ", ".join("?" * len(row))
    cursor = db.execute(f"INSERT INTO change ({_FIELDS.removeprefix('id, ')}) VALUES ({marks})", row)  # noqa: S608
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def of_tenant(db: sqlite3.Connection, tenant: str | None) -> Sequence[RouteChange]:
    """The newest first, without their specs; None: of all tenants."""
    query = f"SELECT {_LISTED} FROM change WHERE ? IS NULL OR tenant = ? ORDER BY id DESC LIMIT 1000"  # noqa: S608
    return [_aged(RouteChange(*row)) for row in db.execute(query, (tenant, tenant))]


def one(db: sqlite3.Connection, change_id: int) -> RouteChange | None:
    row = db.execute(f"SELECT {_FIELDS} FROM change WHERE id = ?", (change_id,)).fetchone()  # noqa: S608
    return _aged(RouteChange(*row)) if row else None


def settle(db: sqlite3.Connection, approval: Approval, route_id: int) -> None:
    """Note that a change was approved of, in the transaction that makes it.

    :raises Conflict, NotFound: as `decide`.
    """
    decide(db, approval.change_id, "APPROVED", approval.by)
    db.execute("UPDATE change SET route_id = ? WHERE id = ?", (route_id, approval.change_id))


def decide(db: sqlite3.Connection, change_id: int, status: str, by: str, reason: str = "") -> None:
    """:raises Conflict: it does not wait any more.
    :raises NotFound: there is no such change, or it is kept no longer.
    """
    change = one(db, change_id)
    if change is None:
        raise NotFound(f"No change has the number {change_id}.")
    if change.status != "PENDING":
        raise Conflict(f"The change {change_id} does not wait any more: it is {change.status}.")
    row = (status, time.time(), by, reason, change_id)
    db.execute("UPDATE change SET status = ?, decided_at = ?, decided_by = ?, reason = ? WHERE id = ?", row)
    _expire(db)
    query = """DELETE FROM change WHERE id IN (SELECT id FROM change WHERE tenant = ? AND status <> 'PENDING'
      ORDER BY id DESC LIMIT -1 OFFSET ?)"""
    db.execute(query, (change.tenant, KEPT))


def _expire(db: sqlite3.Connection) -> None:
    query = "UPDATE change SET status = 'EXPIRED' WHERE status = 'PENDING' AND at < ?"
    db.execute(query, (time.time() - LIFETIME,))


def _aged(change: RouteChange) -> RouteChange:
    """`change` with the status that it has by now."""
    return change.expired() if change.status == "PENDING" and change.at < time.time() - LIFETIME else change
