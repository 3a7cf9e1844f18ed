"""``hms-bridge import`` is made of what the installed transformers bring, anybody's among them."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bridge.cli.main import app

FORGE = '''
from pydantic import BaseModel, Field
from bridge.api import BindError, Context, Fault, Operation, OperationDoc, Options


class Codec:
    def request(self, call):
        raise ZeroDivisionError("no coal")

    def reply(self, call, inbound): ...


class ForgeImport(BaseModel):
    """From a forge."""

    source: list[str] = Field(description="What is forged.")
    user_name: str = Field(default="", description="Who forges.")
    heat: int = Field(default=3, le=9, description="How hot.")
    cold: bool = False
    tag: list[str] = []


class Forge:
    name, wire, options, import_options = "forge", "http", Options, ForgeImport

    async def open(self, context): ...

    async def bind(self, route, options):
        if route.route == "/cold":
            raise ValueError("the forge is cold")
        return [Operation("forge", "GET", "", Codec(), lambda: OperationDoc({}))]

    async def aclose(self): ...

    async def import_spec(self, options, context):
        if options.source == ["nothing"]:
            raise BindError(Fault("there is no such thing", file="nothing"))
        if options.source == ["rust"]:
            raise KeyError("iron")
        if options.source == ["ash"]:
            return None
        return f"# {options!r} below {context.proto_dir.name}\\nroute: /forge\\n", ["a note"]


class Odd(Forge):
    name = "odd"

    class import_options(BaseModel):
        config: dict[str, complex]
'''
POINTS = """[bridge.transformers]
forge = forge:Forge
broken = forge_that_is_not_there:Forge
odd = forge:Odd
"""


@pytest.fixture
def forge(cli: Any, tmp_path: Path) -> Any:
    """The command line where a distribution of somebody else's is installed, and two that are broken."""
    site = tmp_path / "site"
    (site / "forge-1.dist-info").mkdir(parents=True)
    (site / "forge.py").write_text(FORGE)
    (site / "forge-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: forge\nVersion: 1\n")
    (site / "forge-1.dist-info/entry_points.txt").write_text(POINTS)
    return lambda *args: cli(*args, PYTHONPATH=str(site))


def test_a_third_partys_command_is_there(forge: Any) -> None:
    listed = forge("import", "--help")
    assert listed.returncode == 0
    assert [name for name in ("forge", "grpc", "soap") if re.search(rf"{name} +From", listed.stdout)] == [
        "forge", "grpc", "soap",
    ]  # fmt: skip
    assert "passthrough" not in listed.stdout
    shown = forge("import", "forge", "--help").stdout
    for words in ("From a forge.", "What is forged.", "--user-name", "Who forges.", "--heat", "--cold", "--config"):
        assert words in shown


def test_it_works_like_ours(forge: Any) -> None:
    done = forge("import", "forge", "sword", "plough", "--user-name", "Ada", "--cold", "--tag", "a", "--tag", "b")
    assert (done.returncode, done.stderr) == (0, "a note\n")
    assert done.stdout == (
        "# ForgeImport(source=['sword', 'plough'], user_name='Ada', heat=3, cold=True, tag=['a', 'b']) below protos\n"
        "route: /forge\n"
    )
    hot = forge("import", "forge", "sword", "--heat", "10")
    assert (hot.returncode, hot.stdout) == (1, "")
    assert hot.stderr.startswith("heat: ")
    assert hot.stderr.count("\n") == 1
    missing = forge("import", "forge", "nothing")
    assert (missing.returncode, missing.stderr) == (1, "nothing: there is no such thing\n")
    assert forge("import", "forge").returncode == 2


def test_a_plug_in_that_fails_is_one_sentence(forge: Any, home: Path) -> None:
    """With the place in its code, and no traceback."""
    for source, words in (
        ("rust", r"failed: KeyError\('iron'\) \(forge\.py, line \d+\)"),
        ("ash", r"failed: import_spec must return the text of a spec and a list of notes, not None"),
    ):
        done = forge("import", "forge", source)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"the transformer 'forge' {words}\n", done.stderr)
    (home / "routes/cold.yml").write_text("route: /cold\nupstream: s:1\nauth: none\ntransform: {request: forge}\n")
    checked = forge("check", "routes/cold.yml")
    assert checked.returncode == 1
    reason = r"the transformer 'forge' failed: ValueError\('the forge is cold'\) \(forge\.py, line \d+\)\n"
    assert re.fullmatch(rf"routes/cold\.yml:1: {reason}", checked.stderr)
    (home / "routes/cold.yml").write_text("route: /hot\nupstream: s:1\nauth: none\ntransform: {request: forge}\n")
    explained = forge("explain", "/hot")
    assert (explained.returncode, explained.stdout) == (1, "")
    division = r"ZeroDivisionError\('no coal'\) \(forge\.py, line \d+\)"
    assert re.fullmatch(rf"the transformer 'forge' failed: {division}\n", explained.stderr)


def test_a_broken_plug_in_breaks_nothing_else(forge: Any) -> None:
    listed = forge("import", "--help")
    assert "import broken is left out: " in listed.stderr
    assert "forge_that_is_not_there" in listed.stderr
    assert "import odd is left out: " in listed.stderr
    assert "Traceback" not in listed.stderr
    assert listed.stderr.count("\n") == 2
    assert forge("import", "forge", "sword").stderr == "a note\n"
    wrong = forge("import", "broken", "x")
    assert wrong.returncode == 2
    assert "No such command 'broken'" in wrong.stderr
    assert (forge("routes").returncode, forge("--help").stderr) == (0, "")


