"""docs/glossary.md: sorted, without doubles, and every name can be imported."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROWS = re.findall(
    r"^\| ([^|`]+) \| ([^|]+) \| `([\w.]+)` \|$",
    (Path(__file__).parents[2] / "docs/glossary.md").read_text("utf-8"),
    re.MULTILINE,
)


def test_terms_are_sorted_and_stand_once() -> None:
    terms = [term for term, _, _ in ROWS]
    assert len(terms) > 30
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("name", [name for _, _, name in ROWS])
def test_each_name_exists(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute)
