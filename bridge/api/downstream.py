"""The client's side of a call: its request, and the two ways to respond."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from bridge.api.call import NO_TRAILERS, Body, Reply, Trailers
from bridge.api.certificates import ShownCertificates
from bridge.websocket.end import WebSocketEnd

#: The response's fields, valid and encoded (`ServerRequest.answer`).
Fields = Callable[[Reply], list[tuple[str, str]]]


class ClientConnection(Protocol):
    """What a stream needs of its connection beyond ASGI."""

    def cut(self, *, now: bool) -> None:
        """Close it within the response, so that the client sees that the response is incomplete.

        :param now: also drop unsent data, since the client does not read.
        """
        ...

    def watch(self, on_leave: Callable[[], None], *, half: bool) -> None:
        """:param on_leave: called when the client has disconnected, even while nothing is read from it.
        :param half: a client that closes its half of the connection counts as disconnected, before the head, too:
            a long silence would otherwise hide it.
        """
        ...


class Downstream(Protocol):
    """A streaming response, over HTTP or WebSocket.

    :ivar sent: bytes sent, of the body or of frames' payloads.
    :ivar complete: the whole response was sent.
    """

    sent: int
    complete: bool

    async def read(self) -> bytes | None:
        """The next bytes of the request's body, or the next frame; None at its end.

        :raises ClientDisconnected: the client has left.
        """
        ...

    async def gone(self) -> None:
        """Returns when the client has disconnected; data that it still sends is dropped."""
        ...

    async def start(self, reply: Reply) -> int:
        """Send the head and `reply.body`, the first part of the body. A HEAD request gets only the head.

        :returns: the status that was sent.
        """
        ...

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Send; waits while the client does not read."""
        ...

    async def close(self, last: bytes | Trailers, *, failed: bool) -> None:
        """Send `last`, which are bytes of the body or the fields after it, and end the response."""
        ...


class ServerRequest(Protocol):
    """One request of a client.

    :ivar method: upper case; `bridge.api.stream.WEBSOCKET` for a WebSocket.
    :ivar target: path and query as sent; an empty query keeps its ``?``.
    :ivar path: as sent, still percent-encoded, without the query.
    :ivar query: as sent, without ``?``.
    :ivar headers: the request's fields in order; names in lower case.
    :ivar version: of HTTP, ``1.1`` or ``2``.
    :ivar peer: the address at the connection's other end (`bridge.http.client_address.canonical`), or ``""``.
    :ivar connection: for streams.
    :ivar disconnected: the client has left, as far as the server knows. Over HTTP/2, the call is cancelled then.
    """

    method: str
    target: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    version: str
    peer: str
    disconnected: bool

    @property
    def certificates(self) -> ShownCertificates | None:
        """Those that the client has shown on its connection; None if it has none."""
        ...

    @property
    def connection(self) -> ClientConnection: ...
    @property
    def secure(self) -> bool:
        """Whether it arrived over TLS."""
        ...

    def received(self, max_bytes: int) -> bytes | None:
        """The whole body, if it has arrived; else None, and `body` must be awaited.

        :raises TooLarge: it has more than `max_bytes`.
        """
        ...

    async def body(self, max_bytes: int, timeout: float) -> bytes:  # noqa: ASYNC109  # it bounds more than one await
        """The whole body.

        :raises TooLarge: it has more than `max_bytes`.
        :raises RequestTimeout: it did not arrive within `timeout` seconds.
        :raises ClientDisconnected: the client has left.
        """
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces, instead of `body`. The client is read only while a piece is requested.

        :raises ClientDisconnected: from the iterator: the client left before the body's end.
        """
        ...

    def side(self, fields: Fields) -> Downstream:
        """A streaming response, instead of `body` and `answer`."""
        ...

    async def answer(
        self, status: int, fields: Sequence[tuple[str, str]], body: Body, trailers: Trailers = NO_TRAILERS
    ) -> None:
        """The whole response. `fields` are valid: names are tokens, values contain no control characters. They include
        the framing of a body of bytes. A body in pieces is framed here, unless `fields` contain its length. Its
        iterator is closed at its end, at a failure, and when the client disconnects. `trailers` are valid as `fields`
        are. They are left out where the client can't get them: HTTP/1.0, and servers that are not our own.

        :raises ClientDisconnected: the client left before a body in pieces had ended.
        :raises Exception: as the iterator; the response is cut off, so that the client sees that it is incomplete.
        """
        ...


class WebSocketRequest(ServerRequest, Protocol):
    """The request of a WebSocket: its method is `bridge.api.stream.WEBSOCKET`.

    :ivar subprotocols: those that the client offers, but for the pair ``bearer, TOKEN``.
    """

    subprotocols: Sequence[str]

    async def accept(self, fields: Sequence[tuple[str, str]], subprotocol: str, max_message: int) -> WebSocketEnd:
        """Accept the handshake, instead of `side` and `answer`, for a WebSocket whose frames are relayed.

        :param fields: of the response, valid. :param subprotocol: the one that was chosen, or ``""``.
        :param max_message: bytes of one message of the client.
        :raises ClientDisconnected: the client has left.
        """
        ...
