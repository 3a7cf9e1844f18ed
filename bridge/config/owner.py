"""Whose a file is, for messages on what this user may not read or write."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def owner_hint(path: Path) -> str:
    """``; PATH belongs to the user NAME …`` where `path`, or the nearest folder above it that can be looked at, belongs
    to another user; else ``""``."""
    for place in (path, *path.absolute().parents):
        try:
            owner = os.stat(place).st_uid
        except OSError:
            continue
        if owner == os.geteuid():
            return ""
        return f"; {place} belongs to the user {_name(owner)}, and this is {_name(os.geteuid())}"
    return ""


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
