"""Who calls the admin API, what they may do there, and which routes are theirs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bridge.admin.callers import Callers
from bridge.admin.permissions import PERMISSIONS
from bridge.api.call import Identity
from bridge.catalog.changes import SourceJudge
from bridge.catalog.registry import Registry
from bridge.errors import Conflict, Forbidden, NotFound, StoreError
from bridge.gateway.table import RouteId, Source
from bridge.http.preconditions import Preconditions

#: Answers a request of somebody who may make it.
Handler = Callable[[Request, Identity], Awaitable[Response]]


class PublisherAccess:
    """:param callers: by their tokens."""

    def __init__(self, registry: Registry, callers: Callers) -> None:
        self._registry = registry
        self._callers = callers

    def route(self, path: str, **handlers: Handler) -> BaseRoute:
        """One route for all methods of a path, so that a 405 names every one of them in ``Allow``. A handler is called
        with a caller who has a role that `PERMISSIONS` asks for.

        :param path: the whole one; what stands below ``/-`` is mounted there.
        """
        permissions = {method: PERMISSIONS[path][method] for method in handlers}

        async def handle(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            who = await self._callers.identify(request, permissions[method])
            return await handlers[method](request, who)

        return Route(path.removeprefix("/-"), handle, methods=list(handlers))

    @staticmethod
    def allow(who: Identity, tenant: str | None) -> None:
        """:raises Forbidden: a spec of `tenant` is not theirs."""
        if who.tenant and tenant != who.tenant:
            owner = "another tenant" if tenant else "no tenant"  # whose it is, is that tenant's business
            raise Forbidden(f"You publish for {who.tenant!r}; this route belongs to {owner}.")

    @staticmethod
    def find(who: Identity, route_id: RouteId, tenant: str | None) -> None:
        """:raises NotFound: a route of `tenant` is not theirs, so that they don't learn that it is there."""
        if who.tenant and tenant != who.tenant:
            raise missing_route(route_id)

    async def own(self, request: Request, who: Identity, text: str = "") -> Source:
        """The registered or file route that the path names (or `text`, if given), as it is written down now.

        :raises NotFound: there is none, or it is not theirs.
        """
        route_id = route_id_of(text or request.path_params["id"])
        try:
            source = await self._registry.current(route_id)
        except StoreError:
            if request.method not in ("GET", "HEAD"):
                raise
            source = self._registry.source(route_id)  # what serves can be read while the store can't
        self.find(who, source.id, source.spec.tenant)
        return source

    def judge(self, request: Request, who: Identity) -> SourceJudge:
        """What a change asks of the version that it replaces. It is asked of the one that is there when the request
        comes, and again by the store when the change is committed.

        :raises ClientError: a precondition is malformed.
        """
        conditions = preconditions(request)

        def judge(current: Source | None) -> None:
            if current is not None:
                self.find(who, current.id, current.spec.tenant)
            conditions.judge(current.etag if current is not None else None)

        return judge


def route_id_of(text: str) -> RouteId:
    """The id of a route as a URL has it: the number of a registered one, or a file's name."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else text


def missing_route(route_id: RouteId) -> NotFound:
    """As `Registry` says it of a route that there is not."""
    if isinstance(route_id, str):
        return NotFound(f"No route has the id {route_id}.")
    return NotFound(f"No registered route has the number {route_id}.")


def registered(source: Source) -> int:
    """The number of a registered route.

    :raises Conflict: it is written in a file.
    """
    if not isinstance(source.id, int):
        raise Conflict(f"This route is written in {source.file}; change it there.")
    return source.id


def preconditions(request: Request) -> Preconditions:
    """:raises ClientError: a field is malformed."""
    return Preconditions.of(request.headers.getlist("if-match"), request.headers.getlist("if-none-match"))
