"""The tables of the documentation."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT


def table(page: str, heading: str, *, number: int = 1) -> list[list[str]]:
    """The cells of a table below a heading, row by row, without the head.

    :param page: the path from the repository's root.
    :param heading: as written, without its ``#``.
    :param number: which of the section's tables.
    """
    text = (ROOT / page).read_text("utf-8")
    [section] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number - 1].splitlines()
    return [_cells(line) for line in lines[2:]]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)
