"""Path templates of ``google.api.http``: the grammar of ``google/api/http.proto``, and translation for our matcher.

::

    Template = "/" Segments [ Verb ] ;
    Segments = Segment { "/" Segment } ;
    Segment  = "*" | "**" | LITERAL | Variable ;
    Variable = "{" FieldPath [ "=" Segments ] "}" ;
    FieldPath = IDENT { "." IDENT } ;
    Verb     = ":" LITERAL ;

The core matches ``{name}`` (one segment), ``{name**}`` (any number), ``{name*}`` (the rest) and a ``:verb``. So each
wildcard becomes a parameter, and the text of a variable with several segments is joined from literals and parameters.

Further than the grammar, ``/`` alone is a template, too. ``**`` may stand anywhere, but once: with two there is no
telling which of them a segment belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIELD_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_LITERAL = re.compile(r"[^*{}/=?#\x00-\x20\x7f]+")
_SLASH = re.compile("%2[fF]")
#: Characters that need no encoding in a literal segment (RFC 3986, section 3.3: pchar).
_PCHAR = "-._~!$&'()*+,;=:@%"


class TemplateError(ValueError):
    """A path template breaks the grammar; the message says how."""


@dataclass(frozen=True, slots=True)
class Variable:
    """``{field.path=segments}``: covers the template's segments from `start` up to `end`."""

    field_path: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. `segments`: literals as written, ``*`` and ``**``. `verb` has no colon."""

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    @property
    def open_ended(self) -> bool:
        return bool(self.segments) and self.segments[-1] == "**"

    def key(self) -> tuple[str, ...]:
        """Templates with the same key match the same paths."""
        return (*(s if s in ("*", "**") else unquote(s) for s in self.segments), f":{self.verb}")


@dataclass(frozen=True, slots=True)
class Capture:
    """How one variable's text is joined from path parameters.

    :ivar pieces: literals and, as ``(name,)``, parameters; joined by slashes.
    :ivar several: the variable can cover several segments, so encoded slashes stay encoded, unless …
    :ivar decode_all: … this is set (``google.api.Http.fully_decode_reserved_expansion``).
    """

    field_path: tuple[str, ...]
    pieces: tuple[str | tuple[str], ...]
    several: bool
    decode_all: bool = False

    def text(self, raw: Mapping[str, str]) -> str:
        """The variable's value. `raw` holds the parameters as sent, still percent-encoded."""
        if not self.several:
            (piece,) = self.pieces
            return _decode(raw[piece[0]]) if isinstance(piece, tuple) else piece
        decode = _decode if self.decode_all else decode_several
        parts = [decode(raw[piece[0]]) if isinstance(piece, tuple) else piece for piece in self.pieces]
        # "**" of zero segments adds nothing, not an empty segment.
        return "/".join(part for part in parts if part)


def _decode(text: str) -> str:
    """:raises UnicodeDecodeError: it is not UTF-8."""
    return unquote(text, errors="strict")


def decode_several(text: str) -> str:
    """Percent-decodes the value of a variable with several segments, except ``%2F`` and ``%2f``."""
    if "%" not in text:
        return text
    slashes = _SLASH.findall(text)
    parts = [_decode(part) for part in _SLASH.split(text)]
    return "".join(part + slash for part, slash in zip(parts, [*slashes, ""], strict=True))


