"""``/-/log``: lines of the access log, to a tenant those of its own routes and of its calls of the admin API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from bridge.admin.answers import json_response
from bridge.admin.publisher import PublisherAccess
from bridge.api.call import Identity
from bridge.catalog.registry import Registry
from bridge.errors import Conflict, InvalidParameter
from bridge.observe.access import time_of
from bridge.observe.log_reader import last_lines

LINES, MOST = 100, 1000  #: lines of one answer: by default, and at most
ADMIN_ROUTE = "-"  #: the route of lines of the admin API


class LogPages:
    """The handler, as those of `bridge.admin.api.Admin`.

    :param path: of the log; None where it is standard output.
    """

    def __init__(self, path: Path | None, registry: Registry, access: PublisherAccess) -> None:
        self._path, self._registry, self._access = path, registry, access
        self._reading = asyncio.Lock()  # one at a time, since each takes some megabytes

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``."""
        return [self._access.route("/-/log", GET=self.show)]

    async def show(self, request: Request, who: Identity) -> Response:
        """:raises Conflict: there is no file. :raises InvalidParameter: the query holds what it can't be."""
        route, since, limit = _query(request)
        if self._path is None:
            raise Conflict(
                "The access log goes to standard output (BRIDGE_LOG), so that there is nothing to read here."
            )
        own = await self._own(who.tenant) if who.tenant else None

        def wanted(line: Mapping[str, Any]) -> bool:
            id = line.get("route")
            if (route and id != route) or str(line.get("time")) < since:
                return False
            return own is None or id in own or (id == ADMIN_ROUTE and line.get("tenant") == who.tenant)

        async with self._reading:
            lines, is_whole = await asyncio.to_thread(last_lines, self._path, wanted, limit)
        return json_response({"lines": lines, "complete": is_whole})

    async def _own(self, tenant: str) -> frozenset[str]:
        """The ids of the tenant's routes, as lines have them."""
        sources = [route.source for route in self._registry.table.routes.values()]
        sources += [broken.source for broken in self._registry.broken.values()]
        ids = {str(source.id) for source in sources if source.spec.tenant == tenant}
        return frozenset(ids | {str(gone.id) for gone in await self._registry.deleted(tenant)})


def _query(request: Request) -> tuple[str, str, int]:
    """The route (``""``: all), the time of the first line as lines have it, and how many lines.

    :raises InvalidParameter: one of them is not what it can be.
    """
    faults = [
        (name, "unknown; there are route, since and limit") for name in request.query_params if name not in _NAMES
    ]
    faults += [(name, "it is given twice") for name in _NAMES if len(request.query_params.getlist(name)) > 1]
    since, limit = "", LINES
    if text := request.query_params.get("since"):
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise ValueError(text)
            since = time_of(moment.astimezone(UTC).timestamp())
        except (ValueError, OverflowError):
            faults.append(("since", "it is a time with its zone, as 2027-01-31T12:00:00Z"))
    if "limit" in request.query_params:
        text = request.query_params["limit"]
        limit = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
        if not 0 < limit <= MOST:
            faults.append(("limit", f"it is a number from 1 to {MOST}"))
    if faults:
        raise InvalidParameter(faults)
    return request.query_params.get("route", ""), since, limit


_NAMES = ("route", "since", "limit")
