"""Spec text -> `RouteSpec`, and everything wrong in it as `Fault`s with file, line and key.

YAML 1.2 (a JSON document is one too). Anchors and aliases are refused: a few bytes of them make gigabytes. Depth and
number of values are bounded, since the time that the parser takes grows with the square of the one and fast enough with
the other. Reading is slow all the same (half a second at the bound), so a gateway that serves does it in a thread.

Nearly every spec is right and written plainly (`bridge.config.plainyaml`), and then none of that is needed: the whole
parser, which knows lines, is asked when something is wrong, or when it is not plain.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.parser import ParserError
from ruamel.yaml.scanner import ScannerError

from bridge.api.route_spec import RouteSpec
from bridge.config import plainyaml
from bridge.errors import Fault, SpecError

MAX_SPEC = 256 * 1024  #: bytes of one spec document
MAX_NODES = 10_000  #: keys and values of one file
MAX_DEPTH = 32
#: All but tab and line ends, which a text of several lines has.
_CONTROLS = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]")

_Parsed = CommentedMap | CommentedSeq | Any


@dataclass(frozen=True, slots=True)
class Unread:
    """A document that was read without its lines: it is parsed for them when a fault asks for one, which few do.

    :ivar text: the whole file; `at`, which of its documents, from 0.
    """

    text: str
    at: int

    def parsed(self) -> Any:
        return list(_documents(self.text, ""))[self.at]


def _documents(text: str, file: str) -> Iterator[Any]:
    if len(text) > MAX_SPEC:
        raise SpecError(Fault(f"a spec has at most {MAX_SPEC // 1024} kB", file=file))
    try:
        _guard(text, file)
        yield from (doc for doc in YAML(typ="rt", pure=True).load_all(StringIO(text)) if doc is not None)
    except (MarkedYAMLError, ParserError, ScannerError) as error:
        mark = error.problem_mark
        raise SpecError(
            Fault(f"it is not YAML: {error.problem}", file=file, line=mark.line + 1 if mark else 0)
        ) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise SpecError(Fault(f"it is not YAML: {str(error).splitlines()[0]}", file=file)) from None


def _guard(text: str, file: str) -> None:
    """Walk the parser's events, which cost little, before anything is built of them.

    :raises SpecError: an anchor, an alias, or more depth or values than any spec has.
    """
    nodes = depth = 0
    for event in YAML(typ="rt", pure=True).parse(StringIO(text)):
        reason = ""
        if isinstance(event, NodeEvent):
            nodes += 1
            if isinstance(event, AliasEvent) or event.anchor:
                reason = "YAML anchors and aliases are not taken in a spec"
            elif nodes > MAX_NODES:
                reason = f"a spec has at most {MAX_NODES} keys and values"
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                reason = f"a spec is at most {MAX_DEPTH} levels deep"
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        if reason:
            raise SpecError(Fault(reason, file=file, line=event.start_mark.line + 1))


def line_of(document: _Parsed | Unread, loc: Sequence[str | int]) -> int:
    """The line (from 1) of the key that `loc` leads to, or of the nearest one above it; 0 where there are no lines."""
    node: Any = document.parsed() if isinstance(document, Unread) else document
    if not isinstance(node, CommentedMap | CommentedSeq):
        return 0
    line = 1 + int(node.lc.line)
    for step in loc:
        try:
            if isinstance(node, CommentedMap):
                line = 1 + node.lc.key(step)[0]
            elif isinstance(node, CommentedSeq):
                line = 1 + node.lc.item(step)[0]
            node = node[step]
        except (KeyError, IndexError, TypeError):
            break
    return line


def plain(value: Any) -> Any:
    """Round-trip YAML nodes as the plain dict, list, str, int, float and bool that strict models take."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value if value is None else str(value)


