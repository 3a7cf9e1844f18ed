"""``.proto`` files to a descriptor set, by the protoc that grpcio-tools brings, in this process.

protoc never sees the operator's folders. The files a schema needs are found here, import by import (below the proto
folder, then among the well-known and googleapis types that come with the gateway), and copied into a private folder
that is all protoc can read. So nothing outside the proto folder is ever read, whatever an import or a link says.
"""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import _protoc_compiler  # pyright: ignore[reportAttributeAccessIssue]  # an extension module

from bridge.api import BindError, Fault

_IMPORT = re.compile(
    r'(?:\A|(?<=[;}]))\s*import\s+(?:public\s+|weak\s+|option\s+)?((?:"[^"\n]*"|\'[^\'\n]*\')\s*)+(?=;)'
)
_QUOTED = re.compile(r'"([^"]*)"|\'([^\']*)\'')
_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.DOTALL)

protoc: Any = _protoc_compiler
_ROOTS = ".bridge-roots.proto"

_FOLLOWS = re.compile(r'Import "(.*)" was not found or had errors')

MAX_PROTO_BYTES = 8 * 1024**2
MAX_PROTOS = 2000  #: that folders and patterns stand for
MAX_NAME, MAX_PARTS, MAX_ANY_DEPTH = 1024, 64, 4  #: characters, folders and ``**`` of what a spec names
_PATTERN = re.compile(r"[*?\[]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

# protoc's command-line object is made anew for each run, but its plug-in registry is not documented as thread-safe.
_one_at_a_time = Lock()


def compile_protos(
    names: Sequence[str],
    root: Path,
    *,
    paths: Sequence[str] = (),
    key: str = "transform.grpc.protos",
    notes: list[str] | None = None,
) -> FileDescriptorSet:
    """The files `names` and all they import, with source info.

    :param root: the folder that nothing outside is read of.
    :param paths: folders below `root` that names and imports are looked up in first, in order, as protoc's ``-I``.
    :param notes: takes a sentence for each file that is passed over though it says something else.
    :raises BindError: one fault for each thing that protoc found, with file, line and column.
    """
    bases = [*(_base(root, path) for path in paths), root]
    files = _compiled(names, root, bases, key)
    if notes is not None and paths:
        notes += _passed_over([file.name for file in files.file], root, bases)
    return files


def named(names: Sequence[str], root: Path, paths: Sequence[str], key: str) -> list[str]:
    """`names` with each folder and pattern (``election/**/*.proto``) replaced by the files that it stands for. They are
    called as imports call them: from the first of the folders that hold them.

    :raises BindError: nothing matches, or it leads out of `root`.
    """
    bases = [*(_base(root, path) for path in paths), root]
    found: dict[str, None] = {}
    for name in names:
        check_nameable(name, key)
        pattern = name if _PATTERN.search(name) else f"{name.rstrip('/')}/**/*.proto"
        if name.endswith(".proto") and pattern != name:
            found[name] = None
            continue
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BindError(Fault(f"{name!r} leads out of the proto folder; only files below it are read", key))
        try:
            matching = sorted({path for base in bases for path in _matching(base, pattern)})
        except (ValueError, NotImplementedError) as error:
            raise BindError(Fault(f"{name!r} is no pattern of files: {error}", key)) from None
        called = [_called(path, bases) for path in matching if _inside(root, root, path.relative_to(root).as_posix())]
        if not called:
            raise BindError(Fault(f"there is no file {name!r}, and no .proto below it, in the proto folder", key))
        found |= dict.fromkeys(called)
        if len(found) > MAX_PROTOS:
            raise BindError(Fault(f"{name!r} stands for more than {MAX_PROTOS} files", key, str(root)))
    return list(found)


def _matching(base: Path, pattern: str) -> Iterator[Path]:
    """The ``.proto`` files below `base` that `pattern` stands for, the same on every Python: from 3.13 on, `Path.glob`
    finds files, too, for a pattern that ends in ``**``, and takes ``**x`` for ``*x``.

    :raises ValueError, NotImplementedError: it is no pattern.
    """
    if any("**" in part and part != "**" for part in pattern.split("/")):
        raise ValueError("'**' can only be a whole part of a path")
    found = base.glob(f"{pattern}/*.proto" if pattern.endswith("**") else pattern)
    return (path for path in found if path.suffix == ".proto")


def _called(path: Path, bases: Sequence[Path]) -> str:
    return next(path.relative_to(base).as_posix() for base in bases if path.is_relative_to(base))


def _passed_over(names: Sequence[str], root: Path, bases: Sequence[Path]) -> Iterator[str]:
    """Which files of later folders are not read, since one of the same name that says something else comes first."""
    for name in names:
        found = [path for base in bases if (path := _inside(root, base, name))]
        for other in found[1:]:
            if found[0].read_bytes() != other.read_bytes():
                read, passed = (path.relative_to(root).as_posix() for path in (found[0], other))
                yield f"{passed}, since {read} comes before it and says something else"


def _compiled(names: Sequence[str], root: Path, bases: Sequence[Path], key: str) -> FileDescriptorSet:
    with tempfile.TemporaryDirectory(prefix="bridge-protoc-") as folder:
        files = _gather(names, root, bases, Path(folder), key)
        with _one_at_a_time:
            return _run(names, Path(folder), files, key)


def imports(text: str) -> Iterator[str]:
    """The files that a ``.proto`` imports, in order; comments are skipped."""
    bare = _COMMENT.sub(lambda found: found[1] or " ", text)
    for statement in _IMPORT.finditer(bare):
        yield "".join(double or single for double, single in _QUOTED.findall(statement[0]))


def check_nameable(name: str, key: str) -> None:
    """:raises BindError: no file has this name, or a pattern is larger than any that is meant."""
    parts = name.split("/")
    long = len(name) > MAX_NAME or len(parts) > MAX_PARTS or any(len(part.encode()) > 255 for part in parts)
    if long or _CONTROLS.search(name) or name.count("**") > MAX_ANY_DEPTH:
        shown = repr(name) if len(name) < 80 else f"{name[:60]!r} and so on"
        raise BindError(Fault(f"{shown} can't be the name of a file or folder, or a pattern of them", key=key))


def place(root: Path, name: str, key: str) -> Path | None:
    """The file `name` below `root`, or None when there is none.

    :raises BindError: the name leads out of `root`.
    """
    check_nameable(name, key)
    path = root / name
    inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    if not inside or not path.resolve().is_relative_to(root.resolve()):
        raise BindError(Fault(f"{name!r} leads out of the proto folder; only files below it are read", key=key))
    return path if path.is_file() else None


def _base(root: Path, path: str) -> Path:
    """The folder `path` below `root`.

    :raises BindError: there is none.
    """
    key = "transform.grpc.proto_paths"
    check_nameable(path, key)
    base = root / path
    outside = PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
    if outside or not base.resolve().is_relative_to(root.resolve()):
        raise BindError(Fault(f"{path!r} leads out of the proto folder; only folders below it are read", key=key))
    if not base.is_dir():
        raise BindError(Fault(f"there is no folder {path!r} in the proto folder", key, str(root)))
    return base


def _gather(names: Sequence[str], root: Path, bases: Sequence[Path], folder: Path, key: str) -> dict[str, Path]:
    """Copies what `names` need into `folder`; virtual name -> the file it came from."""
    files: dict[str, Path] = {}
    missing = [
        name for name in names if place(root, name, key) is None and not any(_inside(root, b, name) for b in bases)
    ]
    if missing:
        raise BindError([Fault(f"there is no file {name!r} in the proto folder", key, str(root)) for name in missing])
    # An import that is written from the importing file's own folder is what many vendors ship; protoc takes it when
    # that folder is a root, so those of the named files are.
    roots = list(dict.fromkeys([*bases, *(parent for name in names for parent in _parents(root, name))]))
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in files:
            continue
        source = next((found for base in roots if (found := _inside(root, base, name))), None) or _shipped(name)
        if source is None:
            continue  # protoc says it better, with the place of the import
        text = _read(source, key)
        files[name] = source
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
        waiting += imports(text.decode("utf-8", "replace"))
    return files


def _parents(root: Path, name: str) -> list[Path]:
    return [root / parent for parent in PurePosixPath(name).parents if parent != PurePosixPath(".")]


def _inside(root: Path, base: Path, name: str) -> Path | None:
    """`base`/`name` when it is a file that really lies below `root`. An import has no say about where to look."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        return None
    path = base / name
    return path if path.is_file() and path.resolve().is_relative_to(root.resolve()) else None


def _shipped(name: str) -> Path | None:
    """A well-known type's or googleapis-common-protos' file."""
    if not name.startswith("google/") or ".." in name:
        return None
    for base in (resources.files("grpc_tools").joinpath("_proto"), resources.files("google.api").joinpath("../..")):
        path = Path(str(base)) / name
        if path.is_file():
            return path
    return None


def _read(path: Path, key: str) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PROTO_BYTES + 1)
    except OSError as error:
        raise BindError(Fault(error.strerror or "it can't be read", key, str(path))) from None
    if len(text) > MAX_PROTO_BYTES:
        raise BindError(Fault(f"it is larger than {MAX_PROTO_BYTES // 1024**2} MB", key, str(path)))
    return text


def _run(names: Sequence[str], folder: Path, files: dict[str, Path], key: str) -> FileDescriptorSet:
    # One file that imports them all: protoc reads them once, and warns of none of their imports that they don't use.
    roots = "".join(f"import public {json.dumps(name, ensure_ascii=False)};\n" for name in names)
    (folder / _ROOTS).write_text(f'syntax = "proto3";\n{roots}')
    # get_protos is what reports structured errors; run_main would write them to the process's standard error, so it
    # comes second, when there are none left to report.
    try:
        with warnings.catch_warnings():  # what protoc only warns of is the author's affair
            warnings.simplefilter("ignore", protoc.ProtocWarning)
            protoc.get_protos(_ROOTS.encode(), [str(folder).encode()])
    except protoc.ProtocErrors as errors:
        if faults := {str(fault): fault for fault in _faults(errors.errors(), files, key)}:
            raise BindError(list(faults.values())) from None
    out = folder / "bridge.descriptor-set"
    arguments = ["protoc", f"-I{folder}", "--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
    if protoc.run_main([argument.encode() for argument in (*arguments, _ROOTS)]) or not out.is_file():
        raise BindError([Fault("protoc refused it without saying why", key, str(files[name])) for name in names])
    made = FileDescriptorSet.FromString(out.read_bytes())
    return FileDescriptorSet(file=[file for file in made.file if file.name != _ROOTS])


def _faults(errors: Sequence[Any], files: dict[str, Path], key: str) -> Iterator[Fault]:
    """protoc's errors, lines and columns counted from 1; what only follows from an earlier one is left out."""
    found = [(e.filename.decode(), e.line, e.column, e.message.decode("utf-8", "replace")) for e in errors]
    absent = {name: message for name, line, _, message in found if line < 0}
    broken = {name for name, line, _, message in found if line >= 0 and not _FOLLOWS.match(message)}
    for name, line, column, message in found:
        wanted = _FOLLOWS.match(message)
        if line < 0 and any(_FOLLOWS.match(other) and f'"{name}"' in other for _, _, _, other in found):
            continue  # the import that wanted it is reported, with its place
        if wanted and wanted[1] in absent:
            why = absent[wanted[1]].rstrip(".")
            why = ", which is not in the proto folder" if why == "File not found" else f": {why}"
            reason = f"it imports {wanted[1]!r}{why}"
        elif wanted or (message.endswith("is not defined.") and (absent or broken - {name})):
            continue  # it follows from what is reported elsewhere
        else:
            reason = message.strip().rstrip(".")
        at = f" (column {column + 1})" if line >= 0 else ""
        yield Fault(reason + at, key, str(files.get(name, name)), max(line + 1, 0))
