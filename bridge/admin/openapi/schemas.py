"""The document's component schemas: those of all operations under one roof.

Two operations may use one name for the same schema, which is then shared, or for different ones, of which the later
gets ``_2``. Schemas are the same only if all that they refer to, at any depth, is the same too; with recursive types
that is a question about whole cycles. So each schema's identity is a digest over the strongly connected component
that it stands in and the digests of the components below (a Merkle tree over Tarjan's condensation): linear time,
however the types refer to each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from bridge.admin.openapi.refs import plain_data, renamed, targets

#: OpenAPI 3.1, section 4.8.7: keys of components.
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._-]+")


class Names:
    """Hands out component keys, each once: the second of a name becomes ``NAME_2``."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._last: dict[str, int] = {}  # a thousand routes may each bring an Address of their own

    def fresh(self, wanted: str) -> str:
        """`wanted` with what a key can't hold made ``_``, and numbered if it is taken."""
        name = base = _FORBIDDEN.sub("_", wanted).strip("_") or "schema"
        count = self._last.get(base, 1)
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._last[base] = count
        self._taken.add(name)
        return name


class SchemaPool:
    """Component schemas by their final names.

    :param shared: schemas that every operation may refer to without describing them.
    """

    def __init__(self, shared: Mapping[str, dict[str, Any]]) -> None:
        self.components: dict[str, dict[str, Any]] = dict(shared)
        self._names = Names(shared)
        self._shared = {name: name for name in shared}
        self._final: dict[tuple[str, bytes], str] = {}
        self._targets: dict[bytes, frozenset[str]] = {}
        #: A transformer may bring the very same object with each operation. It is kept, so that its id stays its own.
        self._texts: dict[int, tuple[dict[str, Any], bytes]] = {}

    def add(self, schemas: Mapping[str, dict[str, Any]], *users: Any) -> dict[str, str]:
        """Take one operation's `schemas`, and say under which final name each may be referred to.

        Nothing is taken when this raises. `users` are parts of the document that refer to the schemas.

        :raises BadReference: a schema or one of `users` refers to what is in neither `schemas` nor `shared`.
        :raises TypeError: a schema holds what JSON can't.
        """
        known = {**self._shared, **{name: name for name in schemas}}
        for user in users:
            targets(user, known)
        raw = {name: self._text(schema) for name, schema in schemas.items()}
        refs = {name: self._refs(raw[name], schema, known) & schemas.keys() for name, schema in schemas.items()}
        digests = _digests(raw, refs)
        names, fresh = dict(self._shared), []
        for name in sorted(schemas):
            identity = (name, digests[name])
            if identity not in self._final:
                final = self._names.fresh(name)
                self._final[identity] = final
                self.components[final] = {}
                fresh.append(name)
            names[name] = self._final[identity]
        for name in fresh:
            self.components[names[name]] = renamed(schemas[name], names)
        return names

    def _text(self, schema: dict[str, Any]) -> bytes:
        entry = self._texts.get(id(schema))
        if entry is None:
            entry = self._texts[id(schema)] = (schema, _text(schema))
        return entry[1]

    def _refs(self, raw: bytes, schema: dict[str, Any], known: Mapping[str, str]) -> frozenset[str]:
        """Operations of one service mostly bring the same schemas; walking each text once is what makes it quick."""
        references = self._targets.get(raw)
        if references is None or not references <= known.keys():
            references = self._targets[raw] = frozenset(targets(schema, known))
        return references


def _text(schema: object) -> bytes:
    if not isinstance(schema, dict):
        raise TypeError(f"a schema is an object, not {schema!r}")
    try:
        return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return orjson.dumps(plain_data(schema), option=orjson.OPT_SORT_KEYS)


def _digests(raw: Mapping[str, bytes], refs: Mapping[str, frozenset[str]]) -> dict[str, bytes]:
    digests: dict[str, bytes] = {}
    for cycle in _components(refs):
        members = set(cycle)
        below = {target for name in cycle for target in refs[name]} - members
        digest = blake2b(digest_size=16)
        for name in sorted(members):
            digest.update(b"%d:%d:" % (len(name.encode()), len(raw[name])) + name.encode() + raw[name])
        for name in sorted(below):
            digest.update(name.encode() + b"=" + digests[name])
        digests |= dict.fromkeys(cycle, digest.digest())
    return digests


def _components(refs: Mapping[str, frozenset[str]]) -> Iterator[list[str]]:
    """Strongly connected components, those referred to first (Tarjan 1972), without recursion: chains may be long."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    for root in refs:
        if root in index:
            continue
        work = [(root, iter(refs[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, rest = work[-1]
            for target in rest:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(refs[target])))
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    found = [stack.pop()]
                    while found[-1] != name:
                        found.append(stack.pop())
                    on_stack.difference_update(found)
                    yield found
