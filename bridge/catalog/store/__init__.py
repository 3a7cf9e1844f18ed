"""Where registered routes and API keys live: one Protocol, one file a kind of store."""

from __future__ import annotations

from pathlib import Path

from bridge.catalog.store.base import Judge, Store, StoredRoute
from bridge.catalog.store.sqlite import SqliteStore
from bridge.errors import SettingsError

__all__ = ["Judge", "Store", "StoredRoute", "open_store"]


def open_store(url: str, home: Path) -> Store:
    """The store that `url` names; a relative path is below `home`.

    :raises SettingsError: unknown scheme, or the file can't be opened or is of a newer version.
    """
    scheme, mark, rest = url.partition("://")
    if scheme == "sqlite" and mark and rest.startswith("/"):
        # As SQLAlchemy writes it: sqlite:///relative, sqlite:////absolute.
        return SqliteStore(home / rest[1:])
    raise SettingsError(f"BRIDGE_STORE: {scheme!r} is no store of this version, which has sqlite:///FILE")
