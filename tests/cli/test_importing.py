"""``hms-bridge import`` is made of what the installed transformers bring, anybody's among them."""

from __future__ import annotations

import re
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
