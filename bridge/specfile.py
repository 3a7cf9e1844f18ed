"""Spec text -> `RouteSpec`, and everything wrong in it as `Fault`s with file, line and key.

YAML 1.2 (a JSON document is one too). Anchors and aliases are refused: a few bytes of them make gigabytes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.parser import ParserError
from ruamel.yaml.scanner import ScannerError

from bridge.errors import Fault, SpecError
from bridge.spec import RouteSpec

MAX_SPEC = 256 * 1024  #: bytes of one spec document

_Parsed = CommentedMap | CommentedSeq | Any


def _documents(text: str, file: str) -> Iterator[Any]:
    if len(text) > MAX_SPEC:
        raise SpecError(Fault(f"a spec has at most {MAX_SPEC // 1024} kB", file=file))
    try:
        for event in YAML(typ="rt", pure=True).parse(StringIO(text)):
            if isinstance(event, AliasEvent):
                raise SpecError(
                    Fault("YAML aliases are not taken in a spec", file=file, line=event.start_mark.line + 1)
                )
        yield from (doc for doc in YAML(typ="rt", pure=True).load_all(StringIO(text)) if doc is not None)
    except (MarkedYAMLError, ParserError, ScannerError) as error:
        mark = error.problem_mark
        raise SpecError(
            Fault(f"it is not YAML: {error.problem}", file=file, line=mark.line + 1 if mark else 0)
        ) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise SpecError(Fault(f"it is not YAML: {str(error).splitlines()[0]}", file=file)) from None


def line_of(document: _Parsed, loc: Sequence[str | int]) -> int:
    """The line (from 1) of the key that `loc` leads to, or of the nearest one above it."""
    line = 1 + (document.lc.line if isinstance(document, CommentedMap | CommentedSeq) else 0)
    for step in loc:
        try:
            if isinstance(document, CommentedMap):
                line = 1 + document.lc.key(step)[0]
            elif isinstance(document, CommentedSeq):
                line = 1 + document.lc.item(step)[0]
            document = document[step]
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


def faults_of(
    error: ValidationError, model: type[BaseModel], document: _Parsed = None, file: str = "", under: Sequence[str] = ()
) -> list[Fault]:
    """Pydantic's findings in the house's words: key path, line, and the nearest known key for an unknown one."""
    faults = []
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
        steps: list[str | int] = [int(s) if s.isdigit() else s for s in loc]
        faults.append(
            Fault(message, key=".".join(loc), file=file, line=line_of(document, steps) if document is not None else 0)
        )
    return faults


def read_value(value: Any, file: str = "") -> RouteSpec:
    """One parsed document as a spec.

    :raises SpecError: with every fault found.
    """
    if not isinstance(value, dict):
        raise SpecError(Fault("a route spec maps keys to values", file=file, line=line_of(value, ()) if file else 0))
    try:
        return RouteSpec.model_validate(plain(value))
    except ValidationError as error:
        raise SpecError(faults_of(error, RouteSpec, value, file)) from None


def read_text(text: str, file: str = "") -> list[tuple[RouteSpec, Any]]:
    """Every document of `text` with its parsed node (for lines of what a transformer finds wrong later).

    :raises SpecError: with every fault of every document.
    """
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
