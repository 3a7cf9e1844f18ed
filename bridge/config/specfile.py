"""Spec text -> `RouteSpec`, and everything wrong in it as `Fault`s with file, line and key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from bridge.api import validation
from bridge.api.spec.route import RouteSpec
from bridge.config import yaml
from bridge.config.yaml import NO_LINES, Document, Lines
from bridge.errors import Fault, KeyPath, SpecError

MAX_SPEC = yaml.MAX_SIZE  #: bytes of one spec document
#: All but tab and line ends, which a text of several lines has.
_CONTROLS = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]")


def _unstorable(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Path and reason of what a store could not return unchanged (numbers that JSON does not have, text that UTF-8 does
    not), and of control characters, which no name, path, header or message may hold."""
    if isinstance(value, str):
        if not _is_text(value):
            yield path, "it is no Unicode text"
        elif control := _CONTROLS.search(value):
            yield path, f"it holds the control character U+{ord(control[0]):04X}"
    elif isinstance(value, dict):
        for key, item in value.items():
            if not _is_text(key) or _CONTROLS.search(key):
                yield path, "a key that is no Unicode text, or holds a control character"
            else:
                yield from _unstorable(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unstorable(item, (*path, number))
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, "it is no finite number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield path, "it is too large a number"


_TELLING = re.compile(rb"[\\\x7f]|null")


def _is_plain(value: Any) -> bool:
    """Whether its JSON shows that `_unstorable` has nothing to find, which costs a tenth of a search."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        return False
    return _TELLING.search(text) is None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def faults_of(
    error: ValidationError,
    model: type[BaseModel],
    value: Any,
    lines: Lines = NO_LINES,
    file: str = "",
    under: KeyPath = (),
) -> list[Fault]:
    """`bridge.api.validation.faults_of` with file and line.

    :param under: the path of `value` in its document, whose `lines` these are.
    """
    faults = validation.faults_of(error, model, value, under)
    return [replace(fault, file=file, line=lines.at(fault.path).line) for fault in faults]


def read_value(value: Any, file: str = "", document: Document | None = None) -> RouteSpec:
    """One parsed document as a spec.

    :raises SpecError: with every fault found.
    """
    if isinstance(value, dict):
        unstorable = [] if _is_plain(value) else list(_unstorable(value))
        try:
            if not unstorable:
                return RouteSpec.model_validate(value)
        except ValidationError as error:
            lines = document.lines() if document else NO_LINES
            raise SpecError(faults_of(error, RouteSpec, value, lines, file)) from None
    else:
        unstorable = [((), "a route spec maps keys to values")]
    lines = document.lines() if document else NO_LINES
    raise SpecError([Fault(reason, path, file, lines.at(path).line) for path, reason in unstorable])


def read_text(text: str, file: str = "") -> list[tuple[RouteSpec, Document]]:
    """Every document of `text` that is not empty, with what knows its lines (for faults found when the route is bound).

    :raises SpecError: with every fault of every document.
    """
    specs: list[tuple[RouteSpec, Document]] = []
    faults: list[Fault] = []
    for value, document in yaml.parse(text, file):
        if value is None:
            continue
        try:
            specs.append((read_value(value, file, document), document))
        except SpecError as error:
            faults += error.faults
    if faults:
        raise SpecError(faults)
    if not specs:
        raise SpecError(Fault("it holds no route spec", file=file))
    return specs


@dataclass(frozen=True, slots=True)
class Draft:
    """A document as far as it can be read.

    :ivar spec: what is right in it, with placeholders for required keys that are not; None if that is too little to
        bind.
    :ivar faults: what is wrong in it.
    :ivar wrong: the keys at the top that were left out or replaced.
    """

    spec: RouteSpec | None
    document: Document | None
    faults: Sequence[Fault] = ()
    wrong: frozenset[str] = frozenset()

    def is_known(self, fault: Fault) -> bool:
        """Whether a fault of binding `spec` is one of the document, and not of a placeholder."""
        if not fault.path:
            return bool(fault.file) or not self.wrong & {"route", "upstream"}
        return fault.path[0] not in self.wrong and ("route" not in self.wrong or fault.path[0] == "transform")


def read_drafts(path: Path, shown: str = "") -> tuple[list[Draft], list[Fault]]:
    """Every document of a file as far as it can be read, and what is wrong with the file itself. For those who want to
    know all faults at once; `read_file` is for those who want to serve."""
    file = shown or str(path)
    try:
        return drafts_of(yaml.read_text(path, file, SpecError), file)
    except SpecError as error:
        return [], list(error.faults)


def drafts_of(text: str, file: str = "") -> tuple[list[Draft], list[Fault]]:
    """As `read_drafts`, of a text."""
    drafts: list[Draft] = []
    try:
        for value, document in yaml.parse(text, file):
            if value is not None:
                drafts.append(draft_of(value, file, document))
    except SpecError as error:
        return drafts, list(error.faults)
    return drafts, [] if drafts else [Fault("it holds no route spec", file=file)]


def draft_of(value: Any, file: str = "", document: Document | None = None) -> Draft:
    """One parsed document as far as it can be read."""
    try:
        return Draft(read_value(value, file, document), document)
    except SpecError as error:
        spec, wrong = _salvaged(value)
        return Draft(spec, document, error.faults, wrong)


#: In place of required keys that are wrong, so that the others can be judged.
_PLACEHOLDERS: Mapping[str, Any] = {"route": "/route", "upstream": "service:80", "auth": {"type": "none"}}


def _salvaged(value: Any) -> tuple[RouteSpec | None, frozenset[str]]:
    """The spec without the keys that are wrong, and these keys."""
    if not isinstance(value, dict) or not (_is_plain(value) or not list(_unstorable(value))):
        return None, frozenset()
    value, wrong = dict(value), set[str]()
    for _ in range(len(value) + len(_PLACEHOLDERS)):
        try:
            return RouteSpec.model_validate(value), frozenset(wrong)
        except ValidationError as error:
            for fault in validation.faults_of(error, RouteSpec, value):
                key = str(fault.path[0]) if fault.path else ""
                if key == "transform":
                    value["transform"] = _transform(value.get("transform"))
                elif key in _PLACEHOLDERS:
                    value[key] = _PLACEHOLDERS[key]
                else:
                    value.pop(key, None)
                wrong |= {key} - {"transform"}
    return None, frozenset(wrong)


def _transform(value: Any) -> Any:
    """A wrong ``transform`` with its transformer and that one's options alone."""
    if not isinstance(value, dict):
        return value
    request = value.get("request")
    return {key: option for key, option in value.items() if key in ("request", request)}


def read_file(path: Path | str, shown: str = "") -> list[tuple[RouteSpec, Document]]:
    """The specs in a file, which faults call `shown`.

    :raises SpecError: it can't be read, is no UTF-8, no YAML, or breaks the schema.
    """
    file = shown or str(path)
    return read_text(yaml.read_text(path, file, SpecError), file)
