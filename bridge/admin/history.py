"""The history of registered routes: who changed what, and the way back to an earlier spec."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from bridge.admin.answers import active, json_response, read_body, time_text, wants_yaml, yaml_response
from bridge.admin.changes import ChangePages
from bridge.admin.diff import diff_response
from bridge.admin.publisher import PublisherAccess, route_id_of
from bridge.api.call import Identity
from bridge.api.spec.route import RouteSpec
from bridge.catalog.registry import Registry
from bridge.catalog.store import DeletedRoute, Revision
from bridge.errors import ClientError, Conflict, NotFound
from bridge.gateway.table import Source, spec_json
from bridge.payload.parsing import parse_json

_BODY = 'The body names the revision to go back to: {"revision": 3}.'


class History:
    """The handlers, as those of `bridge.admin.api.Admin`."""

    def __init__(self, registry: Registry, access: PublisherAccess, changes: ChangePages) -> None:
        self._registry = registry
        self._access = access
        self._changes = changes

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``, before ``/routes/{id}``."""
        return [
            self._access.route("/-/routes/deleted", GET=self.deleted),
            self._access.route("/-/routes/{id:path}/history", GET=self.list_revisions),
            self._access.route("/-/routes/{id:path}/history/{revision}", GET=self.show),
            self._access.route("/-/routes/{id:path}/history/{revision}/diff/{other}", GET=self.compare),
            self._access.route("/-/routes/{id:path}/rollback", POST=self.roll_back),
        ]

    async def list_revisions(self, request: Request, who: Identity) -> Response:
        route_id, revisions = await self._own(request, who)
        return json_response({"route_id": route_id, "revisions": [_listed(revision) for revision in revisions]})

    async def show(self, request: Request, who: Identity) -> Response:
        _, revision, spec = await self._revision(request, who, "revision")
        if spec is not None and wants_yaml(request):
            return await yaml_response(spec)
        return json_response(_listed(revision) | {"spec": spec_json(spec) if spec is not None else None})

    async def compare(self, request: Request, who: Identity) -> Response:
        """What one revision has other than an earlier or later one; a deletion has no spec."""
        route_id, before, old = await self._revision(request, who, "revision")
        _, after, new = await self._revision(request, who, "other")
        names = (f"route {route_id} revision {before.number}", f"route {route_id} revision {after.number}")
        return await diff_response(request, old, new, names, before=_listed(before), after=_listed(after))

    async def _revision(self, request: Request, who: Identity, name: str) -> tuple[int, Revision, RouteSpec | None]:
        """The route's number, and the revision that the path parameter `name` has, with its spec.

        :raises NotFound: there is none, or it is not the caller's.
        """
        route_id, revisions = await self._own(request, who)
        text = request.path_params[name]
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if not any(one.number == number for one in revisions):
            raise NotFound(f"The route {route_id} has no revision {text}, or it is kept no longer.")
        return route_id, *await self._registry.revision(route_id, number)

    async def deleted(self, request: Request, who: Identity) -> Response:
        gone = await self._registry.deleted(who.tenant or None)
        return json_response({"routes": [_gone(route) for route in gone]})

    async def roll_back(self, request: Request, who: Identity) -> Response:
        route_id, _ = await self._own(request, who)
        judge = self._access.judge(request, who)
        current = await self._current(request, who)
        judge(current)
        number = _number(await read_body(request))
        revision, spec = await self._registry.revision(route_id, number)
        if spec is None:
            raise Conflict(f"Revision {number} is a deletion and has no spec; choose an earlier one.")
        self._access.allow(who, spec.tenant)
        source = Source(route_id, "store", spec)
        if self._changes.awaits(who):
            return await self._changes.propose(request, who, "rollback", current, source, revision.number)
        bound = await self._registry.put(source, who, judge, restores=revision.number)
        return active(bound, await self._registry.warnings(bound))

    async def _own(self, request: Request, who: Identity) -> tuple[int, list[Revision]]:
        """The route's number, and those of its revisions that the publisher may see: all that belonged to its tenant.

        :raises NotFound: no registered route has this number, or had it, or it is not the publisher's.
        """
        route_id = route_id_of(request.path_params["id"])
        if not isinstance(route_id, int):
            source = await self._access.own(request, who)
            raise NotFound(f"This route is written in {source.file}; the gateway keeps no history of files.")
        revisions = await self._registry.history(route_id)
        self._access.find(who, route_id, revisions[0].tenant)
        return route_id, [one for one in revisions if not who.tenant or one.tenant == who.tenant]

    async def _current(self, request: Request, who: Identity) -> Source | None:
        """The route as it is now; None if it is deleted."""
        try:
            return await self._access.own(request, who)
        except NotFound:
            return None


def _number(body: bytes) -> int:
    """The revision that a request for a roll back names."""
    value = parse_json(body, exact=False)
    number = value.get("revision") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 10**9:
        raise ClientError(_BODY)
    return number


def _listed(revision: Revision) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "revision": revision.number,
        "action": revision.action,
        "by": revision.by,
        "at": time_text(revision.at),
    }
    if revision.restores is not None:
        entry["restores"] = revision.restores
    if revision.approved_by is not None:
        entry["approved_by"] = revision.approved_by
    return entry


def _gone(route: DeletedRoute) -> dict[str, Any]:
    return {
        "route_id": route.id,
        "route": route.route,
        "host": route.host,
        "tenant": route.tenant,
        "by": route.by,
        "at": time_text(route.at),
        "revision": route.revision,
    }
