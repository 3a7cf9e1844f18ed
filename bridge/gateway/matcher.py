"""The matcher: hosts and path templates in a trie, so that a match costs the same with ten routes as with ten thousand.

Literal before ``{name}`` before ``{name*}``, and a ``:verb`` before its plain form; where the better branch has the
path but not the method, the next one is tried, and only then is it 405.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote

from bridge.api.route_spec import METHODS
from bridge.api.stream import WEBSOCKET
from bridge.errors import ConflictError, MethodNotAllowed, NotFound
from bridge.http.template import PathTemplate, parse_template

ANY = "*"
MAX_SEGMENTS = 128


#: What the trie holds. Its `str` names it in conflicts.
E = TypeVar("E")

#: By method: the endpoint and the names of its parameters in path order.
Leaf = dict[str, tuple[E, tuple[str, ...]]]


#: (host, template, method, endpoint): where an endpoint wants to be found.
Claim = tuple[str | None, str, str, E]


class _Node(Generic[E]):
    """One step of a path. A node belongs to the matcher that made it; others that share it never change it."""

    __slots__ = ("leaf", "literals", "one", "owner", "rest")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.literals: dict[str, _Node[E]] = {}
        self.one: _Node[E] | None = None
        #: Endpoints that end here, by custom verb; "" is the plain form.
        self.leaf: dict[str, Leaf[E]] = {}
        #: Endpoints of ``{name*}``, by custom verb.
        self.rest: dict[str, Leaf[E]] = {}

    def of(self, owner: object) -> _Node[E]:
        """This node, or where it isn't `owner`'s a copy that is."""
        if self.owner is owner:
            return self
        copy = _Node[E](owner)
        copy.literals = dict(self.literals)
        copy.one = self.one
        copy.leaf = {verb: dict(leaf) for verb, leaf in self.leaf.items()}
        copy.rest = {verb: dict(leaf) for verb, leaf in self.rest.items()}
        return copy

    @property
    def empty(self) -> bool:
        return not (self.literals or self.leaf or self.rest or self.one)


class Matcher(Generic[E]):
    """Filled with `add_all`, then only read. What is to change is changed in a `copy`, which shares all but the nodes
    on the way to the change."""

    def __init__(self) -> None:
        #: Stands in the nodes that may be changed in place.
        self._owner = object()
        self._hosts: dict[str, _Node[E]] = {}
        self._everywhere: _Node[E] = _Node(self._owner)

    def copy(self) -> Matcher[E]:
        """A matcher of its own with the same endpoints."""
        made: Matcher[E] = Matcher()
        made._hosts, made._everywhere = dict(self._hosts), self._everywhere
        # From now on both copy what they change: neither knows what the other still shows.
        made._owner, self._owner = object(), object()
        return made

    def add_all(self, claims: Iterable[Claim[E]], yields: Callable[[E], bool] | None = None) -> list[E]:
        """Publish every claim, or none of them.

        Among these claims ``*`` is every method that no other of them takes; to those of other calls it is every
        method, or one route could take another's callers.

        :param yields: whether an endpoint that is in the way makes room.
        :returns: those that make room; the caller takes them away, with `remove_all` and all their other claims.
        :raises ConflictError: a method, host and path is taken; names both who want it.
        """
        places: dict[tuple[str | None, str], tuple[PathTemplate, Leaf[E]]] = {}
        #: By host and shape: places that the trie doesn't have yet. Templates may differ in the names of parameters.
        new: dict[tuple[str | None, object], Leaf[E]] = {}
        wanted: dict[tuple[int, str], tuple[str | None, str, E]] = {}
        room: list[E] = []
        for host, template, method, endpoint in claims:
            if (host, template) not in places:
                shape = parse_template(template)
                found = self._find(host, shape)
                places[host, template] = shape, new.setdefault((host, shape.key), {}) if found is None else found
            leaf = places[host, template][1]
            holders = _holders(leaf, method)
            others = [other for other in holders if not (yields and yields(other))]
            if (id(leaf), method) in wanted:
                others = [wanted[id(leaf), method][2]]
            if others:
                here = f"{method} {host or ''}{template}"
                raise ConflictError(f"{here} is published twice: by {others[0]} and by {endpoint}")
            room += holders
            wanted[id(leaf), method] = (host, template, endpoint)
        mine: dict[tuple[str | None, str], Leaf[E]] = {}
        for (_, method), (host, template, endpoint) in wanted.items():
            shape = places[host, template][0]
            if (host, template) not in mine:
                mine[host, template] = self._leaf(host, shape)
            mine[host, template][method] = (endpoint, shape.names)
        return room

    def remove_all(self, claims: Iterable[Claim[E]]) -> None:
        """Take away what these claims hold, and every node that then leads nowhere."""
        for host, template, method, endpoint in claims:
            shape = parse_template(template)
            leaf = self._find(host, shape)
            held = leaf.get(method) if leaf else None
            if held is None or held[0] is not endpoint:
                continue
            way = self._way(host, shape)
            leaves = way[-1].rest if shape.rest else way[-1].leaf
            del leaves[shape.verb][method]
            if not leaves[shape.verb]:
                del leaves[shape.verb]
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
        """Where endpoints of `shape` live, if there are or were any."""
        node = self._hosts.get(host) if host else self._everywhere
        for step in shape.steps:
            if node is None:
                return None
            node = node.one if step is None else node.literals.get(step)
        if node is None:
            return None
        return (node.rest if shape.rest else node.leaf).get(shape.verb)

    def _way(self, host: str | None, shape: PathTemplate) -> list[_Node[E]]:
        """The nodes that lead to `shape`, made where they aren't yet, and all of them this matcher's own."""
        owner = self._owner
        if host:
            found = self._hosts.get(host)
            node = self._hosts[host] = _Node(owner) if found is None else found.of(owner)
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
        node = self._way(host, shape)[-1]
        return (node.rest if shape.rest else node.leaf).setdefault(shape.verb, {})

    def match(self, host: str, path: str, method: str) -> tuple[E, dict[str, str]]:
        """The endpoint and its parameters as sent, still percent-encoded. HEAD falls back to GET.

        :raises NotFound: no template has this path.
        :raises MethodNotAllowed: one has, but not with `method`; carries ``Allow``.
        """
        parts = path[1:].split("/")
        allowed: set[str] = set()
        if len(parts) <= MAX_SEGMENTS:
            values: list[str] = []
            for trie in (self._hosts.get(host), self._everywhere):
                if trie is not None:
                    found = _walk(trie, parts, 0, method, values, allowed)
                    if found is not None:
                        return found[0], dict(zip(found[1], values, strict=True))
                    values.clear()
        allowed.discard(WEBSOCKET)
        if allowed:
            if method == WEBSOCKET:
                raise MethodNotAllowed("No WebSocket is published at this path.", headers=[("allow", _listed(allowed))])
            if "GET" in allowed:
                allowed.add("HEAD")
            allow = _listed(allowed)
            raise MethodNotAllowed(f"{method} is not taken here; {allow} is.", headers=[("allow", allow)])
        raise NotFound("No route is published at this path.")


def _holders(leaf: Leaf[E], method: str) -> list[E]:
    """Whoever has what a claim to `method` asks for; by the names of their methods, so that it is the same whoever
    came first."""
    if method == ANY:
        return [leaf[name][0] for name in sorted(leaf)]
    return [leaf[name][0] for name in (method, ANY) if name in leaf]


def _listed(allowed: Iterable[str]) -> str:
    return ", ".join(sorted(allowed))


def _pick(leaf: Leaf[E] | None, method: str, allowed: set[str]) -> tuple[E, tuple[str, ...]] | None:
    if not leaf:
        return None
    found = leaf.get(method)
    if found is None and method in METHODS:
        # Not TRACE, which shows credentials, nor PURGE and the like, which nobody who publishes a service thinks of.
        found = leaf.get(ANY)
    if found is None and method == "HEAD":
        found = leaf.get("GET")
    if found is None:
        allowed.update(leaf.keys() - {ANY}, METHODS if ANY in leaf else ())
    return found


def _end(
    leaves: Mapping[str, Leaf[E]], tail: str, least: int, method: str, values: list[str], allowed: set[str]
) -> tuple[E, tuple[str, ...]] | None:
    """What of `leaves` a path ends in whose last value, of at least `least` characters, is `tail` without a verb."""
    plain = leaves.get("")
    if len(leaves) > (plain is not None) and ":" in tail:
        value, _, verb = tail.rpartition(":")
        if verb and "/" not in verb and len(value) >= least:
            found = _pick(leaves.get(verb), method, allowed)
            if found is not None:
                values.append(value)
                return found
    found = _pick(plain, method, allowed)
    if found is not None:
        values.append(tail)
    return found


def _walk(
    node: _Node[E], parts: list[str], at: int, method: str, values: list[str], allowed: set[str]
) -> tuple[E, tuple[str, ...]] | None:
    """What `parts` from `at` on lead to. Where it is nothing, `values` may hold some that are nobody's."""
    count = len(parts)
    while at < count:
        part = parts[at]
        child = node.literals.get(unquote(part) if "%" in part else part)
        one, rest = node.one, node.rest
        if one is None and not rest:
            if child is None:
                return None
            node = child
            at += 1
            continue
        mark = len(values)
        if child is not None:
            found = _walk(child, parts, at + 1, method, values, allowed)
            if found is not None:
                return found
            del values[mark:]
        if one is not None and part:
            if at + 1 == count:
                found = _end(one.leaf, part, 1, method, values, allowed)
            else:
                values.append(part)
                if not rest:
                    node = one
                    at += 1
                    continue
                found = _walk(one, parts, at + 1, method, values, allowed)
            if found is not None:
                return found
            del values[mark:]
        return _end(rest, "/".join(parts[at:]), 0, method, values, allowed) if rest else None
    return _pick(node.leaf.get(""), method, allowed)
