"""The code blocks of the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import bridge

ROOT = Path(bridge.__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    :ivar page: the path from the repository's root.
    :ivar line: of its fence, from 1.
    :ivar language: ``""`` for plain text.
    :ivar before: the paragraph before it.
    """

    page: str
    line: int
    language: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    text, page = path.read_text("utf-8"), str(path.relative_to(ROOT))
    return [
        Block(page, text[: match.start()].count("\n") + 1, match[1], match[2], _paragraph(text[: match.start()]))
        for match in _BLOCK.finditer(text)
    ]


def _paragraph(text: str) -> str:
    return text.rstrip().rpartition("\n\n")[2]


def blocks(*languages: str) -> list[Block]:
    """All blocks in one of `languages`."""
    return [block for path in PAGES for block in blocks_of(path) if block.language in languages]
