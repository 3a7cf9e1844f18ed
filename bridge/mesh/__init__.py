"""A name and port to live addresses: one file a source (`static`, `dns`), and `Mesh`, which caches and balances.

A route names its upstream (``tally-svc:8080``) and never an address. The mesh says where that is at the moment of the
call, so services may move while routes stay. No address ever reaches a client.
"""

from __future__ import annotations

from pathlib import Path

from bridge.errors import Fault, SettingsError
from bridge.mesh.balance import Mesh
from bridge.mesh.source import Address, Found, Source
from bridge.mesh.static import StaticSource

__all__ = ["Address", "Found", "Mesh", "Source", "open_mesh"]


def open_mesh(url: str, home: Path) -> Mesh:
    """The mesh that the setting ``BRIDGE_MESH`` asks for; relative files lie below `home`.

    :raises bridge.errors.SettingsError: an unknown scheme, or a source that can't be opened: a broken ``mesh.yml``,
        a name server that is no address.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "static":
            if not rest:
                raise SettingsError(Fault("static: names no file; write static:mesh.yml", key="BRIDGE_MESH"))
            return Mesh(StaticSource(home / rest))
        case "dns":
            from bridge.mesh.dns import DnsSource  # its library is heavy, and most homes have a file

            return Mesh(DnsSource.from_url(url))
        case _:
            reason = (
                f"{url!r} names no source that this version offers; write static:mesh.yml, dns: or dns://SERVER:PORT"
            )
            raise SettingsError(Fault(reason, key="BRIDGE_MESH"))
