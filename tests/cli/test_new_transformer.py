"""The project of ``hms-bridge new-transformer``: it installs, passes its own tests, and is whole or not there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bridge.cli.main import app
from bridge.testing import serving

New = Callable[[str], Result]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> New:
    """``hms-bridge new-transformer`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name: CliRunner().invoke(app, ["new-transformer", name])


def run(*command: str | Path, **more: str) -> str:
    """The standard output of a command, which must succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    environment = {**kept, "NO_COLOR": "1", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1", **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment_of_its_own(folder: Path) -> Path:
    """An environment to install into, which sees what is installed here; its Python."""
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python3*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith("site-packages")]
    (site / "here.pth").write_text("\n".join(lines))
    return folder / "bin" / "python"


def test_the_project_installs_and_passes_its_own_tests(new: New, tmp_path: Path) -> None:
    done = new("edi-x12")
    assert done.exit_code == 0, done.output
    python = environment_of_its_own(tmp_path / "venv")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", *options, "-e", "edi-x12")
    assert "3 passed" in run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "edi-x12")
    checked = run(python, "-m", "bridge", "check", BRIDGE_HOME="edi-x12/example")
    assert checked == "1 route: all right.\n"


# The shortest and the longest name, and one whose class would be a word that the module imports.
@pytest.mark.parametrize("name", ["e", "a234567890-b234567890_c234567890-d234567", "call"])
def test_the_project_is_formatted_and_linted(new: New, name: str) -> None:
    done = new(name)
    assert done.exit_code == 0, done.output
    ruff = (sys.executable, "-m", "ruff")
    run(*ruff, "format", "--check", "--no-cache", name)
    run(*ruff, "check", "--no-cache", name)
    project = tomllib.loads((Path(name) / "pyproject.toml").read_text())["project"]
    [(point, value)] = project["entry-points"]["bridge.transformers"].items()
    package, _, title = value.partition(":")
    assert point == name
    assert f"class {title}:" in (Path(name) / package / "__init__.py").read_text()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("EdiFact", "'EdiFact' can't be the name of a transformer: it begins with a small letter"),
        ("EdiFact", "'edi-fact' would do"),
        ("../edi", "'edi' would do"),
        ("edi/fact", "'edi-fact' would do"),
        ("4u", "begins with a small letter"),
        ("", "begins with a small letter"),
        ("e" * 41, "40 characters at most"),
        ("édi", "begins with a small letter"),
        ("response", "'response' can't be the name of a transformer: it is a key of `transform`"),
        ("null", "in YAML it is no text"),
        ("soap", "a transformer 'soap' is installed already: bridge_soap:Soap"),
    ],
)
def test_a_name_that_no_transformer_can_have_is_refused(new: New, tmp_path: Path, name: str, reason: str) -> None:
    done = new(name)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["folder", "file", "dangling link"])
def test_what_exists_is_not_touched(new: New, tmp_path: Path, what: str) -> None:
    path = tmp_path / "edi"
    match what:
        case "folder":
            path.mkdir()
        case "file":
            path.write_text("mine")
        case _:
            path.symlink_to("nowhere")
    before = path.lstat()
    done = new("edi")
    assert (done.exit_code, done.stderr) == (1, "edi: it exists already; remove it, or choose another name\n")
    assert path.lstat() == before
    assert [each.name for each in tmp_path.iterdir()] == ["edi"]


def test_a_full_disk_leaves_nothing_behind(new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def fsync(descriptor: int) -> None:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    done = new("edi")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "it can't be written: No space left on device" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_next_steps_can_be_typed(new: New, tmp_path: Path) -> None:
    done = new("edi")
    assert done.stdout == ""
    wrote, _, steps = done.stderr.partition("Next (README.md says more):\n")
    assert {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "edi").rglob("*") if path.is_file()} == set(
        wrote.removeprefix("Wrote ").removesuffix(".\n").split(", ")
    )
    enter, install, test = steps.splitlines()
    assert enter == "  cd edi"
    assert install.endswith(" -m pip install -e '.[dev]'")
    assert test.endswith(" -m pytest")


def test_a_gateway_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/a.yml").write_text("route: /a\n")
    with pytest.raises(RuntimeError, match=r"the gateway did not start: (?s:.*)a\.yml:1: auth: it is missing"):
        with serving(tmp_path, BRIDGE_LOG_LEVEL="error"):
            pass