def test_our_own_commands_come_by_that_door() -> None:
    group: Any = typer.main.get_command(app)
    imports = group.commands["import"]
    assert imports.commands == {}
    assert imports.list_commands(None) == ["grpc", "soap"]


def test_folders_of_protos_are_named_as_for_protoc(cli: Any, tmp_path: Path, home: Path) -> None:
    for name, text in (
        ("own/a.proto", 'package a; import "b/b.proto"; service Tally { rpc Get(b.M) returns (b.M); }'),
        ("vendor/b/b.proto", "package b; message M { string id = 1; }"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f'syntax = "proto3"; {text}')
    done = cli("import", "grpc", "-I", str(tmp_path / "own"), "--proto-path", str(tmp_path / "vendor"), "a.proto")
    assert (done.returncode, done.stderr) == (0, "")
    assert "POST /v1/tally/a.Tally/Get -> a.Tally.Get" in done.stdout
    both = f"{tmp_path / 'own'}:{tmp_path / 'vendor'}"
    assert cli("import", "grpc", f"--proto_path={both}", "a.proto").stdout == done.stdout
    where = ("-I", str(tmp_path / "own"), "-I", str(tmp_path / "vendor"))
    written = cli("import", "grpc", *where, "a.proto", "-o", "routes/a.yml")
    assert written.returncode == 0, written.stderr
    assert (home / "protos/b/b.proto").is_file()
    assert cli("check").returncode == 0


WELL_KNOWN = """syntax = "proto3";
package tally.v1;
import "google/api/annotations.proto";
import "google/longrunning/operations.proto";
import "google/type/money.proto";
import "google/rpc/status.proto";
import "protoc-gen-openapiv2/options/annotations.proto";
import "buf/validate/validate.proto";
option (grpc.gateway.protoc_gen_openapiv2.options.openapiv2_swagger) = {info: {title: "Tally"}};
service Tally {
  rpc Get(M) returns (google.longrunning.Operation) { option (google.api.http) = {get: "/v1/tally/{id}"}; }
}
message M {
  string id = 1 [(buf.validate.field).string.min_len = 3];
  google.type.Money fee = 2; google.rpc.Status last = 3;
}
"""


def test_a_proto_may_import_what_google_and_buf_publish(cli: Any, home: Path) -> None:
    (home / "protos/tally.proto").write_text(WELL_KNOWN)
    done = cli("import", "grpc", "tally.proto")
    assert (done.returncode, done.stderr) == (0, "")
    assert "GET /v1/tally/{id} -> tally.v1.Tally.Get" in done.stdout
    (home / "routes/tally.yml").write_text(done.stdout)
    (home / "mesh.yml").write_text("tally-svc: 127.0.0.1:9\n")
    checked = cli("check")
    needs = f"{home}/routes/tally.yml: /v1/tally: callers need a bearer token (JWT) for the audience TALLY\n"
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, needs + "1 route: all right.\n", "")


def test_options_of_a_company_that_are_not_at_hand_are_named_and_left_out(cli: Any, home: Path) -> None:
    (home / "protos/tally.proto").write_text(
        'syntax = "proto3"; package t.v1; import "company/options.proto"; service Tally { rpc Get(M) returns (M); }\n'
        "message M { string id = 1 [(company.field) = 1]; }\n"
    )
    done = cli("import", "grpc", "tally.proto")
    assert (done.returncode, done.stderr) == (
        0, "the options of 'company/options.proto', which is not in the proto folder; tally.proto imports it\n",
    )  # fmt: skip
    assert "POST /v1/tally/t.v1.Tally/Get -> t.v1.Tally.Get" in done.stdout


def test_an_import_of_a_proto_says_that_the_mesh_must_know_the_service_and_names_the_route_as_soap_does(
    cli: Any, home: Path
) -> None:
    (home / "protos/tally.proto").write_text(
        'syntax = "proto3"; package t.v1; service Tally { rpc Get(M) returns (M); } message M {}'
    )
    done = cli("import", "grpc", "tally.proto")
    assert "# Before it serves: the mesh must know tally-svc:50051; with the static source, add it to mesh.yml." in (
        done.stdout.splitlines()
    )
    assert "route: /v1/tally\n" in done.stdout
    assert "auth: {type: JWT, audience: TALLY}\n" in done.stdout


@contextlib.contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A server that says `reply` to whoever connects; nothing if it is empty. Its port."""
    connections: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                if reply:
                    connection.recv(100)
                    connection.sendall(reply)
                    connection.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def test_an_import_tells_servers_apart_that_are_silent_refuse_or_do_not_speak_grpc(
    environment: dict[str, str], home: Path, unused_tcp_port: int
) -> None:
    with answering(b"") as silent, answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
        reasons = {
            f"127.0.0.1:{unused_tcp_port}": "it refuses connections, so nothing listens at that port",
            f"127.0.0.1:{silent}": "it takes connections, and says nothing in HTTP/2",
            f"127.0.0.1:{plain}": "it takes connections, but does not speak HTTP/2",
            "nobody.invalid:50051": "its host name is not known",
        }
        processes = {
            server: subprocess.Popen(
                [sys.executable, "-m", "bridge.cli.main", "import", "grpc", server],
                cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for server in reasons
        }  # fmt: skip
        told = {server: (*process.communicate(timeout=60), process.returncode) for server, process in processes.items()}
    for server, reason in reasons.items():
        out, errors, code = told[server]
        assert (out, code, errors.count("\n")) == ("", 1, 1), errors
        assert f"the schema of {server} can't be had by reflection: " in errors
        assert reason in errors
