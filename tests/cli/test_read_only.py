"""Commands that only look write nothing, and say what they may not read."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bridge.admin.credentials import mint_token
from bridge.catalog.store import open_store
from bridge.catalog.store.base import StoredRoute
from bridge.cli.main import app
from bridge.cli.named import missing_later
from bridge.config.settings import load
from bridge.errors import SettingsError

SPEC = "route: /v1/{}\nupstream: svc:80\nauth: {{type: JWT, issuer: 'urn:bridge:local'}}\ntransform: {{request: xml}}\n"
STORED = '{"route": "/v1/stored", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}'
LOOKS = [("check",), ("routes",), ("openapi",), ("explain", "/v1/a"), ("key", "list")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home/routes").mkdir(parents=True)
    (tmp_path / "home/routes/a.yml").write_text(SPEC.format("a"))
    (tmp_path / "home/mesh.yml").write_text("svc: 127.0.0.1:9\n")
    return tmp_path / "home"


@pytest.fixture
def hms(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("BRIDGE_HOME", str(home))
    return lambda *words: CliRunner().invoke(app, words)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, with its size and the time of its change."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in (folder, *folder.rglob("*"))}


async def register(home: Path) -> None:
    store = open_store("sqlite:///.bridge/routes.db", home)
    number = await store.put_route(StoredRoute(0, STORED, 1.0, "pat"), seen=await store.version())
    assert number == 1
    await store.aclose()


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_looking_writes_nothing(hms: Any, home: Path, command: tuple[str, ...]) -> None:
    before = tree(home)
    done = hms(*command)
    assert (done.exit_code, done.stderr) == (0, "")
    assert tree(home) == before


@pytest.mark.parametrize("state", ["closed", "killed", "open"])
async def test_registered_routes_are_seen_without_a_trace(hms: Any, home: Path, state: str) -> None:
    """The store of a gateway that has ended, that was killed, and of one that serves."""
    await register(home)
    database = home / ".bridge/routes.db"
    db = sqlite3.connect(database)
    if state != "closed":
        db.execute("UPDATE route SET spec = replace(spec, '/v1/stored', '/v1/again')")
        db.commit()
    if state == "killed":
        for name in ("routes.db", "routes.db-wal"):
            shutil.copy(home / ".bridge" / name, home / name)
        db.close()
        for name in ("routes.db", "routes.db-wal"):
            (home / name).replace(home / ".bridge" / name)
    elif state == "closed":
        db.close()
    before = {name: size for name, (size, _) in tree(home).items()}
    shown = await asyncio.to_thread(hms, "routes")
    assert ("/v1/stored" if state == "closed" else "/v1/again") in shown.stdout
    assert {name: size for name, (size, _) in tree(home).items()} == before
    db.close()


def test_a_home_that_is_not_there_is_an_error(hms: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_HOME", str(home / "none"))
    for command in (*LOOKS, ("token",), ("serve",), ("key", "new", "--sub", "a")):
        done = hms(*command)
        assert done.exit_code == 1
        assert done.stderr == f"BRIDGE_HOME: {home / 'none'} is not a folder; make it, or name the one that is meant\n"
    assert not (home / "none").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BRIDGE_ROUTES", "none"),
        ("BRIDGE_ISSUERS", "none.yml"),
        ("BRIDGE_SECRETS", "none.yml"),
        ("BRIDGE_MESH", "static:none.yml"),
    ],
)
def test_what_a_setting_names_and_is_not_there_is_an_error(
    hms: Any, home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)
    path = home / value.removeprefix("static:")
    for command in LOOKS[:-1]:
        done = hms(*command)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == f"{setting}: {path} does not exist; make it, or name the one that is meant\n"


@pytest.mark.parametrize(("setting", "file"), [("routes", "none"), ("mesh", "static:none.yml")])
def test_serve_follows_what_may_be_made_later(home: Path, setting: str, file: str) -> None:
    path = home / file.removeprefix("static:")
    notes = missing_later(load({f"BRIDGE_{setting.upper()}": file}, home=home))
    assert notes == [f"BRIDGE_{setting.upper()}: {path} does not exist; it is followed once it is there"]
    with pytest.raises(SettingsError, match=r"BRIDGE_ISSUERS: .*none\.yml does not exist"):
        missing_later(load({f"BRIDGE_{setting.upper()}": file, "BRIDGE_ISSUERS": "none.yml"}, home=home))
    assert missing_later(load({}, home=home)) == []


#: Runs commands as root without its powers over other users' files (capabilities 1 to 3), and prints how each ended.
POWERLESS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(header, data) == 0
for at in range(3):
    data[at] &= ~0b1110
assert libc.capset(header, data) == 0
from typer.testing import CliRunner
from bridge.cli.main import app
ends = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
print(json.dumps([(end.exit_code, end.stdout, end.stderr) for end in ends]))
"""
OTHER = 12345  #: a user


@pytest.fixture
def powerless(home: Path) -> Callable[..., list[tuple[int, str, str]]]:
    """Exit code, output and errors of each command, run by a user who owns nothing of `OTHER`."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")

    def run(*commands: Sequence[str]) -> list[tuple[int, str, str]]:
        done = subprocess.run(
            [sys.executable, "-c", POWERLESS, json.dumps(commands)],
            env={**os.environ, "BRIDGE_HOME": str(home), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [tuple(end) for end in json.loads(done.stdout)]

    return run


def test_what_belongs_to_another_user_is_one_sentence(powerless: Any, home: Path) -> None:
    mint_token(load({}, home=home), sub="a", roles=[], tenant="", audience=[], scopes=[], ttl="1h")  # makes .bridge
    for path in (home / ".bridge", *(home / ".bridge").iterdir()):
        os.chown(path, OTHER, OTHER)
    *refused, checked = powerless(("token",), ("key", "list"), ("routes",), ("serve", "--port", "0"), ("check",))
    for code, _, text in refused:
        assert code == 1
        assert text.count("\n") == 1, text
        assert "Permission denied" in text
        assert f"{home / '.bridge'} belongs to the user {OTHER}, and this is root" in text
    needs = f"{home}/routes/a.yml: /v1/a: callers need a bearer token (JWT) from urn:bridge:local\n"
    assert checked == (0, needs + "1 route: all right.\n", "")


def test_a_folder_of_routes_that_may_not_be_read_is_not_empty(powerless: Any, home: Path) -> None:
    (home / "routes").chmod(0o700)
    os.chown(home / "routes", OTHER, OTHER)
    [(code, _, text)] = powerless(("check",))
    assert (code, text) == (1, f"{home / 'routes'}: it can't be read: Permission denied\n")
