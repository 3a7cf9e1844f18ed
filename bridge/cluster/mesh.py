"""The mesh that the operator configured."""

from __future__ import annotations

from pathlib import Path

from bridge.cluster.balance import Mesh
from bridge.cluster.sources.static import StaticSource
from bridge.errors import Fault, SettingsError


def open_mesh(url: str, home: Path) -> Mesh:
    """The mesh of the setting ``BRIDGE_MESH``; relative files are below `home`.

    :raises bridge.errors.SettingsError: an unknown scheme, or a source that can't be opened: a broken ``mesh.yml``,
        a name server that is not an address.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "static":
            if not rest:
                raise SettingsError(Fault("static: names no file; write static:mesh.yml", ("BRIDGE_MESH",)))
            return Mesh(StaticSource(home / rest))
        case "dns":
            from bridge.cluster.sources.dns import DnsSource  # its library is large, and most homes use a file

            return Mesh(DnsSource.from_url(url))
        case _:
            reason = (
                f"{url!r} names no source that this version offers; write static:mesh.yml, dns: or dns://SERVER:PORT"
            )
            raise SettingsError(Fault(reason, ("BRIDGE_MESH",)))
