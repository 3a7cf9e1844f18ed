"""docs/grpc.md: its commands run as written against a live service; its JSON and its statuses are the codec's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha import reflection
from typer.testing import CliRunner

from bridge.api import Call, GrpcReply, InvalidBody, UpstreamFault
from bridge.cli.main import app
from bridge.config.specfile import read_text
from bridge.testing import bound
from bridge_grpc import Grpc
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema
from tests.docs.pages import ROOT, blocks_of
from tests.docs.tables import table

PAGE = ROOT / "docs" / "grpc.md"
BLOCKS = blocks_of(PAGE)


def block(part: str) -> str:
    [match] = [each.text for each in BLOCKS if part in each.text]
    return match


# --- the commands ----------------------------------------------------------------------------------------------------

SERVICE = 'syntax = "proto3"; package {0}; service {1} {{ rpc Get(M) returns (M); }} message M {{ string id = 1; }}\n'


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A gRPC service with reflection: its port, and that over TLS with the name tally by the word of ``ca.pem``."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "live.proto").write_text(SERVICE.format("tally.v1", "TallyService"))
    pool = schema(compile_protos(["live.proto"], folder)).pool
    server = grpc.server(ThreadPoolExecutor(2))
    reflection.enable_server_reflection(("tally.v1.TallyService",), server, pool=pool)
    authority = trustme.CA()
    pair = authority.issue_cert("tally")
    keys = [(pair.private_key_pem.bytes(), b"".join(each.bytes() for each in pair.cert_chain_pems))]
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    plain = server.add_insecure_port("127.0.0.1:0")
    secure = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(keys))
    server.start()
    yield plain, secure
    server.stop(None).wait()


def test_the_commands_from_nothing_to_a_route(tmp_path: Path, live: tuple[int, int]) -> None:
    for name, text in {
        "protos/a.proto": SERVICE.format("a.v1", "FirstService"),
        "protos/b.proto": SERVICE.format("b.v1", "SecondService"),
        "own/a.proto": 'syntax = "proto3"; package own.v1; import "types.proto";\n'
        "service Own { rpc Get(types.v1.T) returns (types.v1.T); }\n",
        "vendor/types.proto": 'syntax = "proto3"; package types.v1; message T { string id = 1; }\n',
        "protos/election/v1/ballots.proto": (ROOT / "protos/election/v1/ballots.proto").read_text(),
        "routes/ballots.yml": next(each.text for each in BLOCKS if each.text.startswith("route: /v1/ballots")),
        "mesh.yml": "ballot-count: 127.0.0.1:9\n",
    }.items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commands = [line.partition(" #")[0].strip() for line in block("hms-bridge import grpc localhost").splitlines()]
    outputs = [shell(real(command, *live), tmp_path) for command in commands]
    services = ("tally.v1.TallyService", "tally.v1.TallyService", "a.v1.FirstService", "own.v1.Own")
    for service, output in zip(services, outputs, strict=False):
        [(spec, _)] = read_text(output)
        assert spec.transform.request == "grpc"
        assert f"{service}.Get" in output
    assert "b.v1.SecondService.Get" in outputs[2]
    assert '"06009"' in outputs[-1]
    assert len(outputs) == 5


def real(command: str, plain: int, secure: int) -> str:
    """The command with the ports of `live`, and with what its comment says for a server of a private authority."""
    return command.replace("localhost:50051", f"localhost:{plain}").replace(
        "tally:50051 --tls", f"127.0.0.1:{secure} --tls --ca ca.pem --server-name tally"
    )


def shell(command: str, folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**kept, "PATH": path, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_what_check_says_of_an_import_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = block("it imports 'county.proto'").strip()
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/ballots.yml").write_text(block("election/v1/ballots.proto]"))
    proto = tmp_path / "protos/election/v1/ballots.proto"
    proto.parent.mkdir(parents=True)
    proto.write_text('syntax = "proto3";\n\npackage election.v1;\nimport "county.proto";\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_HOME", raising=False)
    done = CliRunner().invoke(app, ["check"], env={"COLUMNS": "300"})
    assert done.exit_code == 1
    assert shown in done.output


# --- JSON ------------------------------------------------------------------------------------------------------------

PROTO = """syntax = "proto3"; package p;
import "google/protobuf/any.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto"; import "google/protobuf/wrappers.proto";
enum State { STATE_UNSPECIFIED = 0; OPEN = 1; }
message Line { int32 votes = 1; }
message M { repeated Line lines = 1; google.protobuf.Any any = 2; int64 big = 3; bytes raw = 4; State state = 5;
  double number = 6; oneof choice { string text = 7; int32 count = 8; } map<string, int64> totals = 9;
  google.protobuf.Timestamp at = 10; google.protobuf.Duration lasting = 11; google.protobuf.Struct free = 12;
  google.protobuf.Int64Value wrapped = 13; string snake_case = 14; }
