"""What is kept of an API key, and how one comes from nothing or from another.

A secret has 222 random bits, so its plain SHA-256 tells nothing about it and a slow password hash would only cost time.
Only the hash is stored: a key's text is shown once, when it is created.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from bridge.api.call import CallerLimit
from bridge.stages.auth.key_text import new_id, new_text, visible


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The stored part of a key.

    :ivar hash: the hex SHA-256 of the whole text.
    :ivar created, expires, revoked: Unix seconds; None: never.
    :ivar label: the one in its text, or ``""``.
    :ivar by: the subject of whoever made it, and `revoked_by` of whoever revoked it.
    :ivar lineage: the id of the first of the keys that it comes from by rotation; ``""``: it is the first.
    :ivar replaced_by: the id of the key that it was rotated to.
    """

    id: str
    hash: str
    subject: str
    tenant: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    limit: CallerLimit | None = None
    label: str = ""
    by: str = ""
    revoked_by: str = ""
    lineage: str = ""
    replaced_by: str = ""

    @property
    def line(self) -> str:
        """The same for a key and all that it is rotated to: what limits count by."""
        return self.lineage or self.id

    @property
    def prefix(self) -> str:
        """The beginning of its text, which is no secret."""
        return visible(self.id, self.label)

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def ended(self, now: float) -> float | None:
        """Since when it is valid no more; None: it is valid."""
        if self.revoked is not None:
            return self.revoked
        return self.expires if self.has_expired(now) else None


def mint_key(
    subject: str,
    *,
    tenant: str = "",
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    ttl: float | None = None,
    limit: CallerLimit | None = None,
    label: str = "",
    by: str = "",
    clock: Callable[[], float] = time.time,
) -> tuple[str, StoredKey]:
    """A new key: its text, and the part to store. `ttl` is in seconds; ``None``: it doesn't expire."""
    key_id, now = new_id(), clock()
    text = new_text(key_id, label)
    return text, StoredKey(
        id=key_id,
        hash=_hash(text),
        subject=subject,
        tenant=tenant,
        roles=frozenset(roles),
        scopes=frozenset(scopes),
        created=now,
        expires=None if ttl is None else now + ttl,
        limit=limit,
        label=label,
        by=by,
    )


def rotate_key(key: StoredKey, overlap: float, by: str, now: float) -> tuple[str, StoredKey, StoredKey]:
    """A key in place of `key`, which is valid for `overlap` seconds more and not longer than it was before.

    :returns: the new text, `key` as it is from now on, and the new key: all that `key` was, valid from now for as long
        as `key` was from its creation, and in the same line.
    """
    key_id = new_id()
    text = new_text(key_id, key.label)
    until = now + overlap if key.expires is None else min(now + overlap, key.expires)
    successor = replace(
        key,
        id=key_id,
        hash=_hash(text),
        created=now,
        expires=None if key.expires is None else now + key.expires - key.created,
        by=by,
        lineage=key.line,
    )
    return text, replace(key, expires=until, replaced_by=key_id), successor


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
