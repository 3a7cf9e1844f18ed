"""The matcher: hosts and path templates in a trie, so that a match costs the same with ten routes as with ten thousand.

Literal before ``{name}`` before ``{name*}``, and a ``:verb`` before its plain form; where the better branch has the
path but not the method, the next one is tried, and only then is it 405.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar
from urllib.parse import unquote

from bridge.errors import ConflictError, MethodNotAllowed, NotFound
from bridge.spec import METHODS
from bridge.stream import WEBSOCKET

ANY = "*"
MAX_SEGMENTS = 128


class Endpoint(Protocol):
    """What the trie holds: anything that can say who it is."""

    def __str__(self) -> str: ...


E = TypeVar("E", bound=Endpoint)

#: By method: the endpoint and the names of its parameters in path order.
Leaf = dict[str, tuple[E, tuple[str, ...]]]


class _Node(Generic[E]):
    __slots__ = ("leaf", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[E]] = {}
        self.one: _Node[E] | None = None
        #: Endpoints that end here, by custom verb; "" is the plain form.
        self.leaf: dict[str, Leaf[E]] = {}
        #: Endpoints of ``{name*}``, by custom verb.
        self.rest: dict[str, Leaf[E]] = {}


class Matcher(Generic[E]):
    """Filled with `add_all`, then only read."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Node[E]] = {}
        self._everywhere: _Node[E] = _Node()

    def add_all(self, claims: Iterable[tuple[str | None, str, str, E]]) -> None:
        """Publish every (host, template, method, endpoint), or none of them.

        Templates are as `bridge.spec.check_template` takes them. Among these claims ``*`` is every method that no
        other of them takes; to those of other calls it is every method, or one route could take another's callers.

        :raises ConflictError: a method, host and path is taken; names both who want it.
        """
        places: dict[tuple[int, str], tuple[Leaf[E], str, E, tuple[str, ...]]] = {}
        for host, template, method, endpoint in claims:
            leaf, names = self._leaf(host, template)
            taken = leaf.get(method) or leaf.get(ANY) or (next(iter(leaf.values()), None) if method == ANY else None)
            other = taken[0] if taken else None
            if (id(leaf), method) in places:
                other = places[id(leaf), method][2]
            if other is not None:
                raise ConflictError(f"{method} {host or ''}{template} is published twice: by {other} and by {endpoint}")
            places[id(leaf), method] = (leaf, method, endpoint, names)
        for leaf, method, endpoint, names in places.values():
            leaf[method] = (endpoint, names)

    def _leaf(self, host: str | None, template: str) -> tuple[Leaf[E], tuple[str, ...]]:
        """The place where endpoints of `template` live, made where it isn't yet, and the template's parameters."""
        node = self._hosts.setdefault(host, _Node()) if host else self._everywhere
        names: list[str] = []
        verb = ""
        leaves = None
        for segment in template[1:].split("/"):
            if not segment.startswith("{"):
                node = node.literals.setdefault(unquote(segment), _Node())
                continue
            name, _, verb = segment.partition("}")
            verb = verb.removeprefix(":")
            if name.endswith("*"):
                names.append(name[1:-1])
                leaves = node.rest
            else:
                names.append(name[1:])
                if node.one is None:
                    node.one = _Node()
                node = node.one
        return (node.leaf if leaves is None else leaves).setdefault(verb, {}), tuple(names)

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
        allowed.discard(WEBSOCKET)
        if allowed:
            if method == WEBSOCKET:
                raise MethodNotAllowed("No WebSocket is published at this path.", headers=[("allow", _listed(allowed))])
            if "GET" in allowed:
                allowed.add("HEAD")
            allow = _listed(allowed)
            raise MethodNotAllowed(f"{method} is not taken here; {allow} is.", headers=[("allow", allow)])
        raise NotFound("No route is published at this path.")


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


def _leaves(leaves: Mapping[str, Leaf[E]], last: str) -> Iterator[tuple[Leaf[E], int]]:
    """The leaves that `last`, a path's last segment, may end in, and how many characters of it are the verb's."""
    if len(leaves) > (1 if "" in leaves else 0) and ":" in last:
        verb = last.rpartition(":")[2]
        if verb in leaves and verb:
            yield leaves[verb], len(verb) + 1
    if "" in leaves:
        yield leaves[""], 0


def _walk(
    node: _Node[E], parts: list[str], at: int, method: str, values: list[str], allowed: set[str]
) -> tuple[E, tuple[str, ...]] | None:
    if at == len(parts):
        return _pick(node.leaf.get(""), method, allowed)
    part = parts[at]
    child = node.literals.get(unquote(part) if "%" in part else part)
    if child is not None:
        found = _walk(child, parts, at + 1, method, values, allowed)
        if found is not None:
            return found
    if node.one is not None and part:
        if at + 1 == len(parts):
            for leaf, cut in _leaves(node.one.leaf, part):
                value = part[:-cut] if cut else part
                found = _pick(leaf, method, allowed) if value else None
                if found is not None:
                    values.append(value)
                    return found
        else:
            values.append(part)
            found = _walk(node.one, parts, at + 1, method, values, allowed)
            if found is not None:
                return found
            values.pop()
    if node.rest:
        for leaf, cut in _leaves(node.rest, parts[-1]):
            found = _pick(leaf, method, allowed)
            if found is not None:
                rest = "/".join(parts[at:])
                values.append(rest[:-cut] if cut else rest)
                return found
    return None
