"""One connection, with one exchange at a time (RFC 9112, section 9)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from typing import Protocol, cast

from bridge.api.body import StreamedBody
from bridge.api.transport import Clock
from bridge.errors import BadReply
from bridge.http.pieces import Pieces
from bridge.transport.http1.exchange import ConnectionDropped, ReplyHead, ReplyTruncated, reply_truncated
from bridge.transport.http1.head import UNTIL_CLOSE, Heads
from bridge.transport.http1.response import Response
from bridge.transport.http1.upload import Upload

JOINED = 64 * 1024  #: bytes of a body that is joined to its head, to be sent at once; a larger one would cost a copy
PIECE = 256 * 1024  #: bytes of a larger one that are passed to the transport at a time
TURN = 512 * 1024  #: bytes of a message that pass in one turn of the loop; the kernel may take or hold many megabytes

#: The body of a large reply is in pieces, which are joined elsewhere than on the loop.
Answer = tuple[ReplyHead, bytes | Pieces | StreamedBody]


class Owner(Protocol):
    """The pool that lends connections out."""

    loop: asyncio.AbstractEventLoop
    heads: Heads
    authority: str  #: for messages
    connections: set[Http1Connection]  #: all with an open transport

    def release(self, connection: Http1Connection, keep: float) -> None:
        """`connection` may be reused, within `keep` seconds."""

    def retire(self, connection: Http1Connection) -> None:
        """`connection` is no longer used."""

    def stream(self, connection: Http1Connection) -> None:
        """The reply on `connection` may take any time: it no longer counts among those that are lent out."""


class Http1Connection(asyncio.Protocol):
    """Belongs to a pool, which lends it out. Nothing here waits; `begin` returns a future. A reply whose body flows
    settles the future with its head; the connection is then the `bridge.api.body.BodySource` of the body.

    :ivar write_paused: the service takes less than is written.
    :ivar counts: it is one of those that the pool limits.
    :ivar closed: it must not be used again; set before the transport is closed.
    :ivar until: the loop's time at which it has been idle for too long.
    """

    __slots__ = (
        "_future",
        "_gone",
        "_held",
        "_inflow",
        "_owner",
        "_read",
        "_response",
        "_transport",
        "_unsent",
        "_upload",
        "_used",
        "_yielded",
        "closed",
        "counts",
        "until",
        "write_paused",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._response = Response(owner.heads)
        self._transport: asyncio.Transport | None = None
        self._future: asyncio.Future[Answer] | None = None
        self._unsent: memoryview | None = None  # of a large body: the part that was not passed to the transport yet
        self._upload: Upload | None = None  # a body that arrives meanwhile
        self._inflow: StreamedBody | None = None  # the body of a reply whose head was passed on
        self._held = False  # its consumer takes no more for now
        self.write_paused = False
        self._read = 0  # bytes of an incomplete reply, since the last turn that was left to others
        self._yielded = False  # it continues in a later turn
        self._gone: asyncio.Future[None] | None = None
        self._used = False  # it has served a request
        self.closed = False
        self.counts = True
        self.until = 0.0

    def begin(
        self,
        head: bytes,
        body: bytes | StreamedBody,
        *,
        without_body: bool,
        limit: int,
        streams: bool = False,
        clock: Clock | None = None,
    ) -> asyncio.Future[Answer]:
        """Send a request; the future holds its reply, or what went wrong.

        :param without_body: the reply has none (HEAD).
        :param limit: bytes of a reply's body that is taken whole.
        :param streams: the reply's body may be passed on while it arrives (`bridge.api.call.HttpRequest.stream`).
        :param clock: the request's deadline, for a body in pieces.
        """
        assert self._transport is not None
        self._response.start(without_body=without_body, limit=limit, streams=streams)
        self._future = future = self._owner.loop.create_future()
        if type(body) is not bytes:  # `isinstance` would be a call
            assert isinstance(body, StreamedBody)
            self._transport.write(head)
            self._upload = Upload(body, self, self._transport, clock)
            self._upload.start()
        elif len(body) <= JOINED:
            if body:
                head += body
            self._transport.write(head)
        else:
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._write_unsent()
        return future

    def leave(self, future: asyncio.Future[Answer]) -> None:
        """The caller no longer waits for `future`. Its reply may still arrive, so the connection is closed, unless the
        reply has arrived: the connection may then already serve another request."""
        if self._future is future:
            self.abort()

    def close(self) -> None:
        """Close it properly: with TLS, a closure alert is sent (section 9.8)."""
        self._retire()
        if self._transport is not None and not self._transport.is_closing():  # as in `Http2Transport`
            self._transport.close()

    def abort(self) -> None:
        """Close it now; nothing more is sent."""
        self._retire()
        if self._transport is not None:
            self._transport.abort()

    def _retire(self) -> None:
        self._unsent = None
        if self._upload is not None:
            self._stop_upload()
        if not self.closed:
            self.closed = True
            self._owner.retire(self)

    def end(self) -> asyncio.Future[None]:
        """Close it, and end the exchange in progress. The future is done when the transport is closed."""
        self._gone = self._owner.loop.create_future()
        if self.closed:
            pass
        elif self._future is None:
            self.abort()
        else:
            self._fail_lost("the gateway is shutting down")
        return self._gone

    def fail(self, error: Exception) -> None:
        """Close it; the exchange in progress ends with `error`."""
        future, self._future = self._future, None
        inflow, self._inflow = self._inflow, None
        self.abort()
        if inflow is not None:
            inflow.fail(error)
        elif future is not None and not future.done():
            future.set_exception(error)

    # --- a reply's body that flows (`bridge.api.body.BodySource`) -----------------------------------------------------

    def pause_reading(self) -> None:
        self._held = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._held = False
        if not self._yielded and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def drop(self) -> None:
        """The client does not take the rest, and nothing tells a service to stop but the connection's end."""
        self._future = self._inflow = None
        self.abort()

    # --- what the transport calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses
        self._owner.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connections.discard(self)
        if exc is not None and self._upload is not None and self._inflow is None:
            self._read_answer()
        self._process_rest()
        if self._future is not None:
            self._fail_lost(str(exc) if exc else "the connection was closed")
        else:
            self._retire()
        self._transport = None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._upload is not None:
            self._upload.resume()
        else:
            self._write_unsent()

    def data_received(self, data: bytes) -> None:
        future = self._future
        if future is None or (future.done() and self._inflow is None):
            self.abort()  # it belongs to no request, and must not be taken for the reply to the next one
            return
        try:
            complete = self._response.feed(data)
        except BadReply as error:
            error.cause = f"{self._owner.authority}: {error.cause}"
            self.fail(error)
            return
        if complete:
            self._finish(future)
            return
        if self._response.flows and self._inflow is None and self._future is future:
            self._begin_stream(future)
        if self._response.continued and self._upload is not None:
            self._upload.proceed()
        if self._inflow is None:
            self._read += len(data)
        if (self._response.more or self._read > TURN) and not self._yielded:
            self._yield_turn(future)

    def eof_received(self) -> None:
        """The service has closed its side; nothing more will come (section 9.6). The transport closes by itself."""
        self._process_rest()
        future = self._future
        if future is None:
            self._retire()
            return
        head = self._response.head
        if head is None or head.length != UNTIL_CLOSE or not self._has_close_alert():
            self._fail_lost("the connection was closed")
        elif not future.done() or self._inflow is not None:
            self._response.eof()
            self._finish(future)

    # -------------------------------------------------------------------------------------------------------------

    def _begin_stream(self, future: asyncio.Future[Answer]) -> None:
        head = self._response.head
        assert head is not None
        self._inflow = StreamedBody(self, length=head.length if head.length >= 0 else None)
        self._owner.stream(self)
        self._response.divert(self._inflow.feed)
        future.set_result((head.reply, self._inflow))

    def _with_trailers(self, body: bytes | Pieces) -> StreamedBody:
        """A body that came at once, in pieces all the same: bytes have no trailers."""
        streamed = StreamedBody(self)
        for piece in [body] if isinstance(body, bytes) else body:
            streamed.feed(bytes(piece))
        streamed.feed_end(self._response.trailers)
        return streamed

    def _stop_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()

    def _yield_turn(self, future: asyncio.Future[Answer]) -> None:
        """Input takes long to process: continue in a later turn of the loop, and read nothing more until then."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._yielded = True
        self._owner.loop.call_soon(self._continue, future)

    def _continue(self, future: asyncio.Future[Answer]) -> None:
        self._yielded = False
        self._read = 0
        if self._future is not future:
            return
        self.data_received(b"")
        if not self._yielded and not self._held and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _process_rest(self) -> None:
        """Process all remaining input at once: no more will come."""
        while self._response.more and self._future is not None and not self.closed:
            self.data_received(b"")

    def _read_answer(self) -> None:
        """A service that refuses a body may answer and close while the body is still sent. Then a write fails before
        the loop has read the answer, which the kernel still holds."""
        assert self._transport is not None
        if self._transport.get_extra_info("ssl_object") is not None:
            return
        with contextlib.suppress(OSError):  # the end
            descriptor = self._transport.get_extra_info("socket").fileno()
            while self._future is not None and (data := os.read(descriptor, PIECE)):
                self.data_received(data)

    def _has_close_alert(self) -> bool:
        """Section 9.8: over TLS, an end without a closure alert may be an attack. uvloop reports it by itself."""
        assert self._transport is not None
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)  # the end, not a lack of data
        except ssl.SSLError:
            return False

    def _write_unsent(self) -> None:
        unsent, transport, written = self._unsent, self._transport, 0
        while unsent is not None and not self.write_paused and transport is not None and not transport.is_closing():
            if written >= TURN:
                self._owner.loop.call_soon(self._write_unsent)
                return
            piece = unsent[:PIECE]
            unsent = unsent[PIECE:] if len(unsent) > PIECE else None
            self._unsent = unsent
            transport.write(piece)
            written += PIECE

    def _finish(self, future: asyncio.Future[Answer]) -> None:
        response, transport = self._response, self._transport
        head = response.head
        assert head is not None
        assert transport is not None
        self._future = None
        inflow, self._inflow = self._inflow, None
        if inflow is None:
            body = response.take_body()
            if response.flows and response.trailers:
                future.set_result((head.reply, self._with_trailers(body)))
            else:
                future.set_result((head.reply, body))
        else:
            inflow.feed_end(response.trailers)
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()
        unsent = self._unsent is not None or (upload is not None and not upload.complete)
        if unsent or transport.get_write_buffer_size():
            # The answer is complete while the request is still being written: the service does not want the rest
            # (section 9.3: it must read the whole request, or close).
            self.abort()
        elif head.keep and not response.excess:
            self._used = True
            self._owner.release(self, head.keep)
        else:
            self.close()

    def _fail_lost(self, cause: str) -> None:
        authority = self._owner.authority
        if not self._response.begun:
            self.fail(ConnectionDropped(f"{authority}: {cause}", reused=self._used))
        elif self._response.head is None:
            self.fail(ReplyTruncated(cause=f"{authority}: {cause} within the reply's head"))
        else:
            self.fail(reply_truncated(f"{authority}: {cause} within the reply's body"))
