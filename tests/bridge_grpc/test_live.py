"""A real grpcio server behind the whole of it: schema by reflection, codec, `Cluster`, and the answers."""

# ruff: noqa: E501  # a row of a table, or of a schema, stays on one line

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha.reflection import ReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from bridge.api import BindError, Call, Context, InvalidBody, Operation, Reply, RouteSpec, UpstreamFault
from bridge.cluster.cluster import Cluster
from bridge.fronts.publish import Fronts
from bridge.transport.grpc.caller import Caller
from bridge_grpc import Grpc
from bridge_grpc.importing import GrpcImport
from bridge_grpc.schema import reflection
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Schema, schema
from tests.oracles.clusters import grpc_cluster

PROTO = """
syntax = "proto3";
package tally.v1;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
// Ballot counts, county by county.
service Tally {
  rpc GetCount(GetCountRequest) returns (Count) { option (google.api.http) = { get: "/v1/counts/{county}" }; }
  rpc Report(Count) returns (Count) { option (google.api.http) = { post: "/v1/counts" body: "*" }; }
  rpc Watch(GetCountRequest) returns (stream Count);
}
message GetCountRequest { string county = 1; bool certified_only = 2; }
message Count { string county = 1; int64 ballots = 2; repeated Line lines = 3; google.protobuf.Timestamp at = 4; }
message Line { string candidate = 1; int64 votes = 2; }
"""

Address = tuple[str, int]


