"""One streaming call over grpc.aio: serialised messages in and out, each waiting for the other side.

Nothing is read ahead of `GrpcioStream.read` but what HTTP/2's window lets the service send, and nothing is kept behind
`GrpcioStream.write` but one message and what gRPC's core has handed to the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from bridge.api.call import GrpcReply
from bridge.api.stream import UpstreamStream
from bridge.api.transport import Attempt, InstanceVerdict
from bridge.errors import Unavailable, UpstreamError
from bridge.transport.grpc.subchannel import Subchannel
from tests.oracles.grpcio.status import attempt_of, pairs

_OK = grpc.StatusCode.OK


class GrpcioStream:
    """`bridge.api.stream.UpstreamStream` over gRPC, for calls of every cardinality. One task may write while another
    reads.

    Whatever ends the call, `read` then gives None and `write` does nothing; only `status` says how it ended. A task
    that is cancelled while it waits here cancels the call.

    :param call: a stream-stream call on raw bytes.
    :param deadline: in the running loop's `time()`; None where there is none.
    :param report: told how the call ended, once somebody asks for its `status`.
    """

    def __init__(
        self, call: Any, peer: Subchannel, deadline: float | None, report: Callable[[Attempt], None] | None = None
    ) -> None:
        self._call = call
        self._peer = peer
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._given_up = False
        self._connected = True
        self._late = False
        self._report = report
        call.add_done_callback(self._ended)

    def _ended(self, _: Any) -> None:
        """Keeps what tells the service's word from trouble on the way: `status` may be asked much later."""
        self._connected = self._peer.connected
        self._late = self._deadline is not None and self._loop.time() >= self._deadline - 0.001

    async def write(self, message: bytes) -> None:
        """Send one message; waits while the service doesn't read. Does nothing once the call has ended."""
        try:
            await self._call.wait_for_connection()
            if not self._call.done():
                # `write` of the public API ends the call as INTERNAL when the service has answered without reading on:
                # its status, and the messages that were not read yet, would be lost (grpc.aio._call, `_write`).
                await self._call._cython_call.send_serialized_message(message)
        except asyncio.CancelledError:
            self._cancelled()
        except (grpc.RpcError, grpc.aio.BaseError):
            pass  # the call has ended, or is about to

    async def end(self) -> None:
        """Nothing more will be written; may be called twice."""
        try:
            await self._call.wait_for_connection()
            await self._call.done_writing()
        except asyncio.CancelledError:
            self._cancelled()
        except (grpc.RpcError, grpc.aio.BaseError):
            pass

    async def read(self) -> bytes | None:
        """The next message; None when there are no more."""
        try:
            message = await self._call.read()
        except asyncio.CancelledError:
            self._cancelled()
        except grpc.RpcError:
            pass
        else:
            if isinstance(message, bytes):  # otherwise it is grpc.aio.EOF
                return message
        return None

    async def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came before the first message; waits for it. Empty where the call ended before."""
        try:
            return pairs(await self._call.initial_metadata())
        except asyncio.CancelledError:
            self._cancelled()
            return ()

    async def status(self) -> GrpcReply:
        """How the call ended, without a message; waits for it.

        :raises bridge.errors.Unavailable: the connection was lost, or the gateway closed it.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: an answer that is not gRPC, or a message larger than allowed.
        :raises bridge.errors.UpstreamError: the connection failed otherwise, or `cancel` was called.
        """
        try:
            code = await self._call.code()
        except asyncio.CancelledError:
            self._cancelled()
            raise
        if self._given_up:
            raise UpstreamError("The call to the service behind this route was given up.")
        if self._call.cancelled() and self._call._cython_call.is_locally_cancelled():
            raise Unavailable("The gateway is shutting down.", headers=[("retry-after", "1")])
        metadata = await self._call.initial_metadata()
        trailers = await self._call.trailing_metadata()
        if code is _OK:
            reply = GrpcReply(0, metadata=pairs(metadata), trailers=pairs(trailers))
            outcome = Attempt(reply, verdict=InstanceVerdict.FINE)
        else:
            error = grpc.aio.AioRpcError(code, metadata, trailers, await self._call.details())
            outcome = attempt_of(error, connected=self._connected, late=self._late)
        report, self._report = self._report, None
        if report is not None:
            report(outcome)
        settled: GrpcReply = outcome.settle()
        return settled

    def cancel(self) -> None:
        """Give the call up; may be called at any time."""
        self._given_up = self._given_up or not self._call.done()
        self._call.cancel()

    def _cancelled(self) -> None:
        """gRPC raises `CancelledError` in whoever waits for a call that was cancelled, by whomever: only a task that
        was cancelled itself may see it."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            self.cancel()
            raise asyncio.CancelledError


_: type[UpstreamStream] = GrpcioStream
