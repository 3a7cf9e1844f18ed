"""The store of limits that ``BRIDGE_LIMITS`` names."""

from __future__ import annotations

from bridge.config.settings import Settings
from bridge.errors import Fault, SettingsError
from bridge.stages.quota.store import LimitStore, MemoryLimits

QUOTA_FILE = "quotas.json"


def open_limits(settings: Settings, *, writes: bool = True) -> LimitStore:
    """:param writes: whether calls are counted and kept; otherwise routes are only bound.
    :raises SettingsError: the setting can't be used.
    """
    if settings.limits == "memory://":
        return MemoryLimits(settings.state / QUOTA_FILE if writes else None)
    raise SettingsError(Fault("it must be memory://", ("BRIDGE_LIMITS",)))