def _unkept(value: Any, path: tuple[str, ...] = ()) -> Iterator[Fault]:
    """What a store could not give back as it was (numbers that JSON doesn't have, text that UTF-8 doesn't), and control
    characters, which no name, path or header can hold and no message should."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not _is_text(key) or _CONTROLS.search(key):
                yield Fault("a key that is no Unicode text, or holds a control character", ".".join(path))
            else:
                yield from _unkept(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _unkept(item, (*path, str(at)))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault("it is no finite number", ".".join(path))
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield Fault("it is too large a number", ".".join(path))
    elif isinstance(value, str) and not _is_text(value):
        yield Fault("it is no Unicode text", ".".join(path))
    elif isinstance(value, str) and (found := _CONTROLS.search(value)):
        yield Fault(f"it holds the control character U+{ord(found[0]):04X}", ".".join(path))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def faults_of(
    error: ValidationError, model: type[BaseModel], document: _Parsed = None, file: str = "", under: Sequence[str] = ()
) -> list[Fault]:
    """Pydantic's findings in the house's words: key path, line, and the nearest known key for an unknown one."""
    faults = []
    if isinstance(document, Unread):
        document = document.parsed()
    entry: Any
    for entry in error.errors(include_url=False):
        # A union's tag is pydantic's step, not a key of the document.
        loc: list[str] = [*under]
        node: Any = document
        for name in under:
            node = node.get(name) if isinstance(node, dict) else None
        for step in entry["loc"]:
            known = (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int))
            if known or (entry["type"] in ("missing", "extra_forbidden") and step == entry["loc"][-1]):
                loc.append(str(step))
                node = node[step] if known else None
            elif document is None:
                loc.append(str(step))
        message = entry["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if entry["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(entry["loc"][-1]), model.model_fields, 1)
            message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
        elif entry["type"] == "missing":
            message = "it is missing"
            if loc == ["auth"]:
                message = "it is missing; a route that is open to all says auth: {type: none}"
        elif entry["type"] == "union_tag_invalid":
            message = f"{entry['ctx']['tag']!r} is not one of {entry['ctx']['expected_tags']}"
        elif message[:1].isupper():
            message = message[0].lower() + message[1:]
        faults.append(Fault(message, key=".".join(loc), file=file, line=line_of(document, _steps(loc))))
    return faults


def _steps(keys: Sequence[str]) -> list[str | int]:
    return [int(key) if re.fullmatch("[0-9]{1,9}", key) else key for key in keys]


def read_value(value: Any, file: str = "") -> RouteSpec:
    """One parsed document as a spec.

    :raises SpecError: with every fault found.
    """
    if not isinstance(value, dict):
        raise SpecError(
            Fault("a route spec maps keys to values", file=file, line=line_of(value, ()) or (1 if file else 0))
        )
    values = plain(value)
    unkept = [replace(fault, file=file, line=line_of(value, _steps(fault.key.split(".")))) for fault in _unkept(values)]
    if unkept:
        raise SpecError(unkept)
    try:
        return RouteSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError(faults_of(error, RouteSpec, value, file)) from None


def _read_plain(text: str) -> list[tuple[RouteSpec, Any]]:
    """As `read_text`, of what is plain and right; nothing where anything isn't."""
    values = plainyaml.read(text, MAX_NODES) if len(text) <= MAX_SPEC else None
    try:
        # What is plain holds no number and no text that a store can't keep.
        return [(RouteSpec.model_validate(value), Unread(text, at)) for at, value in enumerate(values or ())]
    except ValidationError:
        return []


def read_text(text: str, file: str = "") -> list[tuple[RouteSpec, Any]]:
    """Every document of `text` with its parsed node (for lines of what a transformer finds wrong later).

    :raises SpecError: with every fault of every document.
    """
    plain = _read_plain(text)
    if plain:
        return plain
    specs: list[tuple[RouteSpec, Any]] = []
    faults: list[Fault] = []
    for document in _documents(text, file):
        try:
            specs.append((read_value(document, file), document))
        except SpecError as error:
            faults += error.faults
    if faults:
        raise SpecError(faults)
    if not specs:
        raise SpecError(Fault("it holds no route spec", file=file))
    return specs


def read_file(path: Path, shown: str = "") -> list[tuple[RouteSpec, Any]]:
    """The specs in a file.

    :raises SpecError: it can't be read, is no UTF-8, no YAML, or breaks the schema.
    """
    file = shown or str(path)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SpecError(Fault(error.strerror or str(error), file=file)) from None
    except UnicodeDecodeError:
        raise SpecError(Fault("it is not UTF-8 text", file=file)) from None
    return read_text(text, file)
