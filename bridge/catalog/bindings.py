"""The role bindings that were made by the admin API: in memory for each request, in the store for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from bridge.catalog.store import BindingRevision, Store, StoredBinding
from bridge.catalog.store.base import BindingJudge
from bridge.config.role_binding import RoleBinding
from bridge.errors import NotFound


class LiveBindings:
    """:param writing: held while the store and what is in memory change together."""

    def __init__(self, store: Store, writing: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._store, self._writing = store, writing
        self._current: Mapping[int, StoredBinding] = {}

    def take(self, bindings: Iterable[StoredBinding]) -> None:
        """What the store holds now."""
        self._current = {binding.id: binding for binding in bindings}

    def all(self) -> Sequence[StoredBinding]:
        """By id."""
        return list(self._current.values())

    def find(self, binding_id: int) -> StoredBinding:
        """:raises NotFound: there is none of this id."""
        binding = self._current.get(binding_id)
        if binding is None:
            raise NotFound(f"No role binding has the id {binding_id}.")
        return binding

    async def put(
        self, binding_id: int, binding: RoleBinding, by: str, judge: BindingJudge | None = None
    ) -> StoredBinding:
        """As `bridge.catalog.store.Store.put_binding`; it counts at once."""
        async with self._writing():
            stored = await self._store.put_binding(binding_id, binding, by, judge)
            self._current = dict(sorted({**self._current, stored.id: stored}.items()))
        return stored

    async def delete(self, binding_id: int, by: str, judge: BindingJudge) -> None:
        """As `bridge.catalog.store.Store.delete_binding`; it counts at once."""
        async with self._writing():
            await self._store.delete_binding(binding_id, by, judge)
            self._current = {id: binding for id, binding in self._current.items() if id != binding_id}

    async def history(self, binding_id: int) -> Sequence[BindingRevision]:
        """The last changes of a binding, also of a deleted one, the newest first.

        :raises NotFound: no binding has or had this id, as far as the store remembers.
        """
        revisions = await self._store.binding_history(binding_id)
        if not revisions:
            raise NotFound(f"No role binding has the id {binding_id}.")
        return revisions
