"""``.proto`` files to a descriptor set, by the protoc of grpcio-tools, in this process.

protoc does not read the operator's folders. This module finds the files, import by import: below the proto folder, then
among the installed well-known and googleapis types. It copies them into a temporary folder, the only one that protoc
reads, so no import or link leads outside the proto folder.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import _protoc_compiler  # pyright: ignore[reportAttributeAccessIssue]  # an extension module

from bridge.api import BindError, Fault, KeyPath
from bridge_grpc.schema.custom_options import without_options
from bridge_grpc.schema.shipped import KNOWN_OPTIONS, defining_files, shipped_path

_IMPORT = re.compile(
    r'(?:\A|(?<=[;}]))\s*import\s+(?:public\s+|weak\s+|option\s+)?((?:"[^"\n]*"|\'[^\'\n]*\')\s*)+(?=;)'
)
_QUOTED = re.compile(r'"([^"]*)"|\'([^\']*)\'')
_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.DOTALL)

protoc: Any = _protoc_compiler
_ROOTS = ".bridge-roots.proto"

_CONSEQUENCE = re.compile(r'Import "(.*)" was not found or had errors')

MAX_PROTO_BYTES = 8 * 1024**2
MAX_PROTOS = 2000  #: files that the folders and patterns of a spec match
MAX_NAME, MAX_PARTS, MAX_ANY_DEPTH = 1024, 64, 4  #: characters, folders and ``**`` of a name in a spec
_UNKNOWN = re.compile(r'Option "\(([^)]+)\)" unknown')
_UNDEFINED = re.compile(r'"(?:[^"]+" is resolved to ")?([^"]+)"(?:, which)? is not defined\.')
_ROUNDS = 50  #: attempts to compile after another unknown option was found
_PATTERN = re.compile(r"[*?\[]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

# protoc's plug-in registry is not documented as thread-safe.
_protoc_lock = Lock()


def compile_protos(
    names: Sequence[str],
    root: Path,
    *,
    paths: Sequence[str] = (),
    key: KeyPath = ("transform", "grpc", "protos"),
    notes: list[str] | None = None,
    strict: bool = False,
) -> FileDescriptorSet:
    """The files `names` and all they import, with source info.

    An import that can't be found costs nothing where only custom options are defined in it; they are left out.

    :param root: the proto folder; no file outside it is read.
    :param paths: folders below `root` in which names and imports are looked up first, in order, as protoc's ``-I``.
    :param notes: receives a sentence for each file that is shadowed by a different one of the same name, and for each
        import that is left out.
    :param strict: refuse imports that can't be found, but for those of `KNOWN_OPTIONS`.
    :raises BindError: one fault for each error of protoc, with file, line and column.
    """
    bases = [*(_base(root, path) for path in paths), root]
    files = _compile(names, root, bases, key, [] if notes is None else notes, strict=strict)
    if notes is not None and paths:
        notes += _shadowed([file.name for file in files.file], root, bases)
    return files


def expand(names: Sequence[str], root: Path, paths: Sequence[str], key: KeyPath) -> list[str]:
    """`names` with each folder and pattern (``election/**/*.proto``) replaced by the files that match. Files are named
    as imports name them: relative to the first of the folders that contain them.

    :raises BindError: nothing matches, or a name leads out of `root`.
    """
    bases = [*(_base(root, path) for path in paths), root]
    files: dict[str, None] = {}
    for name in names:
        check_nameable(name, key)
        pattern = name if _PATTERN.search(name) else f"{name.rstrip('/')}/**/*.proto"
        if name.endswith(".proto") and pattern != name:
            files[name] = None
            continue
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BindError(Fault(f"{name!r} leads out of the proto folder; only files below it are read", key))
        try:
            matches = sorted({path for base in bases for path in _matching(base, pattern)})
        except (ValueError, NotImplementedError) as error:
            raise BindError(Fault(f"{name!r} is not a pattern of file names: {error}", key)) from None
        inside = [path for path in matches if _inside(root, root, path.relative_to(root).as_posix())]
        if not inside:
            reason = f"there is no file {name!r}, and no .proto below it, in the proto folder{hint(name, root)}"
            raise BindError(Fault(reason, key))
        files |= dict.fromkeys(_import_name(path, bases) for path in inside)
        if len(files) > MAX_PROTOS:
            raise BindError(Fault(f"{name!r} matches more than {MAX_PROTOS} files", key, str(root)))
    return list(files)


def _matching(base: Path, pattern: str) -> Iterator[Path]:
    """The ``.proto`` files below `base` that match `pattern`, the same on every Python: from 3.13 on, `Path.glob` also
    returns files for a pattern that ends in ``**``, and treats ``**x`` as ``*x``. Hidden files and folders are passed
    over, such as ``..data``, in which Kubernetes keeps each file of a ConfigMap a second time.

    :raises ValueError, NotImplementedError: it is not a pattern.
    """
    if any("**" in part and part != "**" for part in pattern.split("/")):
        raise ValueError("'**' can only be a whole part of a path")
    paths = base.glob(f"{pattern}/*.proto" if pattern.endswith("**") else pattern)
    for path in paths:
        if path.suffix == ".proto" and not any(part.startswith(".") for part in path.relative_to(base).parts):
            yield path


def _import_name(path: Path, bases: Sequence[Path]) -> str:
    return next(path.relative_to(base).as_posix() for base in bases if path.is_relative_to(base))


def _shadowed(names: Sequence[str], root: Path, bases: Sequence[Path]) -> Iterator[str]:
    """A sentence for each file that is shadowed: an earlier folder has a different file of the same name."""
    for name in names:
        first, *others = [path for base in bases if (path := _inside(root, base, name))] or [root]
        for other in others:
            if first.read_bytes() != other.read_bytes():
                source, shadow = (path.relative_to(root).as_posix() for path in (first, other))
                yield f"{shadow}, since {source} comes before it and says something else"


def _compile(
    names: Sequence[str], root: Path, bases: Sequence[Path], key: KeyPath, notes: list[str], *, strict: bool
) -> FileDescriptorSet:
    missing = [
        name for name in names if place(root, name, key) is None and not any(_inside(root, b, name) for b in bases)
    ]
    if missing:
        reason = "there is no file {!r} in the proto folder{}"
        faults = [Fault(reason.format(name, hint(name, root)), key, str(root)) for name in missing]
        others = [name for name in names if name not in missing]
        try:
            if others:
                _compile(others, root, bases, key, [], strict=strict)
        except BindError as error:
            faults += error.faults
        raise BindError(faults)
    with tempfile.TemporaryDirectory(prefix="bridge-protoc-") as folder:
        files = _gather(names, root, bases, Path(folder), key)
        with _protoc_lock:
            return _run(names, Path(folder), files, key, notes, strict=strict)


def imports(text: str) -> Iterator[str]:
    """The files that a ``.proto`` imports, in order; comments are skipped."""
    bare = _COMMENT.sub(lambda match: match[1] or " ", text)
    for statement in _IMPORT.finditer(bare):
        yield "".join(double or single for double, single in _QUOTED.findall(statement[0]))


def check_nameable(name: str, key: KeyPath) -> None:
    """:raises BindError: no file can have this name, or it is a pattern beyond the limits."""
    parts = name.split("/")
    long = len(name) > MAX_NAME or len(parts) > MAX_PARTS or any(len(part.encode()) > 255 for part in parts)
    if long or _CONTROLS.search(name) or name.count("**") > MAX_ANY_DEPTH:
        label = repr(name) if len(name) < 80 else f"{name[:60]!r} and so on"
        raise BindError(Fault(f"{label} can't be the name of a file or folder, or a pattern of them", key))


def place(root: Path, name: str, key: KeyPath) -> Path | None:
    """The file `name` below `root`; None when it does not exist.

    :raises BindError: the name leads out of `root`.
    """
    check_nameable(name, key)
    path = root / name
    inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    if not inside or not _is_below(root, path):
        raise BindError(Fault(f"{name!r} leads out of the proto folder; only files below it are read", key))
    return path if os.path.isfile(path) else None


def _is_below(root: Path, path: Path) -> bool:
    """Whether `path` lies below `root` when links are followed, also those that lead to themselves."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def hint(name: str, root: Path) -> str:
    """What to write instead of a name that begins with the folder that it is relative to; else ``""``."""
    prefix = f"{root.name}/"
    return f"; names are below {prefix}: write {name.removeprefix(prefix)!r}" if name.startswith(prefix) else ""


