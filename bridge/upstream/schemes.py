"""Which schemes carry which wire, and upstreams for those who bind routes only to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge import spec
from bridge.errors import BindError, Fault, Unavailable

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


class Unconnected:
    """What the command line binds: judged as `bridge.upstream.pool.Upstreams` would, and never called.

    It loads none of the client libraries, which take longer than everything else that ``hms-bridge check`` does.
    """

    def bind(self, upstream: spec.Upstream, wire: str) -> Unconnected:
        """:raises bridge.BindError: the spec's scheme doesn't fit the wire."""
        scheme_of(upstream, wire)
        return self

    async def send(self, request: Any, *, deadline: float, trace: Sequence[tuple[str, str]] = ()) -> Any:
        """:raises bridge.errors.Unavailable: always."""
        raise Unavailable(cause="this route was bound to be looked at only")

    stream = send

    async def aclose(self) -> None:
        """Nothing is held open."""
