"""Specs -> bound routes -> matcher. A new table is built beside the old one and then replaces it; calls in progress
finish on the old one. Everything that a request would otherwise look up is put on its `Endpoint` here, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, Literal, Protocol

import orjson

from bridge.api.authenticator import Authenticator
from bridge.api.cache import ReplyCache
from bridge.api.call import Call
from bridge.api.capabilities import BodyStreaming, Followed, capability
from bridge.api.egress import Cookies, Credentials, Egress
from bridge.api.grants import NO_SECRETS, Grant, Secrets, granted
from bridge.api.limiter import Limiter
from bridge.api.origins import OriginPolicy
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.cors import CorsSpec
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.route import METHODS, RouteSpec
from bridge.api.spec.upstream import Upstream
from bridge.api.stream import StreamCodec, StreamTranslation
from bridge.api.transformer import Operation
from bridge.config.yaml import Document
from bridge.errors import BindError, ConflictError, Fault, MethodNotAllowed, NotFound
from bridge.fronts.publish import Fronts
from bridge.gateway.chain import Chain
from bridge.gateway.matcher import ANY, SOME, Claim, Matcher
from bridge.gateway.ownership import OwnedPath, owned_paths
from bridge.http.template import join_template, parse_template
from bridge.plugins import Transformers
from bridge.stages.auth.presented import credential_parameters
from bridge.stages.cache.memory import MemoryCache
from bridge.stages.cors import CorsPolicy
from bridge.stages.quota.store import LimitStore, MemoryLimits, same_limits

#: A file's route is named after its file, a registered one has the number that the store gave it.
RouteId = int | str


class Sender(Protocol):
    """The connection to a route's upstream (`bridge.cluster.cluster.Cluster`)."""

    async def send(
        self, request: Any, *, deadline: float, trace: Sequence[tuple[str, str]], client_timeout: float | None = None
    ) -> Any: ...

    @property
    def stream(self) -> Any:
        """Opens a streaming call (`bridge.api.stream.UpstreamStream`); None if the transport has none."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a route comes from: its owner, and the file and lines for its faults."""

    id: RouteId
    kind: Literal["file", "store"]
    spec: RouteSpec
    file: str = ""
    #: Finds the lines of faults that only binding detects; None if the spec has none.
    document: Document | None = None
    #: When a registered route was last written (Unix seconds).
    changed_at: float = 0.0

    def __str__(self) -> str:
        """Its name in messages: its file, with the document's number in a file of several, or its number."""
        if not self.file:
            return f"route {self.id}" if self.id else "the new route"
        number = str(self.id).rpartition("#")[2] if "#" in str(self.id) else ""
        return f"document {int(number) + 1} of {self.file}" if number.isdigit() else self.file

    @property
    def digest(self) -> str:
        """Changes with the spec's content and with nothing else."""
        return digest_of(self.spec)

    @property
    def etag(self) -> str:
        """The entity tag. Each write of a registered route creates a new one, even with the same content, so that only
        one of several changes to one version succeeds."""
        if not self.changed_at:
            return self.digest
        return hashlib.sha256(f"{self.digest} {self.changed_at!r}".encode()).hexdigest()[:32]


def spec_json(spec: RouteSpec) -> dict[str, Any]:
    """A spec as its publisher would write it: in short forms, and without defaults."""
    document = spec.model_dump(mode="json", exclude_unset=True)
    document["upstream"] = str(spec.upstream)
    return document


