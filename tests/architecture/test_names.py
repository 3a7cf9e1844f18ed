"""Class names are unique, and the core finds out what a plug-in's object can do in one place. Read from the sources."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridge

ROOT = Path(bridge.__file__).parent
PLUGINS = ROOT.parent / "transformers"
PACKAGES = [ROOT, *(path for path in sorted(PLUGINS.iterdir()) if path.is_dir() and path.name.startswith("bridge_"))]

#: The only module that asks an object what it can do.
CAPABILITIES = "api/capabilities.py"
#: May ask: (file, what it asks for). `plugins.py` checks that what an entry point names is a transformer at all.
ASKS = {("plugins.py", name) for name in ("name", "wire", "options", "")}
#: What the core calls a plug-in's objects.
PLUGIN_OBJECTS = {
    "transformer",
    "codec",
    "front",
    "form",
    "service",
    "transport",
    "channel",
    "translation",
    "operation",
}


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8"))


def classes(root: Path) -> Iterator[tuple[str, str, ast.ClassDef]]:
    for file, tree in modules(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield file, node.name, node


def name_of(node: ast.expr) -> str:
    """The last name in `node`: ``Protocol`` of ``typing.Protocol[T]``."""
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("root", PACKAGES, ids=lambda root: root.name)
def test_public_class_names_are_unique(root: Path) -> None:
    files = defaultdict[str, list[str]](list)
    for file, name, _ in classes(root):
        if not name.startswith("_"):
            files[name].append(file)
    double = {name: where for name, where in files.items() if len(where) > 1}
    assert not double


def protocols() -> set[str]:
    """The Protocols of `bridge` (asyncio's own base class of that name is none)."""
    return {
        node.name
        for _, _, node in classes(ROOT)
        if any(name_of(base) == "Protocol" and "asyncio" not in ast.dump(base) for base in node.bases)
    }


def questions() -> Iterator[tuple[str, int, str]]:
    """Each ``hasattr``, ``isinstance`` against a Protocol, and ``getattr`` with a default of a plug-in's object: file,
    line, and the member or class that is asked for."""
    known = protocols()
    for file, tree in modules(ROOT):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or len(node.args) < 2:
                continue
            subject, *wanted = node.args
            member = wanted[0].value if isinstance(wanted[0], ast.Constant) else ""
            if node.func.id == "hasattr":
                yield file, node.lineno, str(member)
            elif node.func.id in ("isinstance", "issubclass"):
                yield from ((file, node.lineno, name) for name in map(name_of, ast.walk(wanted[0])) if name in known)  # type: ignore[arg-type]  # other nodes have no name
            elif node.func.id == "getattr" and len(wanted) > 1 and name_of(subject) in PLUGIN_OBJECTS:
                yield file, node.lineno, str(member)


def test_objects_are_asked_what_they_can_do_in_one_place() -> None:
    asked = [(file, line, what) for file, line, what in questions() if file != CAPABILITIES]
    wrong = [f"{file}:{line} asks for {what!r}" for file, line, what in asked if (file, what) not in ASKS]
    assert not wrong, "\n".join(wrong)
    unused = ASKS - {(file, what) for file, _, what in asked}
    assert not unused, f"no longer needed: {unused}"


def test_what_a_class_leaves_to_others_is_abstract() -> None:
    for file, tree in modules(ROOT):
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Name) or node.id != "NotImplementedError", f"{file}:{node.lineno}"
