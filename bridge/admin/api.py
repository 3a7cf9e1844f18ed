"""The admin API: ``POST /register`` and everything below ``/-/`` that publishers and operators use.

Each call takes a bearer JWT with one of the roles that `bridge.admin.permissions` has for it; a caller whose token
names a tenant sees and changes that tenant's routes only. Who may read health, metrics and the OpenAPI document is
decided in `bridge.admin.access`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bridge.admin.access import ADMIN_LISTENER, reader_of
from bridge.admin.answers import (
    YAML_TYPES,
    active,
    fields_of,
    json_response,
    prefix_of,
    read_body,
    wants_yaml,
    yaml_response,
)
from bridge.admin.bindings import BindingPages
from bridge.admin.callers import Callers
from bridge.admin.changes import ChangePages
from bridge.admin.history import History
from bridge.admin.keys import KeyPages
from bridge.admin.log import LogPages
from bridge.admin.openapi import PublishedOperation, draft_document, for_host, for_tenant
from bridge.admin.openapi.access import methods_with_needs
from bridge.admin.publisher import PublisherAccess, preconditions, registered
from bridge.admin.recorder import TRUSTED_PROXY
from bridge.api.call import Identity
from bridge.api.media import URLENCODED, begins_as_json, is_json, media_type
from bridge.api.spec.route import RouteSpec
from bridge.catalog.live import UnboundRoute
from bridge.catalog.registry import Registry
from bridge.config.specfile import Draft, draft_of, drafts_of
from bridge.errors import (
    ClientError,
    Conflict,
    ConflictError,
    Fault,
    Forbidden,
    InvalidParameter,
    NotOwned,
    SetupError,
    SpecError,
    UnsupportedMediaType,
)
from bridge.gateway.table import BoundRoute, RouteId, Source, Table, spec_json
from bridge.http.memo import Memo
from bridge.http.public_address import public_base
from bridge.observe.metrics import Metrics
from bridge.payload.parsing import parse_json

_SAID = frozenset({"description", "tags", "deprecated", "sunset"})  # keys of a spec that are listed as they are
_OPENING = b'{"openapi":"3.1.0",'  # of a document as orjson writes it
STEPS = 16  #: operations described at a stretch, in which nobody else is served; each takes a quarter of a millisecond


class Admin:
    """The handlers. Each takes a Starlette request and raises the house's errors; the app turns those into problems."""

    def __init__(
        self,
        registry: Registry,
        callers: Callers,
        metrics: Metrics,
        info: Mapping[str, Any],
        ready: Callable[[], bool],
        servers: Sequence[Mapping[str, Any]] = (),
        log: Path | None = None,
    ) -> None:
        """:param info, servers: of the OpenAPI document, as the settings have them.
        :param log: the file of the access log; None where it is standard output.
        """
        self._registry = registry
        self._access = PublisherAccess(registry, callers)
        self._changes = ChangePages(registry, self._access)
        self._history = History(registry, self._access, self._changes)
        self._bindings = BindingPages(registry.bindings, registry.tenancy, self._access)
        self._keys = KeyPages(registry.keys, self._access)
        self._log = LogPages(log, registry, self._access)
        self._metrics = metrics
        self._info, self._servers = info, servers
        self._ready = ready
        self._documents = Memo[tuple[str, str], tuple[Table, bytes]](1000)
        #: One document is made at a time: whoever asks for the same one meanwhile gets it too.
        self._drafting = asyncio.Lock()

    def registration(self) -> BaseRoute:
        """``/register``."""
        return self._access.route("/register", POST=self.register)

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``."""
        route = self._access.route
        return [
            route("/-/routes", GET=self.list_routes, POST=self.register),
            route("/-/routes/check", POST=self.check),
            route("/-/routes/{id:path}/check", POST=self.check),
            route("/-/routes/{id:path}/openapi", GET=self.route_openapi),
            *self._history.routes(),
            route("/-/routes/{id:path}", GET=self.show, PUT=self.replace, DELETE=self.delete),
            *self._changes.routes(),
            *self._bindings.routes(),
            *self._keys.routes(),
            *self._log.routes(),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]

    # --- who and what -------------------------------------------------------------------------------------------

    async def _spec(self, request: Request, who: Identity) -> tuple[RouteSpec, Any]:
        """The body as a spec, with its parsed document where it has lines."""
        kind, body = media_type(request.headers.get("content-type", "application/json")), await read_body(request)
        if kind == URLENCODED and begins_as_json(body):  # `curl -d` declares it so
            kind = "application/json"
        if kind not in YAML_TYPES and not is_json(kind):
            raise UnsupportedMediaType("A spec is sent as application/json or application/yaml.")
        # A large one takes up to a second to read, in which everybody else is served.
        draft = await asyncio.to_thread(_read, kind, body)
        spec = draft.spec
        if spec is None:
            raise SpecError(draft.faults)
        if who.tenant and spec.tenant is None:
            spec = spec.model_copy(update={"tenant": who.tenant})
        self._access.allow(who, spec.tenant)
        if draft.faults:
            raise SpecError(
                await self._registry.faults_of(draft, Source(0, "store", spec, document=draft.document), who)
            )
        return spec, draft.document

    # --- routes -------------------------------------------------------------------------------------------------

    async def register(self, request: Request, who: Identity) -> Response:
        spec, document = await self._spec(request, who)
        source = Source(0, "store", spec, document=document)
        if self._changes.awaits(who):
            return await self._changes.propose(request, who, "create", None, source)
        bound = await self._registry.put(source, who)
        location = f"{prefix_of(request)}/-/routes/{bound.source.id}"
        return active(bound, await self._registry.warnings(bound), 201, location=location)

    async def replace(self, request: Request, who: Identity) -> Response:
        current = await self._access.own(request, who)
        route_id = registered(current)
        judge = self._access.judge(request, who)
        judge(current)
        spec, document = await self._spec(request, who)
        source = Source(route_id, "store", spec, document=document)
        if self._changes.awaits(who):
            return await self._changes.propose(request, who, "replace", current, source)
        bound = await self._registry.put(source, who, judge)
        return active(bound, await self._registry.warnings(bound))

    async def delete(self, request: Request, who: Identity) -> Response:
        current = await self._access.own(request, who)
        route_id = registered(current)
        judge = self._access.judge(request, who)
        judge(current)
        if self._changes.awaits(who):
            return await self._changes.propose(request, who, "delete", current, current)
        await self._registry.delete(route_id, who.subject, judge)
        return Response(status_code=204)

    async def show(self, request: Request, who: Identity) -> Response:
        source = await self._access.own(request, who)
        conditions, etag = preconditions(request), f'"{source.etag}"'
        if not conditions.matches(source.etag):
            conditions.judge(source.etag)
        if conditions.known(source.etag):
            return Response(status_code=304, headers={"etag": etag})
        if wants_yaml(request):
            return await yaml_response(source.spec, etag=etag, vary="accept")
        shown = await self._listed(source) | {"spec": spec_json(source.spec)}
        if source.document is not None and source.file:
            shown["line"] = (await asyncio.to_thread(source.document.lines)).line
        return json_response(shown, etag=etag, vary="accept")

    async def route_openapi(self, request: Request, who: Identity) -> Response:
        """The document of one live route, whichever host it answers at."""
        source = await self._access.own(request, who)
        bound = self._registry.table.routes.get(source.id)
        if bound is None:
            raise Conflict("This route can't serve, so it publishes nothing; GET it to see why.")
        return json_response(await self._document(published([bound]), self._servers or _servers(request)))

    async def list_routes(self, request: Request, who: Identity) -> Response:
        live = self._registry.table.routes
        sources = [route.source for route in live.values()]
        sources += [broken.source for broken in self._registry.broken.values() if broken.source.id not in live]
        return json_response(
            {
                "routes": [
                    await self._listed(source)
                    for source in sources
                    if not who.tenant or source.spec.tenant == who.tenant
                ]
            }
        )

    async def check(self, request: Request, who: Identity) -> Response:
        """A dry run of ``register``; of a change, where the path or ``?id=`` names the route that it would replace."""
        id_text = _replaced(request)
        current = await self._access.own(request, who, id_text) if id_text else None
        if current is not None:
            self._access.judge(request, who)(current)
        answer: dict[str, Any] = {
            "ok": True,
            "problems": [],
            "warnings": [],
            "policy": {"verdict": "none configured"},
        }
        try:
            spec, document = await self._spec(request, who)
            source = Source(current.id if current is not None else 0, "store", spec, document=document)
            bound = await self._registry.check(source, who)
            answer["warnings"] = await self._registry.warnings(bound)
            answer["openapi"] = await self._document(published([bound]), self._servers or _servers(request))
        except NotOwned as error:
            answer["ok"] = False
            answer["problems"] = [{"key": error.key.replace("/", "."), "reason": error.reason, "line": None}]
        except SetupError as error:
            if isinstance(error, ConflictError) and current is None:
                error = ConflictError([_with_hint(fault) for fault in error.faults])
            answer["ok"] = False
            answer["problems"] = [
                {"key": fault.key, "reason": fault.reason, "line": fault.line or None} for fault in error.faults
            ]
        return json_response(answer)

    async def _listed(self, source: Source) -> dict[str, Any]:
        broken: UnboundRoute | None = self._registry.broken.get(source.id)
        bound = self._registry.table.routes.get(source.id)
        spec = source.spec
        listed: dict[str, Any] = {
            "route_id": source.id,
            "status": "ACTIVE" if bound else "BROKEN",
            "source": source.kind,
            "route": spec.route,
            "methods": list(spec.methods or sorted({op.method for op in bound.operations} if bound else ())),
            "host": spec.host,
            "tenant": spec.tenant,
            "transformer": spec.transform.request,
            "auth": getattr(spec.auth, "type", "any"),
            "upstream": str(spec.upstream),
            "operations": [
                {"method": op.method, "path": bound.template(op), "name": op.name} for op in bound.operations
            ]
            if bound
            else [],
            "etag": source.etag,
        }
        listed |= {key: value for key, value in spec_json(spec).items() if key in _SAID}
        if source.file:
            listed["file"] = source.file
        if broken:
            listed["problems"] = [str(replace(fault, file="", line=0)) for fault in broken.error.faults]
        if bound and (warnings := await self._registry.warnings(bound)):
            listed["warnings"] = warnings
        return listed

    # --- pages that may be public -------------------------------------------------------------------------------

    async def live(self, request: Request) -> Response:
        return json_response({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """Whether the gateway serves, and how many routes; with the token of a tenant, how many of its own."""
        ready, (live, broken) = self._ready(), self._seen_by(reader_of(request))
        body: dict[str, Any] = {"status": "ready" if ready else "starting", "routes": len(live)}
        if broken:
            body["broken"] = len(broken)
        return json_response(body) if ready else json_response(body, 503, **{"retry-after": "1"})

    async def metrics(self, request: Request) -> Response:
        """All figures; with the token of a tenant, those of its routes."""
        reader = reader_of(request)
        live, broken = self._seen_by(reader)
        if reader is not None and reader.tenant:
            text = self._metrics.render_routes([str(id) for id in live | broken], len(live))
        else:
            self._metrics.routes.set(len(live))
            text = self._metrics.render()
        return Response(text, media_type=self._metrics.content_type)

    def _seen_by(self, reader: Identity | None) -> tuple[Set[RouteId], Set[RouteId]]:
        """The routes that are live, and those that can't serve; of a tenant's reader those of the tenant."""
        live, broken = self._registry.table.routes, self._registry.broken
        if reader is None or not reader.tenant:
            return live.keys(), broken.keys()
        own = {id for id, route in live.items() if route.source.spec.tenant == reader.tenant}
        return own, {id for id, one in broken.items() if one.source.spec.tenant == reader.tenant}

    async def openapi(self, request: Request) -> Response:
        """The document for the host it is asked at, and for one ``tenant`` where the query names it."""
        host, tenant = request.url.hostname or "", request.query_params.get("tenant", "")
        reader = reader_of(request)
        if reader is not None and reader.tenant:
            if tenant not in ("", reader.tenant):
                raise Forbidden(f"Your token is of the tenant {reader.tenant!r}; this is the document of {tenant!r}.")
            tenant = reader.tenant
        document = self._made(host, tenant)
        if document is None:
            async with self._drafting:
                document = self._made(host, tenant) or await self._make(host, tenant)
        if not self._servers and (servers := _servers(request)):
            document = b'%b"servers":%b,%b' % (_OPENING, orjson.dumps(servers), document.removeprefix(_OPENING))
        return Response(document, media_type="application/json")

    def _key(self, host: str, tenant: str) -> tuple[str, str]:
        hosts = {route.source.spec.host for route in self._registry.table.routes.values()}
        return host if host in hosts else "", tenant

    def _made(self, host: str, tenant: str) -> bytes | None:
        """The document as it was made last, if no route has changed since."""
        cached = self._documents.get(self._key(host, tenant))
        return cached[1] if cached and cached[0] is self._registry.table else None

    async def _make(self, host: str, tenant: str) -> bytes:
        table, key = self._registry.table, self._key(host, tenant)
        operations = for_host(published(table.routes.values()), host)
        if tenant:
            operations = for_tenant(operations, tenant)
        document = await self._document(operations, self._servers)
        text = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)
        self._documents[key] = (table, text)
        return text

    async def _document(
        self, operations: Iterable[PublishedOperation], servers: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any]:
        """The document of `operations`. With thousands of them calls are answered while it is made."""
        steps = draft_document(operations, servers=servers, **self._info)
        while True:
            for _ in range(STEPS):
                try:
                    next(steps)
                except StopIteration as end:
                    document: dict[str, Any] = end.value
                    return document
            await asyncio.sleep(0)


def _servers(request: Request) -> list[dict[str, Any]]:
    """Where a trusted proxy says that it serves the routes, as Server Objects; none if it says nothing.

    The request may have come by a listener that serves no routes, whose address is not theirs.
    """
    if not request.scope.get(TRUSTED_PROXY) or request.scope.get(ADMIN_LISTENER):
        return []
    base = public_base(fields_of(request), request.url.scheme, request.headers.get("host", ""))
    return [{"url": base}] if base else []


def _replaced(request: Request) -> str:
    """The id of the route that a dry run is to replace; ``""`` for a new route.

    :raises InvalidParameter: the query holds something else, or names another route than the path.
    """
    in_path = str(request.path_params.get("id", ""))
    unknown = [name for name in request.query_params if name != "id"]
    if unknown:
        raise InvalidParameter([(name, "unknown; id names the route that the spec would replace") for name in unknown])
    ids = request.query_params.getlist("id")
    if "" in ids or len({*ids, *filter(None, [in_path])}) > 1:
        raise InvalidParameter([("id", "it must name one route, by the route_id that /-/routes lists")])
    return in_path or "".join(ids[:1])


def _with_hint(fault: Fault) -> Fault:
    hint = "if this spec is a change of that route, name the route: POST /-/routes/check?id=ID"
    return replace(fault, reason=f"{fault.reason}; {hint}")


def _read(kind: str, body: bytes) -> Draft:
    """The spec that `body` holds, as far as it can be read; with its document where it has lines."""
    if kind not in YAML_TYPES:
        return draft_of(parse_json(body, exact=False))
    try:
        drafts, faults = drafts_of(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise ClientError("The spec is not UTF-8 text.") from None
    if faults:
        raise SpecError([fault for draft in drafts for fault in draft.faults] + faults)
    if len(drafts) != 1:
        raise ClientError("One request registers one route; the body holds several documents.")
    return drafts[0]


def published(routes: Iterable[BoundRoute]) -> list[PublishedOperation]:
    """What of `routes` the OpenAPI document tells."""
    operations: list[PublishedOperation] = []
    for route in routes:
        spec, scheme = route.source.spec, route.authenticator.openapi_scheme
        by_method = {method: scheme(method).requirements for method in methods_with_needs(spec.auth)}
        for operation in route.operations:
            security = scheme(operation.method)
            operations.append(
                PublishedOperation(
                    str(route.source.id or "new"), spec, operation, security.requirements, security.schemes, by_method
                )
            )
    return operations
