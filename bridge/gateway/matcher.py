"""The matcher: hosts and path templates in a trie, so that a match costs the same with ten routes as with ten thousand.

Literal before ``{name}`` before ``{name**}`` before ``{name*}``. A template whose ``:verb`` fits goes before every one
that would take the verb for a part of a parameter. If the better branch has the path but not the method, the next one
is tried; 405 is the answer when none has the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import unquote

from bridge.api.spec.route import METHODS
from bridge.api.stream import WEBSOCKET
from bridge.errors import ConflictError, MethodNotAllowed, NotFound
from bridge.http.template import PathTemplate, parse_template

ANY = "*"
#: Asked for in place of a method: whichever is published. No request has it.
SOME = ""
MAX_SEGMENTS = 128


#: What the trie holds. Its `str` names it in conflicts.
E = TypeVar("E")

#: By method: the endpoint and the names of its parameters in path order.
Leaf = dict[str, tuple[E, tuple[str, ...]]]


#: Segments behind ``{name**}``: literals, or None for ``{name}``.
Tail = tuple[str | None, ...]

#: (host, template, method, endpoint): where an endpoint is to be published.
Claim = tuple[str | None, str, str, E]


class _Node(Generic[E]):
    """One step of a path. A node belongs to the matcher that created it; others that share it never change it."""

    __slots__ = ("leaf", "literals", "one", "owner", "rest", "tails")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.literals: dict[str, _Node[E]] = {}
        self.one: _Node[E] | None = None
        #: Endpoints that end here, by custom verb; "" is the plain form.
        self.leaf: dict[str, Leaf[E]] = {}
        #: Endpoints of ``{name*}``, by custom verb.
        self.rest: dict[str, Leaf[E]] = {}
        #: Endpoints of ``{name**}``, by what follows it, in the order in which they are tried; then by custom verb.
        self.tails: dict[Tail, dict[str, Leaf[E]]] = {}

    def of(self, owner: object) -> _Node[E]:
        """This node if `owner` owns it, else a copy that `owner` owns."""
        if self.owner is owner:
            return self
        copy = _Node[E](owner)
        copy.literals = dict(self.literals)
        copy.one = self.one
        copy.leaf = {verb: dict(leaf) for verb, leaf in self.leaf.items()}
        copy.rest = {verb: dict(leaf) for verb, leaf in self.rest.items()}
        copy.tails = {tail: {verb: dict(leaf) for verb, leaf in leaves.items()} for tail, leaves in self.tails.items()}
        return copy

    @property
    def empty(self) -> bool:
        return not (self.literals or self.leaf or self.rest or self.one or self.tails)

    def leaves(self, shape: PathTemplate) -> dict[str, Leaf[E]] | None:
        """The endpoints of `shape`, whose steps end here, by custom verb; None if there never were any."""
        if shape.tail:
            return self.tails.get(shape.tail)
        return self.rest if shape.rest else self.leaf

    def leaf_of(self, shape: PathTemplate) -> Leaf[E]:
        """The endpoints of `shape`, whose steps end here; made if missing."""
        leaves = self.leaves(shape)
        if leaves is None:
            tails = {**self.tails, shape.tail: {}}
            # The longest one says most about a path; among equals the one that is literal soonest.
            self.tails = dict(sorted(tails.items(), key=lambda item: (-len(item[0]), [s is None for s in item[0]])))
            leaves = self.tails[shape.tail]
        return leaves.setdefault(shape.verb, {})


class Matcher(Generic[E]):
    """Filled with `add_all`, then only read. Changes are made in a `copy`, which shares all nodes except those on the
    path to a change."""

    def __init__(self) -> None:
        #: The mark of nodes that may be changed in place.
        self._owner = object()
        self._hosts: dict[str, _Node[E]] = {}
        self._everywhere: _Node[E] = _Node(self._owner)

    def copy(self) -> Matcher[E]:
        """An independent matcher with the same endpoints."""
        twin: Matcher[E] = Matcher()
        twin._hosts, twin._everywhere = dict(self._hosts), self._everywhere
        # From now on both copy the nodes that they change, since the other may still use them.
        twin._owner, self._owner = object(), object()
        return twin

    def add_all(self, claims: Iterable[Claim[E]], yields: Callable[[E], bool] | None = None) -> list[E]:
        """Publish every claim, or none of them.

        Among these claims, ``*`` is every method without a claim of its own; for claims of other calls of `add_all` it
        is every method, or one route could receive another's calls.

        :param yields: whether a conflicting endpoint gives way.
        :returns: those that give way; the caller removes them, with `remove_all` and all their other claims.
        :raises ConflictError: a method, host and path is published already; names both endpoints.
        """
        places: dict[tuple[str | None, str], tuple[PathTemplate, Leaf[E]]] = {}
        #: By host and shape: places that are not in the trie yet. Templates may differ in the names of parameters.
        new: dict[tuple[str | None, object], Leaf[E]] = {}
        claimed: dict[tuple[int, str], tuple[str | None, str, E]] = {}
        room: list[E] = []
        for host, template, method, endpoint in claims:
            if (host, template) not in places:
                shape = parse_template(template)
                existing = self._find(host, shape)
                places[host, template] = shape, new.setdefault((host, shape.key), {}) if existing is None else existing
            leaf = places[host, template][1]
            holders = _holders(leaf, method)
            others = [other for other in holders if not (yields and yields(other))]
            if (id(leaf), method) in claimed:
                raise ConflictError(f"{method} {host or ''}{template} is published twice by {endpoint}")
            if others:
                here = f"{method} {host or ''}{template}"
                raise ConflictError(f"{here} is published twice: by {others[0]} and by {endpoint}")
            room += holders
            claimed[id(leaf), method] = (host, template, endpoint)
        mine: dict[tuple[str | None, str], Leaf[E]] = {}
        for (_, method), (host, template, endpoint) in claimed.items():
            shape = places[host, template][0]
            if (host, template) not in mine:
                mine[host, template] = self._leaf(host, shape)
            mine[host, template][method] = (endpoint, shape.names)
        return room

    def remove_all(self, claims: Iterable[Claim[E]]) -> None:
        """Remove the endpoints of these claims, and every node that is then empty."""
        for host, template, method, endpoint in claims:
            shape = parse_template(template)
            leaf = self._find(host, shape)
            entry = leaf.get(method) if leaf else None
            if entry is None or entry[0] is not endpoint:
                continue
            way = self._way(host, shape)
            leaves = way[-1].leaves(shape)
            assert leaves is not None
            del leaves[shape.verb][method]
            if not leaves[shape.verb]:
                del leaves[shape.verb]
                if shape.tail and not leaves:
                    del way[-1].tails[shape.tail]
            for at in range(len(way) - 1, 0, -1):
                step = shape.steps[at - 1]
                if not way[at].empty:
                    break
                if step is None:
                    way[at - 1].one = None
                else:
                    del way[at - 1].literals[step]
            if host and way[0].empty:
                del self._hosts[host]

    def _find(self, host: str | None, shape: PathTemplate) -> Leaf[E] | None:
        """The endpoints of `shape`; None if there never were any."""
        node = self._hosts.get(host) if host else self._everywhere
        for step in shape.steps:
            if node is None:
                return None
            node = node.one if step is None else node.literals.get(step)
        if node is None:
            return None
        return (node.leaves(shape) or {}).get(shape.verb)

    def _way(self, host: str | None, shape: PathTemplate) -> list[_Node[E]]:
        """The nodes on the path to `shape`, created if missing; this matcher owns all of them."""
        owner = self._owner
        if host:
            root = self._hosts.get(host)
            node = self._hosts[host] = _Node(owner) if root is None else root.of(owner)
        else:
            node = self._everywhere = self._everywhere.of(owner)
        way = [node]
        for step in shape.steps:
            child = node.one if step is None else node.literals.get(step)
            if child is None or child.owner is not owner:
                child = _Node(owner) if child is None else child.of(owner)
                if step is None:
                    node.one = child
                else:
                    node.literals[step] = child
            node = child
            way.append(node)
        return way

    def _leaf(self, host: str | None, shape: PathTemplate) -> Leaf[E]:
        return self._way(host, shape)[-1].leaf_of(shape)

    def match(self, host: str, path: str, method: str) -> tuple[E, dict[str, str]]:
        """The endpoint and its parameters as sent, still percent-encoded. HEAD falls back to GET.

        :param method: or `SOME`.

        :raises NotFound: no template has this path.
        :raises MethodNotAllowed: one has, but not with `method`; carries ``Allow``.
        """
        parts = path[1:].split("/")
        methods: set[str] = set()
        if len(parts) <= MAX_SEGMENTS:
            values: list[str] = []
            for trie in (self._hosts.get(host), self._everywhere):
                if trie is None:
                    continue
                hit = None
                if ":" in parts[-1]:
                    hit = _walk(trie, parts, 0, method, values, methods, True)
                    if hit is None:
                        values.clear()
                if hit is None:
                    hit = _walk(trie, parts, 0, method, values, methods, False)
                if hit is not None:
                    return hit[0], dict(zip(hit[1], values, strict=True))
                values.clear()
        methods.discard(WEBSOCKET)
        if methods:
            if method == WEBSOCKET:
                raise MethodNotAllowed("No WebSocket is published at this path.", headers=[("allow", _listed(methods))])
            if "GET" in methods:
                methods.add("HEAD")
            allow = _listed(methods)
            raise MethodNotAllowed(f"{method} is not taken here; {allow} is.", headers=[("allow", allow)])
        raise NotFound("No route is published at this path.")


def _holders(leaf: Leaf[E], method: str) -> list[E]:
    """The endpoints that conflict with a claim to `method`, sorted by method, so that the result does not depend on the
    order of registration."""
    if method == ANY:
        return [leaf[name][0] for name in sorted(leaf)]
    return [leaf[name][0] for name in (method, ANY) if name in leaf]


def _listed(methods: Iterable[str]) -> str:
    return ", ".join(sorted(methods))


def _pick(leaf: Leaf[E] | None, method: str, methods: set[str]) -> tuple[E, tuple[str, ...]] | None:
    if not leaf:
        return None
    entry = leaf.get(method)
    if entry is None and method in METHODS:
        # Not TRACE, which reveals credentials, nor methods such as PURGE, which publishers don't expect.
        entry = leaf.get(ANY)
    if entry is None and method == "HEAD":
        entry = leaf.get("GET")
    if entry is None and method == SOME:
        return next(iter(leaf.values()))
    if entry is None:
        methods.update(leaf.keys() - {ANY}, METHODS if ANY in leaf else ())
    return entry


def _end(
    leaves: Mapping[str, Leaf[E]], tail: str, least: int, method: str, values: list[str], methods: set[str], verb: bool
) -> tuple[E, tuple[str, ...]] | None:
    """The endpoint of `leaves` for a path whose last value, of at least `least` characters, is `tail`.

    :param verb: without the verb of the endpoint, which has one; else the endpoint has none.
    """
    name = ""
    if verb:
        tail, _, name = tail.rpartition(":")
        if not name or "/" in name:
            return None
    if len(tail) < least:
        return None
    hit = _pick(leaves.get(name), method, methods)
    if hit is not None:
        values.append(tail)
    return hit


def _middle(
    node: _Node[E], parts: list[str], at: int, method: str, values: list[str], methods: set[str], verb: bool
) -> tuple[E, tuple[str, ...]] | None:
    """The endpoint of a template with ``{name**}`` at `node`, for `parts` from `at` on; `values` as in `_walk`."""
    mark = len(values)
    for tail, leaves in node.tails.items():
        first = len(parts) - len(tail)
        if first < at:
            continue
        values.append("/".join(parts[at:first]))
        last = parts[-1]
        if _fits(tail[:-1], parts[first:-1], values):
            if tail[-1] is None:
                hit = _end(leaves, last, 1, method, values, methods, verb)
            else:
                is_same = tail[-1] == (unquote(last) if "%" in last else last)
                hit = _pick(leaves.get(""), method, methods) if is_same else None
            if hit is not None:
                return hit
        del values[mark:]
    return None


def _fits(steps: Tail, parts: Sequence[str], values: list[str]) -> bool:
    """Whether `parts` are these `steps`; adds the parameters' values."""
    for step, part in zip(steps, parts, strict=True):
        if step is None:
            if not part:
                return False
            values.append(part)
        elif step != (unquote(part) if "%" in part else part):
            return False
    return True


