"""What the exchanges of HTTP/1 and HTTP/2 share: how a request's body is read, and how a response is sent in pieces."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from bridge.api.body import StreamedBody
from bridge.api.call import Reply, Trailers
from bridge.api.capabilities import Trailed, capability
from bridge.api.downstream import Downstream, Fields
from bridge.errors import ClientDisconnected
from bridge.gateway.inbound import BODILESS, close_pieces, pieces, read_body, write_pieces
from bridge.http.forwarding import trailing
from bridge.stages.request import oversized


class ExchangeBase(ABC):
    """Half of a `bridge.api.downstream.ServerRequest` and `Downstream`. The other half sets
    the attributes.

    :ivar more_body: the end of the request's body has not arrived.
    :ivar expects: its client waits for ``100 Continue`` before it sends the body.
    :ivar waiting: bytes of the body that are not consumed yet.
    :ivar disconnected: nothing more can be sent or will arrive.
    :ivar started: the head of the answer was sent.
    :ivar complete: all of the answer was sent.
    :ivar sent: bytes of a stream's body that were sent.
    """

    __slots__ = (
        "_body", "_event", "_fields", "_parts", "_trailers", "complete", "disconnected", "expects", "method",
        "more_body", "sent", "started", "waiting",
    )  # fmt: skip

    method: str
    more_body: bool
    expects: bool
    waiting: int
    disconnected: bool
    started: bool
    complete: bool
    sent: int
    _parts: list[bytes]
    _trailers: Sequence[tuple[str, str]]  # of the request
    _body: StreamedBody | None  # of the request, if it is handed on as it comes
    _event: asyncio.Event | None
    _fields: Fields

    @abstractmethod
    def _invite(self) -> None:
        """Send ``100 Continue``."""

    @abstractmethod
    def _want(self) -> None:
        """More of the body is waited for."""

    @abstractmethod
    def _break_off(self) -> None:
        """End an answer that has begun so that the client sees that it is incomplete."""

    # --- the connection's side ----------------------------------------------------------------------------------

    def feed_end(self, trailers: Sequence[tuple[str, str]] = ()) -> None:
        self.more_body, self._trailers = False, trailers
        if self._body is not None:
            self._body.feed_end(trailers)
        if self._event is not None:
            self._event.set()

    def fail_body(self, error: Exception) -> None:
        """The rest of the request can't be read. An answer that has begun may depend on it: who passes the body on is
        told."""
        if self._body is not None:
            self._body.fail(error)

    def leave(self) -> None:
        """The client has left."""
        if not self.complete:
            self.disconnected = True
        if self._body is not None:
            self._body.fail(ClientDisconnected())
        if self._event is not None:
            self._event.set()

    # --- the request's body -------------------------------------------------------------------------------------

    def received(self, max_bytes: int) -> bytes | None:
        if self.more_body or self.disconnected or self._trailers:  # which only `stream` hands out
            return None
        if self.waiting > max_bytes:
            raise oversized(max_bytes)
        return self._take()

    async def body(self, max_bytes: int, timeout: float) -> bytes:  # noqa: ASYNC109  # as the Protocol has it
        return await read_body(self.read, max_bytes, timeout)

    def stream(self) -> AsyncIterator[bytes]:
        return pieces(self.read)

    async def read(self) -> bytes | None:
        """The next bytes of the body; None at its end.

        :raises ClientDisconnected: the client has left, or has its answer.
        """
        if self.expects:
            self._invite()
        while not self.disconnected and not self.complete:
            if self._parts:
                return self._take()
            if not self.more_body:
                return None
            self._want()
            await self._news()
        raise ClientDisconnected()

    async def gone(self) -> None:
        while not self.disconnected and not self.complete:
            self._take()
            self._want()
            await self._news()

    async def _left(self) -> None:
        """As `gone`, but without discarding the body, which may still be read."""
        while not self.disconnected:
            await self._news()

    async def _news(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    def _take(self) -> bytes:
        parts, self._parts, self.waiting = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # --- the answer ---------------------------------------------------------------------------------------------

    @abstractmethod
    async def begin(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """The head of an answer whose body is written by `send`."""

    @abstractmethod
    async def send(self, data: bytes, *, more: bool = True) -> None:
        """The next bytes of the body; none are sent for HEAD.

        :param more: whether others follow.
        :raises RuntimeError: the body is longer or shorter than its Content-Length.
        """

    @abstractmethod
    async def finish(self, trailers: Trailers) -> None:
        """The end of the body, and fields after it."""

    async def _answer_in_pieces(
        self, status: int, fields: Sequence[tuple[str, str]], body: Any, trailers: Trailers
    ) -> None:
        async def write(piece: bytes) -> None:
            await self.send(piece)
            if self.disconnected:
                raise ClientDisconnected()

        try:
            await self.begin(status, fields)
            if isinstance(body, bytes):
                await self.send(body)
            elif self.method == "HEAD" or status in BODILESS:
                await close_pieces(body)
            else:
                await write_pieces(body, write, self._left())
                if trailed := capability(body, Trailed):
                    trailers = Trailers(trailing(trailed.trailers))
            await self.finish(trailers)
        except ClientDisconnected:
            raise
        except BaseException:
            if not self.disconnected:
                self._break_off()
            raise

    # --- a stream's answer (`bridge.api.downstream.Downstream`) ---------------------------------------------

    def side(self, fields: Fields) -> Downstream:
        self._fields = fields
        return self

    async def start(self, reply: Reply) -> int:
        fields: Callable[[Reply], list[tuple[str, str]]] = self._fields
        await self.begin(reply.status, fields(reply))
        if self.method == "HEAD":
            await self.send(b"", more=False)
        elif reply.body:
            await self.send(reply.content)
        return reply.status

    async def write(self, chunks: Sequence[bytes]) -> None:
        await self.send(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    async def close(self, last: bytes | Trailers, *, failed: bool) -> None:
        if isinstance(last, Trailers):
            await self.finish(last)
        else:
            await self.send(last, more=False)
