"""What all transports have in common where they connect: the time for it, and what is the gateway's own failure."""

from __future__ import annotations

import errno

from bridge.api.transport import Address
from bridge.errors import Overloaded, ShuttingDown

CONNECT = 3.0  #: seconds for one instance to take a connection, TLS included; less where the deadline leaves less

#: Local shortages: no other address would fare better, and none is to blame.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL))


def authority(address: Address) -> str:
    """``host:port``, as RFC 3986, section 3.2, writes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def closing() -> ShuttingDown:
    return ShuttingDown()


def shortage(error: BaseException) -> Overloaded | None:
    """What to raise where `error` is the gateway's own lack of sockets; None where it is not."""
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return Overloaded("The gateway is short of connections.", cause=str(error), headers=[("retry-after", "1")])
    return None