def _base(root: Path, path: str) -> Path:
    """The folder `path` below `root`.

    :raises BindError: it does not exist, or is not below `root`.
    """
    key = ("transform", "grpc", "proto_paths")
    check_nameable(path, key)
    base = root / path
    outside = PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
    if outside or not _is_below(root, base):
        raise BindError(Fault(f"{path!r} leads out of the proto folder; only folders below it are read", key))
    if not os.path.isdir(base):
        reason = f"there is no folder {path!r} in the proto folder{hint(path, root)}"
        raise BindError(Fault(reason, key, str(root)))
    return base


def _gather(names: Sequence[str], root: Path, bases: Sequence[Path], folder: Path, key: KeyPath) -> dict[str, Path]:
    """Copy the files that `names` need into `folder`; import name -> the file that was copied."""
    files: dict[str, Path] = {}
    roots = _roots(names, root, bases)
    queue = list(names)
    while queue:
        name = queue.pop()
        if name in files:
            continue
        source = next((path for base in roots if (path := _inside(root, base, name))), None) or shipped_path(name)
        if source is None:
            continue  # protoc reports it with the line of the import
        text = _read(source, key)
        files[name] = source
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
        queue += imports(text.decode("utf-8", "replace"))
    return files


def _roots(names: Sequence[str], root: Path, bases: Sequence[Path]) -> list[Path]:
    """The folders in which imports are looked up. Many vendors write imports relative to the importing file's folder.
    protoc accepts them when that folder is a root, so the folders of the named files are roots."""
    return list(dict.fromkeys([*bases, *(parent for name in names for parent in _parents(root, name))]))


