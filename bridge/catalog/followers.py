"""Contracts that change where they come from: a route is bound again when its contract has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridge.catalog.binds import each
from bridge.catalog.live import Live
from bridge.errors import BindError, BridgeError
from bridge.gateway.table import Binder, BoundRoute, RouteId, Source
from bridge.wording import counted

log = logging.getLogger("bridge.routes")

POLL = 1.0  #: seconds between two passes over the routes whose contracts may change


class Followers:
    """:param check: binds a source and tries it against every other route (`Registry.check`)."""

    def __init__(self, live: Live, binder: Binder, check: Callable[[Source], Awaitable[BoundRoute]]) -> None:
        self._live, self._binder, self._check = live, binder, check
        #: When each route's contract is looked at next, in the loop's time.
        self._due: dict[BoundRoute, float] = {}
        #: The last logged failure of each route.
        self._logged: dict[RouteId, str] = {}

    async def run(self) -> None:
        """Follow contracts until cancelled. A route that can't be bound to its new contract serves by the old one, and
        is tried again at the next look."""
        clock = asyncio.get_running_loop().time
        bound: list[tuple[BoundRoute, BoundRoute]] = []

        async def look(route: BoundRoute) -> None:
            new = await self._bound_again(route)
            if new is not None:
                bound.append((route, new))
            self._due[route] = clock() + (route.followed.every if route.followed else 0)

        async def apply() -> None:
            async with self._live.lock:
                count = sum([self._live.replace(*pair) for pair in bound])
                bound.clear()
                if count:
                    self._live.rebuild()
                    routes = counted(count, "route was", "routes were")
                    log.info("%s bound again, since the contract has changed", routes)

        while True:
            await asyncio.sleep(POLL)
            now, routes = clock(), self._live.table.routes.values()
            self._due = {
                route: self._due.get(route, now + route.followed.every)
                for route in routes
                if route.followed is not None
            }
            due = [route for route, when in self._due.items() if when <= now]
            if due:
                await each(due, look, meanwhile=apply)
                await apply()

    async def _bound_again(self, route: BoundRoute) -> BoundRoute | None:
        """`route` bound to its contract as it is now; None where that has not changed, or the route can't be bound."""
        try:
            if await self._binder.fingerprint(route) == route.fingerprint:
                return None
        except BindError:
            return None  # a contract that can't be had has not changed
        except Exception as error:  # a plug-in may fail in any way; the other contracts are followed all the same
            self._log(route, "whether its contract has changed can't be seen", error)
            return None
        try:
            new = await self._check(route.source)
        except Exception as error:  # as above
            self._log(route, "it serves by its old contract, since it can't be bound to the new one", error)
            return None
        self._logged.pop(route.source.id, None)
        return new

    def _log(self, route: BoundRoute, consequence: str, error: Exception) -> None:
        """Log a failure once."""
        if self._logged.get(route.source.id) != str(error):
            self._logged[route.source.id] = str(error)
            unexpected = None if isinstance(error, BridgeError) else error
            log.error("route %s: %s: %s", route.source.id, consequence, error, exc_info=unexpected)
