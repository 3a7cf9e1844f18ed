"""The API keys that a process knows, in step with the store, and their changes: issued, rotated, revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Any

from bridge.catalog.key_terms import KeyTerms
from bridge.catalog.store import Store
from bridge.errors import Conflict, NotFound, StoreError
from bridge.stages.auth.stored_key import StoredKey, mint_key, rotate_key

LOOK_PAUSE = 0.1  #: seconds between two looks at the store for keys that callers have and this process doesn't know
LOOK_WAIT = 2.0  #: seconds that a caller with such a key waits

#: Given a key as the store has it at the moment of a change; raises what forbids it.
KeyJudge = Callable[[StoredKey], None]


async def issue(store: Store, terms: KeyTerms, by: str, now: float) -> tuple[str, StoredKey]:
    """A new key: its text, which is kept nowhere, and what is stored.

    :raises Conflict: there are as many keys as there may be.
    """
    text, key = mint_key(
        terms.subject,
        tenant=terms.tenant or "",
        roles=terms.roles,
        scopes=terms.scopes,
        ttl=terms.ttl,
        limit=terms.limit.of_caller() if terms.limit else None,
        label=terms.label or "",
        by=by,
        clock=lambda: now,
    )
    await store.add_key(key)
    return text, key


async def rotate(
    store: Store, key_id: str, overlap: float, by: str, now: float, judge: KeyJudge | None = None
) -> tuple[str, Sequence[StoredKey]]:
    """A new key in place of another, which stays valid for `overlap` seconds.

    :returns: the new text, and both keys, the new one last.
    :raises NotFound: there is no such key.
    :raises Conflict: its validity has ended, or it was rotated before; or there are as many keys as there may be.
    """
    text = ""

    def change(key: StoredKey) -> Sequence[StoredKey]:
        nonlocal text
        if judge is not None:
            judge(key)
        if key.ended(now) is not None:
            raise Conflict("This API key is not valid any more, so it can't be rotated. Issue a new one.")
        if key.replaced_by:
            raise Conflict(f"This API key was rotated before; the one that replaced it is {key.replaced_by}.")
        text, old, new = rotate_key(key, overlap, by, now)
        return old, new

    keys = await store.change_key(key_id, change)
    return text, keys


async def revoke(store: Store, key_id: str, by: str, now: float, judge: KeyJudge | None = None) -> Sequence[StoredKey]:
    """End a key's validity. One that is revoked stays as it is.

    :raises NotFound: there is no such key.
    """

    def change(key: StoredKey) -> Sequence[StoredKey]:
        if judge is not None:
            judge(key)
        return () if key.revoked is not None else (replace(key, revoked=now, revoked_by=by),)

    return await store.change_key(key_id, change)


class LiveKeys:
    """The keys in memory (`bridge.stages.auth.api_key.KeyStore`), changed together with the store.

    :ivar clock: Unix seconds.
    :param writing: the registry's lock, for a change of the store and of memory in one.
    :param catch_up: takes over what other processes wrote, and calls `take` if that is anything.
    :param spawn: runs work in the background, until the registry is closed.
    """

    def __init__(
        self,
        store: Store,
        writing: Callable[[], AbstractAsyncContextManager[None]],
        catch_up: Callable[[], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.clock: Callable[[], float] = time.time
        self._store = store
        self._writing, self._catch_up, self._spawn = writing, catch_up, spawn
        self._keys: dict[str, StoredKey] = {}
        #: The look that has not begun; whoever needs one waits for it.
        self._next: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    def find(self, key_id: str) -> StoredKey | None:
        return self._keys.get(key_id)

    def take(self, keys: Sequence[StoredKey]) -> None:
        """Know these, as the store has them. Under the registry's lock."""
        self._keys = {key.id: key for key in keys}

    async def refresh(self) -> None:
        """As `KeyStore.refresh`. At most one look is under way and one waits, so a flood of unknown keys costs ten
        looks a second."""
        if self._next is None:
            self._next = self._spawn(self._look())
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_WAIT):
                await asyncio.shield(self._next)

    async def _look(self) -> None:
        async with self._looking:
            self._next = None  # who comes from now on waits for the next one: this one may read too early for them
            with suppress(StoreError):  # what is live stays live; `Registry.follow` tells of it
                await self._catch_up()
            await asyncio.sleep(LOOK_PAUSE)

    # --- what the admin API does ----------------------------------------------------------------------------------

    async def all(self) -> Sequence[StoredKey]:
        """All keys, as the store has them; as this process knows them while the store can't be read."""
        with suppress(StoreError):
            await self._catch_up()
        return list(self._keys.values())

    async def get(self, key_id: str) -> StoredKey:
        """:raises NotFound: there is no such key."""
        with suppress(StoreError):
            await self._catch_up()
        key = self._keys.get(key_id)
        if key is None:
            raise NotFound(f"No API key has the id {key_id}.")
        return key

    async def issue(self, terms: KeyTerms, by: str) -> tuple[str, StoredKey]:
        """As `issue`. :raises StoreError: it can't be kept."""
        async with self._writing():
            text, key = await issue(self._store, terms, by, self.clock())
            await self._apply([key])
        return text, key

    async def rotate(
        self, key_id: str, overlap: float, by: str, judge: KeyJudge | None = None
    ) -> tuple[str, StoredKey]:
        """The new text and key, as `rotate`. :raises StoreError: it can't be kept, and the old one stays as it is."""
        async with self._writing():
            text, keys = await rotate(self._store, key_id, overlap, by, self.clock(), judge)
            await self._apply(keys)
        return text, keys[-1]

    async def revoke(self, key_id: str, by: str, judge: KeyJudge | None = None) -> None:
        """As `revoke`. :raises StoreError: it can't be kept, and the key stays valid."""
        async with self._writing():
            await self._apply(await revoke(self._store, key_id, by, self.clock(), judge))

    async def _apply(self, written: Sequence[StoredKey]) -> None:
        """What was written counts here at once; the store may have dropped other keys to make room."""
        self._keys |= {key.id: key for key in written}
        with suppress(StoreError):
            self.take(await self._store.keys())
