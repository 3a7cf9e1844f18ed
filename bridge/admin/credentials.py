"""Tokens of the local issuer and API keys, as the command line makes them.

They stand apart from `bridge.cli.offline` so that ``hms-bridge token`` doesn't load a gateway to sign a few bytes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from bridge.admin.key_entry import key_entry
from bridge.api.spec.scalars import Model, seconds
from bridge.api.validation import faults_of
from bridge.catalog.key_terms import KeyTerms, Rotation
from bridge.catalog.keys import issue, revoke, rotate
from bridge.catalog.store import Store, open_store, store_file
from bridge.config.settings import Settings
from bridge.errors import NotFound, SettingsError, StoreError
from bridge.stages.auth.local_issuer import LocalIssuer

M = TypeVar("M", bound=Model)

BY = "hms-bridge key"  #: who made or revoked a key on the command line
#: What an option is called whose name is not that of its value.
_OPTIONS = {"subject": "sub", "roles": "role", "scopes": "scope", "limit": "burst"}


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


async def new_key(
    settings: Settings,
    subject: str,
    tenant: str,
    roles: Sequence[str],
    scopes: Sequence[str],
    ttl: str,
    *,
    rps: float | None = None,
    burst: int | None = None,
    label: str = "",
) -> tuple[str, str]:
    """A new key's text, shown this once, and its id.

    :raises SettingsError: an option is wrong.
    """
    if burst is not None and rps is None:
        raise SettingsError("--burst: it needs --rps, how many calls a second come back")
    duration = lifetime(ttl) if ttl else None
    limit = None if rps is None else {"rps": rps, "burst": burst}
    values = {
        "subject": subject, "tenant": tenant or None, "roles": list(roles), "scopes": list(scopes), "ttl": duration,
        "limit": limit, "label": label or None,
    }  # fmt: skip
    terms = _read(KeyTerms, values)
    async with _opened(settings) as store:
        text, key = await issue(store, terms, BY, time.time())
    return text, key.id


async def rotated_key(settings: Settings, key_id: str, overlap: str) -> tuple[str, str]:
    """The text of the key in place of another, shown this once, and its id.

    :raises SettingsError: there is no such key, or the time is wrong.
    """
    rotation = _read(Rotation, {"overlap": overlap} if overlap else {})
    async with _opened(settings) as store:
        with _known(key_id):
            text, keys = await rotate(store, key_id, rotation.overlap, BY, time.time())
    return text, keys[-1].id


async def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every key without its text and hash. Where there is no store yet, none is made."""
    file = store_file(settings.store, settings.home)
    now = time.time()
    async with _opened(settings, writes=file is None or await asyncio.to_thread(os.path.exists, file)) as store:
        return [key_entry(key, now) for key in await store.keys()]


def key_line(entry: Mapping[str, Any]) -> str:
    """An entry of `list_keys` in one line, its parts separated by tabs; `-` for what it has not."""
    limit = entry["limit"]
    rate = "-" if limit is None else f"{limit['rps']:g}/s" + (f" burst {limit['burst']}" if limit["burst"] else "")
    state = "good" if entry["status"] == "ACTIVE" else str(entry["status"]).lower()
    if state == "good" and entry["replaced_by"]:
        state = f"replaced by {entry['replaced_by']}"
    names = [",".join(entry[kind]) or "-" for kind in ("roles", "scopes")]
    until = entry["expires"] or "-"
    return "\t".join(
        [entry["id"], entry["prefix"], entry["subject"], entry["tenant"] or "-", *names, rate, until, state]
    )


async def revoke_key(settings: Settings, key_id: str) -> None:
    """:raises SettingsError: there is no such key."""
    async with _opened(settings) as store:
        with _known(key_id):
            await revoke(store, key_id, BY, time.time())


@contextmanager
def _known(key_id: str) -> Iterator[None]:
    try:
        yield
    except NotFound:
        raise SettingsError(f"no key has the id {key_id!r}; `hms-bridge key list` shows them") from None


def _read(model: type[M], values: dict[str, Any]) -> M:
    """:raises SettingsError: a value is wrong; names its option."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = faults_of(error, model, values)[0]
        steps = [str(step) for step in fault.path if not isinstance(step, int)]
        option = _OPTIONS.get(steps[-1], steps[-1])
        raise SettingsError(f"--{option}: {fault.reason}") from None
