"""Every peer there is, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.side_by_side.peers.camel_cxf import CamelCxf
from benchmarks.side_by_side.peers.envoy import Envoy, EnvoyCached
from benchmarks.side_by_side.peers.express_soap import ExpressSoap
from benchmarks.side_by_side.peers.fastapi_zeep import FastApiZeep
from benchmarks.side_by_side.peers.grpc_gateway import GrpcGateway
from benchmarks.side_by_side.peers.peer import Peer

PEERS: Sequence[Peer] = (Envoy(), EnvoyCached(), GrpcGateway(), FastApiZeep(), ExpressSoap(), CamelCxf())


def named(names: Sequence[str]) -> Sequence[Peer]:
    """The peers of these names, all where there are none; nobody where the name is ``none``.

    :raises ValueError: no peer has a name.
    """
    if unknown := set(names) - {peer.name for peer in PEERS} - {"none"}:
        raise ValueError(
            f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PEERS)}"
        )
    return [peer for peer in PEERS if not names or peer.name in names]
