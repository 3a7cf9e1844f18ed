"""The documentation names every problem slug, setting, spec key and command; its examples are right."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

import bridge
from bridge.api import Context, HttpRequest
from bridge.api.problem import slugs
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.route import RouteSpec
from bridge.api.transport import Target
from bridge.cli.main import app
from bridge.cluster.cluster import Cluster
from bridge.config.settings import Settings
from bridge.config.specfile import read_text
from bridge.transport.registry import Transports

ROOT = Path(bridge.__file__).parent.parent
DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}


def test_every_problem_slug() -> None:
    # Slugs are on exception classes all over the package, which this imports.
    import bridge.app

    assert bridge.app
    for slug, _, _ in slugs():
        assert f"`{slug}`" in DOCS["admin.md"], slug


def test_every_setting() -> None:
    for name in Settings.model_fields:
        assert f"`BRIDGE_{name.upper()}`" in DOCS["cli.md"], name


def test_every_spec_key() -> None:
    for name in RouteSpec.model_fields:
        assert f"| `{name}` |" in DOCS["spec.md"], name


def test_every_test_that_the_security_page_names_is_there() -> None:
    named = re.findall(r"\[`(\w+)`\]\(\.\./(tests/[\w/]+\.py)\)", DOCS["security.md"])
    assert len(named) > 80
    for name, path in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), (path, name)


def subcommands(command: Any) -> dict[str, Any]:
    context: Any = None
    names = command.list_commands(context) if isinstance(command, TyperGroup) else []
    return {name: command.get_command(context, name) for name in names}


def test_every_command() -> None:
    names = []
    for name, command in subcommands(typer.main.get_command(app)).items():
        names += [f"{name} {sub}" for sub in subcommands(command)] or [name]
    assert {"import grpc", "import soap", "key new", "serve"} < set(names)
    for name in names:
        assert f"`hms-bridge {name}" in DOCS["cli.md"], name


def test_every_option() -> None:
    """But for those of all commands, which the page's first paragraph tells of."""
    waiting: list[tuple[str, Any]] = [("hms-bridge", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        waiting += [(f"{name} {sub}", each) for sub, each in subcommands(command).items()]
        rows = "".join(line for line in DOCS["cli.md"].splitlines() if f"`{name} " in line)
        options = {option for each in command.params for option in each.opts if option.startswith("--")}
        if not isinstance(command, TyperGroup):
            for option in options - {"--json", "--config", "--help"}:
                assert re.search(rf"[ \[]{option}(?![\w-])", rows), f"{name} {option}"


@pytest.mark.parametrize("name", ["quickstart.md", "spec.md", "plugins.md"])
def test_yaml_examples_are_specs(name: str) -> None:
    found = [block for block in re.findall(r"```yaml\n(.*?)```", DOCS[name], re.DOTALL) if "route:" in block]
    assert found
    for block in found:
        read_text(block)


def test_links_lead_somewhere() -> None:
    for name, text in [*DOCS.items(), ("../README.md", (ROOT / "README.md").read_text("utf-8"))]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert ((ROOT / "docs" / name).parent / target).exists(), f"{name} -> {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_exist() -> None:
    for name, text in DOCS.items():
        for page, anchor in re.findall(r"\]\((?!https?:)([\w.]*)#([^)]+)\)", text):
            if not page or page in DOCS:
                assert anchor in anchors(DOCS[page or name]), f"{name} -> {page}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", DOCS["README.md"]))
    assert linked == DOCS.keys() - {"README.md"}


def python_of(page: str, heading: str) -> dict[str, Any]:
    """What the Python block below a heading defines."""
    section = DOCS[page].partition(f"## {heading}\n")[2].partition("\n## ")[0]
    space: dict[str, Any] = {"__name__": "example"}
    [block] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(block, space)
    return space


def test_the_front_of_the_guide() -> None:
    front = python_of("extend.md", "A front")["JsonSequence"]()
    format = front.formats["application/json-seq"](None)
    assert format.headers[0] == ("content-type", "application/json-seq")
    assert format.message(b"1") == b"\x1e1\n"


async def test_the_transport_of_the_guide() -> None:
    transport = Transports({"canned": lambda: python_of("extend.md", "A transport")["Canned"]}).get("canned")
    channel = transport.channel(Target("hill", "80", None, ConnectionSpec(), 1000))
    cluster = Cluster(channel, lambda: asyncio.sleep(0, [("10.0.0.1", 80)]), lambda: [("10.0.0.1", 80)])
    deadline = asyncio.get_running_loop().time() + 5
    assert (await cluster.send(HttpRequest("GET", "/a"), deadline=deadline)).body == b"/a"


async def test_the_followed_contract_of_the_guide() -> None:
    async def fetch(url: str, headers: Any = None) -> bytes:
        return url.encode()

    following = python_of("extend.md", "A followed contract")["Following"]()
    following.context = Context(Path(), Path(), fetch)
    followed = following.follow(None, SimpleNamespace(contract_url="http://a/contract"))
    assert len(await followed.fingerprint()) == 32


CLAUSES = DOCS["grpc.md"].partition("clause by clause")[2].partition("\n## ")[0]
SCHEMAS = DOCS["grpc.md"].partition("\n## Schemas\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("page", "least"),
    [(DOCS["soap.md"], 100), (CLAUSES, 50), (SCHEMAS, 20)],
    ids=["soap", "grpc", "schemas"],
)
def test_every_construct_names_its_test(page: str, least: int) -> None:
    """The text of a link into the tests is a test's or a case's name there, or the file's."""
    links = re.findall(r"\[([^]]+)\]\((\.\./tests/[^)]+)\)", page)
    assert len(links) > least
    for text, target in links:
        path = ROOT / "docs" / target
        assert text == path.name or re.search(
            rf"def {re.escape(text)}\(|\"{re.escape(text)}\"", path.read_text("utf-8")
        ), f"{target} has no {text!r}"


def test_no_clause_of_http_proto_is_missing() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", CLAUSES, re.MULTILINE)
    assert len(rows) > 25
    for clause, _, tests in rows:
        assert clause in ("clause", "---") or "](" in tests, clause


def test_every_row_on_schemas_names_its_tests() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", SCHEMAS, re.MULTILINE)
    assert len(rows) > 10
    for of, _, tests in rows:
        assert of in ("of", "---") or "](" in tests, of


def test_no_construct_of_soap_is_missing() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \|$", DOCS["soap.md"].partition("## Constructs")[2], re.MULTILINE)
    assert len(rows) > 60
    for construct, tests in rows:
        assert construct in ("construct", "---", "order lines") or "](" in tests, construct
