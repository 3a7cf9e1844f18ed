"""``import grpc`` from files: the spec it writes binds and publishes what its comments say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bridge.api import BindError, Context, RouteSpec
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
            "GET /ballot-box/v1/boxes/{id}",
            "POST /ballot-box/vote.v1.BallotBoxService/Get",
            "POST /ballot-box/vote.v1.BallotBoxService/Watch",
            "WEBSOCKET /ballot-box/vote.v1.BallotBoxService/Watch",
        ]
        assert "GET /ballot-box/v1/boxes/{id} -> vote.v1.BallotBoxService.Get" in text
        assert "audience: BALLOT_BOX_PUBLIC" in text
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
    assert "POST /ballot-box/count.v1.Tally/Watch" in published
    assert "GET /ballot-box/v1/counts/{id}" in published
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
    ],
)
async def test_what_can_not_be_imported(
    context: Context, source: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflection, "TIMEOUT", 0.2)
    (context.proto_dir / "messages.proto").write_text('syntax = "proto3"; message M {}')
    with pytest.raises(BindError, match=reason):
        await Grpc().import_spec(GrpcImport(source=source), context)