service S { rpc Echo(M) returns (M); }
"""


async def echo(folder: Path) -> Any:
    (folder / "protos").mkdir()
    (folder / "protos/p.proto").write_text(PROTO)
    spec = {"route": "/p", "transform": {"request": "grpc", "grpc": {"protos": ["p.proto"], "method": "Echo"}}}
    transformer: Any = Grpc()
    [operation] = await bound(transformer, spec, home=folder)
    return operation.codec


def span(start: str) -> Any:
    """JSON that the text shows between backticks."""
    [text] = re.findall(rf"`({re.escape(start)}[^`]*)`", PAGE.read_text("utf-8"))
    return json.loads(text if text.startswith("{") else "{" + text + "}")


async def test_json_in_both_directions(tmp_path: Path) -> None:
    codec = await echo(tmp_path)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"big": 5}, {"big": "5"}),
        ({"big": "9223372036854775807"}, {"big": "9223372036854775807"}),
        ({"raw": "_-8"}, {"raw": "/+8="}),
        ({"state": 1}, {"state": "OPEN"}),
        ({"state": "OPEN"}, {"state": "OPEN"}),
        ({"number": "NaN"}, {"number": "NaN"}),
        ({"number": "Infinity"}, {"number": "Infinity"}),
        ({"snake_case": "a"}, {"snakeCase": "a"}),
        ({"snakeCase": None}, {}),
        ({"text": ""}, {"text": ""}),
        ({"totals": {"a": 1}}, {"totals": {"a": "1"}}),
        ({"at": "2026-11-03T20:00:00-06:00"}, {"at": "2026-11-04T02:00:00Z"}),
        ({"lasting": "1.5s"}, {"lasting": "1.500s"}),
        ({"free": {"a": [1, None]}}, {"free": {"a": [1, None]}}),
        ({"wrapped": 7}, {"wrapped": "7"}),
    ]
    for value, expected in pairs:
        request = codec.request(Call("POST", "/p", body=json.dumps(value).encode()))
        assert json.loads(codec.reply(Call("POST", "/p"), GrpcReply(0, request.message)).content) == expected
    for wrong in ('{"big": 1, "big": 2}', '{"snakeCase": "a", "snake_case": "b"}', '{"count": true}', '{"raw": "a b"}',
                  '{"big": "+5"}', '{"big": " 5"}', '{"big": "1_0"}'):  # fmt: skip
        with pytest.raises(InvalidBody):
            codec.request(Call("POST", "/p", body=wrong.encode()))


async def test_an_any_of_an_unknown_type(tmp_path: Path) -> None:
    codec, shown = await echo(tmp_path), span('{"@type": "example.org/x.Y"')
    packed = AnyMessage(type_url="example.org/x.Y", value=b"\x01\x02").SerializeToString()
    answer = codec.reply(Call("POST", "/p"), GrpcReply(0, b"\x12" + bytes([len(packed)]) + packed))
    assert json.loads(answer.content) == {"any": shown}
    with pytest.raises(InvalidBody, match="is not a type that this service's schema knows"):
        codec.request(Call("POST", "/p", body=answer.content))


async def test_the_pointer_of_a_fault(tmp_path: Path) -> None:
    codec, shown = await echo(tmp_path), span('"errors": [{"pointer": "/lines/2/votes"')
    body = {"lines": [{"votes": 1}, {"votes": 2}, {"votes": "many"}]}
    with pytest.raises(InvalidBody) as caught:
        codec.request(Call("POST", "/p", body=json.dumps(body).encode()))
    assert [{"pointer": pointer, "reason": reason} for pointer, reason in caught.value.errors] == shown["errors"]


# --- statuses --------------------------------------------------------------------------------------------------------


async def test_each_status(tmp_path: Path) -> None:
    codec = await echo(tmp_path)
    rows = [pair for row in table("docs/grpc.md", "Status") for pair in (row[:2], row[3:])]
    assert len(rows) == 16
    for name, status in rows:
        code = getattr(grpc.StatusCode, name).value[0]
        with pytest.raises(UpstreamFault) as caught:
            codec.reply(Call("POST", "/p"), GrpcReply(code))
        assert caught.value.status == int(status), name
        assert caught.value.members["grpc"]["status"] == name


async def test_a_status_with_details(tmp_path: Path) -> None:
    codec, shown = await echo(tmp_path), json.loads(block('"reason": "NO_COUNTY"'))
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason="NO_COUNTY", domain="tally"))
    details = Status(code=5, message="no such county", details=[detail]).SerializeToString()
    with pytest.raises(UpstreamFault) as caught:
        codec.reply(Call("POST", "/p"), GrpcReply(5, detail="no such county", status_details=details))
    fault = caught.value
    assert {"type": f"urn:bridge:problem:{fault.slug}", "status": fault.status, "detail": fault.detail} == {
        name: shown[name] for name in ("type", "status", "detail")
    }
    assert fault.members["grpc"] == shown["grpc"]
