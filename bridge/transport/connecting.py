"""What all transports share for connecting: the timeout, and the gateway's own failures."""

from __future__ import annotations

import errno

from bridge.api.transport import Address
from bridge.errors import Overloaded, ShuttingDown

CONNECT = 3.0  #: seconds for one instance to accept a connection, TLS included; less if the deadline is closer

#: Local shortages: they affect every address, and are not an instance's failure.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL))


def authority(address: Address) -> str:
    """``host:port`` (RFC 3986, section 3.2)."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def closing() -> ShuttingDown:
    return ShuttingDown()


def shortage(error: BaseException) -> Overloaded | None:
    """The error to raise if `error` is the gateway's own lack of sockets; else None."""
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return Overloaded("The gateway is short of connections.", cause=str(error), headers=[("retry-after", "1")])
    return None
