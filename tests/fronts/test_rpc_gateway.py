"""Connect's Python client through the whole gateway to a real gRPC service: both protocols, all kinds of method."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

KINDS = {"Once": "UNARY", "Follow": "SERVER_STREAM", "Sum": "CLIENT_STREAM", "Echo": "BIDI_STREAM"}


def part(name: str) -> Any:
    return pytest.importorskip(f"connectrpc.{name}", reason="the dev extra holds connectrpc; install it anew")


class Messages:
    """Messages of ours, in protobuf; the client's own protobuf is another."""

    def name(self) -> str:
        return "proto"

    def encode(self, message: Any) -> bytes:
        data: bytes = message.SerializeToString()
        return data

    def decode(self, data: bytes | bytearray, message_class: Any) -> Any:
        return message_class.FromString(bytes(data))


class Client:
    def __init__(self, stage: Any, protocol: str) -> None:
        kind = getattr(part("protocol").ProtocolType, protocol)
        address = f"http://127.0.0.1:{stage.gateway.port}/flow"
        self._client = part("client").ConnectClient(address, protocol=kind, codec=Messages())
        self._flow = stage.flow

    def _how(self, name: str) -> Any:
        method, flow = part("method"), self._flow
        return method.MethodInfo(
            name=name,
            service_name="flow.Flow",
            input=object,
            output=flow.total if name == "Sum" else flow.tick,
            idempotency_level=method.IdempotencyLevel.UNKNOWN,
            stream_type=getattr(method.StreamType, KINDS[name]),
        )

    async def unary(self, **fields: Any) -> Any:
        request = self._flow.request(**fields)
        return await self._client.execute_unary(request=request, method=self._how("Once"))

    def follow(self, **fields: Any) -> AsyncIterator[Any]:
        request = self._flow.request(**fields)
        stream: AsyncIterator[Any] = self._client.execute_server_stream(request=request, method=self._how("Follow"))
        return stream

    async def sum(self, *numbers: int) -> Any:
        return await self._client.execute_client_stream(request=self._ticks(numbers), method=self._how("Sum"))

    def echo(self, *numbers: int) -> AsyncIterator[Any]:
        ticks = self._ticks(numbers)
        stream: AsyncIterator[Any] = self._client.execute_bidi_stream(request=ticks, method=self._how("Echo"))
        return stream

    async def _ticks(self, numbers: tuple[int, ...]) -> AsyncIterator[Any]:
        for number in numbers:
            yield self._flow.tick(n=number)


PROTOCOLS = pytest.mark.parametrize("protocol", ["CONNECT", "GRPC_WEB"])


@PROTOCOLS
async def test_every_kind_of_method(protocol: str, stage: Any) -> None:
    async with stage() as made:
        client = Client(made, protocol)
        assert type(await client.unary(upto=3)) is made.flow.tick
        assert [tick.n async for tick in client.follow(upto=3)] == [1, 2, 3]
        assert [tick.n async for tick in client.echo(4, 5, 6)] == [4, 5, 6]
        total = await client.sum(4, 5)
        assert (total.sum, total.count) == (9, 2)


@PROTOCOLS
async def test_a_service_that_refuses(protocol: str, stage: Any) -> None:
    error = part("errors").ConnectError
    async with stage() as made:
        client = Client(made, protocol)
        seen = []

        async def follow(**fields: Any) -> None:
            async for tick in client.follow(**fields):
                seen.append(tick.n)

        with pytest.raises(error) as refused:
            await follow(upto=5, fail_after=2)
        assert seen == [1, 2]
        assert refused.value.details
        for call in (lambda: follow(fail_at_once=True), lambda: client.sum(1, 13)):
            with pytest.raises(error) as at_once:
                await call()
            assert (at_once.value.code, at_once.value.message) == (refused.value.code, refused.value.message)


@PROTOCOLS
async def test_the_gateways_own_refusals(protocol: str, stage: Any) -> None:
    error = part("errors").ConnectError
    async with stage("rate_limit: {rps: 1, burst: 1}") as made:
        client = Client(made, protocol)
        await client.unary(upto=1)
        with pytest.raises(error) as refused:
            await client.unary(upto=1)
        assert refused.value.code.value == "resource_exhausted"
        with pytest.raises(error) as stream:
            await client.sum(1)
        assert stream.value.code.value == "resource_exhausted"
