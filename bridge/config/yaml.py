"""YAML 1.2, core schema (section 10.3), read with libyaml's parser. JSON texts are YAML 1.2 too.

Size, depth and number of values are bounded while the text is parsed. Keys are text, as written: ``1:`` and ``true:``
are the keys ``1`` and ``true``. Not supported are anchors and aliases (a few bytes of them make gigabytes), tags,
``%YAML 1.1``, keys that are lists or mappings, and keys that stand twice in one mapping.

libyaml parses YAML 1.1, which takes U+0085, U+2028 and U+2029 for line breaks. YAML 1.2 does not, so a text that
holds one of them unescaped is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from bridge.errors import Fault, KeyPath, SettingsError, SetupError, SpecError

MAX_SIZE = 256 * 1024  #: characters of one text
MAX_NODES = 10_000  #: keys and values of one text
MAX_DEPTH = 32

_FORBIDDEN = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNPLAIN = re.compile(f"{_FORBIDDEN.pattern}|\x85")  # what must be written as an escape
_TAG_DIRECTIVE = re.compile("^%TAG", re.MULTILINE)
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_INTEGER = re.compile("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"0o": 8, "0x": 16}
_MAX_DIGITS = 400  # more than the largest float has; Python itself refuses 4,301


@dataclass(frozen=True, slots=True)
class Lines:
    """The line (from 1; 0: unknown) of a key or item, and those of the keys and items (by number) below it."""

    line: int = 0
    below: Mapping[str, Lines] = field(default_factory=dict)

    def at(self, path: KeyPath) -> Lines:
        """The lines of the key that `path` leads to, or of the nearest one above it."""
        lines = self
        for step in path:
            if (inner := lines.below.get(str(step))) is None:
                break
            lines = inner
        return lines


NO_LINES = Lines()


@dataclass(frozen=True, slots=True)
class Document:
    """Where a document stands: its text, and its number in that, from 0. Few need its lines: the text is parsed again
    for them."""

    text: str
    number: int

    def lines(self) -> Lines:
        try:
            nodes = list(yaml.compose_all(self.text, yaml.CBaseLoader))
        except yaml.MarkedYAMLError:  # a later document of the text is not YAML; its own fault says so
            return NO_LINES
        return _lines(nodes[self.number].start_mark, nodes[self.number]) if nodes else NO_LINES


def _lines(mark: yaml.Mark, node: yaml.Node) -> Lines:
    below: dict[str, Lines] = {}
    if isinstance(node, yaml.MappingNode):
        below = {key.value: _lines(key.start_mark, value) for key, value in node.value}
    elif isinstance(node, yaml.SequenceNode):
        below = {str(number): _lines(item.start_mark, item) for number, item in enumerate(node.value)}
    return Lines(mark.line + 1, below)


def parse(
    text: str,
    file: str = "",
    error: type[SetupError] = SpecError,
    *,
    max_size: int = MAX_SIZE,
    max_nodes: int = MAX_NODES,
) -> Iterator[tuple[Any, Document]]:
    """The documents of `text` as dict, list, str, int, float, bool and None.

    :param file: what faults call it.
    :param error: what is raised where it is not YAML, not supported, or out of bounds.
    """
    if len(text) > max_size:
        raise error(Fault(f"it has more than {max_size // 1024} kB", file=file))
    text = text.removeprefix("\ufeff")
    if character := _FORBIDDEN.search(text):
        line = text.count("\n", 0, character.start()) + 1
        reason = f"it is not YAML: U+{ord(character[0]):04X} must be written as an escape"
        raise error(Fault(reason, file=file, line=line))
    if directive := _TAG_DIRECTIVE.search(text):  # libyaml's time grows with their square
        line = text.count("\n", 0, directive.start()) + 1
        raise error(Fault("YAML tags are not supported", file=file, line=line))
    try:
        for number, value in enumerate(_Reader(text, max_nodes).documents()):
            yield value, Document(text, number)
    except _Refused as refused:
        raise error(replace(refused.fault, file=file)) from None
    except yaml.MarkedYAMLError as refused:
        raise error(replace(_syntax_fault(refused, text), file=file)) from None


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    reason = f"it is not YAML: {error.problem}"
    # What was left open is noticed at the end of the text, which libyaml places in a line of its own.
    line = min(error.problem_mark.line, text.rstrip().count("\n")) + 1 if error.problem_mark else 0
    if error.context_mark and error.context_mark.line + 1 < line:
        reason += f", {error.context} that starts in line {error.context_mark.line + 1}"
    return Fault(reason, line=line)


def read_document(path: Path, *, optional: bool = False) -> tuple[Any, Document]:
    """The one document of a file that the operator writes; None where it is empty.

    :param optional: no file is as good as an empty one.
    :raises SettingsError: it can't be read, is not UTF-8, not YAML, or holds more than one document.
    """
    size = 64 * MAX_SIZE
    text = read_text(path, str(path), SettingsError, optional=optional, max_size=size)
    documents = list(parse(text, str(path), SettingsError, max_size=size, max_nodes=100 * MAX_NODES))
    if len(documents) > 1:
        line = documents[1][1].lines().line
        raise SettingsError(Fault("it holds more than one document", file=str(path), line=line))
    return documents[0] if documents else (None, Document(text, 0))


def read_text(
    path: Path | str, file: str, error: type[SetupError], *, optional: bool = False, max_size: int = MAX_SIZE
) -> str:
    """The text of a file; of one that `parse` refuses for its size, the beginning.

    :param file: what faults call it.
    :param error: what is raised where it can't be read, or is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:  # no list of routes, document or metric could hold it
        shown = file.encode("utf-8", "backslashreplace").decode()
        raise error(Fault("its name is not UTF-8 text; rename it", file=shown)) from None
    try:
        with open(path, encoding="utf-8", opener=_opened) as stream:
            return stream.read(max_size + 1)
    except OSError as refused:
        if optional and isinstance(refused, FileNotFoundError):
            return ""
        raise error(Fault(refused.strerror or str(refused), file=file)) from None
    except UnicodeDecodeError:
        raise error(Fault("it is not UTF-8 text", file=file)) from None


