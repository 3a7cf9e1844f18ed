"""What ``make`` installs and removes, without doing either for real."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as far as make looks at it."""
    (tmp_path / "scripts").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts/make-venv", "scripts/install-servers"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *words: str) -> str:
    done = subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_installs_no_tools_and_the_tests_add_them(checkout: Path) -> None:
    assert 'scripts/make-venv "python3" ".venv" demo\n' in make(checkout, "-n", "demo")
    assert " dev\n" not in make(checkout, "-n", "demo")
    assert 'scripts/make-venv "python3" ".venv" dev\n' in make(checkout, "-n", "test")
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.installed-demo").touch()
    assert "make-venv" not in make(checkout, "-n", "demo")
    assert "make-venv" in make(checkout, "-n", "test")


def test_clean_keeps_registered_routes_and_keys_and_distclean_says_what_it_removes(checkout: Path) -> None:
    for name in (".bridge/routes.db", ".bridge/local-issuer.pem", ".venv/.installed-demo", ".bench/x"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch()
    assert "kept: .bridge" in make(checkout, "clean")
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".bench").exists()
    assert (checkout / ".bridge/routes.db").exists()
    said = make(checkout, "distclean")
    assert "removing .bridge: registered routes" in said
    assert "local-issuer.pem" in said
    assert not (checkout / ".bridge").exists()


def _imports(folder: Path) -> Iterator[str]:
    """Top-level modules that are imported as soon as a file of `folder` is, or later."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield (node.module or "").partition(".")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _with_extra(extra: str) -> set[str]:
    """The distributions that ``hms-bridge[extra]`` brings, with theirs."""
    names: set[str] = set()
    queue = [("hms-bridge", extra)]
    while queue:
        name, wanted = queue.pop()
        try:
            lines = requires(name) or ()
        except PackageNotFoundError:
            continue  # for another system or Python
        names.add(_normal(name))
        for line in lines:
            needed, _, condition = line.partition(";")
            extras = re.findall(r"extra\s*==\s*[\"']([\w.-]+)", condition)
            match = re.match(r"[\w.-]+", needed)
            if match and (not extras or wanted in extras) and _normal(match[0]) not in names:
                queue.append((match[0], "crypto" if "[crypto]" in needed else ""))
    return names


def test_the_demo_finds_all_that_it_imports_without_the_tools() -> None:
    distributions, available = packages_distributions(), _with_extra("demo")
    own = {path.stem for path in (ROOT / "examples").rglob("*.py")} | {
        "bridge",
        "bridge_soap",
        "bridge_grpc",
        "bridge_xml",
    }
    missing = set()
    for folder in ("examples", "bridge", "transformers"):
        for module in set(_imports(ROOT / folder)) - own - set(sys.stdlib_module_names) - {"__future__", ""}:
            if not available & set(map(_normal, distributions.get(module, [module]))):
                missing.add(module)
    assert missing == set()
