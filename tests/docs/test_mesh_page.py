"""The examples of docs/mesh.md: the file is read, resolved and called through, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.cluster.sources.static import StaticSource
from bridge.errors import SettingsError
from tests.docs.pages import ROOT, blocks_of

PAGE = (ROOT / "docs" / "mesh.md").read_text("utf-8")
[FILE] = blocks_of(ROOT / "docs" / "mesh.md")


@pytest.mark.parametrize(
    ("name", "port", "addresses"),
    [
        ("tally-svc", "8080", {("10.0.0.7", 8080)}),
        ("vat-svc", "8080", {("10.0.1.4", 8080), ("10.0.1.5", 9001)}),
        ("vat-svc", "8443", {("fd00::7", 443)}),
    ],
)
async def test_names_of_the_file_lead_where_its_comments_say(
    tmp_path: Path, name: str, port: str, addresses: set[tuple[str, int]]
) -> None:
    (tmp_path / "mesh.yml").write_text(FILE.text)
    assert set((await StaticSource(tmp_path / "mesh.yml").lookup(name, port)).addresses) == addresses


async def test_a_host_name_of_the_file_is_called(start: Any, upstream: Any) -> None:
    mesh = FILE.text.replace("localhost:9000", f"localhost:{upstream.port}")
    assert mesh != FILE.text
    spec = "route: /a\nupstream: county:80\nauth: none\ntransform: {request: passthrough}\n"
    async with start(files={"mesh.yml": mesh}, routes={"a.yml": spec}) as gateway:
        assert (await gateway.client.get("/a")).json() == {"ok": True}
    [seen] = upstream.seen
    assert seen.header("host") == ["county:80"]


async def test_what_the_page_quotes_of_an_invalid_file(tmp_path: Path) -> None:
    [message] = re.findall(r"`(mesh\.yml:3: [^`]+'[^`]+)`", PAGE)
    (tmp_path / "mesh.yml").write_text("\n\nvat-svc: [10.0.1.5:99999]\n")
    with pytest.raises(SettingsError) as caught:
        StaticSource(tmp_path / "mesh.yml")
    assert message in str(caught.value)


def test_loggers_that_pages_name_are_there() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "bridge").rglob("*.py"))
    for page in (ROOT / "docs").glob("*.md"):
        for name in re.findall(r"\blogger\s+`([\w.]+)`", page.read_text("utf-8")):
            assert f'getLogger("{name}")' in sources, f"{page.name}: {name}"
