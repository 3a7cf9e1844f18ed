"""No module imports itself by way of others. Read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import bridge

ROOT = Path(bridge.__file__).parent
PLUGINS = ROOT.parent / "transformers"
#: Its XSD components refer to each other as those of a schema do.
EXEMPT = "bridge_soap"

Graph = Mapping[str, frozenset[str]]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent if path.is_relative_to(ROOT) else PLUGINS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def at_module_level(body: Iterable[ast.stmt], *, typing: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is imported; with `typing` those for type checkers too."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            if typing or "TYPE_CHECKING" not in ast.dump(node.test):
                yield from at_module_level(node.body, typing=typing)
            yield from at_module_level(node.orelse, typing=typing)
        elif isinstance(node, ast.Try):
            yield from at_module_level([*node.body, *node.orelse, *node.finalbody], typing=typing)
            for handler in node.handlers:
                yield from at_module_level(handler.body, typing=typing)


def graph(*, typing: bool) -> Graph:
    paths = {name_of(path): path for root in (ROOT, PLUGINS) for path in root.rglob("*.py")}
    edges: dict[str, frozenset[str]] = {}
    for module, path in paths.items():
        if module.split(".")[0] == EXEMPT:
            continue
        targets: set[str] = set()
        for node in at_module_level(ast.parse(path.read_text("utf-8")).body, typing=typing):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            else:
                # ``from package import module`` needs the module, not the package.
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                targets |= {name if name in paths else str(node.module) for name in names}
        edges[module] = frozenset(targets & paths.keys()) - {module}
    return edges


def circles(edges: Graph) -> list[list[str]]:
    """Groups of modules of which each imports every other, at least by way of the rest."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(edges.get(start, ()))
        while waiting:
            if (module := waiting.pop()) not in seen:
                seen.add(module)
                waiting += edges.get(module, ())
        return seen

    below = {module: reached(module) for module in edges}
    groups = {tuple(sorted(other for other in below[module] if module in below.get(other, ()))) for module in edges}
    return sorted(list(group) for group in groups if group)


def test_no_module_imports_itself() -> None:
    assert circles(graph(typing=False)) == []


def test_nor_for_its_types() -> None:
    assert circles(graph(typing=True)) == []


def test_a_circle_is_seen() -> None:
    edges = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"a", "d"}), "d": frozenset[str]()}
    assert circles(edges) == [["a", "b", "c"]]
