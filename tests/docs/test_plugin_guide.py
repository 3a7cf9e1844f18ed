"""The guide to plug-ins shows the project that `hms-bridge new-transformer` writes. With the page's import command, it
is installed, its tests pass, and the gateway serves it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bridge.api import Call, InvalidParameter
from bridge.config.specfile import read_text
from tests.docs.pages import ROOT, blocks_of

BLOCKS = blocks_of(ROOT / "docs" / "plugins.md")
SPEC = next(block.text for block in BLOCKS if block.language == "yaml" and "shout" in block.text)


#: By the name that the paragraph before the block ends with.
FILES = {
    name[1]: block.text for block in BLOCKS if (name := re.search(r"`([\w/]+\.(?:py|toml|yml))`[^`]*:$", block.before))
}


def run(*command: str, cwd: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    environment |= {"PYTHONPATH": str(site), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the page, with the file and the entry point that the import command needs."""
    parent = tmp_path_factory.mktemp("guide")
    run("bridge", "new-transformer", "shout", cwd=parent, site=parent)
    folder = parent / "shout"
    (folder / "shout_transformer/importing.py").write_text(FILES["shout_transformer/importing.py"])
    importing = next(block.text for block in BLOCKS if "importing:ImportingShout" in block.text)
    config = folder / "pyproject.toml"
    text = config.read_text()
    table, line = importing.splitlines()
    assert table in text
    config.write_text(re.sub(r"^shout = .*$", line, text, flags=re.MULTILINE))
    return folder


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    """Where the project is installed."""
    target = project / "site"
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run("pip", "install", *options, "--target", str(target), ".", cwd=project, site=target)
    return target


def test_the_page_shows_what_the_command_writes(project: Path) -> None:
    shown = {name: text for name, text in FILES.items() if not name.endswith("importing.py")}
    assert shown.keys() == {
        "pyproject.toml", "shout_transformer/__init__.py", "tests/test_shout.py", "tests/test_shout_in_gateway.py",
        "example/routes/shout.yml",
    }  # fmt: skip
    for name, text in shown.items():
        assert text == (project / name).read_text().replace(".importing:ImportingShout", ":Shout"), name


def test_the_projects_own_test_passes(project: Path, site: Path) -> None:
    """That with a gateway is run by tests/cli/test_new_transformer.py."""
    command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/test_shout.py")
    assert "2 passed" in run(*command, cwd=project, site=site).stdout


def test_its_import_command(project: Path, site: Path) -> None:
    done = run("bridge.cli.main", "import", "shout", "echo:80", "--mark", "?", cwd=project, site=site)
    [(spec, _)] = read_text(done.stdout)
    assert (str(spec.upstream), spec.transform.options) == ("echo:80", {"mark": "?"})
    assert "nothing is known of its limits" in done.stderr


async def test_the_gateway_serves_it(site: Path, start: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    upstream.body, upstream.headers = b"hello", []
    async with start(mesh={"echo": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": SPEC}) as gateway:
        get = gateway.client.get
        assert (await get("/say/hi")).text == "hello?"
        assert (await get("/say/a%3Fb=c%26d%23e%20f")).status_code == 200
        assert [seen.target for seen in upstream.seen] == ["/HI", "/A%3FB%3DC%26D%23E%20F"]
        for status, shown in ((404, 404), (409, 409), (500, 502), (503, 502)):
            upstream.status, upstream.body = status, b"at internal.host line 7"
            answer = await get("/say/hi")
            assert (answer.status_code, answer.json()["upstream_status"]) == (shown, status)
            assert answer.headers["content-type"] == "application/problem+json"
            assert "internal" not in answer.text
    for name in [name for name in sys.modules if name.startswith("shout_transformer")]:
        del sys.modules[name]


def test_path_parameters_come_ready_for_a_path() -> None:
    call = Call("GET", "/x", raw_params={"a": "..%2F..%2Fadmin%3Fx=1", "b": "caf%C3%A9 ~._-", "rest": "a%2Fb/c%23/"})
    assert call.params == {"a": "..%2F..%2Fadmin%3Fx%3D1", "b": "caf%C3%A9%20~._-", "rest": "a%2Fb/c%23/"}
    assert call.path_values == {"a": "../../admin?x=1", "b": "café ~._-", "rest": "a/b/c#/"}
    for step in ("..", "%2e%2E", ".", "a/%2E%2e/b"):
        call = Call("GET", "/x", raw_params={"a": step})
        with pytest.raises(InvalidParameter, match="it can't be"):
            _ = call.params
        assert call.path_values["a"] == unquote(step)