def find_import(name: str, names: Sequence[str], root: Path, paths: Sequence[str] = ()) -> Path | None:
    """The file below `root` that an import of `name` means, where the files `names` are compiled; None for one that is
    installed with the gateway."""
    return next(
        (
            path
            for base in _roots(names, root, [*(root / path for path in paths), root])
            if (path := _inside(root, base, name))
        ),
        None,
    )


def _parents(root: Path, name: str) -> list[Path]:
    return [root / parent for parent in PurePosixPath(name).parents if parent != PurePosixPath(".")]


def _inside(root: Path, base: Path, name: str) -> Path | None:
    """`base`/`name` when it is a file below `root`, links resolved; else None."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        return None
    path = base / name
    return path if os.path.isfile(path) and _is_below(root, path) else None


def _read(path: Path, key: KeyPath) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PROTO_BYTES + 1)
    except OSError as error:
        raise BindError(Fault(error.strerror or "it can't be read", key, str(path))) from None
    if len(text) > MAX_PROTO_BYTES:
        raise BindError(Fault(f"it is larger than {MAX_PROTO_BYTES // 1024**2} MB", key, str(path)))
    return text


def _run(
    names: Sequence[str], folder: Path, files: dict[str, Path], key: KeyPath, notes: list[str], *, strict: bool
) -> FileDescriptorSet:
    # One file that imports all: protoc reads each file once, and doesn't warn of unused imports.
    roots = "".join(f"import public {json.dumps(name, ensure_ascii=False)};\n" for name in names)
    (folder / _ROOTS).write_text(f'syntax = "proto3";\n{roots}')
    errors = _errors(folder)
    if faults := _distinct_faults(errors, files, key):
        texts = {name: (folder / name).read_text("utf-8", "replace") for name in files}
        missing = _missing(texts)
        if not _leave_out(folder, texts, missing, notes, strict=strict):
            options = [name for name in missing if KNOWN_OPTIONS.match(name)]
            raise BindError(_faults_beside_options(folder, texts, options, files, key) or faults)
    out = folder / "bridge.descriptor-set"
    arguments = ["protoc", f"-I{folder}", "--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
    if protoc.run_main([argument.encode() for argument in (*arguments, _ROOTS)]) or not out.is_file():
        raise BindError([Fault("protoc refused it without a reason", key, str(files[name])) for name in names])
    descriptors = FileDescriptorSet.FromString(out.read_bytes())
    return FileDescriptorSet(file=[file for file in descriptors.file if file.name != _ROOTS])


def _errors(folder: Path) -> Sequence[Any]:
    """What protoc says against the files in `folder`. `run_main` would write it to standard error."""
    try:
        with warnings.catch_warnings():  # warnings are for the author of the files
            warnings.simplefilter("ignore", protoc.ProtocWarning)
            protoc.get_protos(_ROOTS.encode(), [str(folder).encode()])
    except protoc.ProtocErrors as errors:
        return list(errors.errors())
    return ()


def _missing(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The imports that can't be found, each with the files that have it. `texts`: the files that were found."""
    missing: dict[str, list[str]] = {}
    for name, text in texts.items():
        for each in imports(text):
            if each not in texts:
                missing.setdefault(each, []).append(name)
    return missing