def _opened(path: str, flags: int) -> int:
    """Open a file, which may be a pipe; one that nobody writes to is empty."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


class _Dumper(yaml.CSafeDumper):
    """Quotes texts that YAML 1.2 reads as numbers, too; PyYAML quotes those of YAML 1.1."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represented(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _UNPLAIN.search(text) else None)


_Dumper.add_representer(str, _represented)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"(?:{_INTEGER.pattern}|{_FLOAT.pattern})$"), list(_NUMBER_STARTS)
)


def dump(value: Any) -> str:
    """`value` (dict, list, str, int, finite float, bool, None) as YAML that `parse` reads as the same value."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120
    )
    return text


class _Refused(Exception):
    def __init__(self, reason: str, event: Any, path: KeyPath = ()) -> None:
        super().__init__(reason)
        self.fault = Fault(reason, path, line=event.start_mark.line + 1)


class _Reader:
    """Builds the values of a text from libyaml's events."""

    def __init__(self, text: str, max_nodes: int) -> None:
        self._next_event: Callable[[], Any] = yaml.CBaseLoader(text).get_event
        self._max_nodes = max_nodes
        self._nodes = 0

    def documents(self) -> Iterator[Any]:
        """:raises yaml.MarkedYAMLError: it is not YAML.
        :raises _Refused: it is not supported, or out of bounds.
        """
        self._next_event()
        while type(start := self._next_event()) is not StreamEndEvent:
            if start.version == (1, 1):
                raise _Refused("YAML 1.1 is not supported, only YAML 1.2", start)
            yield self._value(self._next_event(), 0)
            self._next_event()

    def _value(self, event: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > self._max_nodes or event.anchor is not None or event.tag is not None:
            raise self._refusal(event)
        if type(event) is ScalarEvent:
            return _scalar(event) if event.implicit[0] else event.value
        if depth == MAX_DEPTH:
            raise _Refused(f"it is more than {MAX_DEPTH} levels deep", event)
        if type(event) is MappingStartEvent:
            return self._mapping(depth + 1)
        items = []
        while type(event := self._next_event()) is not SequenceEndEvent:
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while type(event := self._next_event()) is not MappingEndEvent:
            self._nodes += 1
            if self._nodes > self._max_nodes or event.anchor is not None or event.tag is not None:
                raise self._refusal(event)
            if type(event) is not ScalarEvent:
                raise _Refused("a key is a list or a mapping; only text is supported", event)
            key = event.value
            if key in values:
                raise _Refused("it is not YAML: the key stands twice in one mapping", event, (key,))
            values[key] = self._value(self._next_event(), depth)
        return values

    def _refusal(self, event: Any) -> _Refused:
        if self._nodes > self._max_nodes:
            return _Refused(f"it has more than {self._max_nodes} keys and values", event)
        kind = "tags" if event.anchor is None else "anchors and aliases"
        return _Refused(f"YAML {kind} are not supported", event)


def _scalar(event: Any) -> Any:
    """The value of a plain scalar."""
    text: str = event.value
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise _Refused(f"it has more than {_MAX_DIGITS} digits", event)
        return int(text, _BASES.get(text[:2], 10))
    return float(text) if _FLOAT.fullmatch(text) else text
