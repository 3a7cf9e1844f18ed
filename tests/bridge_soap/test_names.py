"""Each public class of the plug-in has a name of its own."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import bridge_soap

ROOT = Path(bridge_soap.__file__).parent


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(places) > 50
    assert {name: lines for name, lines in places.items() if len(lines) > 1} == {}
