"""An API key as the admin API and the command line show it: everything but its text and its hash."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from bridge.stages.auth.stored_key import StoredKey


def key_entry(key: StoredKey, now: float) -> dict[str, Any]:
    """:param now: Unix seconds. Times in the entry are RFC 3339 in UTC, or null."""
    limit = key.limit
    return {
        "id": key.id,
        "prefix": key.prefix,
        "status": "REVOKED" if key.revoked is not None else "EXPIRED" if key.has_expired(now) else "ACTIVE",
        "subject": key.subject,
        "tenant": key.tenant or None,
        "roles": sorted(key.roles),
        "scopes": sorted(key.scopes),
        "limit": None if limit is None else {"rps": _short(limit.rps), "burst": limit.burst},
        "created": _time(key.created),
        "by": key.by or None,
        "expires": _time(key.expires),
        "revoked": _time(key.revoked),
        "revoked_by": key.revoked_by or None,
        "lineage": key.line,
        "replaced_by": key.replaced_by or None,
    }


def entry_etag(entry: dict[str, Any]) -> str:
    """The opaque part of its entity-tag."""
    return sha256(orjson.dumps(entry)).hexdigest()[:16]


def _short(rate: float) -> float:
    """A whole number as people write it: 50, not 50.0."""
    return int(rate) if rate.is_integer() else rate


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
