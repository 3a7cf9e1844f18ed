"""The whole OpenAPI 3.1 document. Same operations in, same document out, in whatever order they come."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any
from urllib.parse import urlsplit

import orjson

from bridge.admin.openapi.part import Place, described, finished
from bridge.admin.openapi.problems import HEADERS, PROBLEM, PROBLEM_SCHEMA, problem_responses
from bridge.admin.openapi.published import PublishedOperation
from bridge.admin.openapi.schemas import Names, SchemaPool
from bridge.admin.openapi.template import DocumentPath, plain, words
from bridge.api.spec.route import METHODS
from bridge.api.stream import WEBSOCKET

log = logging.getLogger("bridge.openapi")

#: What ``*`` stands for where the route names no methods.
ANY_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def build_document(
    operations: Iterable[PublishedOperation],
    *,
    title: str,
    version: str,
    servers: Sequence[Mapping[str, Any]] = (),
    **info: Any,
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `operations`, as values that JSON can hold.

    :param servers: Server Objects. :param info: further members of the Info Object.

    What a transformer describes wrongly, or fails to describe, costs that operation its details and a warning in the
    log, never the document. Nothing in it says where an upstream is or what it is called.
    """
    steps = draft_document(operations, title=title, version=version, servers=servers, **info)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            document: dict[str, Any] = end.value
            return document


def draft_document(
    operations: Iterable[PublishedOperation],
    *,
    title: str,
    version: str,
    servers: Sequence[Mapping[str, Any]] = (),
    **info: Any,
) -> Generator[None, None, dict[str, Any]]:
    """As `build_document`, with a yield after each operation: thousands take seconds, and whoever makes the document of
    a gateway that serves lets calls through between them. Returns the document."""
    contenders = _contenders(operations)
    places = [all_of_them[0] for all_of_them in contenders]
    pool = SchemaPool({PROBLEM: PROBLEM_SCHEMA})
    schemes = _Schemes()
    fragments: dict[int, dict[str, Any]] = {}
    ids = _operation_ids(places)
    hosts = len({place.published.spec.host for place in places} - {None}) > 1
    below = _path_of(servers)
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for (place, *others), operation_id in zip(contenders, ids, strict=True):
        published = place.published
        if id(published) not in fragments:  # `*` stands at several methods and is described once
            fragments[id(published)] = described(published, pool)
        paths[place.shown.text][place.method.lower()] = finished(
            fragments[id(published)],
            place,
            operation_id=operation_id,
            tags=published.spec.tags or (_tag(published),),
            security=schemes.add(published, place.method),
            server=f"//{published.spec.host}{below}" if hosts and published.spec.host else None,
            also=[_other(other) for other in others],
        )
        yield
    return _document(paths, pool, schemes, {"title": title, "version": version, **info}, servers)


