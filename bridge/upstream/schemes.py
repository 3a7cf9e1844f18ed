"""Which schemes carry which wire, and upstreams for those who bind routes only to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge import spec
from bridge.errors import BindError, Fault, Unavailable
from bridge.upstream.tls import NO_TLS, Tls

#: Which schemes speak a transformer's wire; the first is meant where a spec names none.
SCHEMES = {"http": ("http", "https"), "grpc": ("grpc", "grpcs")}


def scheme_of(upstream: spec.Upstream, wire: str) -> str:
    """The scheme to speak to `upstream`, for a transformer that speaks `wire` (``http`` or ``grpc``).

    :raises bridge.BindError: the spec's scheme doesn't fit the wire.
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
    return scheme


def tls_of(scheme: str, connection: spec.Connection, home: Path) -> Tls:
    """What a spec's `connection` says of TLS, its files read.

    :raises bridge.BindError: it says something that `scheme` has no use for, or names files that can't be used.
    """
    if scheme in SCHEMES["http"] and connection.grpc_keys:
        raise BindError(
            [
                Fault(f"this is gRPC's, and the route speaks {scheme}", f"connection.{key}")
                for key in connection.grpc_keys
            ]
        )
    secure = next(pair[1] for pair in SCHEMES.values() if scheme in pair)
    if scheme == secure:
        return Tls.read(connection, home)
    if useless := [key for key in ("ca", "certificate", "key") if getattr(connection, key) is not None]:
        raise BindError(
            [
                Fault(f"it is for TLS; write {secure}:// in upstream, or leave it out", f"connection.{key}")
                for key in useless
            ]
        )
    return NO_TLS


class Unconnected:
    """What the command line binds: judged as `bridge.upstream.pool.Upstreams` would, and never called.

    It loads none of the client libraries, which take longer than everything else that ``hms-bridge check`` does.
    """

    def __init__(self, home: Path = Path(".")) -> None:
        self._home = home

    def bind(self, upstream: spec.Upstream, wire: str, connection: spec.Connection = spec.PLAIN) -> Unconnected:
        """:raises bridge.BindError: the spec's scheme doesn't fit the wire, or its connection not the scheme."""
        tls_of(scheme_of(upstream, wire), connection, self._home)
        return self

    async def send(self, request: Any, *, deadline: float, trace: Sequence[tuple[str, str]] = ()) -> Any:
        """:raises bridge.errors.Unavailable: always."""
        raise Unavailable(cause="this route was bound to be looked at only")

    stream = send

    async def aclose(self) -> None:
        """Nothing is held open."""