def parse(text: str) -> Template:
    """:raises TemplateError: `text` is not a path template."""
    if not text.startswith("/"):
        raise TemplateError(f"{text!r} must start with /")
    if text == "/":
        return Template(text, (), (), "")
    return _Parser(text).template()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1
        self.segments: list[str] = []
        self.variables: list[Variable] = []

    def template(self) -> Template:
        self._segments(inside=False)
        verb = ""
        if self._next(":"):
            verb = self.text[self.at :]
            if not _LITERAL.fullmatch(verb) or ":" in verb:
                raise self._error("after ':' it needs one word")
            self.at = len(self.text)
        if self.at != len(self.text):
            raise self._error(f"{self.text[self.at]!r} has no place")
        if self.segments.count("**") > 1:
            raise self._error("'**' may stand in it once")
        paths = [variable.field_path for variable in self.variables]
        for path in paths:
            if paths.count(path) > 1:
                raise self._error(f"the variable {'.'.join(path)!r} stands in it twice")
        return Template(self.text, tuple(self.segments), tuple(self.variables), verb)

    def _segments(self, *, inside: bool) -> None:
        while True:
            self._segment(inside=inside)
            if not self._next("/"):
                return

    def _segment(self, *, inside: bool) -> None:
        if self._next("**"):
            self.segments.append("**")
        elif self._next("*"):
            self.segments.append("*")
        elif self._next("{"):
            if inside:
                raise self._error("a variable can't hold another one")
            self._variable()
        else:
            self.segments.append(self._literal())

    def _variable(self) -> None:
        match = _FIELD_PATH.match(self.text, self.at)
        if not match:
            raise self._error("after '{' it needs a field's name")
        self.at = match.end()
        start = len(self.segments)
        if self._next("="):
            self._segments(inside=True)
        else:
            self.segments.append("*")
        if not self._next("}"):
            raise self._error("a variable is not closed with '}'")
        self.variables.append(Variable(tuple(match[0].split(".")), start, len(self.segments)))

    def _literal(self) -> str:
        end = self.at
        while end < len(self.text) and self.text[end] not in "/{}*=":
            end += 1
        text = self.text[self.at : end]
        # A colon starts the verb only if no slash follows; otherwise it is part of the literal, as in URNs.
        if ":" in text and end == len(self.text):
            text = text[: text.rindex(":")]
        if not _LITERAL.fullmatch(text):
            raise self._error("it has an empty segment" if not text else f"{text!r} can't be a path segment")
        if text in (".", ".."):
            raise self._error("it has a dot segment")
        self.at += len(text)
        return text

    def _next(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def _error(self, reason: str) -> TemplateError:
        return TemplateError(f"{self.text!r}: {reason} (at character {self.at + 1})")


def to_core(
    template: Template, reserved: frozenset[str] = frozenset(), *, decode_all: bool = False
) -> tuple[str, tuple[Capture, ...]]:
    """The core's template for the same paths (``""`` for no segments), and a capture for each variable.

    A parameter is named after its variable, with a number if that has several wildcards; `reserved` names are avoided.

    :param decode_all: the captures' own.
    """
    names = dict(_parameter_names(template, reserved))
    parts = []
    for at, segment in enumerate(template.segments):
        if at in names:
            stars = "" if segment == "*" else "*" if at == len(template.segments) - 1 else "**"
            parts.append(f"{{{names[at]}{stars}}}")
        else:
            parts.append(quote(segment, safe=_PCHAR))
    captures = []
    for variable in template.variables:
        positions = range(variable.start, variable.end)
        pieces = tuple((names[at],) if at in names else unquote(template.segments[at]) for at in positions)
        several = len(positions) > 1 or template.segments[variable.start] == "**"
        captures.append(Capture(variable.field_path, pieces, several, decode_all))
    verb = f":{quote(template.verb, safe=_PCHAR)}" if template.verb else ""
    return ("/" + "/".join(parts) + verb if parts else ""), tuple(captures)


def _parameter_names(template: Template, reserved: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(segment, parameter name) of each wildcard."""
    names = set(reserved)
    count = 0
    for at, segment in enumerate(template.segments):
        if segment not in ("*", "**"):
            continue
        variable = next((v for v in template.variables if v.start <= at < v.end), None)
        if variable is None:
            count += 1
            name = f"segment_{count}"
        else:
            wild = [i for i in range(variable.start, variable.end) if template.segments[i] in ("*", "**")]
            name = ".".join(variable.field_path) + (f"_{wild.index(at) + 1}" if len(wild) > 1 else "")
        while name in names:
            name += "_"
        names.add(name)
        yield at, name
