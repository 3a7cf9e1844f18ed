"""Specs -> bound routes -> matcher. A table is built whole and swapped in; calls under way finish on the old one.

Whatever a request would otherwise look up is put on its `Endpoint` here, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson

from bridge.errors import ConflictError
from bridge.guards.auth import Authenticator
from bridge.guards.cache import MicroCache
from bridge.guards.limits import Limiter
from bridge.matcher import Matcher
from bridge.plugins import Transformers
from bridge.spec import Connection, RouteSpec, Upstream
from bridge.transformer import Operation

#: A file's route is named after its file, a registered one has the number that the store gave it.
RouteId = int | str


class Sender(Protocol):
    """What the upstream room binds for a route: `HttpUpstream` or `GrpcUpstream`."""

    async def send(self, request: Any, *, deadline: float, trace: Sequence[tuple[str, str]]) -> Any: ...

    @property
    def stream(self) -> Any:
        """Opens a streaming call (`bridge.stream.UpstreamStream`); None where the wire has none."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a route was written down: who owns it, and where its faults are to be shown."""

    id: RouteId
    kind: Literal["file", "store"]
    spec: RouteSpec
    file: str = ""
    #: The parsed document, for the lines of faults that only binding finds.
    document: Any = None

    @property
    def etag(self) -> str:
        """Changes with the spec's content and with nothing else."""
        return etag_of(self.spec)


def spec_json(spec: RouteSpec) -> dict[str, Any]:
    """A spec as its publisher would write it: the short form of what is short, nothing that was not said."""
    shown = spec.model_dump(mode="json", exclude_unset=True)
    shown["upstream"] = str(spec.upstream)
    return shown


def etag_of(spec: RouteSpec) -> str:
    return hashlib.sha256(orjson.dumps(spec_json(spec), option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


class Endpoint:
    """One operation of one route with its guards, codec and upstream at hand: all that a request needs."""

    __slots__ = (
        "auth", "bounds", "cache", "codec", "limiter", "operation", "refusal", "route", "send", "stream", "streams",
        "tenant", "timeout", "upstream",
    )  # fmt: skip

    def __init__(self, route: BoundRoute, operation: Operation, sender: Sender) -> None:
        self.route = route
        self.operation = operation
        self.codec: Any = operation.codec
        self.auth = route.auth
        self.limiter = route.limiter
        self.cache = route.cache
        self.send = sender.send
        self.stream = sender.stream
        #: Whether the operation is a `bridge.stream.StreamCodec`.
        self.streams = hasattr(operation.codec, "open")
        #: How the operation's clients are refused, where not by problem+json (`bridge.stream.Refusing`).
        self.refusal: Any = getattr(operation.codec, "refusal", None)
        self.bounds = route.source.spec.stream
        self.tenant = route.source.spec.tenant or ""
        self.timeout = route.source.spec.timeout
        self.upstream = f"{route.source.spec.upstream.name}:{route.source.spec.upstream.port}"

    def __str__(self) -> str:
        return f"route {self.route.source.id}"


@dataclass(slots=True, eq=False)
class BoundRoute:
    """A route that can serve: its spec compiled, its guards made."""

    source: Source
    wire: str
    operations: Sequence[Operation]
    auth: Authenticator
    limiter: Limiter | None
    cache: MicroCache | None
    endpoints: Sequence[Endpoint] = field(default=())

    def template(self, operation: Operation) -> str:
        """The whole public path of `operation`."""
        base = self.source.spec.route
        return (base.rstrip("/") + operation.path) if operation.path else base


class Binder:
    """Makes `BoundRoute`s: the transformer compiles, the guards and the upstream are composed."""

    def __init__(
        self,
        transformers: Transformers,
        authenticate: Callable[[RouteSpec], Authenticator],
        connect: Callable[[Upstream, str, Connection], Sender],
    ) -> None:
        self._transformers = transformers
        self._authenticate = authenticate
        self._connect = connect

    async def changed(self, route: BoundRoute) -> bool:
        """Whether binding `route` again would give something else: its contract has changed where it comes from."""
        return await self._transformers.changed(route.source.spec)

    async def bind(self, source: Source, old: BoundRoute | None = None) -> BoundRoute:
        """:param old: what served until now; where its limit is the same, what callers have used of it still counts.
        :raises SetupError: the spec can't be bound; the faults say where.
        """
        spec = source.spec
        transformer = await self._transformers.get(spec.transform.request)
        operations = await self._transformers.bind(spec, source.document, source.file)
        sender = self._connect(spec.upstream, transformer.wire, spec.connection)
        route = BoundRoute(
            source=source,
            wire=transformer.wire,
            operations=operations,
            auth=self._authenticate(spec),
            limiter=_limiter(spec, old),
            cache=MicroCache(spec.cache.ttl) if spec.cache else None,
        )
        route.endpoints = [Endpoint(route, operation, sender) for operation in operations]
        return route


def _limiter(spec: RouteSpec, old: BoundRoute | None) -> Limiter | None:
    if old is not None and old.source.spec.rate_limit == spec.rate_limit:
        return old.limiter
    return Limiter(spec.rate_limit) if spec.rate_limit else None


class Table:
    """Every live route and the matcher over their operations. Built whole, then only read.

    Routes come first come first served; one that claims what another has is left out whole and stands in `refused`.
    """

    def __init__(self, routes: Iterable[BoundRoute] = ()) -> None:
        self.routes: dict[RouteId, BoundRoute] = {}
        self.refused: list[tuple[BoundRoute, ConflictError]] = []
        self._matcher: Matcher[Endpoint] = Matcher()
        self.match = self._matcher.match
        for route in routes:
            try:
                self._matcher.add_all(
                    (route.source.spec.host, route.template(endpoint.operation), method, endpoint)
                    for endpoint in route.endpoints
                    for method in _methods(route.source.spec, endpoint.operation)
                )
            except ConflictError as error:
                self.refused.append((route, error))
            else:
                self.routes[route.source.id] = route


def _methods(spec: RouteSpec, operation: Operation) -> Sequence[str]:
    return spec.methods if operation.method == "*" and spec.methods else (operation.method,)
