"""Connect's own Python client (``connectrpc``), which we did not write, over a socket: both protocols, all kinds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.rpc import error_details_pb2

from bridge_grpc.schema.pool import Schema
from tests.fronts.rpc_server import LIMITED, RpcServer, serving
from tests.fronts.rpc_service import PROTO

KINDS = {"Get": "UNARY", "Put": "UNARY", "Watch": "SERVER_STREAM", "Sum": "CLIENT_STREAM", "Both": "BIDI_STREAM"}


class Library:
    """The parts of it, found when a test wants them: its protobuf is another than ours, so messages stay values."""

    def __init__(self) -> None:
        self.client, self.method, self.protocol, self.errors, self.gzip = (
            pytest.importorskip(f"connectrpc.{name}", reason="the dev extra holds connectrpc; install it anew")
            for name in ("client", "method", "protocol", "errors", "compression.gzip")
        )


class Json:
    """Messages as dicts."""

    def name(self) -> str:
        return "json"

    def encode(self, message: Any) -> bytes:
        return json.dumps(message).encode()

    def decode(self, data: bytes | bytearray, message_class: Any) -> Any:
        return json.loads(data)


class Binary:
    """Messages as dicts, in protobuf on the wire."""

    def __init__(self, schema: Schema) -> None:
        self._ask = schema.message_class(schema.pool.FindMessageTypeByName("tally.v1.Ask"))
        self._count = schema.message_class(schema.pool.FindMessageTypeByName("tally.v1.Count"))

    def name(self) -> str:
        return "proto"

    def encode(self, message: Any) -> bytes:
        data: bytes = self._ask(**message).SerializeToString()
        return data

    def decode(self, data: bytes | bytearray, message_class: Any) -> Any:
        made = self._count.FromString(bytes(data))
        filled = {"county": made.county} if made.county else {}
        return filled | ({"ballots": str(made.ballots)} if made.ballots else {})


class Client:
    """One client in one of the protocols; calls methods by their names."""

    def __init__(self, library: Library, port: int, protocol: str, codec: Any, squeezed: bool) -> None:
        self._library = library
        self._client = library.client.ConnectClient(
            f"http://127.0.0.1:{port}",
            protocol=getattr(library.protocol.ProtocolType, protocol),
            codec=codec,
            send_compression=library.gzip.GzipCompression() if squeezed else None,
        )

    def _method(self, name: str) -> Any:
        method = self._library.method
        level = method.IdempotencyLevel.NO_SIDE_EFFECTS if name == "Get" else method.IdempotencyLevel.UNKNOWN
        return method.MethodInfo(
            name=name,
            service_name="tally.v1.Tally",
            input=dict,
            output=dict,
            idempotency_level=level,
            stream_type=getattr(method.StreamType, KINDS[name]),
        )

    async def unary(self, name: str, message: Any, **how: Any) -> Any:
        return await self._client.execute_unary(request=message, method=self._method(name), **how)

    async def down(self, name: str, message: Any) -> list[Any]:
        stream = self._client.execute_server_stream(request=message, method=self._method(name))
        return [answer async for answer in stream]

    async def up(self, name: str, messages: list[Any]) -> Any:
        return await self._client.execute_client_stream(request=_each(messages), method=self._method(name))

    async def both(self, name: str, messages: list[Any]) -> AsyncIterator[Any]:
        async for answer in self._client.execute_bidi_stream(request=_each(messages), method=self._method(name)):
            yield answer


async def _each(messages: list[Any]) -> AsyncIterator[Any]:
    for message in messages:
        yield message


FORMS = [
    (protocol, codec, squeezed)
    for protocol in ("CONNECT", "GRPC_WEB")
    for codec in ("proto", "json")
    for squeezed in (False, True)
]


@pytest.fixture(scope="module")
def tally(make_schema: Callable[[str], Schema]) -> Schema:
    return make_schema(PROTO)


@pytest.fixture
async def server(tally: Schema) -> AsyncIterator[tuple[RpcServer, int]]:
    made = RpcServer(tally)
    async with serving(made) as port:
        yield made, port


@pytest.fixture(params=FORMS, ids=lambda form: "-".join(map(str, form)))
def client(request: pytest.FixtureRequest, tally: Schema, server: tuple[RpcServer, int]) -> Client:
    protocol, codec, squeezed = request.param
    return Client(Library(), server[1], protocol, Json() if codec == "json" else Binary(tally), squeezed)


ALAMEDA = {"county": "Alameda é", "ballots": 7}
TOLD = {"county": "Alameda é", "ballots": "7"}


async def test_every_kind_of_method(client: Client, server: tuple[RpcServer, int]) -> None:
    assert await client.unary("Put", ALAMEDA) == TOLD
    assert await client.unary("Put", {}) == {}
    assert await client.down("Watch", ALAMEDA) == [TOLD] * 3
    assert await client.up("Sum", [{"ballots": 4}, {"ballots": 5}]) == {"ballots": "9"}
    assert [answer async for answer in client.both("Both", [ALAMEDA, {}, ALAMEDA])] == [TOLD, {}, TOLD]
    assert all("connect" in kind or "grpc-web" in kind or kind in ("application/json", "application/proto")
               for kind in server[0].seen)  # fmt: skip


async def test_the_services_refusal(client: Client) -> None:
    errors = Library().errors
    for call in (
        lambda: client.unary("Put", {"county": "nowhere"}),
        lambda: client.down("Watch", {"county": "nowhere"}),
        lambda: client.up("Sum", [{"county": "nowhere"}]),
    ):
        with pytest.raises(errors.ConnectError) as refused:
            await call()
        assert (refused.value.code.value, refused.value.message) == ("not_found", "no such county: 100% é")
        (detail,) = refused.value.details
        assert detail.type_name == "google.rpc.ErrorInfo"
        info = error_details_pb2.ErrorInfo.FromString(bytes(detail.message_bytes))
        assert (info.reason, info.domain) == ("NO_COUNTY", "tally")


async def test_a_stream_that_fails_midway(client: Client) -> None:
    errors = Library().errors
    answers = []

    async def follow() -> None:
        async for answer in client.both("Both", [ALAMEDA, {"county": "nowhere"}]):
            answers.append(answer)

    with pytest.raises(errors.ConnectError) as refused:
        await follow()
    assert answers == [TOLD]
    assert refused.value.code.value == "not_found"


async def test_the_gateways_refusal(client: Client) -> None:
    errors = Library().errors
    for call in (lambda: client.unary("Put", {"county": LIMITED}), lambda: client.down("Watch", {"county": LIMITED})):
        with pytest.raises(errors.ConnectError) as refused:
            await call()
        assert (refused.value.code.value, refused.value.message) == ("resource_exhausted", "Try again.")
        assert len(refused.value.details) == 2


@pytest.mark.parametrize(("codec", "squeezed"), [("proto", False), ("proto", True), ("json", False), ("json", True)])
async def test_get(codec: str, squeezed: bool, tally: Schema, server: tuple[RpcServer, int]) -> None:
    client = Client(Library(), server[1], "CONNECT", Json() if codec == "json" else Binary(tally), squeezed)
    assert await client.unary("Get", ALAMEDA, use_get=True) == TOLD
    errors = Library().errors
    with pytest.raises(errors.ConnectError, match="no such county"):
        await client.unary("Get", {"county": "nowhere"}, use_get=True)
