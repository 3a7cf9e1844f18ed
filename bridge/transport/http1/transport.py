"""The transport ``http``: HTTP/1.1 over the gateway's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bridge.api.transport import Target

if TYPE_CHECKING:
    from bridge.transport.http1.channel import HttpChannel
    from bridge.transport.http1.exchange import Client


class HttpTransport:
    """:param client: all connections; the gateway's own client by default."""

    name: ClassVar[str] = "http"
    options: ClassVar[frozenset[str]] = frozenset()
    #: The statuses of a gateway or service that is temporarily unable to reply. A lost connection counts as 502.
    retried: ClassVar[frozenset[int]] = frozenset((502, 503, 504))

    def __init__(self, client: Client | None = None) -> None:
        self._client = client

    def code(self, text: int | str) -> int:
        if not isinstance(text, int) or not 400 <= text <= 599:
            raise ValueError(f"{text!r} is no HTTP status that a call can fail with; write 400 to 599")
        return text

    def channel(self, target: Target) -> HttpChannel:
        from bridge.transport.http1.channel import HttpChannel  # not loaded if routes are only checked
        from bridge.transport.http1.client import HttpClient

        if self._client is None:
            self._client = HttpClient()
        return HttpChannel(self._client, target)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
