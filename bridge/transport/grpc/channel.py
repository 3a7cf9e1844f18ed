"""gRPC towards one upstream: a `Subchannel` for each instance, connected when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bridge.api.call import GrpcRequest
from bridge.api.transport import Address, Attempt, AttemptContext, InstanceVerdict, Outcome, Target
from bridge.errors import Overloaded, RequestError, Unavailable
from bridge.transport.grpc.answer import UNAVAILABLE, Metadata
from bridge.transport.grpc.subchannel import ConnectionOptions, Subchannel

_RETRY_AFTER = (("retry-after", "1"),)

#: ``/package.Service/Method``, the serialised message, metadata.
GrpcMessage = tuple[str, bytes, Metadata]


class GrpcChannel:
    """`bridge.api.transport.Channel` over gRPC."""

    def __init__(self, target: Target) -> None:
        self._options = ConnectionOptions.of(target)
        self._subchannels: dict[Address, Subchannel] = {}
        self._leaving: dict[asyncio.Task[None], Subchannel] = {}

    def make(self, address: Address) -> Subchannel:
        return Subchannel(address, self._options)

    def prepare(self, request: GrpcRequest, trace: Sequence[tuple[str, str]]) -> GrpcMessage:
        return request.path, request.message, (*request.metadata, *trace)

    def attempt(self, message: GrpcMessage, context: AttemptContext) -> Awaitable[Attempt]:
        subchannel = self._subchannels.get(context.address)
        if (  # no wait is needed
            subchannel is not None
            and subchannel.connected
            and (subchannel.health is None or subchannel.health.serving)
            and len(self._subchannels) <= len(context.addresses)
        ):
            return subchannel.unary(*message, context.deadline, context.retries)
        return self._attempt(message, context)

    async def _attempt(self, message: GrpcMessage, context: AttemptContext) -> Attempt:
        subchannel = await self._connect(context)
        if isinstance(subchannel, Attempt):
            return subchannel
        return await subchannel.unary(*message, context.deadline, context.retries)

    async def open(
        self, message: GrpcMessage, context: AttemptContext, deadline: float | None, report: Callable[[Attempt], None]
    ) -> Attempt:
        subchannel = await self._connect(context)
        if isinstance(subchannel, Attempt):
            return subchannel
        path, _, metadata = message
        try:
            return Attempt(subchannel.stream(path, metadata, deadline, report=report))
        except RequestError as error:  # the connection was lost at this moment
            return Attempt(error, UNAVAILABLE)

    def repeatable(self, request: GrpcRequest) -> bool:
        return request.idempotent

    def resting(self, address: Address) -> bool:
        subchannel = self._subchannels.get(address)
        return subchannel is not None and subchannel.resting

    def forget(self, address: Address) -> None:
        if address in self._subchannels:
            self._release({address})

    async def aclose(self) -> None:
        subchannels, self._subchannels = [*self._subchannels.values(), *self._leaving.values()], {}
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*(subchannel.aclose() for subchannel in subchannels))

    async def _connect(self, context: AttemptContext) -> Subchannel | Attempt:
        """The subchannel of the context's instance, connected and serving; else the failed attempt."""
        if former := self._subchannels.keys() - set(context.addresses):
            self._release(former)
        loop, address, share = asyncio.get_running_loop(), context.address, context.connect_timeout
        by = loop.time() + share
        subchannel = self._subchannel(address)
        if subchannel.resting:
            return _not_serving(address)
        if not (subchannel.connected or await subchannel.connect(share)):
            return self._connect_failure(subchannel, share)
        if not await subchannel.serves(by - loop.time()):
            return _not_serving(address)
        context.began = loop.time()
        return subchannel

    def _connect_failure(self, subchannel: Subchannel, share: float) -> Attempt:
        # Callers share an attempt to connect. If it ended with this caller's short deadline, a client with short
        # timeouts could keep all others from connecting.
        pending = subchannel.connecting
        if not pending and self._subchannels.get(subchannel.address) is subchannel:
            self._release({subchannel.address})
        if subchannel.shortage:
            short = Overloaded("The gateway is short of connections.", cause=subchannel.cause, headers=_RETRY_AFTER)
            return Attempt(short, UNAVAILABLE)
        host, port = subchannel.address
        cause = f"{host}:{port}: {subchannel.cause or f'nothing in {share:.1f} s'}"
        error = Unavailable(cause=cause, headers=_RETRY_AFTER)
        delay = share if pending else None
        return Attempt(error, UNAVAILABLE, Outcome.REFUSED, InstanceVerdict.UNREACHABLE, waited=delay)

    def _subchannel(self, address: Address) -> Subchannel:
        subchannel = self._subchannels.get(address)
        if subchannel is not None and subchannel.lost:
            self._release({address})
            subchannel = None
        if subchannel is None:
            subchannel = self._subchannels[address] = self.make(address)
        return subchannel

    def _release(self, addresses: set[Address]) -> None:
        """Release addresses that left the mesh, or accepted no connection; their calls in progress may finish."""
        for address in addresses:
            subchannel = self._subchannels.pop(address)
            task = asyncio.get_running_loop().create_task(subchannel.leave())
            self._leaving[task] = subchannel
            task.add_done_callback(self._leaving.pop)


def _not_serving(address: Address) -> Attempt:
    error = Unavailable(cause=f"instances that say they don't serve: {address[0]}:{address[1]}", headers=_RETRY_AFTER)
    return Attempt(error, UNAVAILABLE, Outcome.REFUSED)
