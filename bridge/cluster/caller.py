"""gRPC calls that plug-ins make when a route is bound: the one door for them (`bridge.api.Context.call`).

The connection is made as those for the route's own calls are, to one instance after another, for one conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.api.call import GrpcReply, GrpcRequest
from bridge.api.tls import Tls
from bridge.api.transformer import OpenStream
from bridge.errors import BridgeError, Fault, RequestError, Unreachable

if TYPE_CHECKING:
    from bridge.transport.subchannel import Address

PAUSE = 0.1  #: seconds before instances that take no connection are tried again: they may be starting

T = TypeVar("T")
#: The addresses of a name and port, the preferred one first; raises `bridge.errors.BridgeError`.
Resolve = Callable[[str, str], Awaitable[Sequence["Address"]]]


class Caller:
    """Makes gRPC calls for routes that are being bound; `call` is a `bridge.api.GrpcCall`."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def call(
        self,
        name: str,
        port: str,
        talk: Callable[[OpenStream], Awaitable[T]],
        *,
        timeout: float,  # noqa: ASYNC109  # it bounds more than one await
        max_message: int,
        tls: Tls | None = None,
    ) -> T:
        loop, shown = asyncio.get_running_loop(), f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        deadline = loop.time() + timeout
        try:
            addresses = await self._resolve(name, port)
        except BridgeError as error:
            raise Unreachable(Fault(f"{shown} can't be found: {error}", "upstream")) from None
        if not addresses:
            raise Unreachable(Fault(f"{shown} has no live address", "upstream"))
        failure: Exception | None = None
        while loop.time() < deadline:
            for position, address in enumerate(addresses):
                share = (deadline - loop.time()) / (len(addresses) - position)
                try:
                    return await _attempt(address, name, talk, loop.time() + share, max_message, tls)
                except (RequestError, TimeoutError):
                    continue  # no connection, or no whole conversation in its share of the time
                except Exception as error:  # what `talk` raises; another instance may give a better answer
                    failure = error
            if failure is not None:
                raise failure
            await asyncio.sleep(min(PAUSE, max(deadline - loop.time(), 0)))
        raise Unreachable(Fault(f"{shown} did not answer within {timeout:g} s", "upstream"))


async def _attempt(
    address: Address,
    name: str,
    talk: Callable[[OpenStream], Awaitable[T]],
    deadline: float,
    max_message: int,
    tls: Tls | None,
) -> T:
    """One conversation with one instance.

    :raises bridge.errors.RequestError: it takes no connection.
    :raises TimeoutError: the deadline passed.
    """
    from bridge.cluster.grpc import GrpcUpstream  # most routes ask nothing when they are bound

    async def here() -> Sequence[Address]:
        return [address]

    async def open_stream(path: str) -> _Stream:
        return _Stream(await upstream.stream(GrpcRequest(path, b""), deadline=None, connect_by=deadline))

    authority = f"[{name}]" if ":" in name else name
    upstream = GrpcUpstream(here, tls=tls is not None, trust=tls, name=authority, max_reply=max_message)
    try:
        async with asyncio.timeout_at(deadline):
            return await talk(open_stream)
    finally:
        await upstream.aclose()


class _Stream:
    """`bridge.api.GrpcStream`: every end is a status."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.write, self.end, self.read = stream.write, stream.end, stream.read

    async def status(self) -> GrpcReply:
        try:
            reply: GrpcReply = await self._stream.status()
        except RequestError as error:
            return GrpcReply(self._stream.done.result().code, detail=error.detail)
        return reply
