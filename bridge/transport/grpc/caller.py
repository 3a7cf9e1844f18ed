"""gRPC calls that plug-ins send when a route is bound (`bridge.api.Context.call`).

A service is looked up and connected to as for the route's own calls, by name and with the route's TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.api.call import GrpcReply
from bridge.api.tls import Tls
from bridge.api.transformer import OpenStream
from bridge.errors import BridgeError, Fault, RequestError, Unreachable

if TYPE_CHECKING:
    from bridge.api.transport import Address

PAUSE = 0.1  #: seconds before instances that accept no connection are tried again: they may be starting

T = TypeVar("T")
#: The addresses of a name and port, the preferred one first; raises `bridge.errors.BridgeError`.
Resolve = Callable[[str, str], Awaitable[Sequence["Address"]]]


class Caller:
    """Sends gRPC calls for routes that are being bound; `call` is a `bridge.api.GrpcCall`."""

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
        host = f"[{name}]" if ":" in name else name
        deadline = asyncio.get_running_loop().time() + timeout
        state = _State()
        try:
            async with asyncio.timeout(timeout):
                try:
                    addresses = await self._resolve(name, port)
                except BridgeError as error:
                    raise Unreachable(Fault(f"{host}:{port} can't be found: {error}", ("upstream",))) from None
                if not addresses:
                    raise Unreachable(Fault(f"{host}:{port} has no live address", ("upstream",)))
                return await _first(addresses, host, talk, deadline, max_message, tls, state)
        except TimeoutError:
            reason = f"{host}:{port} did not answer within {timeout:g} s" + (state.advice and f": {state.advice}")
            raise Unreachable(Fault(reason, ("upstream",))) from None


class _State:
    """:ivar advice: why there is no answer yet (`bridge.transport.grpc.advice`)."""

    advice = ""


async def _first(
    addresses: Sequence[Address],
    host: str,
    talk: Callable[[OpenStream], Awaitable[T]],
    deadline: float,
    max_message: int,
    tls: Tls | None,
    state: _State,
) -> T:
    """The result of `talk` from the first of `addresses` with which it returns.

    :param deadline: in the running loop's `time()`.
    :raises TimeoutError: none accepts a connection in time, or `talk` returns with none.
    """
    from bridge.transport.grpc.advice import NO_ANSWER
    from bridge.transport.grpc.subchannel import dial  # most routes call nothing when they are bound

    clock, failure = asyncio.get_running_loop().time, None
    while failure is None:
        for position, address in enumerate(addresses):
            share = clock() + (deadline - clock()) / (len(addresses) - position)
            try:
                async with (
                    asyncio.timeout_at(share),
                    # A little less than the share, so that there is time to say why there is no connection.
                    dial(address, host, tls=tls, max_reply=max_message, seconds=(share - clock()) * 0.9) as subchannel,
                ):
                    state.advice = NO_ANSWER

                    async def open_stream(path: str, subchannel: Any = subchannel) -> _Stream:
                        return _Stream(subchannel.stream(path, (), None))

                    return await talk(open_stream)
            except RequestError as error:
                state.advice = error.detail
            except TimeoutError:
                continue
            except Exception as error:  # raised by `talk`; another instance may give a better answer
                failure = error
        await asyncio.sleep(PAUSE if failure is None else 0)
    raise failure


class _Stream:
    """`bridge.api.CallStream`: every outcome is a status."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.write, self.end, self.read = stream.write, stream.end, stream.read

    async def status(self) -> GrpcReply:
        try:
            reply: GrpcReply = await self._stream.status()
        except RequestError as error:
            return GrpcReply(self._stream.done.result().code, detail=error.detail)
        return reply
