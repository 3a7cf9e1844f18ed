"""Upstreams by scheme, name, port and kind of connection: routes that name the same one share its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Literal

from bridge.api import route_spec as spec
from bridge.api.route_spec import Connection
from bridge.api.tls import Tls, read_tls
from bridge.cluster.balance import Mesh
from bridge.cluster.grpc import GrpcUpstream
from bridge.cluster.http import HttpClient, HttpUpstream
from bridge.config.settings import Settings
from bridge.transport.client import Client
from bridge.transport.schemes import SCHEMES, scheme_of


def _general() -> Client:
    from bridge.transport.aiohttp_client import AiohttpClient  # its library is heavy, and most do without

    return AiohttpClient()


#: By the setting's value.
CLIENTS: dict[str, Callable[[], Client]] = {"lean": HttpClient, "general": _general}

_TLS = frozenset(("https", "grpcs"))


class Upstreams:
    """Every upstream that routes are bound to. `bind` is called at bind, never per request."""

    def __init__(self, mesh: Mesh, settings: Settings) -> None:
        self._mesh = mesh
        self._max_reply = settings.max_reply
        self._http: Client = CLIENTS[settings.upstream_clients]()
        self._home = settings.home
        self._clients: Literal["lean", "general"] = settings.upstream_clients
        self._bound: dict[tuple[str, str, str, Connection, Tls], HttpUpstream | GrpcUpstream] = {}

    def bind(self, upstream: spec.Upstream, wire: str, connection: Connection) -> HttpUpstream | GrpcUpstream:
        """The upstream that a spec names, for a transformer that speaks `wire` (``http`` or ``grpc``).

        :raises bridge.api.BindError: the spec's scheme doesn't fit the wire, or its connection the scheme.
        """
        scheme = scheme_of(upstream, wire, connection)
        # With the texts of its files in the key, a renewed certificate is taken up when its route is bound again.
        key = (scheme, upstream.name, upstream.port, connection, read_tls(connection, self._home))
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._make(*key)
        return bound

    async def aclose(self) -> None:
        """Close every connection; what is under way ends."""
        for _, name, port, _, _ in self._bound:
            self._mesh.outliers(name, port).retain(())  # that calls end now tells nothing of their instances
        bound, self._bound = list(self._bound.values()), {}
        channels = [upstream.aclose() for upstream in bound if isinstance(upstream, GrpcUpstream)]
        await asyncio.gather(self._http.aclose(), *channels)

    def _make(
        self, scheme: str, name: str, port: str, connection: Connection, trust: Tls
    ) -> HttpUpstream | GrpcUpstream:
        addresses = partial(self._mesh.addresses, name, port)
        outliers = self._mesh.outliers(name, port)
        tls = scheme in _TLS
        if scheme in SCHEMES["grpc"]:
            return GrpcUpstream(
                addresses,
                tls=tls,
                max_reply=self._max_reply,
                name=name,
                known=partial(self._mesh.known, name, port),
                outliers=outliers,
                trust=trust,
                connection=connection,
                clients=self._clients,
            )
        return HttpUpstream(
            addresses,
            client=self._http,
            tls=tls,
            name=name,
            port=port,
            max_reply=self._max_reply,
            outliers=outliers,
            trust=trust if connection.secure else None,
        )