def digest_of(spec: RouteSpec) -> str:
    return hashlib.sha256(orjson.dumps(spec_json(spec), option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


class Endpoint:
    """One operation of one route with all that a request needs (`bridge.api.stage.BoundOperation`).

    :ivar handle: the chain of its stages.
    :ivar streams_bodies: the service gets the client's own method and body (`bridge.api.capabilities.BodyStreaming`).
    :ivar upstream: name and port, for the log.
    """

    __slots__ = (
        "authenticator", "cache", "codec", "cookies", "cors", "credentials", "egress", "handle", "ignored_query",
        "limiter", "open", "operation", "request", "route", "send", "spec", "stream", "streams", "streams_bodies",
        "tenant", "timeout", "upstream",
    )  # fmt: skip

    def __init__(self, route: BoundRoute, operation: Operation, sender: Sender, chain: Chain) -> None:
        self.route, self.operation = route, operation
        self.spec = spec = route.source.spec
        self.codec: Any = operation.codec
        self.ignored_query = operation.ignored_query
        if self.ignored_query:  # credentials are no such thing: the stage that reads them removes them
            self.ignored_query -= credential_parameters(spec.auth)
        self.authenticator, self.limiter, self.cache = route.authenticator, route.limiter, route.cache
        self.cors = route.cors
        self.send, self.stream = sender.send, sender.stream
        self.streams = capability(operation.codec, StreamCodec) is not None
        self.egress, self.credentials, self.cookies = route.egress, route.credentials, route.cookies
        self.request, self.open = _edited(self.codec, self.egress, streams=self.streams)
        streaming = capability(operation.codec, BodyStreaming)
        self.streams_bodies = streaming is not None and streaming.streams_bodies
        self.tenant = spec.tenant or ""
        self.timeout = spec.timeout
        self.upstream = f"{spec.upstream.name}:{spec.upstream.port}"
        self.handle = chain.bind(self)

    def __str__(self) -> str:
        return str(self.route.source)


def _edited(codec: Any, egress: Egress | None, *, streams: bool) -> tuple[Any, Any]:  # private
    """`BoundOperation.request` and `open`: the codec's own where the route edits nothing."""
    request: Any = None if streams else codec.request
    open: Any = codec.open if streams else None
    if egress is None:
        return request, open
    apply = egress.apply

    def edited_request(call: Call) -> Any:
        return apply(call, request(call))

    def edited_open(call: Call) -> StreamTranslation:
        translation: StreamTranslation = open(call)
        translation.request = apply(call, translation.request)
        return translation

    return edited_request, edited_open


@dataclass(slots=True, eq=False)
class BoundRoute:
    """A route that can serve: its spec is compiled, its guards are built."""

    source: Source
    wire: str
    operations: Sequence[Operation]
    authenticator: Authenticator
    limiter: Limiter | None
    cache: ReplyCache | None
    cors: OriginPolicy | None = None
    egress: Egress | None = None
    credentials: Credentials | None = None
    cookies: Cookies | None = None
    #: How to detect that its contract has changed; None if only the gateway's files can change it.
    followed: Followed | None = None
    #: Of the contract that it is bound to, if that is followed.
    fingerprint: bytes = b""
    endpoints: Sequence[Endpoint] = field(default=())
    #: What its author should know: a sentence each.
    warnings: tuple[str, ...] = ()
    #: The paths that belong to it.
    owned: Sequence[OwnedPath] = field(default=())

    def template(self, operation: Operation) -> str:
        """The whole public path of `operation`."""
        return join_template(self.source.spec.route, operation.path)


class Binder:
    """Builds `BoundRoute`s: the transformer compiles, the guards and the upstream are composed.

    :param judge: stands in for `connect` where a spec is bound only to find its faults.
    :param egress: the edits of a route over a wire (``http``, ``grpc``); None: it has none. Called within its grant.
    :param credentials: a route's credentials that need I/O; None: it has none. Called within its grant.
    :param cookies: of the callers of a route over a wire; None: it keeps none.
    :param max_body: bytes; what a registered route may allow at most, as its publisher must not use up the memory that
        the operator has set a limit for. None: no limit.
    :param cors: of routes without a ``cors`` of their own.
    :param limits: where calls are counted; None: in memory.
    :ivar secrets: what routes that are bound from now on may name.
    """

    def __init__(
        self,
        transformers: Transformers,
        authenticate: Callable[[RouteSpec], Authenticator],
        connect: Callable[[Upstream, str, ConnectionSpec, RetrySpec | None], Sender],
        fronts: Fronts,
        chain: Chain,
        secrets: Secrets = NO_SECRETS,
        judge: Callable[[Upstream, str, ConnectionSpec, RetrySpec | None], Sender] | None = None,
        egress: Callable[[RouteSpec, str], Egress | None] = lambda spec, wire: None,
        credentials: Callable[[RouteSpec], Credentials | None] = lambda spec: None,
        cookies: Callable[[RouteSpec, str], Cookies | None] = lambda spec, wire: None,
        max_body: int | None = None,
        cors: CorsSpec | None = None,
        limits: LimitStore | None = None,
    ) -> None:
        self._limits = limits or MemoryLimits()
        self._transformers = transformers
        self._authenticate = authenticate
        self._connect = connect
        self._judge = judge or connect
        self._fronts, self._chain = fronts, chain
        self._egress, self._credentials, self._cookies = egress, credentials, cookies
        self.secrets, self._max_body, self._cors = secrets, max_body, cors

    async def fingerprint(self, route: BoundRoute) -> bytes:
        """The current fingerprint of the contract of `route`, which is followed (`bridge.api.Followed`)."""
        assert route.followed is not None
        with granted(self._grant(route.source, route.wire)):
            return await route.followed.fingerprint()

    def _check_max_body(self, source: Source) -> None:
        size, limit = source.spec.max_body, self._max_body
        if source.kind == "store" and size is not None and limit is not None and size > limit:
            reason = f"a registered route may take {limit} bytes at most (BRIDGE_MAX_BODY); only a file may allow more"
            raise BindError(Fault(reason, ("max_body",)))

    def _grant(self, source: Source, wire: str) -> Grant:
        spec = source.spec
        scheme = spec.upstream.scheme or wire  # a wire's plain scheme is named after it
        return Grant(source.kind == "file", spec.tenant or "", spec.upstream, scheme, self.secrets)

    def _limiter(self, spec: RouteSpec, operations: Sequence[str], old: BoundRoute | None) -> Limiter | None:
        limiter = self._limits.bind(spec, operations)
        return old.limiter if old is not None and same_limits(spec, old.source.spec) else limiter

    async def bind(self, source: Source, old: BoundRoute | None = None, *, serves: bool = True) -> BoundRoute:
        """:param old: the route that it replaces; if its limit is the same, the calls counted so far stay counted.
        :param serves: whether the route may be called; it is bound to find its faults otherwise.
        :raises SetupError: the spec can't be bound; the faults have the places.
        """
        spec = source.spec
        self._check_max_body(source)
        transformer = await self._transformers.get(spec.transform.request)
        with granted(self._grant(source, transformer.wire)):
            followed = await self._transformers.follow(spec, source.document, source.file)
            # First, so that a change while the route is bound is detected later.
            fingerprint = await followed.fingerprint() if followed is not None else b""
            operations = self._fronts.publish(spec, await self._transformers.bind(spec, source.document, source.file))
            warnings = await self._transformers.warnings(spec)
            connect = self._connect if serves else self._judge
            sender = connect(spec.upstream, transformer.wire, spec.connection, spec.retry)
            egress, credentials = self._egress(spec, transformer.wire), self._credentials(spec)
            cookies = _cookies(self._cookies(spec, transformer.wire), spec, old)
        authenticator = self._authenticate(spec)
        route = BoundRoute(
            source=source,
            wire=transformer.wire,
            operations=operations,
            authenticator=authenticator,
            limiter=self._limiter(spec, [operation.name for operation in operations], old),
            cache=MemoryCache(spec.cache.ttl) if spec.cache else None,
            cors=_cors(spec.cors or self._cors, spec, operations, authenticator),
            egress=egress,
            credentials=credentials,
            cookies=cookies,
            followed=followed,
            fingerprint=fingerprint,
            warnings=warnings,
        )
        route.endpoints = [Endpoint(route, operation, sender, self._chain) for operation in operations]
        route.owned = owned_paths(spec, map(route.template, operations) if spec.route == "/" else None)
        return route


def _cors(
    cors: CorsSpec | None, spec: RouteSpec, operations: Iterable[Operation], authenticator: Authenticator
) -> OriginPolicy | None:
    if cors is None or not cors.origins:
        return None
    methods = {method for operation in operations for method in _methods(spec, operation)}
    return CorsPolicy(cors, METHODS if ANY in methods else methods, authenticator.consumes)


def _cookies(cookies: Cookies | None, spec: RouteSpec, old: BoundRoute | None) -> Cookies | None:
    """Those of the route that this one replaces, if the service is the same, so that no session ends with a reload."""
    if cookies is None or old is None or old.cookies is None:
        return cookies
    before = old.source.spec
    return old.cookies if (before.upstream, before.tenant) == (spec.upstream, spec.tenant) else cookies


class Table:
    """Every live route and the matcher over their operations. Once built it is only read: a change creates the next
    table, which shares all unchanged parts with this one.

    The earlier route has precedence: a later one with a conflicting claim is left out as a whole, and is in `refused`
    until the claim is free.
    """

    def __init__(self, routes: Iterable[BoundRoute] = ()) -> None:
        self.routes: dict[RouteId, BoundRoute] = {}
        self.refused: list[tuple[BoundRoute, ConflictError]] = []
        self._matcher: Matcher[Endpoint] = Matcher()
        self.match = self._matcher.match
        #: Routes with CORS, at their paths and all below, each under a method of its own: see `cors_of`.
        self._places: Matcher[BoundRoute] = Matcher()
        #: The order of the routes, including refused ones.
        self._ranks: dict[RouteId, int] = {}
        for rank, route in enumerate(routes):
            self._ranks[route.source.id] = rank
            self._admit(route, rank)
        self._next = len(self._ranks)

    def check(self, route: BoundRoute) -> None:
        """:raises ConflictError: `route` conflicts with another live route; its own old version does not count."""
        trial = self._matcher.copy()
        old = self.routes.get(route.source.id)
        if old is not None:
            trial.remove_all(_claims(old))
        trial.add_all(_claims(route))

    def preflight(self, host: str, path: str, method: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint that answers a preflight for `method`, and its parameters; None: there is no CORS.

        Where nothing is published with this method, or below a route, it is another endpoint of the route: what follows
        is a 405 or 404 that the page can read.
        """
        try:
            match = self.match(host, path, method if method in METHODS else SOME)
        except MethodNotAllowed:
            match = self.match(host, path, SOME)
        except NotFound:
            route = self._place(host, path)
            return None if route is None else (route.endpoints[0], {})
        return None if match[0].cors is None else match

    def cors_of(self, host: str, path: str) -> OriginPolicy | None:
        """For the response to a request that matches no endpoint: of a route at this path, or of the one above it."""
        try:
            return self.match(host, path, SOME)[0].cors
        except NotFound:
            route = self._place(host, path)
            return None if route is None else route.cors

    def _place(self, host: str, path: str) -> BoundRoute | None:
        try:
            return self._places.match(host, path, SOME)[0]
        except NotFound:
            return None

    def with_route(self, route: BoundRoute) -> Table:
        """The next table: `route` replaces the one with its id, or is appended."""
        table = self._copy()
        id = route.source.id
        rank = table._ranks.setdefault(id, table._next)
        table._next = max(table._next, rank + 1)
        table._settle([(rank, route)], ())
        return table

    def without(self, id: RouteId) -> Table:
        """The next table, without the route `id`."""
        table = self._copy()
        table._settle([], [id])
        table._ranks.pop(id, None)
        return table

    def over(self, routes: Iterable[BoundRoute]) -> Table:
        """The next table, with these `routes` in their order."""
        ranked = {route.source.id: (rank, route) for rank, route in enumerate(routes)}
        ranks = [self._ranks[id] for id in ranked if id in self._ranks]
        if ranks != sorted(ranks):
            return Table(route for _, route in ranked.values())
        table = self._copy()
        before = self.routes | {route.source.id: route for route, _ in self.refused}
        added = [(rank, route) for id, (rank, route) in ranked.items() if before.get(id) is not route]
        removed = [id for id in before if id not in ranked]
        table._ranks = {id: rank for id, (rank, _) in ranked.items()}
        table._next = len(ranked)
        table._settle(added, removed)
        return table

    def _copy(self) -> Table:
        table = Table()
        table.routes, table.refused = dict(self.routes), list(self.refused)
        table._matcher = self._matcher.copy()
        table.match = table._matcher.match
        table._places = self._places.copy()
        table._ranks, table._next = dict(self._ranks), self._next
        return table

    def _settle(self, added: list[tuple[int, BoundRoute]], removed: Iterable[RouteId]) -> None:
        """Remove the `removed` routes and the old versions of the `added` ones. Then admit in order: the added ones,
        those refused until now, and those that must give way to an earlier one."""
        fresh = {route.source.id for _, route in added}
        leaving = [*removed, *fresh]
        for old in [self.routes[id] for id in leaving if id in self.routes]:
            self._matcher.remove_all(_claims(old))
            self._places.remove_all(_places(old))
            if old.source.id not in fresh:
                del self.routes[old.source.id]
        ids = set(leaving)
        refused = [(self._ranks[route.source.id], route) for route, _ in self.refused if route.source.id not in ids]
        last = self._ranks[next(reversed(self.routes))] if self.routes else -1
        self.refused = []
        queue, ordered = added + refused, True
        heapify(queue)
        while queue:
            rank, route = heappop(queue)
            ordered = ordered and (route.source.id in self.routes or rank > last)
            for later in self._admit(route, rank):
                self._matcher.remove_all(_claims(later))
                self._places.remove_all(_places(later))
                del self.routes[later.source.id]
                heappush(queue, (self._ranks[later.source.id], later))
        for route, _ in self.refused:
            self.routes.pop(route.source.id, None)
        if not ordered:
            self.routes = dict(sorted(self.routes.items(), key=lambda item: self._ranks[item[0]]))

    def _admit(self, route: BoundRoute, rank: int) -> Iterable[BoundRoute]:
        """Let `route` serve unless an earlier one has its claims; later ones with them give way."""
        try:
            room = self._matcher.add_all(_claims(route), lambda other: self._ranks[other.route.source.id] > rank)
        except ConflictError as error:
            self.refused.append((route, error))
            return ()
        self._places.add_all(_places(route))
        self.routes[route.source.id] = route
        return {endpoint.route.source.id: endpoint.route for endpoint in room}.values()


def _claims(route: BoundRoute) -> Iterator[Claim[Endpoint]]:
    spec = route.source.spec
    for endpoint in route.endpoints:
        template = route.template(endpoint.operation)
        for method in _methods(spec, endpoint.operation):
            yield spec.host, template, method, endpoint


def _places(route: BoundRoute) -> Iterator[Claim[BoundRoute]]:
    """The paths at which a route with CORS answers for what is not published."""
    spec = route.source.spec
    if route.cors is None or not route.endpoints:
        return
    key = f"{route.source.kind} {route.source.id}"
    yield spec.host, spec.route, key, route
    template = parse_template(spec.route)
    if not template.rest and not template.verb:
        yield spec.host, join_template(spec.route, "/{rest_of_the_path*}"), key, route


def _methods(spec: RouteSpec, operation: Operation) -> Sequence[str]:
    return spec.methods if operation.method == "*" and spec.methods else (operation.method,)
