"""Homes in which something is not what it should be: one sentence that says what and where, and exit code 1."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bridge.cli.main import app

LOOKS = [("check",), ("routes",), ("token",), ("doctor",)]

Hms = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home/routes").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def hms(home: Path, monkeypatch: pytest.MonkeyPatch) -> Hms:
    monkeypatch.setenv("BRIDGE_HOME", str(home))
    return lambda *words: CliRunner().invoke(app, words)


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_current_directory_that_was_deleted(
    hms: Hms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.delenv("BRIDGE_HOME")
    done = hms(*command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("the current directory can't be used (No such file or directory); go to another")


@pytest.mark.parametrize("kind", ["folder", "link to nowhere"])
def test_a_mesh_file_that_is_none_is_not_an_empty_one(hms: Hms, home: Path, kind: str) -> None:
    if kind == "folder":
        (home / "mesh.yml").mkdir()
    else:
        (home / "mesh.yml").symlink_to("nowhere.yml")
    done = hms("check")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{home}/mesh.yml: "), done.stderr


def test_a_file_in_place_of_the_folder_of_routes(hms: Hms, home: Path) -> None:
    (home / "routes").rmdir()
    (home / "routes").write_text("route: /a\n")
    for command in ("check", "routes", "openapi", "serve"):
        done = hms(command)
        assert done.exit_code == 1, command
        assert done.stderr.startswith(f"{home}/routes: it can't be read: Not a directory"), done.stderr


def test_a_file_in_place_of_the_folder_that_the_gateway_keeps(hms: Hms, home: Path) -> None:
    (home / ".bridge").write_text("")
    assert f"{home}/.bridge is no folder -> move it away" in " ".join(hms("doctor").stdout.split())


def test_a_home_that_may_not_be_read(hms: Hms, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    for command in LOOKS:
        assert hms(*command).stderr.startswith(f"BRIDGE_HOME: {home} can't be read: Permission denied")
