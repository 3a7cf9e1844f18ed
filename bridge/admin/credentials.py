"""Tokens of the local issuer and API keys, as the command line makes them.

They stand apart from `bridge.cli.offline` so that ``hms-bridge token`` doesn't load a gateway to sign a few bytes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from bridge.api.call import CallerLimit
from bridge.api.spec.limits import RateLimit
from bridge.api.spec.scalars import seconds
from bridge.api.validation import faults_of
from bridge.catalog.store import Store, open_store, store_file
from bridge.config.settings import Settings
from bridge.errors import SettingsError, StoreError
from bridge.stages.auth.api_key import mint_key
from bridge.stages.auth.local_issuer import LocalIssuer


def lifetime(text: str) -> float:
    """Seconds of ``30m``, ``1h``, ``7d``.

    :raises SettingsError: it is none.
    """
    try:
        ttl = float(str(seconds(text)))
    except ValueError as error:
        raise SettingsError(f"--ttl: {error}") from None
    if ttl <= 0:
        raise SettingsError("--ttl: it must be longer than nothing")
    return ttl


def mint_token(
    settings: Settings,
    *,
    sub: str,
    roles: Sequence[str],
    tenant: str,
    audience: Sequence[str],
    scopes: Sequence[str],
    ttl: str,
) -> str:
    """A JWT of the local issuer, whose key is made here if there is none yet."""
    if settings.local_issuer == "off":
        raise SettingsError("BRIDGE_LOCAL_ISSUER is off, so a token of the local issuer would not be believed")
    duration = lifetime(ttl)
    issuer = LocalIssuer.open(settings)
    return issuer.mint(sub, roles, tenant, audience[0] if len(audience) == 1 else audience, duration, scopes=scopes)


@asynccontextmanager
async def _opened(settings: Settings, *, writes: bool = True) -> AsyncIterator[Store]:
    """:raises SettingsError: the store can't be opened, read or written; names its file."""
    store = open_store(settings.store, settings.home, writes=writes)
    try:
        yield store
    except StoreError as error:
        raise SettingsError(error.cause) from None
    finally:
        await store.aclose()


def caller_limit(rps: float | None, burst: int | None) -> CallerLimit | None:
    """:raises SettingsError: it can't be a limit."""
    if rps is None:
        if burst is not None:
            raise SettingsError("--burst: it needs --rps, how many calls a second come back")
        return None
    try:
        RateLimit(rps=rps, burst=burst)
    except ValidationError as error:
        fault = faults_of(error, RateLimit, {"rps": rps, "burst": burst})[0]
        raise SettingsError(f"--{fault.key or 'burst'}: {fault.reason}") from None
    return CallerLimit(rps, burst)


async def new_key(
    settings: Settings,
    subject: str,
    tenant: str,
    roles: Sequence[str],
    scopes: Sequence[str],
    ttl: str,
    limit: CallerLimit | None = None,
) -> tuple[str, str]:
    """A new key's text, shown this once, and its id."""
    duration = lifetime(ttl) if ttl else None
    text, record = mint_key(subject, tenant=tenant, roles=roles, scopes=scopes, ttl=duration, limit=limit)
    async with _opened(settings) as store:
        await store.put_key(record)
    return text, record.id


async def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every key without its hash. Where there is no store yet, none is made."""
    file = store_file(settings.store, settings.home)
    async with _opened(settings, writes=file is None or await asyncio.to_thread(os.path.exists, file)) as store:
        return [
            {
                "id": key.id,
                "sub": key.subject,
                "tenant": key.tenant or "-",
                "roles": ",".join(sorted(key.roles)) or "-",
                "limit": _limit_text(key.limit),
                "state": "revoked"
                if key.revoked
                else "expired"
                if key.expires and key.expires < time.time()
                else "good",
            }
            for key in await store.keys()
        ]


def _limit_text(limit: CallerLimit | None) -> str:
    if limit is None:
        return "-"
    return f"{limit.rps:g}/s" if limit.burst is None else f"{limit.rps:g}/s burst {limit.burst}"


async def revoke_key(settings: Settings, key_id: str) -> None:
    """:raises SettingsError: there is no such key."""
    async with _opened(settings) as store:
        for key in await store.keys():
            if key.id == key_id:
                await store.put_key(replace(key, revoked=time.time()))
                return
        raise SettingsError(f"no key has the id {key_id!r}; `hms-bridge key list` shows them")
