"""A streaming call: serialised messages in and out, each waiting for the other side.

The service can send ahead of `GrpcStream.read` only up to the stream's window, and `GrpcStream.write` buffers only one
message.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial

from bridge.api.call import GrpcReply
from bridge.api.stream import UpstreamStream
from bridge.api.transport import Attempt, InstanceVerdict
from bridge.errors import BadReply, RequestError, Timeout, TooLarge, UpstreamError
from bridge.payload import offload
from bridge.payload.offload import LARGE
from bridge.transport.grpc.answer import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    UNKNOWN,
    Metadata,
    broken_section,
    by_deadline,
    final_attempt,
    lost,
    read,
    reset,
)
from bridge.transport.grpc.framing import CompressedMessage, MessageReader, encode_message
from bridge.transport.http2.fields import Fields
from bridge.transport.http2.stream import Http2Stream


class GrpcStream(Http2Stream):
    """`bridge.api.stream.UpstreamStream` over HTTP/2, for calls of every cardinality. One task may write while another
    reads.

    After the end of the call, `read` returns None and `write` does nothing; only `status` has the outcome. A task
    that is cancelled while it waits here cancels the call.

    :param limit: bytes of one message of the service. :param max_message: bytes of one of ours; None for any.
    :param coding: of our messages.
    :ivar done: its outcome; never an exception.
    """

    __slots__ = (
        "_coding",
        "_final",
        "_head",
        "_inbound",
        "_max_message",
        "_pending",
        "_ready",
        "_waiters",
        "done",
        "when",
    )

    def __init__(
        self,
        limit: int,
        *,
        coding: str | None,
        done: asyncio.Future[Attempt],
        max_message: int | None = None,
        deadline: float | None = None,
    ) -> None:
        super().__init__()
        self._max_message = max_message
        self._coding = coding
        self._inbound = MessageReader(limit)
        self._pending = 0  # bytes received that were not credited
        self._ready: list[bytes | CompressedMessage] = []  # parsed messages, the next one last
        self._head: Metadata | None = None
        self._final: Attempt | None = None  # of the trailers, while earlier messages are still unread
        self._waiters: list[asyncio.Future[None]] = []  # callers that wait for an event
        self.done = done
        self.when = math.inf if deadline is None else deadline

    # --- the caller's side --------------------------------------------------------------------------------------

    async def write(self, message: bytes) -> None:
        """Send one message; waits while the service doesn't read. One that is larger than allowed ends the call.
        Does nothing after the call has ended."""
        if self.done.done() or self._final is not None or self.last:
            return
        if self._max_message is not None and len(message) > self._max_message:
            self._fail(TooLarge("The message is larger than the route allows."))
            return
        if self._coding is not None and len(message) > LARGE:
            self.send(await offload.run(len(message), partial(encode_message, message, self._coding)))
        else:
            self.send(encode_message(message, self._coding))
        while (self.queue is not None or not self.id) and self._final is None and not self.done.done():
            await self._wait()

    async def end(self) -> None:
        """No more messages will be written; may be called twice."""
        if not self.done.done() and not self.last:
            self.send(b"", end=True)

    async def read(self) -> bytes | None:
        """The next message; None after the last one."""
        while not self._ready:
            try:
                messages = self._inbound.next_batch()
            except RequestError as error:
                self._fail(error)
                return None
            if messages:
                # Bytes that were credited while the message was incomplete come first, so the rest is credited last.
                incomplete = min(self._pending, len(self._inbound))
                self.credit(self._pending - incomplete)
                self._pending = incomplete
                messages.reverse()
                self._ready = messages
                break
            if self._final is not None:
                if len(self._inbound):
                    self._fail(BadReply(cause="an answer that ends within a message"))
                else:
                    self._finish(self._final)
            if self.done.done():
                return None
            # The part of a message that has arrived does not count, or one larger than the window would never be
            # complete.
            self.credit(self._pending)
            self._pending = 0
            await self._wait()
        message = self._ready.pop()
        return await self._decompress(message) if isinstance(message, CompressedMessage) else message

    async def _decompress(self, message: CompressedMessage) -> bytes | None:
        try:
            return await offload.run(message.size, message.unpack)
        except RequestError as error:
            self._fail(error)
            return None
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The metadata before the first message; waits for it. Empty if the call ended before."""
        while self._head is None and not self.done.done() and self._final is None:
            await self._wait()
        return self._head or ()

    async def status(self) -> GrpcReply:
        """How the call ended, without a message; waits for it.

        :raises bridge.errors.Unavailable: the connection was lost, or the gateway closed it.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: an answer that is not gRPC, or a message larger than allowed.
        :raises bridge.errors.UpstreamError: the service reset it, or `cancel` was called.
        """
        while not self.done.done():
            if self._final is not None:
                self._finish(self._final)  # a caller that wants the status reads no more
                break
            await self._wait()
        reply: GrpcReply = self.done.result().settle()
        return reply

    def cancel(self) -> None:
        """Cancel the call; may be called at any time."""
        error = UpstreamError("The call to the service behind this route was given up.")
        self._give_up(Attempt(error, CANCELLED))

    def expire(self) -> None:
        """The deadline passed; a status that arrived before still counts."""
        if self._final is None:
            self._give_up(
                Attempt(Timeout(cause="the deadline passed"), DEADLINE_EXCEEDED, verdict=InstanceVerdict.LATE)
            )

    def _by_deadline(self, attempt: Attempt) -> Attempt:
        return by_deadline(attempt, self.when - self.done.get_loop().time())

    async def _wait(self) -> None:
        future = self.done.get_loop().create_future()
        self._waiters.append(future)
        try:
            await future
        except asyncio.CancelledError:
            self.cancel()
            raise

    # --- the connection's side ----------------------------------------------------------------------------------

    def headers(self, fields: Fields, *, ended: bool) -> None:
        answer = read(fields)
        if ended or fields.large:
            if answer.fault or answer.code is None or (fields.status is None) == (self._head is None):
                self._give_up(self._by_deadline(broken_section(fields, answer)))
                return
            self._final = self._by_deadline(final_attempt(answer, self._head, goaway=self.goaway))
            if not self.finished:
                self.give_back()  # it replied without reading the rest
            self._wake()
        elif self._head is not None or fields.status is None:
            self._fail(BadReply(cause="a header section within the answer's body"))
        elif fields.status < 200:
            return
        elif answer.fault:
            self._give_up(self._by_deadline(broken_section(fields, answer)))
        else:
            self._head = answer.metadata
            self._inbound.coding = answer.coding
            self._wake()

    def data(self, payload: bytes, *, ended: bool) -> None:
        if self._head is None or ended:
            cause = "an answer without a status" if ended else "a body without a header section"
            self._fail(BadReply(cause=cause))
            return
        self._pending += len(payload)
        self._inbound.feed(payload)
        self._wake()

    def flushed(self) -> None:
        self._wake()

    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        if self._final is None:
            self._finish(self._by_deadline(reset(code, cause, committed=self._head is not None, local=local)))

    def lost(self, cause: str, *, untouched: bool) -> None:
        if self._final is None:
            self._finish(self._by_deadline(lost(cause, committed=self._head is not None, untouched=untouched)))

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for future in waiters:
            if not future.done():
                future.set_result(None)

    def _fail(self, error: RequestError) -> None:
        self._give_up(self._by_deadline(Attempt(error, UNKNOWN)))

    def _give_up(self, attempt: Attempt) -> None:
        self.give_back()
        self._finish(attempt)

    def _finish(self, attempt: Attempt) -> None:
        if not self.done.done():
            self.done.set_result(attempt)
        self._wake()


_: type[UpstreamStream] = GrpcStream
