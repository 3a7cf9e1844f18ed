"""The mesh that the operator asked for."""

from __future__ import annotations

from pathlib import Path

from bridge.cluster.balance import Mesh
from bridge.cluster.sources.static import StaticSource
from bridge.errors import Fault, SettingsError


def open_mesh(url: str, home: Path) -> Mesh:
    """The mesh that the setting ``BRIDGE_MESH`` asks for; relative files lie below `home`.

    :raises bridge.errors.SettingsError: an unknown scheme, or a source that can't be opened: a broken ``mesh.yml``,
        a name server that is no address.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "static":
            if not rest:
                raise SettingsError(Fault("static: names no file; write static:mesh.yml", ("BRIDGE_MESH",)))
            return Mesh(StaticSource(home / rest))
        case "dns":
            from bridge.cluster.sources.dns import DnsSource  # its library is heavy, and most homes have a file

            return Mesh(DnsSource.from_url(url))
        case _:
            reason = (
                f"{url!r} names no source that this version offers; write static:mesh.yml, dns: or dns://SERVER:PORT"
            )
            raise SettingsError(Fault(reason, ("BRIDGE_MESH",)))
