"""The shipped files: nothing inline, nothing from elsewhere, no markup made of data, readable by everybody."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

HERE = Path(str(files("bridge.admin.portal")))
STATIC = HERE / "static"
VENDORED = STATIC / "swagger-ui-5.35.0"
PAGES = sorted(HERE.glob("*.html"))
SCRIPTS = sorted(file for file in STATIC.rglob("*.js") if VENDORED not in file.parents)
STYLES = sorted(STATIC.glob("*.css"))
VOID = frozenset({"meta", "link", "img", "input"})


class Judge(HTMLParser):
    """What a page holds; complains as it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fields: set[str] = set()
        self.labelled: set[str] = set()
        self.references: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag != "style", "no inline style sheet"
        assert tag != "script" or given.get("src"), "no inline script"
        assert not [name for name in given if name.startswith("on") or name == "style"], attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            assert "alt" in given
        if tag == "input":
            assert "name" not in given, "a field without a name is never sent by the form itself"
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag in ("input", "select", "textarea"):
            self.fields.add(str(given["id"]))
        if tag == "label":
            self.labelled.add(str(given["for"]))
        for name in ("for", "aria-describedby", "aria-labelledby"):
            self.references |= set((given.get(name) or "").split())

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def judged(page: Path) -> Judge:
    judge = Judge()
    judge.feed(page.read_text("utf-8"))
    return judge


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_markup(page: Path) -> None:
    judge = judged(page)
    assert judge.open == [], "every element is closed"
    assert len(judge.ids) == len(set(judge.ids))
    assert judge.fields <= judge.labelled, "every field has a label"
    assert judge.references <= set(judge.ids)
    assert '<html lang="en">' in page.read_text("utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_make_no_markup_of_data_and_keep_no_secret(script: Path) -> None:
    text = script.read_text("utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|Storage\b|\.cookie\b"
    assert not re.search(forbidden, text)
    assert not re.search(r"\"(javascript|https?):", text)


@pytest.mark.parametrize("file", [*PAGES, *SCRIPTS, *STYLES], ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere(file: Path) -> None:
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", file.read_text("utf-8"))


def test_scripts_name_elements_that_are_there() -> None:
    ids = set(judged(HERE / "console.html").ids)
    named = {name for script in SCRIPTS for name in re.findall(r'(?:\$|say)\("([a-z-]+)"', script.read_text("utf-8"))}
    assert len(named) > 20
    assert named <= ids


def test_vendored_files_are_as_they_were_published() -> None:
    written = dict(re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", (VENDORED / "VENDORED.md").read_text("utf-8")))
    assert set(written) == {"swagger-ui-bundle.js", "swagger-ui.css"}
    for name, digest in written.items():
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest, name
    assert "Apache License" in (VENDORED / "LICENSE").read_text("utf-8")


# --- contrast: WCAG 2.2, 1.4.3 and 1.4.11 -------------------------------------------------------------------------

TEXT = [
    *(("ink", page) for page in ("page", "card", "field")),
    *(("quiet", page) for page in ("page", "card", "field")),
    ("accent", "card"),
    ("accent-ink", "accent"),
    *((kind, f"{kind}-back") for kind in ("good", "bad", "warn")),
    ("bad", "card"),
]
EDGES = [("edge", "field"), ("edge", "card"), ("accent", "page")]


def palettes() -> dict[str, dict[str, str]]:
    light, dark = (STATIC / "portal.css").read_text("utf-8").split("@media (prefers-color-scheme: dark)")
    found = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in (light, dark)]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (EDGES, 3.0)], ids=["text", "edges"])
def test_contrast(scheme: str, pairs: list[tuple[str, str]], least: float) -> None:
    palette = palettes()[scheme]
    for front, back in pairs:
        lighter, darker = sorted((luminance(palette[front]), luminance(palette[back])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= least, (scheme, front, back)


def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    root = HERE.parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done: Any = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        str(file.relative_to(root)) for file in HERE.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(shipped) > 15
    assert shipped <= names
