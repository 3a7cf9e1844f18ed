"""Changes that wait for a second person: kept by the calls that would make them, listed, approved of, rejected."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from bridge.admin.answers import active, json_response, prefix_of, read_body, time_text
from bridge.admin.diff import diff_response
from bridge.admin.publisher import PublisherAccess
from bridge.api.call import Identity
from bridge.api.spec.route import RouteSpec
from bridge.catalog.registry import Registry
from bridge.catalog.store import RouteChange
from bridge.catalog.store.base import Action
from bridge.catalog.store.changes import LIFETIME
from bridge.errors import ClientError, NotFound
from bridge.gateway.table import Source, spec_json
from bridge.payload.parsing import parse_json

MAX_BODY = 8 << 10  #: bytes
MAX_REASON = 1000  #: characters
_BODY = f'The body may give a reason, and nothing else: {{"reason": "…"}}, of at most {MAX_REASON} characters.'


class ChangePages:
    """The handlers, as those of `bridge.admin.api.Admin`."""

    def __init__(self, registry: Registry, access: PublisherAccess) -> None:
        self._registry, self._access = registry, access
        self._changes = registry.changes

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``."""
        route = self._access.route
        return [
            route("/-/changes", GET=self.list_changes),
            route("/-/changes/{id}", GET=self.show),
            route("/-/changes/{id}/approve", POST=self.approve),
            route("/-/changes/{id}/reject", POST=self.reject),
        ]

    def awaits(self, who: Identity) -> bool:
        """Whether what the caller changes waits for a second person."""
        return bool(who.tenant) and self._registry.tenancy.approves(who.tenant)

    async def propose(
        self,
        request: Request,
        who: Identity,
        action: Action,
        current: Source | None,
        source: Source,
        restores: int | None = None,
    ) -> Response:
        """Keep a change that could be made now; 202.

        :param current: the route as it is now; None for a new or deleted one.
        :param source: as it would be; of a deletion, as it is.
        """
        answer: dict[str, Any] = {"status": "PENDING"}
        spec: RouteSpec | None = None
        if action != "delete":
            spec = source.spec
            if warnings := await self._registry.warnings(await self._registry.check(source, who)):
                answer["warnings"] = warnings
        route_id = source.id if isinstance(source.id, int) else 0
        number = await self._changes.propose(action, who, current, spec, route_id=route_id, restores=restores)
        location = f"{prefix_of(request)}/-/changes/{number}"
        return json_response({"change_id": number} | answer, 202, location=location)

    async def list_changes(self, request: Request, who: Identity) -> Response:
        changes = await self._changes.all(who.tenant or None)
        return json_response({"changes": [_entry(change) for change in changes]})

    async def show(self, request: Request, who: Identity) -> Response:
        """One change, with its spec, and what differs from the route as it is now."""
        change = await self._own(request, who)
        spec = await self._changes.spec(change)
        current = await self._current(change)
        members = _entry(change) | {"spec": spec_json(spec) if spec is not None else None}
        if change.status == "PENDING":
            members["stale"] = (current.etag if current is not None else "") != change.base
        before = current.spec if current is not None else None
        names = (f"route {change.route_id or 'new'}", f"change {change.id}")
        return await diff_response(request, before, spec, names, **members)

    async def approve(self, request: Request, who: Identity) -> Response:
        change = await self._own(request, who)
        if await read_body(request, MAX_BODY, "An approval"):
            raise ClientError("An approval has no body.")
        bound = await self._changes.approve(change, who)
        if bound is None:
            return json_response({"route_id": change.route_id, "status": "DELETED"})
        location = f"{prefix_of(request)}/-/routes/{bound.source.id}"
        return active(bound, await self._registry.warnings(bound), location=location)

    async def reject(self, request: Request, who: Identity) -> Response:
        change = await self._own(request, who)
        reason = _reason(await read_body(request, MAX_BODY, "A reason"))
        await self._changes.reject(change, who, reason)
        return json_response({"change_id": change.id, "status": "REJECTED"})

    async def _own(self, request: Request, who: Identity) -> RouteChange:
        """:raises NotFound: there is no such change, or it is another tenant's."""
        text = request.path_params["id"]
        missing = NotFound(f"No change has the number {text[:80]}.")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise missing
        change = await self._changes.find(int(text))
        if who.tenant not in ("", change.tenant):
            raise missing
        return change

    async def _current(self, change: RouteChange) -> Source | None:
        """The route of a change as it is now; None where there is none, or it is another tenant's by now."""
        try:
            source = await self._registry.current(change.route_id)
        except NotFound:
            return None
        return source if source.spec.tenant == change.tenant else None


def _reason(body: bytes) -> str:
    """:raises ClientError: the body holds something else."""
    if not body:
        return ""
    value = parse_json(body, exact=False)
    reason = value.get("reason") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise ClientError(_BODY)
    return reason


def _entry(change: RouteChange) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "change_id": change.id,
        "status": change.status,
        "action": change.action,
        "route_id": change.route_id or None,
        "tenant": change.tenant,
        "by": change.by,
        "at": time_text(change.at),
        "expires": time_text(change.at + LIFETIME),
    }
    if change.restores is not None:
        entry["restores"] = change.restores
    if change.decided_at is not None:
        entry |= {"decided_by": change.decided_by, "decided_at": time_text(change.decided_at)}
    if change.reason:
        entry["reason"] = change.reason
    return entry
