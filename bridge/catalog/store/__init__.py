"""Where registered routes and API keys live: one Protocol, one file a kind of store."""

from __future__ import annotations

from pathlib import Path

from bridge.catalog.store.base import (
    ALL_KEYS,
    KEYS,
    REVISIONS,
    Approval,
    BindingRevision,
    DeletedRoute,
    Judge,
    KeyChange,
    Revision,
    RouteChange,
    Store,
    StoredBinding,
    StoredRoute,
)
from bridge.catalog.store.sqlite import SqliteStore
from bridge.catalog.store.sqlite_reader import SqliteReader
from bridge.errors import SettingsError

__all__ = [
    "ALL_KEYS",
    "KEYS",
    "REVISIONS",
    "Approval",
    "BindingRevision",
    "DeletedRoute",
    "Judge",
    "KeyChange",
    "Revision",
    "RouteChange",
    "Store",
    "StoredBinding",
    "StoredRoute",
    "open_store",
    "store_file",
]


def open_store(url: str, home: Path, *, writes: bool = True) -> Store:
    """The store that `url` names; a relative path is below `home`.

    :param writes: False for a command that only reads: then nothing is created, locked or written.
    :raises SettingsError: unknown scheme, or the file can't be opened or is of a newer version.
    """
    file = store_file(url, home)
    if file is not None:
        return SqliteStore(file) if writes else SqliteReader(file)
    scheme = url.partition("://")[0]
    raise SettingsError(f"BRIDGE_STORE: {scheme!r} is no store of this version, which has sqlite:///FILE")


def store_file(url: str, home: Path) -> Path | None:
    """The file of the store that `url` names; None for one that is no file."""
    scheme, mark, rest = url.partition("://")
    # As SQLAlchemy writes it: sqlite:///relative, sqlite:////absolute.
    return home / rest[1:] if scheme == "sqlite" and mark and rest.startswith("/") else None
