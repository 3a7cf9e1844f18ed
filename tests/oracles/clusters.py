"""Clusters for tests, over the gateway's own clients (``lean``) or those of general libraries (``general``), which are
held to the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bridge.api.call import Retry
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.tls import Tls
from bridge.api.transport import Address, Target
from bridge.cluster.cluster import Cluster
from bridge.cluster.outlier import OutlierDetector
from bridge.transport.grpc.channel import GrpcChannel
from bridge.transport.grpc.subchannel import Subchannel
from bridge.transport.grpc.transport import GrpcTransport
from bridge.transport.http1.channel import HttpChannel
from bridge.transport.http1.exchange import Client
from bridge.transport.http1.transport import HttpTransport
from bridge.transport.registry import Transports
from tests.oracles.aiohttp_client import AiohttpClient
from tests.oracles.grpcio.subchannel import GrpcioSubchannel

Lookup = Callable[[], Awaitable[Sequence[Address]]]


def unknown() -> None:
    """Nothing is known without waiting."""


class GrpcioChannel(GrpcChannel):
    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._target = target

    def make(self, address: Address) -> Subchannel:
        return GrpcioSubchannel(address, self._target)


class GrpcioTransport(GrpcTransport):
    def channel(self, target: Target) -> GrpcChannel:
        return GrpcioChannel(target)


def transports(clients: str = "lean") -> Transports:
    """For `bridge.cluster.pool.Upstreams`."""
    if clients == "lean":
        return Transports()
    return Transports({"http": lambda: lambda: HttpTransport(AiohttpClient()), "grpc": lambda: GrpcioTransport})


def grpc_cluster(
    lookup: Lookup,
    *,
    clients: str = "lean",
    tls: bool = False,
    max_reply: int = 10_000,
    name: str = "",
    known: Callable[[], Sequence[Address] | None] = unknown,
    outliers: OutlierDetector | None = None,
    trust: Tls | None = None,
    connection: ConnectionSpec | None = None,
    retry: Retry | None = None,
) -> Cluster:
    """:param tls: where no `trust` is given, by the system's authorities."""
    target = Target(name, "1", (trust or Tls()) if tls else None, connection or ConnectionSpec(), max_reply)
    channel = GrpcChannel(target) if clients == "lean" else GrpcioChannel(target)
    return Cluster(channel, lookup, known, outliers=outliers, retry=retry)


def http_cluster(
    lookup: Lookup,
    *,
    client: Client,
    name: str,
    port: str,
    max_reply: int,
    tls: bool = False,
    known: Callable[[], Sequence[Address] | None] = unknown,
    outliers: OutlierDetector | None = None,
    trust: Tls | None = None,
    retry: Retry | None = None,
) -> Cluster:
    """:param tls: where no `trust` is given, by whom `client` trusts."""
    target = Target(name, port, (trust or Tls()) if tls else None, ConnectionSpec(), max_reply)
    return Cluster(HttpChannel(client, target), lookup, known, outliers=outliers, retry=retry)


async def aclose(clusters: Sequence[Any]) -> None:
    await asyncio.gather(*(cluster.aclose() for cluster in clusters))
