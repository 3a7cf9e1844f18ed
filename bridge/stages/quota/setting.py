"""The store of limits that ``BRIDGE_LIMITS`` names."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from bridge.config.settings import Settings
from bridge.errors import Fault, SettingsError
from bridge.stages.quota.store import LimitStore, MemoryLimits

QUOTA_FILE = "quotas.json"


def open_limits(settings: Settings, *, writes: bool = True) -> LimitStore:
    """:param writes: whether calls are counted and kept; otherwise routes are only bound.
    :raises SettingsError: the setting can't be used.
    """
    url = settings.limits
    if url == "memory://":
        return MemoryLimits(settings.state / QUOTA_FILE if writes else None)
    if url.startswith(("redis://", "rediss://")):
        from bridge.stages.quota.redis.address import redis_address  # most gateways count in memory
        from bridge.stages.quota.redis.store import RedisLimits

        return RedisLimits(redis_address(url, settings.home))
    # The text may hold a password.
    raise SettingsError(Fault("it is memory://, redis://HOST:PORT/DATABASE or rediss://…", ("BRIDGE_LIMITS",)))


def password_file(url: str) -> str | None:
    """The file that the setting names, which no route may read. The setting is valid (`open_limits`)."""
    return next(iter(parse_qs(urlsplit(url).query).get("password_file", ())), None)