def _unknown_options(errors: Sequence[Any]) -> set[str | None]:
    """The custom options that nothing defines; None among them stands for any other error."""
    messages = [error.message.decode("utf-8", "replace") for error in errors]
    matches = [_UNKNOWN.match(message) for message in messages if not _CONSEQUENCE.match(message)]
    return {match and match[1].lstrip(".") for match in matches}


def _leave_out(
    folder: Path, texts: Mapping[str, str], missing: Mapping[str, Sequence[str]], notes: list[str], *, strict: bool
) -> bool:
    """Take the imports `missing` out of the copies in `folder`, with the options that then are unknown. Whether all
    compiles now; `notes` receives a sentence for each such import that is not of `KNOWN_OPTIONS`."""
    unknown = [name for name in missing if not KNOWN_OPTIONS.match(name)]
    is_outside = any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in missing)
    if not missing or is_outside or (strict and unknown):
        return False
    options: set[str] = set()
    for _ in range(_ROUNDS):  # protoc reports one option of a field at a time
        for name, text in texts.items():
            (folder / name).write_text(without_options(text, options, missing), "utf-8")
        if errors := _errors(folder):
            more = _unknown_options(errors)
            if None in more or more <= options:
                return False
            options |= {name for name in more if name}
            continue
        if unknown and not options:
            return False  # it defines something else, or nothing that is needed: an error of the file
        for name in unknown:
            users = ", ".join(missing[name][:3])
            notes.append(f"the options of {name!r}, which is not in the proto folder; {users} imports it")
        return True
    return False


def _faults_beside_options(
    folder: Path, texts: Mapping[str, str], options: Sequence[str], files: Mapping[str, Path], key: KeyPath
) -> list[Fault]:
    """What is wrong beside the missing files `options`, which are not needed unless one of their messages is used."""
    if not options:
        return []
    names: set[str] = set()
    for _ in range(_ROUNDS):
        for name, text in texts.items():
            (folder / name).write_text(without_options(text, names, options), "utf-8")
        errors = _errors(folder)
        more = {name for name in _unknown_options(errors) if name and defining_files(name, options)} - names
        if not more:
            return _distinct_faults(errors, files, key, options)
        names |= more
    return []


def _distinct_faults(
    errors: Sequence[Any], files: Mapping[str, Path], key: KeyPath, options: Sequence[str] = ()
) -> list[Fault]:
    return list({str(fault): fault for fault in _faults(errors, files, key, options)}.values())


def _faults(errors: Sequence[Any], files: Mapping[str, Path], key: KeyPath, options: Sequence[str]) -> Iterator[Fault]:
    """protoc's errors, lines and columns counted from 1, without those that are consequences of others.

    :param options: files of `KNOWN_OPTIONS` that were left out.
    """
    entries = [(e.filename.decode(), e.line, e.column, e.message.decode("utf-8", "replace")) for e in errors]
    missing = {name: message for name, line, _, message in entries if line < 0}
    error_files = {name for name, line, _, message in entries if line >= 0 and not _CONSEQUENCE.match(message)}
    for name, line, column, message in entries:
        import_match = _CONSEQUENCE.match(message)
        undefined = _UNDEFINED.match(message)
        if line < 0 and any(_CONSEQUENCE.match(other) and f'"{name}"' in other for _, _, _, other in entries):
            continue  # the import of it is reported, with its line
        if import_match and import_match[1] in missing:
            cause = missing[import_match[1]].rstrip(".")
            cause = ", which is not in the proto folder" if cause == "File not found" else f": {cause}"
            reason = f"it imports {import_match[1]!r}{cause}"
        elif undefined and (owner := defining_files(undefined[1], options)):
            reason = f"it needs {undefined[1].lstrip('.')} of {owner}, which is not in the proto folder: put it there"
        elif import_match or (message.endswith("is not defined.") and (missing or error_files - {name})):
            continue  # a consequence of another error
        else:
            reason = message.strip().rstrip(".")
        at = f" (column {column + 1})" if line >= 0 else ""
        yield Fault(reason + at, key, str(files.get(name, name)), max(line + 1, 0))
