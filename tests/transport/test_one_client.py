"""One way each to send: our own clients alone, and protocols have their names in `bridge.transport`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import bridge

ROOT = Path(bridge.__file__).parent


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_no_general_client_is_loaded() -> None:
    for path in ROOT.rglob("*.py"):
        assert not imported(path) & {"aiohttp", "grpc"}, path


@pytest.mark.parametrize("path", sorted((ROOT / "cluster").glob("*.py")), ids=lambda path: path.name)
def test_a_cluster_knows_no_protocol(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
    assert not [name for name in names if re.search(r"grpc|http", name, re.IGNORECASE)]
    assert not re.search(r"^from bridge\.transport\.(http|grpc)", path.read_text("utf-8"), re.MULTILINE)
