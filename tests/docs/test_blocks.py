"""Each block of the documentation is right: YAML loads, JSON parses, commands have the options that they are given."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML
from typer.core import TyperGroup

from bridge.api import RouteSpec
from bridge.cli.main import app
from bridge.cli.offline import judge
from bridge.cluster.sources import static
from bridge.config.secrets_file import read_bindings
from bridge.config.settings import load
from bridge.config.tenants_file import read_tenants
from bridge.plugins import discover, load_transformer
from bridge.stages.auth.client_cas import read_client_cas
from bridge.stages.auth.issuers import read_issuers
from tests.docs.pages import PAGES, ROOT, Block, blocks

BASE = {"route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}

#: A file with a name of its own, as the first line's comment says, and its reader.
FILES = {
    "issuers.yml": read_issuers,
    "client-cas.yml": read_client_cas,
    "secrets.yml": read_bindings,
    "tenants.yml": read_tenants,
}

#: Top-level keys of other programs' files: Prometheus, Docker Compose, Kubernetes.
FOREIGN = {"scrape_configs", "services", "apiVersion"}

LANGUAGES = ("", "yaml", "json", "toml", "python", "console", "sh", "nginx")

#: What `check` says of a contract or transformer that a page speaks of and that is not in the repository.
ABSENT = re.compile(r"(vat|ledger)\.wsdl|there is no transformer 'shout'|no transformer 'shout'|'shout'")


def each(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks(*languages), ids=str)


def test_every_block_is_in_a_language_that_is_tested() -> None:
    fences = sum(len(re.findall(r"^ *```", path.read_text("utf-8"), re.MULTILINE)) for path in PAGES)
    assert len(blocks(*LANGUAGES)) == fences / 2


@each("yaml")
async def test_yaml_is_what_the_gateway_reads(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "routes" / "a.yml"
    path.parent.mkdir()
    path.write_text(block.text)
    name = block.text.partition("\n")[0].removeprefix("# ").partition(":")[0]
    if name in FILES:
        assert FILES[name](path)
    elif name == "mesh.yml" or block.page == "docs/mesh.md":
        assert static.read(path)
    elif "route:" in block.text:
        for folder in ("wsdl", "protos"):
            shutil.copytree(ROOT / folder, tmp_path / folder)
        _make_secrets(block.text, tmp_path, monkeypatch)
        faults, *_ = await judge(load({}, home=tmp_path), [path])
        assert [str(fault) for fault in faults if not ABSENT.search(str(fault))] == []
    else:
        for key, value in _members(block.text):
            if key not in FOREIGN:
                _judge_member(key, value)


def _make_secrets(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables and files that a spec names."""
    for name in re.findall(r"\$env: (\w+)", text):
        monkeypatch.setenv(name, "s3cret-of-docs")
    for name in re.findall(r"\$file: ([\w./-]+)", text):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("s3cret-of-docs")


def _members(text: str) -> list[tuple[str, Any]]:
    """The members of a part of a spec; several lines may show ways to write one key."""
    yaml = YAML(typ="safe")
    # Dates are texts in YAML 1.2's core schema, which specs are read by.
    yaml.constructor.add_constructor("tag:yaml.org,2002:timestamp", type(yaml.constructor).construct_yaml_str)
    parts = re.split(r"^(?=[a-z_]+:)", text, flags=re.MULTILINE)
    return [member for part in parts if part.strip() for member in yaml.load(part).items()]


def _judge_member(key: str, value: Any) -> None:
    point = discover().get(key)
    if point is None:
        assert RouteSpec.model_validate({**BASE, key: value})
        return
    options: type[BaseModel] = load_transformer(point).options
    assert options.model_validate(value)


@each("json")
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@each("toml")
def test_toml_names_groups_that_the_gateway_looks_for(block: Block) -> None:
    groups = tomllib.loads(block.text).get("project", {}).get("entry-points", {})
    own = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    assert groups.keys() <= own.keys()


@each("python")
def test_python_compiles_and_imports_what_there_is(block: Block) -> None:
    imports = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        if (node.module or "").partition(".")[0] == "bridge":
            exec(ast.unparse(node), {})


# --- commands ------------------------------------------------------------------------------------------------------


def written_commands() -> list[tuple[str, str]]:
    """(where, command line): what blocks show after a prompt or in a script, and what sentences name in whole."""
    lines = []
    for block in blocks("console", "sh", ""):
        text = re.sub(r"\\\n *", "", block.text)
        prompt = "$ " if block.language == "console" else ""  # without it, a line is output
        lines += [
            (str(block), line.removeprefix("$ "))
            for line in text.splitlines()
            if line.startswith(prompt) and "hms-bridge " in line
        ]
    for path in PAGES:
        for span in re.findall(r"(?<!`)`([^`\n]*hms-bridge [^`\n]+)`(?!`)", path.read_text("utf-8")):
            lines.append((path.name, span))
    return [(where, line) for where, line in lines if _is_a_command(line)]


_QUOTED_OR_A_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|[A-Z_]+=\S*|\$[A-Z]+|[A-Z]+_[A-Z_]+")


def _is_a_command(line: str) -> bool:
    """Not a pattern (``[--host H]``, ``SPEC…``), and not output."""
    if not re.match(r"(?:[A-Z_]+=\S* *)*(?:\S*/)?hms-bridge |[A-Z]+=\$\(hms-bridge ", line):
        return False
    return not re.search(r"\[|…|\\\||\b[A-Z]{4,}\b(?!_)(?!=)", _QUOTED_OR_A_VALUE.sub("", line))


@pytest.mark.parametrize(("where", "line"), written_commands(), ids=lambda text: text[:60])
def test_commands_exist_and_take_these_options(where: str, line: str) -> None:
    for text in re.findall(r"hms-bridge ([^|;&>)#]+)", line):
        arguments = shlex.split(text)
        command: Any = typer.main.get_command(app)
        # TyperGroup, not click's Group: typer brings a click of its own.
        context = command.make_context("hms-bridge", ["--help"], resilient_parsing=True)
        while isinstance(command, TyperGroup):
            name = arguments.pop(0) if arguments else "--help"
            if name.startswith("-"):
                assert name in {option for each in command.get_params(context) for option in each.opts}, where
                return
            if name == "shout":  # the plug-in guide's own; test_plugin_guide.py runs it
                return
            command = command.get_command(context, name)
            assert command is not None, f"{where}: {name}"
        if arguments and "--help" not in arguments:  # a sentence may name a command without its arguments
            command.make_context(line, arguments, resilient_parsing=False)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in PAGES:
        for target in re.findall(r"(?:^\$ |`)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE):
            assert target in targets, f"{path.name}: make {target}"
