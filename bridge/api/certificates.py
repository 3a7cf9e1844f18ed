"""What a client has shown on its connection: its certificates, and the request that came with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

#: Where the scope of an ASGI application behind the gateway's own server has its `ArrivedRequest`.
ARRIVED = "bridge.arrived"


class ShownCertificates:
    """What one client showed: it has proved to have the first one's key, and nothing else is known of them.

    :ivar chain: DER (RFC 5280), the client's own certificate first, then those that it sent along.
    :ivar judged: what became of them when they were judged last, which whoever judges them keeps here: they belong to a
        connection, and are judged once for all calls on it.
    """

    __slots__ = ("chain", "judged")

    def __init__(self, chain: Sequence[bytes]) -> None:
        self.chain = chain
        self.judged: Any = None


class ArrivedRequest(Protocol):
    """What a route's auth needs to know of a request beyond its fields.

    :ivar method: as sent; `bridge.api.stream.WEBSOCKET` for a WebSocket.
    :ivar peer: the address at the connection's other end, or ``""``.
    """

    method: str
    peer: str

    @property
    def secure(self) -> bool:
        """Whether it arrived over TLS."""
        ...

    @property
    def certificates(self) -> ShownCertificates | None:
        """Those that the client has shown on its connection; None if it has none."""
        ...
