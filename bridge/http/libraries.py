"""Libraries that not every Python and platform has."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def first_module(*names: str) -> Any:
    """The first of the modules `names` that can be imported; None if none can."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
