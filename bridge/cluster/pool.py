"""Upstreams by transport, name, port and kind of connection: routes to the same one share its connections."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any

from bridge.api.call import Retry
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.upstream import Upstream
from bridge.api.tls import Tls, read_tls
from bridge.api.transport import Channel, Target, Transport
from bridge.cluster.attempts import Throttle
from bridge.cluster.balance import Mesh
from bridge.cluster.cluster import Cluster
from bridge.config.settings import Settings
from bridge.errors import Unavailable
from bridge.transport.registry import Transports, policy_of, scheme_of

log = logging.getLogger("bridge.mesh")

#: Transport, scheme, name, port, connection, and the texts of its files.
Key = tuple[str, str, str, str, ConnectionSpec, Tls]


class Upstreams:
    """Every upstream that routes are bound to. `bind` is called at bind, never per request.

    :param transports: those of the entry points by default.
    """

    def __init__(self, mesh: Mesh, settings: Settings, transports: Transports | None = None) -> None:
        self._mesh = mesh
        self._max_reply = settings.max_reply
        self._home = settings.home
        self._transports = transports or Transports()
        self._channels: dict[Key, tuple[Channel, Throttle]] = {}
        self._clusters: dict[tuple[Key, Retry | None], Cluster] = {}
        self._warnings: set[asyncio.Task[None]] = set()

    def bind(
        self, upstream: Upstream, wire: str, connection: ConnectionSpec, retry: RetrySpec | None = None
    ) -> Cluster:
        """The upstream that a spec names, for a transformer with this `wire`.

        :raises bridge.BindError: no transport has the name `wire`, or the spec doesn't match it.
        """
        transport, key, policy = _resolve(self._transports, upstream, wire, connection, retry, self._home)
        cluster = self._clusters.get((key, policy))
        if cluster is None:
            if key not in self._channels:
                self._warn(upstream)
            channel, throttle = self._channel(transport, key)
            name, port = upstream.name, upstream.port
            cluster = self._clusters[key, policy] = Cluster(
                channel,
                partial(self._mesh.addresses, name, port),
                partial(self._mesh.known, name, port),
                outliers=self._mesh.outliers(name, port),
                retry=policy,
                throttle=throttle,
            )
        return cluster

    async def aclose(self) -> None:
        """Close every connection; calls in progress end."""
        for _, _, name, port, _, _ in self._channels:
            self._mesh.outliers(name, port).retain(())  # calls that end now say nothing about their instances
        for task in self._warnings:
            task.cancel()
        channels = [channel for channel, _ in self._channels.values()]
        self._channels, self._clusters = {}, {}
        await asyncio.gather(self._transports.aclose(), *(channel.aclose() for channel in channels))

    def _warn(self, upstream: Upstream) -> None:
        """Log what the mesh has to say about an upstream that is new."""

        async def warn() -> None:
            for warning in await self._mesh.warnings(upstream):
                log.warning("%s: %s", upstream, warning)

        task = asyncio.get_running_loop().create_task(warn())
        self._warnings.add(task)
        task.add_done_callback(self._warnings.discard)

    def _channel(self, transport: Transport, key: Key) -> tuple[Channel, Throttle]:
        entry = self._channels.get(key)
        if entry is None:
            _, scheme, name, port, connection, tls = key
            secure = scheme != transport.name
            target = Target(name, port, tls if secure else None, connection, self._max_reply)
            entry = self._channels[key] = transport.channel(target), Throttle()
        return entry


class OfflineUpstreams:
    """For the command line: checked as by `Upstreams`, and never called. Loads no client."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._transports = Transports()

    def bind(
        self, upstream: Upstream, wire: str, connection: ConnectionSpec, retry: RetrySpec | None = None
    ) -> OfflineUpstreams:
        """:raises bridge.BindError: as `Upstreams.bind`."""
        _resolve(self._transports, upstream, wire, connection, retry, self._home)
        return self

    async def send(self, request: Any, **_: Any) -> Any:
        """:raises bridge.errors.Unavailable: always."""
        raise Unavailable(cause="this route was bound to be looked at only")

    stream = send

    async def aclose(self) -> None:
        """Nothing to close."""


def _resolve(
    transports: Transports,
    upstream: Upstream,
    wire: str,
    connection: ConnectionSpec,
    retry: RetrySpec | None,
    home: Path,
) -> tuple[Transport, Key, Retry | None]:
    """:raises bridge.BindError: as `Upstreams.bind`."""
    transport = transports.get(wire)
    scheme = scheme_of(transport, upstream, connection)
    policy = policy_of(transport, retry)
    # With the texts of its files in the key, a renewed certificate is used when its route is bound again.
    return transport, (wire, scheme, upstream.name, upstream.port, connection, read_tls(connection, home)), policy
