"""The client's side of a call as the gateway sees it: its request, and the two ways of answering it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from bridge.api.call import Body, Reply

#: The response's fields, fit to be sent (`ServerRequest.answer`).
Fields = Callable[[Reply], list[tuple[str, str]]]


class ClientConnection(Protocol):
    """What a stream needs of its connection beyond ASGI."""

    def cut(self, *, now: bool) -> None:
        """End it within the response, so that the client sees that the response is broken.

        :param now: also drop what is still to be sent: the client does not read.
        """
        ...

    def watch(self, on_leave: Callable[[], None], *, half: bool) -> None:
        """:param on_leave: called when the client has left, even while nothing is read from it.
        :param half: a client that closes its half of the connection counts as having left, before the head too: for
            long, nothing will be sent that would tell.
        """
        ...


class Downstream(Protocol):
    """A response that streams, over HTTP or WebSocket.

    :ivar sent: bytes of the body, or of frames' payloads, that were sent.
    :ivar complete: nothing more is to be sent.
    """

    sent: int
    complete: bool

    async def read(self) -> bytes | None:
        """The next bytes of the request's body, or the next frame; None at its end.

        :raises ClientDisconnected: the client has left.
        """
        ...

    async def gone(self) -> None:
        """Returns when the client has left; what it still sends is thrown away."""
        ...

    async def start(self, reply: Reply) -> int:
        """Send the head and `reply.body`, which comes first. A HEAD request gets no more than the head.

        :returns: the status that was sent.
        """
        ...

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Send; waits while the client does not read."""
        ...

    async def close(self, last: bytes, *, failed: bool) -> None:
        """Send `last` and end the response."""
        ...


class ServerRequest(Protocol):
    """One request of a client.

    :ivar method: upper case; `bridge.api.stream.WEBSOCKET` for a WebSocket.
    :ivar path: as sent, still percent-encoded, without the query.
    :ivar query: as sent, without ``?``.
    :ivar headers: the request's fields in order; names in lower case.
    :ivar version: of HTTP, ``1.1``.
    :ivar peer: the address at the connection's other end (`bridge.http.client_address.canonical`), or ``""``.
    :ivar connection: what a stream needs of it.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    version: str
    peer: str

    @property
    def connection(self) -> ClientConnection: ...

    def received(self, max_bytes: int) -> bytes | None:
        """The whole body, where it has arrived; else None, and `body` must be awaited.

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
        """The body in pieces, in place of `body`. The client is not read while no piece is asked for.

        :raises ClientDisconnected: from the iterator: the client left before the body's end.
        """
        ...

    def side(self, fields: Fields) -> Downstream:
        """A response that streams, in place of `body` and `answer`."""
        ...

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: Body) -> None:
        """The whole response. `fields` are fit to be sent: names are tokens, values hold no controls. They frame a body
        of bytes. A body in pieces is framed here, unless `fields` name its length. Its iterator is closed at its end,
        at a failure, and when the client leaves.

        :raises ClientDisconnected: the client left before a body in pieces had ended.
        :raises Exception: as the iterator; the response is cut off, so that the client sees that it is incomplete.
        """
        ...
