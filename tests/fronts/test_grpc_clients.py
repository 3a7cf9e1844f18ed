"""gRPC's own clients through the whole gateway to a real service: all kinds of method, with a token, TLS or none."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from bridge.server.tls import ListenerTls
from tests.conftest import serving
from tests.server.http2.kit import dialled
from tests.server.test_tls import NAME, Files
from tests.server.test_wire import talk

SPEC = """
route: /
upstream: flow-svc:50051
auth: {type: JWT}
%s
transform:
  request: grpc
  grpc: {protos: [flow.proto]%s}
"""
OPEN = SPEC.replace("{type: JWT}", "none")
ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


HEAD = [(":method", "POST"), (":scheme", "http"), (":authority", "a")]
FIELDS = [("te", "trailers"), ("content-type", "application/grpc")]


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">BI", 0, len(message)) + message for message in messages)


@dataclass
class Client:
    """Calls of `flow.Flow`, with `metadata` on each."""

    channel: Any
    flow: Any
    metadata: list[tuple[str, str | bytes]]

    def once(self, name: str = "Once", *, answer: Any = None, metadata: Any = None, **fields: Any) -> Any:
        call = self.channel.unary_unary(
            f"/flow.Flow/{name}", type(self.flow.request()).SerializeToString, (answer or self.flow.tick).FromString
        )
        return call(self.flow.request(**fields), metadata=self.metadata if metadata is None else metadata, timeout=20)

    def follow(self, *, timeout: float = 20, **fields: Any) -> Any:  # gRPC's
        call = self.channel.unary_stream(
            "/flow.Flow/Follow", type(self.flow.request()).SerializeToString, self.flow.tick.FromString
        )
        return call(self.flow.request(**fields), metadata=self.metadata, timeout=timeout)

    def sum(self, ticks: Any) -> Any:
        call = self.channel.stream_unary(
            "/flow.Flow/Sum", type(self.flow.tick()).SerializeToString, self.flow.total.FromString
        )
        return call(ticks, metadata=self.metadata, timeout=20)

    def echo(self, ticks: Any = None) -> Any:
        call = self.channel.stream_stream(
            "/flow.Flow/Echo", type(self.flow.tick()).SerializeToString, self.flow.tick.FromString
        )
        return call(ticks, metadata=self.metadata, timeout=20)

    def ticks(self, *numbers: int, **fields: Any) -> list[Any]:
        return [self.flow.tick(n=number, **fields) for number in numbers]


def bearer(stage: Any) -> list[tuple[str, str | bytes]]:
    return list(stage.gateway.bearer().items())


@contextlib.asynccontextmanager
async def client_of(stage: Any, *, anonymous: bool = False, **options: Any) -> AsyncIterator[Client]:
    address = f"127.0.0.1:{stage.gateway.port}"
    async with grpc.aio.insecure_channel(address, options=ANY_SIZE, **options) as channel:
        yield Client(channel, stage.flow, [] if anonymous else bearer(stage))


async def every_kind(client: Client) -> None:
    assert type(await client.once(upto=3)) is client.flow.tick
    assert [tick.n async for tick in client.follow(upto=3)] == [1, 2, 3]
    total = await client.sum(client.ticks(4, 5))
    assert (total.sum, total.count) == (9, 2)
    both = client.echo()
    for number in (1, 2, 3):  # each answer before the next message
        await both.write(client.flow.tick(n=number))
        assert (await both.read()).n == number
    await both.done_writing()
    assert await both.read() is grpc.aio.EOF  # pyright: ignore[reportAttributeAccessIssue]  # its stubs lack it
    assert await both.code() is grpc.StatusCode.OK


async def test_every_kind_of_method(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        await every_kind(client)
        sent = [metadata for _, metadata in made.flow.calls]
    assert len(sent) == 4
    assert not any("authorization" in metadata for metadata in sent)
    lines = made.gateway.log()
    assert [line["path"] for line in lines] == [f"/flow.Flow/{name}" for name in ("Once", "Follow", "Sum", "Echo")]
    assert {(line["status"], line["subject"]) for line in lines} == {(200, "citizen")}


async def test_over_tls(stage: Any, tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with (
        stage(spec=SPEC) as made,
        serving(made.gateway.app, tls=ListenerTls(files.certificate, files.key)) as port,
    ):
        secure = grpc.ssl_channel_credentials(files.authority.cert_pem.bytes())
        options = [("grpc.ssl_target_name_override", NAME)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", secure, options) as channel:
            await every_kind(Client(channel, made.flow, bearer(made)))


async def test_the_client_that_blocks(stage: Any) -> None:
    def calls(address: str, flow: Any, metadata: list[tuple[str, str | bytes]]) -> list[Any]:
        with grpc.insecure_channel(address) as channel:
            client = Client(channel, flow, metadata)
            return [
                type(client.once(upto=3)) is flow.tick,
                [tick.n for tick in client.follow(upto=3)],
                client.sum(iter(client.ticks(4, 5))).sum,
                [tick.n for tick in client.echo(iter(client.ticks(1, 2)))],
            ]

    async with stage(spec=SPEC) as made:
        address = f"127.0.0.1:{made.gateway.port}"
        told = await asyncio.to_thread(calls, address, made.flow, bearer(made))
    assert told == [True, [1, 2, 3], 9, [1, 2]]


async def test_many_calls_on_one_connection(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        sums = await asyncio.gather(*[client.sum(client.ticks(number, 1)) for number in range(14, 214)])
        assert [total.sum for total in sums] == list(range(15, 215))


# --- what is refused ----------------------------------------------------------------------------------------------


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


def details(error: grpc.aio.AioRpcError) -> list[Any]:
    packed: Any = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    return list(status_pb2.Status.FromString(packed).details)


async def test_without_a_token(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with stage(spec=SPEC) as made, client_of(made, anonymous=True) as client:
        for call in (client.once(), client.sum(client.ticks(1))):
            error = await refusal(call)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            info = error_details_pb2.ErrorInfo()
            assert details(error)[0].Unpack(info)
            assert info.reason == "UNAUTHORIZED"
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            async for _ in client.follow(upto=1):
                pass
    assert made.flow.calls == []
    assert "incomplete answer" not in caplog.text
    assert {line["status"] for line in made.gateway.log()} == {200}


async def test_the_gateways_limits(stage: Any) -> None:
    async with stage("rate_limit: {rps: 1, burst: 1}", spec=SPEC) as made, client_of(made) as client:
        await client.once(upto=1)
        error = await refusal(client.once(upto=1))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(error.initial_metadata() or error.trailing_metadata() or ())["retry-after"]) >= 1


@pytest.mark.parametrize("path", ["/flow.Flow/Nothing", "/flow.Other/Once", "/nothing"])
async def test_methods_that_are_not_published(stage: Any, path: str) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        call = client.channel.unary_unary(path)
        error = await refusal(call(b"", metadata=client.metadata, timeout=20))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert error.details() == "No route is published at this path."


async def test_a_service_that_refuses(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        at_once = await refusal(client.sum(client.ticks(1, 13)))
        seen = []

        async def follow() -> None:
            async for tick in client.follow(upto=5, fail_after=2):
                seen.append(tick.n)

        with pytest.raises(grpc.aio.AioRpcError) as midway:
            await follow()
        assert seen == [1, 2]
        for error in (at_once, midway.value):
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == at_once.details()
            assert details(error)


async def test_a_service_that_is_away(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        await made.flow.server.stop(None)
        assert (await refusal(client.once())).code() is grpc.StatusCode.UNAVAILABLE


# --- time ---------------------------------------------------------------------------------------------------------


async def test_a_deadline_of_the_client(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            async for _ in client.follow(upto=1, wait=True, timeout=0.3):
                pass
        await asyncio.wait_for(made.flow.cancelled.wait(), 10)


async def test_a_deadline_that_the_gateway_holds(stage: Any) -> None:
    """For a client that says ``grpc-timeout`` and leaves it at that."""
    async with stage(spec=OPEN) as made, dialled(made.gateway.port) as client:
        message = made.flow.request(upto=1, wait=True).SerializeToString()
        client.write(
            client.headers(1, [*HEAD, (":path", "/flow.Flow/Follow"), *FIELDS, ("grpc-timeout", "200m")], end=False),
            client.data(1, framed(message), end=True),
        )
        answer = await client.answer(1)
        assert answer.heads[-1]["grpc-status"] == "4"
        client.write(
            client.headers(3, [*HEAD, (":path", "/flow.Flow/Once"), *FIELDS, ("grpc-timeout", "soon")], end=False),
            client.data(3, framed(b""), end=True),
        )
        assert (await client.answer(3)).head["grpc-status"] == "3"
        await asyncio.wait_for(made.flow.cancelled.wait(), 10)


async def test_a_call_that_its_client_cancels(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        stream = client.follow(upto=5, hang_after=1)
        assert (await stream.read()).n == 1
        stream.cancel()
        await asyncio.wait_for(made.flow.cancelled.wait(), 10)
        made.flow.cancelled.clear()
        made.flow.hold.clear()
        call = client.sum(client.ticks(1))
        made.flow.called.clear()
        await asyncio.wait_for(made.flow.called.wait(), 10)
        call.cancel()
        made.flow.hold.set()
        await every_kind(client)
    assert [line["status"] for line in made.gateway.log()][:2] == [499, 499]


# --- messages -----------------------------------------------------------------------------------------------------


async def test_large_messages(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made) as client:
        ticks = [tick async for tick in client.follow(upto=3, size=1_500_000)]
        assert [len(tick.text) for tick in ticks] == [1_500_000] * 3
        total = await client.sum(client.ticks(1, 2, 3, text="x" * 1_500_000))
        assert (total.sum, total.count) == (6, 3)
        echoed = [len(tick.text) async for tick in client.echo(client.ticks(1, 2, text="x" * 700_000))]
        assert echoed == [700_000] * 2


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
async def test_compressed_messages(stage: Any, coding: grpc.Compression) -> None:
    async with stage(spec=SPEC) as made, client_of(made, compression=coding) as client:
        total = await client.sum(client.ticks(1, 2, text="x" * 10_000))
        assert (total.sum, total.count) == (3, 2)
        assert [tick.text async for tick in client.follow(upto=1, text="y" * 1_000)] == ["y" * 1_000]


async def test_a_coding_that_is_not_known(stage: Any) -> None:
    async with stage(spec=SPEC) as made, client_of(made, compression=grpc.Compression.Deflate) as client:
        error = await refusal(client.sum(client.ticks(1, text="x" * 10_000)))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "identity, gzip" in str(error.details())


async def test_more_than_the_gateway_takes(stage: Any) -> None:
    async with stage(spec=SPEC, max_body=100_000) as made, client_of(made) as client:
        error = await refusal(client.sum(client.ticks(1, text="x" * 200_000)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await every_kind(client)


async def test_metadata_both_ways(stage: Any) -> None:
    options = ", pass_headers: [x-a, x-b-bin], reply_headers: [x-since, x-count]"
    async with stage(options=options, spec=SPEC) as made, client_of(made) as client:
        client.metadata += [("x-a", "1"), ("x-b-bin", b"\x00\xff"), ("x-c", "left out")]
        stream = client.follow(upto=2, since=1)
        assert [tick.n async for tick in stream] == [2]
        [(_, sent)] = made.flow.calls
        assert (sent["x-a"], sent["x-b-bin"], "x-c" in sent) == ("1", b"\x00\xff", False)
        assert dict(await stream.initial_metadata())["x-since"] == "1"
        assert dict(await stream.trailing_metadata())["x-count"] == "1"


async def test_neither_side_is_faster_than_the_others_reader(stage: Any) -> None:
    async with stage(spec=OPEN) as made, dialled(made.gateway.port) as client:
        message = made.flow.request(upto=50_000, size=20_000).SerializeToString()
        client.write(
            client.headers(1, [*HEAD, (":path", "/flow.Flow/Follow"), *FIELDS], end=False),
            client.data(1, framed(message), end=True),
        )
        await client.until(lambda: 1 in client.answers and len(client.answers[1].body) == 65_535)
        for _ in range(20):
            await client.alive()
        assert made.flow.sent < 1_000  # of a gigabyte, 20 MB at most
        client.write(client.reset(1))
        await asyncio.wait_for(made.flow.cancelled.wait(), 10)


async def test_what_a_call_looks_like(stage: Any) -> None:
    """gRPC over HTTP/2, "Responses": a head, messages, and trailers; one section where there is no message."""
    async with stage(spec=OPEN) as made, dialled(made.gateway.port) as client:
        for number, kind in ((1, "application/grpc"), (3, "application/grpc+proto"), (5, "application/grpc+json")):
            body = b'{"upto":3}' if "json" in kind else made.flow.request(upto=3).SerializeToString()
            client.write(
                client.headers(number, [*HEAD, (":path", "/flow.Flow/Once"), ("content-type", kind)], end=False),
                client.data(number, framed(body), end=True),
            )
            answer = await client.answer(number)
            head, trailers = answer.heads
            assert (head[":status"], head["content-type"]) == ("200", kind)
            assert head["grpc-accept-encoding"] == "identity,gzip"
            assert "content-length" not in head
            assert trailers == {"grpc-status": "0"}
            assert answer.body[:1] == b"\0"
        client.write(client.headers(7, [*HEAD, (":path", "/flow.Flow/Once"), *FIELDS], end=False))
        client.write(client.data(7, framed(b"", b""), end=True))
        answer = await client.answer(7)
        assert (len(answer.heads), answer.head["grpc-status"], answer.body) == (1, "12", b"")
        client.write(client.headers(9, [*HEAD, (":path", "/flow.Flow/Once"), *FIELDS], end=False))
        client.write(client.data(9, framed(b"abc")[:6], end=True))
        assert (await client.answer(9)).head["grpc-status"] == "3"


async def test_over_http1_the_status_is_in_the_chunks_trailers(stage: Any) -> None:
    async with stage(spec=OPEN) as made:
        body = framed(made.flow.request(upto=3).SerializeToString())
        answer = await talk(
            made.gateway.port,
            b"POST /flow.Flow/Once HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\n"
            b"Content-Type: application/grpc\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
        )
    assert b"transfer-encoding: chunked" in answer
    assert answer.endswith(b"0\r\ngrpc-status: 0\r\n\r\n")