class Server:
    """The service, with reflection of the versions asked for."""

    def __init__(self, made: Schema, versions: Sequence[str]) -> None:
        self.made = made
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.server = grpc.aio.server()
        cls = made.message_class(made.pool.FindMessageTypeByName("tally.v1.Count"))
        request = made.message_class(made.pool.FindMessageTypeByName("tally.v1.GetCountRequest"))

        async def get(message: Any, context: Any) -> Any:
            self.calls.append((message.county, dict(context.invocation_metadata())))
            if message.county == "Nowhere":
                await self._refuse(context)
            return cls(
                county=message.county, ballots=2**53 + 1, lines=[{"candidate": "A", "votes": 1}], at={"seconds": 5}
            )

        async def report(message: Any, _: Any) -> Any:
            return message

        def unary(handler: Any, of: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(handler, of.FromString, cls.SerializeToString)

        handlers = {"GetCount": unary(get, request), "Report": unary(report, cls)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tally.v1.Tally", handlers),))
        servicer = ReflectionServicer(["tally.v1.Tally", *(f"{v}.ServerReflection" for v in versions)], pool=made.pool)

        async def reflect(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for answer in self._answers(servicer, requests, context):
                yield answer

        handler = grpc.stream_stream_rpc_method_handler(
            reflect, ServerReflectionRequest.FromString, ServerReflectionResponse.SerializeToString
        )
        for version in versions:
            name = f"{version}.ServerReflection"
            generic = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            self.server.add_generic_rpc_handlers((generic,))
        self.address: Address = ("127.0.0.1", self.server.add_insecure_port("127.0.0.1:0"))

    @staticmethod
    async def _answers(servicer: Any, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            for answer in servicer.ServerReflectionInfo(iter([request]), context):
                yield answer

    @staticmethod
    async def _refuse(context: Any) -> None:
        details = [any_pb2.Any(type_url="example.org/of.nobody.Knows", value=b"\x01\x02")]
        for message in (
            error_details_pb2.ErrorInfo(reason="NO_COUNTY", domain="tally"),
            error_details_pb2.BadRequest(field_violations=[{"field": "county", "description": "not ours"}]),
        ):
            packed = any_pb2.Any()
            packed.Pack(message)
            details.append(packed)
        status = status_pb2.Status(code=5, message="no such county", details=details)
        context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such county")


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    (tmp_path / "tally.proto").write_text(PROTO)
    made = schema(compile_protos(["tally.proto"], tmp_path))
    running: list[Server] = []

    async def run(*versions: str) -> Server:
        server = Server(made, versions)
        await server.server.start()
        running.append(server)
        return server

    yield run
    await asyncio.gather(*(server.server.stop(None) for server in running))


async def reflected(address: Address, tmp_path: Path) -> Sequence[Operation]:
    async def resolve(name: str, port: str) -> Sequence[Address]:
        assert (name, port) == ("tally-svc", "50051")
        return [address]

    plugin = Grpc()
    await plugin.open(Context(tmp_path, tmp_path / "none", call=Caller(resolve).call))
    spec = {
        "route": "/tally", "upstream": "tally-svc:50051", "auth": {"type": "none"},
        "transform": {"request": "grpc", "grpc": {"reflection": True}},
    }  # fmt: skip
    route = RouteSpec.model_validate(spec)
    operations = Fronts().publish(route, await plugin.bind(route, Grpc.options.model_validate(route.transform.options)))
    assert not plugin.notes(route)
    return operations


async def through(operations: Sequence[Operation], upstream: Cluster, method: str, path: str, call: Call) -> Reply:
    operation = next(op for op in operations if (op.method, op.path) == (method, path))
    codec: Any = operation.codec
    deadline = asyncio.get_running_loop().time() + 5
    trace = [("x-trace-id", "f" * 32), ("traceparent", f"00-{'f' * 32}-{'1' * 16}-01")]
    reply: Reply = codec.reply(call, await upstream.send(codec.request(call), deadline=deadline, trace=trace))
    return reply


@pytest.mark.parametrize("version", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_from_reflection_to_the_answer(start: Start, tmp_path: Path, version: str) -> None:
    server = await start(version)
    operations = await reflected(server.address, tmp_path)
    assert [(op.method, op.path) for op in operations] == [
        ("GET", "/v1/counts/{county}"), ("POST", "/tally.v1.Tally/GetCount"),
        ("POST", "/v1/counts"), ("POST", "/tally.v1.Tally/Report"),
        ("POST", "/tally.v1.Tally/Watch"), ("WEBSOCKET", "/tally.v1.Tally/Watch"),
    ]  # fmt: skip

    async def addresses() -> Sequence[Address]:
        return [server.address]

    upstream = grpc_cluster(addresses, tls=False, max_reply=1000)
    try:
        call = Call("GET", "/", raw_params={"county": "El%20Dorado"}, query="certifiedOnly=true")
        reply = await through(operations, upstream, "GET", "/v1/counts/{county}", call)
        assert (reply.status, reply.headers) == (200, [("content-type", "application/json")])
        assert orjson.loads(reply.content) == {
            "county": "El Dorado", "ballots": "9007199254740993",
            "lines": [{"candidate": "A", "votes": "1"}], "at": "1970-01-01T00:00:05Z",
        }  # fmt: skip
        assert server.calls[0][0] == "El Dorado"
        assert server.calls[0][1]["x-trace-id"] == "f" * 32
        assert server.calls[0][1]["traceparent"].startswith("00-")

        body = b'{"county": "Kern", "ballots": "9223372036854775807", "lines": [{"candidate": "B"}], "at": "2026-11-03T20:00:00Z"}'
        reply = await through(operations, upstream, "POST", "/v1/counts", Call("POST", "/", body=body))
        assert orjson.loads(reply.content) == orjson.loads(body)

        with pytest.raises(InvalidBody):
            await through(operations, upstream, "POST", "/v1/counts", Call("POST", "/", body=b'{"ballots": "many"}'))
        with pytest.raises(UpstreamFault) as caught:
            await through(operations, upstream, "GET", "/v1/counts/{county}", Call(raw_params={"county": "Nowhere"}))
        assert caught.value.status == 404
        assert caught.value.members["grpc"] == {
            "code": 5,
            "status": "NOT_FOUND",
            "message": "no such county",
            "details": [
                {"@type": "example.org/of.nobody.Knows", "value": "AQI="},
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NO_COUNTY", "domain": "tally"},
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "county", "description": "not ours"}]},
            ],
        }  # fmt: skip
    finally:
        await upstream.aclose()


async def test_a_server_without_reflection(start: Start, tmp_path: Path) -> None:
    server = await start()
    with pytest.raises(BindError, match="offers no server reflection"):
        await reflected(server.address, tmp_path)


async def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "TIMEOUT", 0.2)
    with pytest.raises(BindError, match="can't be had by reflection") as caught:
        await reflected(("127.0.0.1", 1), tmp_path)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_name_without_addresses(tmp_path: Path) -> None:
    from bridge.errors import Unavailable

    async def nobody(_name: str, _port: str) -> Sequence[Address]:
        raise Unavailable("no such name")

    plugin = Grpc()
    await plugin.open(Context(tmp_path, tmp_path, call=Caller(nobody).call))
    spec = {"route": "/x", "upstream": "svc:1", "auth": {"type": "none"}, "transform": {"request": "grpc"}}
    with pytest.raises(BindError, match="svc:1 can't be found"):
        await plugin.bind(RouteSpec.model_validate(spec), Grpc.options.model_validate({"reflection": True}))


async def test_import_of_a_live_server(start: Start, tmp_path: Path) -> None:
    server = await start("grpc.reflection.v1")

    async def typed(name: str, port: str) -> Sequence[Address]:
        return [(name, int(port))]

    context = Context(tmp_path, tmp_path, call=Caller(typed).call)
    text, notes = await Grpc().import_spec(GrpcImport(source=[f"127.0.0.1:{server.address[1]}"]), context)
    assert "reflection: true" in text
    assert notes == []
    assert "POST /v1/tally/tally.v1.Tally/Watch -> tally.v1.Tally.Watch" in text
    assert "in mesh.yml" in text


def test_retry_info_becomes_retry_after() -> None:
    from bridge.api import GrpcReply
    from bridge_grpc.status import fault

    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=1)))
    details = status_pb2.Status(code=8, details=[packed]).SerializeToString()
    problem = fault(GrpcReply(8, detail="slow down", status_details=details), lambda _: {})
    assert (problem.status, problem.headers, problem.detail) == (429, (("retry-after", "3"),), "slow down")
