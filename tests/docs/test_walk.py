"""The quick start, letter by letter, in an empty folder."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import ROOT, blocks_of
from tests.docs.walking import walk


def test_the_quick_start(tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(ROOT / "docs" / "quickstart.md") if block.language]
    assert "make demo" in blocks[0].text  # how the command gets on the path; tests/test_demo.py plays the demo
    with walk(tmp_path, "8080", "9001") as reader:
        for block in blocks[1:]:
            reader.read(block)
