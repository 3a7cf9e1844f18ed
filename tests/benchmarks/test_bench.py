"""The bench itself over real sockets: our own lane, its floors, and refusals of what doesn't count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.side_by_side import case as cases
from benchmarks.side_by_side.__main__ import main, options
from benchmarks.side_by_side.machine import Cores
from benchmarks.side_by_side.peers import roll
from benchmarks.side_by_side.peers.camel_cxf import CamelCxf
from benchmarks.side_by_side.peers.express_soap import ExpressSoap
from benchmarks.side_by_side.peers.grpc_gateway import GrpcGateway
from benchmarks.side_by_side.peers.peer import Absent, Peer
from benchmarks.side_by_side.process import free_port, start
from benchmarks.side_by_side.result import Result
from tests.servers import need

ROOT = Path(__file__).parents[2]
WRK = ("sh", "-c", "command -v wrk")


@pytest.mark.parametrize(
    "chosen",
    [
        ("grpc-small",),
        ("soap-5",),
        pytest.param(("grpc-small", "grpc-stream", "soap-5"), marks=pytest.mark.slow),
    ],
    ids=["grpc", "soap", "all"],
)
def test_all_cases_of_ours_are_measured_and_checked(chosen: tuple[str, ...], tmp_path: Path) -> None:
    need("wrk", *WRK)
    file = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.side_by_side", "--quick", "--peer", "none", "--json", str(file)]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "transformers")))
    for name in chosen:
        command += ["--case", name]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = Result.read(file)
    assert {(row.case, row.guarded) for row in result.rows} == {
        (name, guarded) for name in chosen for guarded in (True, False)
    }
    assert all(row.cost > 0 and row.rate > 0 and row.peak > 0 and row.runs == 1 for row in result.rows)
    assert [(row.case, row.guarded) for row in result.floors] == [
        (name, guarded) for name in chosen if name != "grpc-stream" for guarded in (True, False)
    ]
    assert all(min(row.server, row.client, row.parsers) > 0 for row in result.floors)
    assert "--quick --peer none" in result.options
    assert "json" not in result.options
    assert "HMS Bridge" in done.stdout


def test_names_that_do_not_exist_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    need("wrk", *WRK)
    assert main(["--case", "smoke"]) == 1
    assert main(["--peer", "nginx"]) == 1
    said = capsys.readouterr().err
    assert "no case is called smoke; there are grpc-small" in said
    assert "no peer is called nginx; there are envoy" in said


def test_without_wrk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["--quick"]) == 1
    assert "apt-get install wrk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        (GrpcGateway(), "Go is not here"),
        (ExpressSoap(), "node is not here"),
        (CamelCxf(), "java is not here"),
    ],
)
def test_a_peer_whose_tools_are_missing_says_so(
    peer: Peer, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Absent, match=words):
        peer.install(tmp_path)


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = start(["/bin/sh", "-c", "echo I can not; exit 3"], Cores.choose().gateway, tmp_path, port=free_port())
    with pytest.raises(RuntimeError, match="sh ended with 3: …I can not"):
        process.wait_for_port()


def test_every_peer_takes_part_in_cases_that_exist() -> None:
    names = {case.name for case in cases.CASES}
    for peer in roll.PEERS:
        assert peer.cases, peer.name
        assert peer.cases <= names, peer.name
        assert peer.guarded, peer.name
    assert len({peer.name for peer in roll.PEERS}) == len(roll.PEERS)


def test_every_option_is_in_the_page() -> None:
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    for action in options()._actions:
        for name in action.option_strings:
            assert name in ("-h", "--help") or f"| `{name}" in text, name