def _document(
    paths: Mapping[str, dict[str, Any]],
    pool: SchemaPool,
    schemes: _Schemes,
    info: dict[str, Any],
    servers: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    entries = [entry for item in paths.values() for entry in item.values()]
    refs = {response["$ref"] for entry in entries for response in entry["responses"].values() if "$ref" in response}
    problems = problem_responses(ref.rpartition("/")[2] for ref in refs)
    shared = _shared_errors(entries, Names(problems))
    document: dict[str, Any] = {"openapi": "3.1.0", "info": info}
    if servers:
        document["servers"] = [dict(server) for server in servers]
    document["tags"] = [{"name": tag} for tag in in_order(entry["tags"] for entry in entries)]
    document["paths"] = {path: paths[path] for path in sorted(paths)}
    responses = [response for entry in entries for response in entry["responses"].values()]
    responses += [*problems.values(), *shared.values()]
    names = {name for response in responses for name in response.get("headers", ())}
    document["components"] = {
        "schemas": dict(sorted(pool.components.items())),
        "responses": dict(sorted({**problems, **shared}.items())),
        "headers": {name: header for name, header in HEADERS.items() if name in names},
        "securitySchemes": dict(sorted(schemes.components.items())),
    }
    return document


def _shared_errors(entries: Sequence[dict[str, Any]], names: Names) -> dict[str, dict[str, Any]]:
    """The error responses that several operations have, which then refer to them.

    :returns: by the names that they have among the components.
    """
    users: defaultdict[bytes, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for entry in entries:
        for status, response in entry["responses"].items():
            if status[0] in "45" and "$ref" not in response:
                users[orjson.dumps(response)].append((entry, status))
    shared: dict[str, dict[str, Any]] = {}
    for places in users.values():
        if len(places) < 2:
            continue
        entry, status = places[0]
        name = names.fresh(f"Service{status}")
        shared[name] = entry["responses"][status]
        for entry, status in places:
            entry["responses"] = {**entry["responses"], status: {"$ref": f"#/components/responses/{name}"}}
    return shared


def _path_of(servers: Sequence[Mapping[str, Any]]) -> str:
    """The path of the first server, which the operations of every host are below."""
    return urlsplit(servers[0]["url"]).path.rstrip("/") if servers else ""


def in_order(lists: Iterable[Sequence[str]]) -> list[str]:
    """All tags of `lists`, each once and in the lists' own order; otherwise, and where two lists contradict each other,
    by the alphabet. The order of `lists` doesn't matter."""
    later: defaultdict[str, set[str]] = defaultdict(set)
    for tags in lists:
        for at, tag in enumerate(tags):
            later[tag].update(tags[at + 1 : at + 2])
    earlier = Counter(tag for following in later.values() for tag in following)
    free = [tag for tag in later if not earlier[tag]]
    heapify(free)
    rest = iter(sorted(later))
    order: dict[str, None] = {}
    while len(order) < len(later):
        # None is free where lists contradict each other; then the alphabet decides.
        tag = heappop(free) if free else next(tag for tag in rest if tag not in order)
        order[tag] = None
        for following in later[tag]:
            earlier[following] -= 1
            if not earlier[following] and following not in order:
                heappush(free, following)
    return list(order)


# --- who gets which path and method -------------------------------------------------------------------------------


def _contenders(operations: Iterable[PublishedOperation]) -> list[list[Place]]:
    """For each path and method in the document's order: who publishes it, best first.

    Paths that differ in their parameters' names alone are one path to OpenAPI (3.1, section 4.8.8), so all that share
    it share the spelling of the first.
    """
    sortable = [(DocumentPath.of(one.spec.route, one.operation.path), one) for one in operations]
    sortable.sort(key=_order)
    spelling: dict[str, DocumentPath] = {}
    taken: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for template, one in sortable:
        spelling.setdefault(template.key, template)
        taken[one.route_id, template.key].add(one.operation.method)
    found: defaultdict[tuple[str, int], list[Place]] = defaultdict(list)
    for template, one in sortable:
        shown = spelling[template.key]
        for method in _methods(one, taken[one.route_id, template.key]):
            found[shown.text, METHODS.index(method)].append(Place(one, template, shown, method))
    return [found[at] for at in sorted(found)]


def _order(item: tuple[DocumentPath, PublishedOperation]) -> tuple[object, ...]:
    """One segment before the rest of the path and one method before ``*``, as the gateway matches; a host's own before
    every host's, since the document for a host holds both."""
    template, one = item
    spec, operation = one.spec, one.operation
    return (
        template.key,
        bool(template.rest),
        operation.method == "*",
        spec.host is None,
        spec.host or "",
        template.text,
        one.route_id,
        operation.method,
        operation.name,
    )


def _methods(published: PublishedOperation, methods: set[str]) -> Sequence[str]:
    method = published.operation.method
    if method == WEBSOCKET:
        return ()  # its HTTP operation tells of it
    if method not in ("*", *METHODS):
        log.info("route %s: OpenAPI has no place for the method %s", published.route_id, method)
        return ()
    if method != "*":
        return (method,)
    return [method for method in published.spec.methods or ANY_METHODS if method not in methods]


def _other(place: Place) -> dict[str, Any]:
    """One that is published at the same path and method, yet finds no room in the document."""
    spec = place.published.spec
    other = {"route": place.published.route_id, "path": place.own.text}
    return {**other, "host": spec.host} if spec.host else other


# --- names --------------------------------------------------------------------------------------------------------


def _operation_ids(places: Iterable[Place]) -> list[str]:
    """An id for each, made of the route's words and the operation's name: it stays when other routes come and go."""
    names = Names()
    ids = []
    for place in places:
        operation = place.published.operation
        parts, name = words(place.published.spec.route), plain(operation.name)
        if operation.method == "*":
            parts.insert(0, place.method.lower())
        if parts[-1:] != [name]:
            parts.append(name)
        ids.append(names.fresh("_".join(parts)))
    return ids


def _tag(published: PublishedOperation) -> str:
    """The tenant; for a route that belongs to nobody, the first word of its path that is no version."""
    if published.spec.tenant:
        return published.spec.tenant
    return next((word for word in words(published.spec.route) if not _is_version(word)), "routes")


def _is_version(word: str) -> bool:
    return word[0] in "vV" and word[1:].replace("_", "").isdigit()


class _Schemes:
    """Security schemes under one roof: the same shared, different ones of one name numbered."""

    def __init__(self) -> None:
        self.components: dict[str, Mapping[str, Any]] = {}
        self._names = Names()
        self._known: dict[str, list[str]] = {}

    def add(self, published: PublishedOperation, method: str) -> list[dict[str, list[str]]]:
        """The operation's requirements, by the names that its schemes have in the document."""
        names = {name: self._name(name, scheme) for name, scheme in published.schemes.items()}
        return [
            {names.get(name, name): list(scopes) for name, scopes in requirement.items()}
            for requirement in published.by_method.get(method, published.security)
        ]

    def _name(self, base: str, scheme: Mapping[str, Any]) -> str:
        names = self._known.setdefault(base, [])
        for name in names:
            if self.components[name] == scheme:
                return name
        names.append(self._names.fresh(base))
        self.components[names[-1]] = scheme
        return names[-1]
