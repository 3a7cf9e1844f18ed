"""A first look at an installation: its version, a new home, and what the doctor says of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from bridge.cli.main import app
from tests.conftest import Upstream

Hms = Callable[..., Result]


@pytest.fixture
def hms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hms:
    """``hms-bridge`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    return lambda *words, **env: CliRunner().invoke(app, words, env=env)


def levels(done: Result) -> dict[str, set[str]]:
    """What the doctor's report says of each thing."""
    report: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        level, check, _ = line.split(maxsplit=2)
        report.setdefault(check, set()).add(level)
    return report


def test_the_version_is_told(hms: Hms) -> None:
    assert hms("--version").stdout == f"hms-bridge {version('hms-bridge')}\n"


def test_python_m_bridge_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hms-bridge {version('hms-bridge')}\n", "")


def test_a_shell_can_complete_commands(hms: Hms) -> None:
    words = hms(_HMS_BRIDGE_COMPLETE="complete_bash", COMP_WORDS="hms-bridge ", COMP_CWORD="1").stdout.split()
    assert {"serve", "check", "import", "doctor"} <= set(words)


def test_a_new_home_passes_check(hms: Hms, tmp_path: Path) -> None:
    made = hms("init")
    assert made.exit_code == 0, made.output
    assert {path.name for path in tmp_path.iterdir()} == {
        ".gitignore", "mesh.yml", "protos", "routes", "secrets", "wsdl",
    }  # fmt: skip
    assert "#" in (tmp_path / "routes/example.yml").read_text()
    assert ".bridge/" in (tmp_path / ".gitignore").read_text()
    needs = "routes/example.yml: /v1/example/{name}: callers need a bearer token (JWT) for the audience EXAMPLE\n"
    assert (hms("check").stdout, hms("check").stderr) == (needs + "1 route: all right.\n", "")


def test_a_new_home_replaces_nothing(hms: Hms, tmp_path: Path) -> None:
    (tmp_path / "mesh.yml").write_text("mine: 10.0.0.7\n")
    refused = hms("init")
    assert (refused.exit_code, refused.stderr) == (
        1, "mesh.yml: it exists already; init replaces nothing; remove it, or name another folder\n",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.yml"]
    assert hms("init", "other").exit_code == 0
    assert (tmp_path / "other/routes/example.yml").is_file()


def test_the_doctor_finds_nothing_wrong_where_nothing_is(hms: Hms, tmp_path: Path) -> None:
    assert hms("init").exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as service:
        (tmp_path / "mesh.yml").write_text(f"example: 127.0.0.1:{service.getsockname()[1]}\n")
        before = sorted(tmp_path.rglob("*"))
        done = hms("doctor", "--port", "0")
    assert done.exit_code == 0, done.output
    assert {level for each in levels(done).values() for level in each} == {"ok"}
    names = {"python", "libraries", "home", "permissions", "clock", "port", "store", "routes", "mesh"}
    assert levels(done).keys() == names
    assert sorted(tmp_path.rglob("*")) == before


def test_the_doctor_says_what_to_do(hms: Hms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hms("init").exit_code == 0
    monkeypatch.setattr("bridge.cli.mesh_entry.CONNECT", 0.5)
    (tmp_path / "routes/b.yml").write_text("route: /b\n")
    (tmp_path / "routes/c.yml").write_text(
        "route: /c\nupstream: nowhere:80\nauth: none\ntransform: {request: passthrough}\n"
    )
    (tmp_path / ".bridge").mkdir()
    (tmp_path / ".bridge/routes.db").write_text("this is no database, and longer than a header of one" * 20)
    tomorrow = time.time() + 86400
    os.utime(tmp_path / "routes", (tomorrow, tomorrow))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = hms("doctor", "--port", port)
        report = json.loads(hms("doctor", "--port", port, "--json").stdout)
    assert done.exit_code == 1
    told = levels(done)
    assert {check: told[check] for check in ("routes", "mesh", "store", "clock", "port")} == {
        "routes": {"fail"}, "mesh": {"warn"}, "store": {"fail"}, "clock": {"warn"}, "port": {"warn"},
    }  # fmt: skip
    assert "routes/b.yml:1: auth: it is missing" in done.stdout
    assert "nowhere:80: mesh.yml names neither" in done.stdout
    assert "example:80: nobody answers at 127.0.0.1:9001" in done.stdout
    assert report["ok"] is False
    assert all(finding["advice"] for finding in report["findings"] if finding["level"] != "ok")


async def test_the_doctor_asks_issuers_for_their_keys_and_the_time(
    hms: Hms, tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = SimpleNamespace(time=lambda: time.time() + 3600, strftime=time.strftime, gmtime=time.gmtime)
    assert "doctor" in hms("--help").stdout
    monkeypatch.setattr("bridge.cli.doctor.time", ahead)
    upstream.body = b'{"keys": [{"kty": "RSA"}]}'
    url = f"http://127.0.0.1:{upstream.port}/keys"
    (tmp_path / "issuers.yml").write_text(f"- {{issuer: 'https://idp.example', jwks_url: '{url}'}}\n")
    late = await asyncio.to_thread(hms, "doctor", "--port", "0")
    assert re.search("clock is 3[56][0-9]+ seconds ahead of that of https://idp.example", late.stdout)
    upstream.body = b"{}"
    empty = await asyncio.to_thread(hms, "doctor", "--port", "0")
    assert (empty.exit_code, levels(empty)["issuers"]) == (1, {"fail"})


async def test_an_issuer_that_can_not_be_discovered_is_told_by_check_and_doctor(
    hms: Hms, tmp_path: Path, upstream: Upstream
) -> None:
    name = f"http://127.0.0.1:{upstream.port}"
    (tmp_path / "issuers.yml").write_text(f"- issuer: {name}\n")
    upstream.body = b'{"issuer": "http://127.0.0.1/"}'
    reason = f"{name}/.well-known/openid-configuration: its issuer is 'http://127.0.0.1/'; it must be exactly"
    checked = await asyncio.to_thread(hms, "check")
    assert checked.exit_code == 0  # a gateway starts, and asks again
    assert f"issuers.yml: {name}: its tokens get 503 until it answers: discovery failed: {reason}" in checked.stdout
    assert checked.stderr == ""
    examined = await asyncio.to_thread(hms, "doctor", "--port", "0")
    assert levels(examined)["issuers"] == {"fail"}
    assert reason in examined.stdout
    upstream.body = json.dumps({"issuer": name, "jwks_uri": f"{name}/keys", "keys": [{"kty": "RSA"}]}).encode()
    examined = await asyncio.to_thread(hms, "doctor", "--port", "0")
    assert f"{name}: 1 keys from {name}/keys" in examined.stdout
