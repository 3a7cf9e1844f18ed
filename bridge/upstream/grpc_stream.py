"""One streaming call on a channel of grpc.aio: `bridge.stream.UpstreamStream`.

Every cardinality is the same on the wire, so one kind of call serves them all. grpc.aio reads when it is asked to, and
a write waits for the service's window; so neither side fills the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from bridge.errors import UpstreamError
from bridge.transformer import GrpcReply


class GrpcStream:
    """:param call: the open call; messages are bytes.
    :param refused: translates what it ends with, unless that is OK; raises `bridge.errors.UpstreamError`.
    """

    def __init__(self, call: Any, refused: Callable[[grpc.aio.AioRpcError], GrpcReply]) -> None:
        self._call = call
        self._refused = refused

    async def write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.aio.BaseError) as error:
            raise UpstreamError("The call has ended.", cause=str(error)) from None

    async def end(self) -> None:
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.aio.BaseError) as error:
            raise UpstreamError("The call has ended.", cause=str(error)) from None

    async def read(self) -> bytes | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError:
            return None  # `status` says what it was
        return message if isinstance(message, bytes) else None  # otherwise it is grpc.aio.EOF

    async def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return tuple(await self._call.initial_metadata() or ())

    async def status(self) -> GrpcReply:
        code = await self._call.code()
        metadata = tuple(await self._call.initial_metadata() or ())
        trailers = tuple(await self._call.trailing_metadata() or ())
        if code is grpc.StatusCode.OK:
            return GrpcReply(0, metadata=metadata, trailers=trailers)
        return self._refused(
            grpc.aio.AioRpcError(
                code, grpc.aio.Metadata(*metadata), grpc.aio.Metadata(*trailers), await self._call.details()
            )
        )

    def cancel(self) -> None:
        self._call.cancel()