def _walk(
    node: _Node[E], parts: list[str], at: int, method: str, values: list[str], methods: set[str], verb: bool
) -> tuple[E, tuple[str, ...]] | None:
    """The endpoint for `parts` from `at` on. Without one, `values` may contain leftovers.

    :param verb: the last part has a colon, and only a template fits that has what follows as its verb, or as the end
        of a literal.
    """
    count = len(parts)
    while at < count:
        part = parts[at]
        child = node.literals.get(unquote(part) if "%" in part else part)
        one, rest, tails = node.one, node.rest, node.tails
        if one is None and not rest and not tails:
            if child is None:
                return None
            node = child
            at += 1
            continue
        mark = len(values)
        if child is not None:
            hit = _walk(child, parts, at + 1, method, values, methods, verb)
            if hit is not None:
                return hit
            del values[mark:]
        if one is not None and part:
            if at + 1 == count:
                hit = _end(one.leaf, part, 1, method, values, methods, verb)
            else:
                values.append(part)
                if not rest and not tails:
                    node = one
                    at += 1
                    continue
                hit = _walk(one, parts, at + 1, method, values, methods, verb)
            if hit is not None:
                return hit
            del values[mark:]
        if tails:
            hit = _middle(node, parts, at, method, values, methods, verb)
            if hit is not None:
                return hit
        return _end(rest, "/".join(parts[at:]), 0, method, values, methods, verb) if rest else None
    return _pick(node.leaf.get(""), method, methods)
