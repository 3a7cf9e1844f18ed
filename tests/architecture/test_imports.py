"""Imports point one way, plug-ins import public names only, and the core imports no plug-in. Read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import bridge

ROOT = Path(bridge.__file__).parent
PLUGINS = ROOT.parent / "transformers"

#: Modules that open connections.
IO = {"socket", "ssl", "http", "urllib3", "httpx", "grpc", "aiohttp", "requests", "subprocess"}

#: Rooms from the lowest to the highest: a module imports from its own room and from those before it. A file at the top
#: of `bridge` is a room of its own.
ORDER = [
    {"errors", "wording"},
    {"http"},
    {"payload", "http2", "websocket"},
    {"api"},
    {"config", "observe"},
    {"plugins", "testing"},
    {"transport", "stages", "fronts", "egress"},
    {"gateway"},
    {"cluster", "catalog"},
    {"runtime"},
    {"admin"},
    {"app"},
    {"server"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every absolute module that `path` imports, with its line; relative imports are resolved."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where things come from"
            module = node.module or ""
            if module == "bridge":
                yield from ((f"bridge.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def rooms(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def test_imports_point_one_way() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        room = rooms(path)
        if room == "__init__":
            continue
        for module, line in imports(path):
            if module.startswith("bridge."):
                other = module.split(".")[1]
                if other != room and RANK[other] > RANK[room]:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_every_room_is_on_the_list() -> None:
    assert {rooms(path) for path in ROOT.rglob("*.py")} - {"__init__"} == set(RANK)


def test_the_core_imports_no_plug_in() -> None:
    names = {path.name for path in PLUGINS.iterdir() if path.is_dir()}
    for path in ROOT.rglob("*.py"):
        for module, line in imports(path):
            assert module.split(".")[0] not in names, f"{path}:{line} imports {module}"


def test_plug_ins_import_public_names_only() -> None:
    for path in PLUGINS.rglob("*.py"):
        for module, line in imports(path):
            assert module.split(".")[0] != "bridge" or module == "bridge.api", f"{path}:{line} imports {module}"


def test_plug_ins_do_no_io_of_their_own() -> None:
    """What they need fetched or called, `bridge.api.Context` gives them."""
    for path in PLUGINS.rglob("*.py"):
        for module, line in imports(path):
            assert module.split(".")[0] not in IO, f"{path}:{line} imports {module}"


def test_the_command_line_names_no_transformer() -> None:
    names = {point.name for point in entry_points(group="bridge.transformers")}
    assert {"soap", "grpc"} <= names
    for path in (ROOT / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.Constant) or node.value not in names, f"{path}:{node.lineno} {node.value!r}"


def test_fronts_know_no_schema() -> None:
    for path in (ROOT / "fronts").rglob("*.py"):
        for module, line in imports(path):
            assert module.split(".")[0] not in ("google", "grpc", "lxml"), f"{path}:{line} imports {module}"


def test_transformers_name_no_front() -> None:
    """Client protocols belong to fronts, but for gRPC's own name of its headers and statuses."""
    protocols = ("event-stream", "ndjson", "grpc-web", "application/connect", "WEBSOCKET")
    for path in (PLUGINS / "bridge_grpc").rglob("*.py"):
        if path.name == "rules.py":  # refuses a rule for the method WEBSOCKET
            continue
        text = path.read_text("utf-8")
        assert not [protocol for protocol in protocols if protocol in text], path


def test_no_folder_named_transformers_is_a_package() -> None:
    assert not (PLUGINS / "__init__.py").exists()


def test_functions_are_of_readable_length() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": lines
        for folder in (ROOT, PLUGINS)
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert not long
