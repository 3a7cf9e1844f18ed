"""Which schemes carry which wire, and upstreams for those who bind routes only to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.api import route_spec as spec
from bridge.api.tls import read_tls
from bridge.errors import BindError, Fault, Unavailable

#: Which schemes speak a transformer's wire; the first is meant where a spec names none.
SCHEMES = {"http": ("http", "https"), "grpc": ("grpc", "grpcs")}


def scheme_of(upstream: spec.Upstream, wire: str, connection: spec.Connection) -> str:
    """The scheme to speak to `upstream`, for a transformer that speaks `wire` (``http`` or ``grpc``).

    :raises bridge.api.BindError: the spec's scheme doesn't fit the wire, or its connection the scheme.
    """
    schemes = SCHEMES.get(wire, ())
    scheme = upstream.scheme or (schemes[0] if schemes else "")
    if scheme not in schemes:
        reason = (
            f"its transformer speaks {wire}; write {' or '.join(f'{one}://' for one in schemes)}, not {scheme}://"
            if schemes
            else f"its transformer speaks {wire!r}, which this version has no upstream for"
        )
        raise BindError(Fault(reason, key="upstream"))
    if connection.secure and not scheme.endswith("s"):
        reason = f"it says something of TLS, which {scheme}:// does without; write {scheme}s://"
        raise BindError(Fault(reason, key="connection"))
    if connection.grpc_only and wire != "grpc":
        raise BindError(Fault("it means something to gRPC alone", key=f"connection.{connection.grpc_only[0]}"))
    return scheme


class Unconnected:
    """What the command line binds: judged as `bridge.cluster.pool.Upstreams` would, and never called.

    It loads none of the client libraries, which take longer than everything else that ``hms-bridge check`` does.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def bind(self, upstream: spec.Upstream, wire: str, connection: spec.Connection) -> Unconnected:
        """:raises bridge.api.BindError: the spec's scheme doesn't fit the wire, or its connection the scheme."""
        scheme_of(upstream, wire, connection)
        read_tls(connection, self._home)
        return self

    async def send(
        self, request: Any, *, deadline: float, trace: Sequence[tuple[str, str]] = (), asked: float | None = None
    ) -> Any:
        """:raises bridge.errors.Unavailable: always."""
        raise Unavailable(cause="this route was bound to be looked at only")

    stream = send

    async def aclose(self) -> None:
        """Nothing is held open."""
