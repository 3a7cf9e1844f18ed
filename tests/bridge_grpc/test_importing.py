"""``import grpc`` from files: the spec it writes binds and publishes what its comments say."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bridge.api import BindError, Context, ImportOutput, RouteSpec
from bridge.fronts.publish import Fronts
from bridge.transport.grpc.caller import Caller
from bridge_grpc import Grpc
from bridge_grpc.importing import GrpcImport
from bridge_grpc.schema import reflection
from bridge_grpc.schema.compile_protos import compile_protos

PROTO = (
    'syntax = "proto3"; package vote.v1; import "google/api/annotations.proto";\n'
    "service BallotBoxService {\n"
    '  rpc Get(M) returns (M) { option (google.api.http) = { get: "/v1/boxes/{id}" }; }\n'
    "  rpc Watch(M) returns (stream M);\n}\n"
    "message M { string id = 1; }\n"
)


async def typed(host: str, port: str) -> Sequence[tuple[str, int]]:
    """As the command line resolves what the operator typed."""
    return [(host, int(port))]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    protos = tmp_path / "protos"
    (protos / "vote/v1").mkdir(parents=True)
    (protos / "vote/v1/box.proto").write_text(PROTO)
    return Context(tmp_path, protos, call=Caller(typed).call)


async def serves(text: str, context: Context) -> list[str]:
    """What the spec publishes, once it is bound."""
    spec = RouteSpec.model_validate(YAML(typ="safe", pure=True).load(text))
    plugin = Grpc()
    await plugin.open(context)
    operations = Fronts().publish(spec, await plugin.bind(spec, Grpc.options.model_validate(spec.transform.options)))
    return [f"{op.method} {spec.route}{op.path}" for op in operations]


async def test_from_a_proto_in_the_proto_folder(context: Context) -> None:
    for name in (str(context.proto_dir / "vote/v1/box.proto"), "vote/v1/box.proto"):
        text, notes = await Grpc().import_spec(GrpcImport(source=[name]), context)
        assert await serves(text, context) == [
            "GET /v1/ballot-box/v1/boxes/{id}",
            "POST /v1/ballot-box/vote.v1.BallotBoxService/Get",
            "POST /v1/ballot-box/vote.v1.BallotBoxService/Watch",
            "WEBSOCKET /v1/ballot-box/vote.v1.BallotBoxService/Watch",
        ]
        assert "GET /v1/ballot-box/v1/boxes/{id} -> vote.v1.BallotBoxService.Get" in text
        assert "audience: BALLOT_BOX}" in text
        assert "# Before it serves: upstream: ballot-box-svc:50051 is a guess" in text
        assert notes == []


async def test_from_a_proto_elsewhere(context: Context, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/box.proto").write_text(PROTO)
    text, _ = await Grpc().import_spec(GrpcImport(source=[str(tmp_path / "elsewhere/box.proto")]), context)
    assert "protos: [box.proto]" in text
    assert "# Before it serves: copy the files of" in text


async def test_from_several_protos(context: Context) -> None:
    counting = (
        PROTO.replace("vote.v1", "count.v1").replace("BallotBoxService", "Tally").replace("/v1/boxes", "/v1/counts")
    )
    (context.proto_dir / "count").mkdir()
    (context.proto_dir / "count/tally.proto").write_text(counting)
    names = ["vote/v1/box.proto", "count/tally.proto"]
    text, notes = await Grpc().import_spec(GrpcImport(source=names), context)
    published = [line.removeprefix("#   ").partition(" -> ")[0] for line in text.splitlines() if " -> " in line]
    assert "POST /v1/ballot-box/count.v1.Tally/Watch" in published
    assert "GET /v1/ballot-box/v1/counts/{id}" in published
    assert sorted(published) == sorted(each for each in await serves(text, context) if "WEBSOCKET" not in each)
    assert notes == []


async def test_from_a_descriptor_set(context: Context) -> None:
    files = compile_protos(["vote/v1/box.proto"], context.proto_dir)
    (context.proto_dir / "set.pb").write_bytes(files.SerializeToString())
    text, _ = await Grpc().import_spec(GrpcImport(source=[str(context.proto_dir / "set.pb")]), context)
    assert len(await serves(text, context)) == 4


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ([], "give one HOST:PORT"),
        (["nothing.proto"], "no such file"),
        (["nothing.pb"], "No such file"),
        (["a.pb", "b.pb"], "give one HOST:PORT"),
        (["messages.proto"], "no service"),
        (["localhost:1"], "can't be had by reflection"),
        (["localhost:65536"], "a port is between 1 and 65535"),
        (["localhost:0"], "a port is between 1 and 65535"),
        (["localhost"], "a live server is HOST:PORT"),
    ],
)
async def test_what_can_not_be_imported(
    context: Context, source: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflection, "TIMEOUT", 0.2)
    (context.proto_dir / "messages.proto").write_text('syntax = "proto3"; message M {}')
    with pytest.raises(BindError, match=reason):
        await Grpc().import_spec(GrpcImport(source=source), context)


@contextlib.asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[int]:
    """A server that says `reply` to whoever connects; nothing if it is empty. Its port."""
    connections: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[writer] = asyncio.current_task()
        await reader.read(100)
        if reply:
            writer.write(reply)
            writer.close()
        else:
            await reader.read()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for _ in range(5):  # a connection that was accepted a moment ago begins
        await asyncio.sleep(0)
    for writer in connections:
        writer.transport.abort()
    await asyncio.gather(*(task for task in connections.values() if task), return_exceptions=True)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "it takes connections, and says nothing in HTTP/2; check that the port is gRPC's"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it takes connections, but does not speak HTTP/2"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "and whether it needs TLS"),
    ],
    ids=["silent", "http", "tls"],
)
async def test_a_server_that_does_not_speak_grpc_is_told_apart(
    context: Context, monkeypatch: pytest.MonkeyPatch, reply: bytes, reason: str
) -> None:
    monkeypatch.setattr(reflection, "TIMEOUT", 0.4)
    async with answering(reply) as port:
        with pytest.raises(BindError, match=re.escape(reason)):
            await Grpc().import_spec(GrpcImport(source=[f"127.0.0.1:{port}"]), context)


async def test_a_server_that_is_not_there_is_told_apart(
    context: Context, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(reflection, "TIMEOUT", 0.4)
    for source, reason in (
        (f"127.0.0.1:{unused_tcp_port}", "it refuses connections, so nothing listens at that port"),
        (f"localhost:{unused_tcp_port}", "it refuses connections, so nothing listens at that port"),
        ("nobody.invalid:50051", "its host name is not known"),
    ):
        with pytest.raises(BindError, match=re.escape(reason)):
            await Grpc().import_spec(GrpcImport(source=[source]), context)


async def test_folders_of_imports_are_given_as_to_protoc(context: Context, tmp_path: Path) -> None:
    common = 'syntax = "proto3"; package common; message Id { string id = 1; }'
    user = PROTO.replace("message M { string id = 1; }", "message M { string id = 1; common.Id other = 2; }").replace(
        'import "google', 'import "common/id.proto"; import "google'
    )
    for root in (tmp_path / "elsewhere", context.proto_dir / "vendor"):
        (root / "third/common").mkdir(parents=True)
        (root / "third/common/id.proto").write_text(common)
        (root / "own/box").mkdir(parents=True)
        (root / "own/box/box.proto").write_text(user)
        for name in ("box/box.proto", str(root / "own/box/box.proto")):
            paths = [str(root / "own"), str(root / "third")]
            text, _ = await Grpc().import_spec(GrpcImport(source=[name], proto_path=paths), context)
            if root.is_relative_to(context.proto_dir):
                assert "protos: [box/box.proto], proto_paths: [vendor/own, vendor/third]" in text
                assert "POST /v1/ballot-box/vote.v1.BallotBoxService/Get" in await serves(text, context)
            else:
                assert "protos: [box/box.proto]}" in text
                assert f"copy what lies below {paths[0]} and {paths[1]} into" in text
    output = ImportOutput(saves=True)
    saving = replace(context, output=output)
    paths = [str(tmp_path / "elsewhere/own"), str(tmp_path / "elsewhere/third")]
    text, _ = await Grpc().import_spec(GrpcImport(source=["box/box.proto"], proto_path=paths), saving)
    assert sorted(output.files) == ["protos/box/box.proto", "protos/common/id.proto"]
    assert "the mesh must know" not in text  # the command writes the entry
    with pytest.raises(BindError, match="there is no such folder"):
        await Grpc().import_spec(GrpcImport(source=["box/box.proto"], proto_path=["nowhere"]), context)


async def test_every_way_to_name_folders_that_protoc_reads(context: Context, tmp_path: Path) -> None:
    for name, text in (("own/box.proto", PROTO.replace('import "google', 'import "id.proto"; import "google')),
                       ("third/id.proto", 'syntax = "proto3"; package common;')):  # fmt: skip
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    own, third = tmp_path / "own", tmp_path / "third"
    for paths in ([f"{own}:{third}"], [f"={own}", f"={third}"], [f"={own}:{third}:"]):
        text, _ = await Grpc().import_spec(GrpcImport(source=["box.proto"], proto_path=paths), context)
        assert "protos: [box.proto]" in text
    with pytest.raises(BindError, match="there is no such folder"):
        await Grpc().import_spec(GrpcImport(source=["box.proto"], proto_path=[f"{own}:nowhere"]), context)


async def test_a_live_server_may_be_named_as_a_url(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "TIMEOUT", 0.4)
    for source, address in (
        ("grpc://nobody.invalid:50051", "nobody.invalid:50051"),
        ("http://no.invalid:1/", "no.invalid:1"),
    ):
        with pytest.raises(BindError, match=re.escape(f"the schema of {address} can't be had by reflection")):
            await Grpc().import_spec(GrpcImport(source=[source]), context)
    async with answering(b"\x15\x03\x01\x00\x02\x02\x16") as port:
        with pytest.raises(BindError, match="TLS handshake"):
            await Grpc().import_spec(GrpcImport(source=[f"grpcs://127.0.0.1:{port}"]), context)


async def test_what_an_import_leaves_out_is_noted(context: Context) -> None:
    text = PROTO.replace('import "google', 'import "company/options.proto"; option (company.file) = 1; import "google')
    (context.proto_dir / "noted.proto").write_text(text)
    text, notes = await Grpc().import_spec(GrpcImport(source=["noted.proto"]), context)
    assert notes == ["the options of 'company/options.proto', which is not in the proto folder; noted.proto imports it"]
    assert "# Before it serves: the mesh must know ballot-box-svc:50051" in text


async def test_a_rule_below_the_route_s_own_path_is_printed_as_it_is_served(context: Context) -> None:
    (context.proto_dir / "own.proto").write_text(PROTO.replace("/v1/boxes", "/v1/ballot-box"))
    text, _ = await Grpc().import_spec(GrpcImport(source=["own.proto"]), context)
    assert "GET /v1/ballot-box/{id} -> vote.v1.BallotBoxService.Get" in text
    assert "GET /v1/ballot-box/{id}" in await serves(text, context)
