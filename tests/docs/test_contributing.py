"""CONTRIBUTING.md, SECURITY.md, the commit hooks and .editorconfig agree with the code; the examples run."""

from __future__ import annotations

import asyncio
import configparser
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from ruamel.yaml import YAML

import bridge
from bridge.api import Call, HttpReply, InvalidBody
from bridge.api.front import StreamFormat
from bridge.cluster.balance import Mesh
from bridge.errors import ClientError, RequestError
from bridge.gateway.chain import Chain
from bridge.testing import bound

ROOT = Path(bridge.__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md", "SECURITY.md")}


def example(heading: str) -> dict[str, Any]:
    """What the Python block below a heading defines."""
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    [block] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    space: dict[str, Any] = {"__name__": "example"}
    exec(block, space)
    return space


async def test_the_stage_of_the_page() -> None:
    class Last:
        name: ClassVar[str] = "last"

        def bind(self, operation: Any, next: Any, /) -> Any:
            return lambda exchange: asyncio.sleep(0, "answered")

    chain: Any = Chain([example("A stage")["NamedClients"](), Last()])
    handler = chain.bind(SimpleNamespace(tenant="public"))
    known = SimpleNamespace(call=Call("GET", "/", headers=[("user-agent", "a")]))
    assert await handler(known) == "answered"
    with pytest.raises(ClientError, match="User-Agent"):
        handler(SimpleNamespace(call=Call("GET", "/")))
    assert await chain.bind(SimpleNamespace(tenant="other"))(SimpleNamespace(call=Call("GET", "/"))) == "answered"


async def test_the_source_of_the_page() -> None:
    mesh = Mesh(example("A source")["VariableSource"]({"ADDRESSES_TALLY_SVC": "10.0.0.7:9001,10.0.0.8:9001"}))
    assert set(await mesh.addresses("tally-svc", "80")) == {("10.0.0.7", 9001), ("10.0.0.8", 9001)}
    with pytest.raises(RequestError):
        await mesh.addresses("other", "80")
    await mesh.aclose()


def test_the_front_of_the_page() -> None:
    front = example("A front")["LengthPrefixed"]()
    form: StreamFormat = front.formats["application/x-length-prefixed"](None)
    assert form.message(b'{"a":1}') == b'7 {"a":1}'


async def test_the_transformer_of_the_page() -> None:
    spec = {"route": "/pay", "transform": {"request": "form", "form": {"path": "/old/pay"}}}
    [operation] = await bound(example("A transformer")["Form"](), spec)
    codec: Any = operation.codec
    sent = codec.request(Call("POST", "/pay", body=b'{"a": "1 2"}'))
    assert (sent.path, sent.body) == ("/old/pay", b"a=1+2")
    with pytest.raises(InvalidBody):
        codec.request(Call("POST", "/pay", body=b'{"a": 1}'))
    assert codec.reply(Call("POST", "/pay"), HttpReply(200, body=b"paid")).body == b"paid"


def prose(page: str) -> list[str]:
    """Code in the running text of a page, not in its blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


#: Files that the examples would add.
NEW = {
    "bridge/stages/named_clients.py",
    "bridge/cluster/sources/variables.py",
    "bridge/fronts/length_prefixed.py",
    "transformers/bridge_form",
}


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    page = PAGES[name]
    paths = [text for text in prose(page) if re.fullmatch(r"[\w.]+/[\w./]*|[\w-]+\.(md|toml|txt)|Makefile", text)]
    paths += re.findall(r"\]\((?!https?:)([^)#]+)", page)
    paths += re.findall(r"(?<= )tests/[\w/.]+", page)
    assert len(paths) > 5
    for path in paths:
        assert (ROOT / path).exists() != (path in NEW), path


def test_every_class_and_function_that_the_page_names_is_there() -> None:
    files = [*(ROOT / "bridge").rglob("*.py"), ROOT / "tests/conftest.py", ROOT / "tests/cli/conftest.py"]
    definition = re.compile(r"^(?:class|def|async def) (\w+)", re.MULTILINE)
    defined = {name for path in files for name in definition.findall(path.read_text("utf-8"))}
    names = [text for text in prose(PAGE) if re.fullmatch(r"[A-Z][a-z]+\w+|\w+_mesh|bridge(\.\w+)+", text)]
    assert {"Receive", "RouteSpec", "open_mesh", "bridge.gateway.chain.stages", "Form", "Mesh"} <= set(names)
    for name in set(names) - {"Makefile"}:
        assert name.rpartition(".")[2] in defined or (ROOT / name.replace(".", "/")).is_dir(), name
    for fixture in ("gateway", "start", "served"):
        assert fixture in prose(PAGE)
        assert fixture in defined


def test_every_make_target_that_the_page_names_is_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"\bmake ([a-z-]+)", "".join(PAGES.values())))
    assert {"test", "check", "test-plain", "test-deploy"} <= named <= set(targets)


def test_the_commit_hooks_are_those_of_make_check() -> None:
    hooks = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    checks = re.findall(r"\$\(BIN\)/(.+?)(?: \.)?$", recipe, re.MULTILINE)
    assert [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in hooks] == checks
    assert {hook["language"] for hook in hooks} == {"system"}


def test_text_files_are_as_editorconfig_says() -> None:
    config = configparser.ConfigParser()
    config.read_string("[root]\n" + (ROOT / ".editorconfig").read_text("utf-8"))
    assert config["*"]["end_of_line"] == "lf"
    longest = {pattern: config[pattern].getint("max_line_length") for pattern in ("*.py", "*.md")}
    assert longest["*.py"] == 120
    for folder in ("bridge", "transformers", "docs", "deploy", "scripts", "tests/cli", "tests/docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in (".py", ".md", ".yml", ".yaml", ".tpl", ".toml"):
                text = path.read_bytes()
                assert b"\r" not in text, path
                assert not text or (text.endswith(b"\n") and not text.endswith(b"\n\n")), path
                assert not re.search(rb"[ \t]\n", text), path
