"""Commands that docs/soap.md, docs/performance.md, CONTRIBUTING.md and SECURITY.md name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.side_by_side.__main__ import options
from benchmarks.side_by_side.case import CASES
from benchmarks.side_by_side.peers.roll import PEERS
from bridge.cli.main import app
from tests.docs.not_run import NOT_RUN
from tests.docs.pages import ROOT
from tests.docs.tables import code, table


def test_import_and_explain_of_docs_soap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "soap.md").read_text("utf-8")
    [command] = re.findall(r"`hms-bridge (import soap WSDL -o routes/NAME\.yml)`", page)
    theirs = tmp_path / "theirs" / "county-returns.wsdl"
    theirs.parent.mkdir()
    shutil.copy(ROOT / "wsdl" / "county-returns.wsdl", theirs)
    (home := tmp_path / "home").mkdir()
    monkeypatch.chdir(home)
    monkeypatch.delenv("BRIDGE_HOME", raising=False)
    words = command.replace("WSDL", str(theirs)).replace("NAME", "returns").split()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (home / "wsdl" / "county-returns.wsdl").read_bytes() == theirs.read_bytes()
    [route] = re.findall(r"^route: (\S+)", (home / "routes" / "returns.yml").read_text(), re.MULTILINE)
    shown = CliRunner().invoke(app, ["explain", f"POST {route}/GetCountyReturns", "--json", '{"countyFips": "91001"}'])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"<(\w+:)?countyFips>91001</", shown.output), shown.output


def test_the_options_of_the_side_by_side_benchmark() -> None:
    parser = options()
    actions = {action.option_strings[0]: action for action in parser._actions if action.dest != "help"}
    rows = {code(row[0])[0].partition(" ")[0]: row[1] for row in table("docs/performance.md", "Performance")}
    assert rows.keys() == actions.keys()
    assert code(rows["--case"]) == [case.name for case in CASES]
    named = code(rows["--peer"])
    assert named[0] == "none"
    assert set(named[1:]) == {peer.name for peer in PEERS}
    for option in ("--pairs", "--seconds"):
        assert str(actions[option].default) in rows[option]
    for command in NOT_RUN["docs/performance.md"]:
        if "benchmarks.side_by_side" in command:
            parser.parse_args(command.partition("#")[0].split()[3:])


def test_the_benchmarks_of_the_page_are_there() -> None:
    text = (ROOT / "docs" / "performance.md").read_text("utf-8") + (ROOT / "docs" / "soap.md").read_text("utf-8")
    text += (ROOT / "docs" / "grpc.md").read_text("utf-8")
    for path in re.findall(r"`python (benchmarks/\w+\.py)", text):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"`python -m (benchmarks\.\w+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed here")
def test_make_passes_the_arguments_of_contributing_on() -> None:
    commands = [line.partition("#")[0].split() for line in NOT_RUN["CONTRIBUTING.md"] if line.startswith("make")]
    assert len(commands) > 4
    for command in commands:
        done = subprocess.run([command[0], "-n", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for word in command[2:]:
            assert word.removeprefix("ARGS=") in done.stdout


def test_pip_shows_the_version_for_a_report() -> None:
    [command] = re.findall(r"`(pip show hms-bridge)`", (ROOT / "SECURITY.md").read_text("utf-8"))
    done = subprocess.run([sys.executable, "-m", *command.split()], capture_output=True, text=True, check=True)
    assert "Name: hms-bridge\nVersion: " in done.stdout
