"""What somebody named in a setting must be there: a command would otherwise find nothing wrong in nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bridge.config.settings import Settings
from bridge.errors import Fault, SettingsError

#: Settings whose file or folder `serve` follows, so that it may be made later.
_FOLLOWED = ("routes", "mesh")


def missing_later(settings: Settings) -> list[str]:
    """A note for each followed file or folder that a setting names and that does not exist yet.

    :raises SettingsError: another one that a setting names does not exist.
    """
    missing = _missing(settings)
    _refuse({name: path for name, path in missing.items() if name not in _FOLLOWED})
    return [f"{_key(name)}: {path} does not exist; it is followed once it is there" for name, path in missing.items()]


def check_named(settings: Settings) -> None:
    """:raises SettingsError: a file or folder that a setting names does not exist."""
    _refuse(_missing(settings))


def _refuse(missing: Mapping[str, Path]) -> None:
    advice = "make it, or name the one that is meant"
    if missing:
        raise SettingsError(
            [Fault(f"{path} does not exist; {advice}", (_key(name),)) for name, path in missing.items()]
        )


def _missing(settings: Settings) -> dict[str, Path]:
    paths = {name: settings.path(getattr(settings, name)) for name in ("routes", "issuers", "secrets", "tenants")}
    kind, _, file = settings.mesh.partition(":")
    if kind == "static" and file:
        paths["mesh"] = settings.path(file)
    return {
        name: path for name, path in paths.items() if name in settings.model_fields_set and not os.path.exists(path)
    }


def _key(name: str) -> str:
    return f"BRIDGE_{name.upper()}"
