"""A route of ours, outside of a gateway: what it would send for a case's request, and through what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.side_by_side.case import Case
from benchmarks.side_by_side.peers.ours import ROUTES
from bridge.api import Call, Operation
from bridge.cluster.mesh import open_mesh
from bridge.cluster.pool import Upstreams
from bridge.config.settings import Settings
from bridge.config.specfile import read_value
from bridge.plugins import discover
from bridge.testing import bound


class Route:
    """The route of `case` in `home`, a home that `bench` has written (`write_home`). Make it with `of`."""

    def __init__(self, case: Case, home: Path, operation: Operation) -> None:
        self.case = case
        self._home = home
        self.codec: Any = operation.codec

    @classmethod
    async def of(cls, case: Case, home: Path) -> Route:
        spec = _spec(case)
        transformer = discover()[spec["transform"]["request"]].load()()
        operations = await bound(transformer, spec, home=home)
        path = case.request.path.removeprefix(spec["route"])
        return cls(case, home, next(each for each in operations if each.path == path))

    def call(self) -> Call:
        """As the gateway makes it of wrk's request."""
        request = self.case.request
        fields = [(name.lower(), value) for name, value in request.headers.items()]
        fields += [("host", "127.0.0.1:8080"), ("content-length", str(len(request.body)))]
        return Call(request.method, request.path, headers=fields, body=request.body, peer="127.0.0.1")

    def upstream(self) -> tuple[Upstreams, Any]:
        """The pool, and what the route is bound to in it."""
        settings = Settings(home=self._home)
        route = read_value(_spec(self.case))
        pool = Upstreams(open_mesh(settings.mesh, settings.home), settings)
        wire = "grpc" if route.transform.request == "grpc" else "http"
        return pool, pool.bind(route.upstream, wire, route.connection)


def _spec(case: Case) -> dict[str, Any]:
    path, upstream, transform = next(each for each in ROUTES.values() if case.request.path.startswith(f"{each[0]}/"))
    return {
        "route": path,
        "upstream": upstream,
        "auth": {"type": "none"},
        "transform": {"response": "json", **transform},
    }
