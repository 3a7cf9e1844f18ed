"""Patterns of XML Schema 1.0 (part 2, appendix F), translated to Python's ``re``, with sample texts.

The two languages differ: an XML Schema pattern matches the whole value, ``^`` and ``$`` are ordinary characters, and
there are ``\\i``, ``\\c``, ``\\p{…}`` and class subtraction. A pattern is parsed into a tree, which gives the pattern
for Python, the pattern for OpenAPI, and a matching text for examples.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from dataclasses import dataclass

from bridge_soap.names import NAME_CLASS, NAME_START_CLASS

Range = tuple[int, int]
_LAST = sys.maxunicode


class PatternError(ValueError):
    """The pattern is invalid or unsupported. The message names the position."""


@dataclass(frozen=True, slots=True)
class Chars:
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    node: Node
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Branches:
    branches: tuple[tuple[Node, ...], ...]


Node = Chars | Repeat | Branches


def union(*many: tuple[Range, ...]) -> tuple[Range, ...]:
    result: list[Range] = []
    for low, high in sorted(pair for ranges in many for pair in ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def inverse(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    out, start = [], 0
    for low, high in union(ranges):
        if low > start:
            out.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        out.append((start, _LAST))
    return tuple(out)


def minus(ranges: tuple[Range, ...], others: tuple[Range, ...]) -> tuple[Range, ...]:
    return inverse(union(inverse(ranges), others))


def _of_class(text: str) -> tuple[Range, ...]:
    """The ranges in the body of a Python character class from `names`."""
    plain, out, at = text.replace("\\-", "\0"), [], 0
    while at < len(plain):
        low = "-" if plain[at] == "\0" else plain[at]
        if at + 2 < len(plain) and plain[at + 1] == "-":
            out.append((ord(low), ord(plain[at + 2])))
            at += 3
        else:
            out.append((ord(low), ord(low)))
            at += 1
    return union(tuple(out))


#: Ranges that are not scanned: planes 4 to 13 and the ends of the private planes have no assigned characters.
_UNWALKED: dict[str, tuple[Range, ...]] = {
    "Cn": ((0x40000, 0xDFFFF), (0xE1000, 0xEFFFF), (0xFFFFE, 0xFFFFF), (0x10FFFE, 0x10FFFF)),
    "Co": ((0xF0000, 0xFFFFD), (0x100000, 0x10FFFD)),
}


@functools.cache
def _categories() -> dict[str, tuple[Range, ...]]:
    """The ranges of every general category of Unicode, from one scan."""
    out: dict[str, list[Range]] = {}
    last = ""
    for code in (*range(0x40000), *range(0xE0000, 0xE1000)):
        name = unicodedata.category(chr(code))
        if name == last and code != 0xE0000:
            out[name][-1] = (out[name][-1][0], code)
        else:
            out.setdefault(name, []).append((code, code))
        last = name
    return {name: union(tuple(ranges), _UNWALKED.get(name, ())) for name, ranges in out.items()}


@functools.cache
def _category(name: str) -> tuple[Range, ...]:
    """The ranges of a general category such as ``L`` or ``Lu``."""
    return union(*(ranges for full, ranges in _categories().items() if full.startswith(name)))


#: The blocks that schemas use in practice; names as in appendix F.1.1, without ``Is``.
_BLOCKS: dict[str, Range] = {
    "BasicLatin": (0, 0x7F),
    "Latin-1Supplement": (0x80, 0xFF),
    "LatinExtended-A": (0x100, 0x17F),
    "LatinExtended-B": (0x180, 0x24F),
    "IPAExtensions": (0x250, 0x2AF),
    "SpacingModifierLetters": (0x2B0, 0x2FF),
    "CombiningDiacriticalMarks": (0x300, 0x36F),
    "Greek": (0x370, 0x3FF),
    "GreekandCoptic": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x4FF),
    "Armenian": (0x530, 0x58F),
    "Hebrew": (0x590, 0x5FF),
    "Arabic": (0x600, 0x6FF),
    "Devanagari": (0x900, 0x97F),
    "Thai": (0xE00, 0xE7F),
    "Georgian": (0x10A0, 0x10FF),
    "LatinExtendedAdditional": (0x1E00, 0x1EFF),
    "GreekExtended": (0x1F00, 0x1FFF),
    "GeneralPunctuation": (0x2000, 0x206F),
    "SuperscriptsandSubscripts": (0x2070, 0x209F),
    "CurrencySymbols": (0x20A0, 0x20CF),
    "LetterlikeSymbols": (0x2100, 0x214F),
    "NumberForms": (0x2150, 0x218F),
    "Arrows": (0x2190, 0x21FF),
    "MathematicalOperators": (0x2200, 0x22FF),
    "BoxDrawing": (0x2500, 0x257F),
    "CJKSymbolsandPunctuation": (0x3000, 0x303F),
    "Hiragana": (0x3040, 0x309F),
    "Katakana": (0x30A0, 0x30FF),
    "CJKUnifiedIdeographs": (0x4E00, 0x9FFF),
    "HangulSyllables": (0xAC00, 0xD7A3),
    "PrivateUse": (0xE000, 0xF8FF),
    "HalfwidthandFullwidthForms": (0xFF00, 0xFFEF),
}

_SINGLE = {"n": "\n", "r": "\r", "t": "\t"}
_SPACE: tuple[Range, ...] = ((9, 10), (13, 13), (32, 32))
_ASCII = ((0, 0x7F),)
#: The characters that a dot matches.
_DOT = inverse(((10, 10), (13, 13)))


def _multi(letter: str) -> tuple[Range, ...] | None:
    """``\\s \\i \\c \\d \\w`` and their negations (F.1.1)."""
    kind = letter.lower()
    if kind == "s":
        ranges = _SPACE
    elif kind == "i":
        ranges = _of_class(NAME_START_CLASS)
    elif kind == "c":
        ranges = _of_class(NAME_CLASS)
    elif kind == "d":
        ranges = _category("Nd")
    elif kind == "w":
        ranges = inverse(union(_category("P"), _category("Z"), _category("C")))
    else:
        return None
    return ranges if letter == kind else inverse(ranges)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def fail(self, why: str) -> PatternError:
        return PatternError(f"the pattern {self.text!r} can't be read: {why} at character {self.at + 1}")

    @property
    def next(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        if self.at >= len(self.text):
            raise self.fail("it ends unexpectedly")
        self.at += 1
        return self.text[self.at - 1]

    def branches(self, depth: int = 0) -> Branches:
        if depth > 50:
            raise self.fail("too many nested groups")
        branches: list[tuple[Node, ...]] = []
        pieces: list[Node] = []
        while True:
            char = self.next
            if char == "" or (char == ")" and depth):
                return Branches((*branches, tuple(pieces)))
            if char == "|":
                self.take()
                branches.append(tuple(pieces))
                pieces = []
            else:
                pieces.append(self.quantified(self.atom(depth)))

    def atom(self, depth: int) -> Node:
        char = self.take()
        if char == "(":
            if self.text.startswith("?:", self.at):  # not in appendix F, but some vendors use it
                self.at += 2
            inner = self.branches(depth + 1)
            if self.take() != ")":
                raise self.fail("a group is not closed")
            return inner
        if char == "[":
            return Chars(self.char_class())
        if char == "\\":
            return Chars(self.escape())
        if char == ".":
            return Chars(_DOT)
        if char in "?*+{)":
            raise self.fail(f"an unexpected {char!r}")
        return Chars(((ord(char), ord(char)),))

    def quantified(self, node: Node) -> Node:
        char = self.next
        if char in ("?", "*", "+"):
            self.take()
            return Repeat(node, int(char == "+"), 1 if char == "?" else None)
        if char == "{":
            match = re.compile(r"\{([0-9]+)(,([0-9]*))?\}").match(self.text, self.at)
            if not match:
                raise self.fail("a malformed quantifier")
            self.at = match.end()
            low = int(match[1])
            high = low if match[2] is None else int(match[3]) if match[3] else None
            if low > 100_000 or (high is not None and (high < low or high > 100_000)):
                raise self.fail("a quantifier out of range")
            return Repeat(node, low, high)
        return node

    def escape(self) -> tuple[Range, ...]:
        char = self.take()
        if char in "pP":
            match = re.compile(r"\{([A-Za-z0-9-]+)\}").match(self.text, self.at)
            if not match:
                raise self.fail("a malformed category")
            self.at = match.end()
            name = match[1]
            if name.startswith("Is"):
                if name[2:] not in _BLOCKS:
                    raise self.fail(f"the block {name} is unknown")
                ranges: tuple[Range, ...] = (_BLOCKS[name[2:]],)
            else:
                ranges = _category(name)
                if not ranges:
                    raise self.fail(f"the category {name} is unknown")
            return ranges if char == "p" else inverse(ranges)
        multi = _multi(char)
        if multi is not None:
            return multi
        code = ord(_SINGLE.get(char, char))
        if char.isalnum() and char not in _SINGLE:
            raise self.fail(f"the escape \\{char} is unknown")
        return ((code, code),)

    def char_class(self) -> tuple[Range, ...]:
        negative = self.next == "^"
        if negative:
            self.take()
        parts: list[tuple[Range, ...]] = []
        first = True
        while first or self.next != "]":
            char = self.take()
            if char == "-" and self.next == "[":
                self.take()
                subtracted = self.char_class()
                if self.take() != "]":
                    raise self.fail("a class is not closed after a subtraction")
                return minus(inverse(union(*parts)) if negative else union(*parts), subtracted)
            parts.append(self.class_range(char))
            first = False
        self.take()
        return inverse(union(*parts)) if negative else union(*parts)

    def class_range(self, char: str) -> tuple[Range, ...]:
        start = self.escape() if char == "\\" else ((ord(char), ord(char)),)
        single = len(start) == 1 and start[0][0] == start[0][1]
        after = self.text[self.at + 1 : self.at + 2]
        if self.next == "-" and single and after not in ("]", "[", ""):
            self.take()
            end = self.take()
            stop = self.escape() if end == "\\" else ((ord(end), ord(end)),)
            if stop[0][0] < start[0][0]:
                raise self.fail("a range in reverse order")
            return ((start[0][0], stop[-1][1]),)
        return start


@functools.lru_cache(maxsize=4096)
def read(pattern: str) -> Branches:
    """:raises PatternError: the pattern is invalid or unsupported."""
    if pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$"):
        # These are ordinary characters here. An author who writes both means anchors, and every pattern is anchored.
        pattern = pattern[1:-1]
    reader = _Reader(pattern)
    tree = reader.branches()
    if reader.next:
        raise reader.fail(f"an unexpected {reader.next!r}")
    return tree


def _char(code: int) -> str:
    if 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122:
        return chr(code)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _class(ranges: tuple[Range, ...]) -> str:
    if not ranges:
        return "(?!)"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _char(ranges[0][0])
    return "[" + "".join(_char(a) if a == b else f"{_char(a)}-{_char(b)}" for a, b in ranges) + "]"


def _portable(ranges: tuple[Range, ...]) -> str:
    if ranges == _DOT:
        return "."
    beyond = minus(ranges, _ASCII)
    if not beyond or beyond == minus(_category("Nd"), _ASCII):
        return _class(minus(ranges, beyond))
    if beyond != inverse(_ASCII):
        raise PatternError("ECMA 262 has no short form of a character class")
    others = inverse(ranges)
    return "[^" + _class(others).strip("[]") + "]" if others else r"[\s\S]"


#: The quantifiers with a short form, by their counts.
_SIGNS = {(0, 1): "?", (0, None): "*", (1, None): "+"}


def source(node: Node, *, portable: bool = False) -> str:
    """The same language for ``re.fullmatch``, with ``re.DOTALL``.

    :param portable: use only syntax that ECMA 262 and Python share; ``\\d`` becomes ``[0-9]``.
    :raises PatternError: there is no portable form.
    """
    if isinstance(node, Chars):
        return _portable(node.ranges) if portable else _class(node.ranges)
    if isinstance(node, Repeat):
        inner, low, high = source(node.node, portable=portable), node.low, node.high
        counts = f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}"
        return (inner if isinstance(node.node, Chars) else f"(?:{inner})") + _SIGNS.get((low, high), counts)
    return "|".join("".join(_grouped(part, portable=portable) for part in branch) for branch in node.branches)


def _grouped(part: Node, *, portable: bool) -> str:
    text = source(part, portable=portable)
    return f"(?:{text})" if isinstance(part, Branches) else text


def _pick(ranges: tuple[Range, ...]) -> str:
    for preference in ("0-9", "A-Z", "a-z", " -~"):
        low, high = ord(preference[0]), ord(preference[2])
        for start, stop in ranges:
            if start <= high and stop >= low:
                return chr(max(start, low))
    return chr(next((a for a, b in ranges if b >= 32), 32))


_MAX_SAMPLE = 10_000


def _sample(node: Node) -> str:
    if isinstance(node, Chars):
        return _pick(node.ranges)
    if isinstance(node, Repeat):
        one = _sample(node.node)
        times = max(node.low, min(1, node.high if node.high is not None else 1))
        return one * min(times, _MAX_SAMPLE // max(len(one), 1))
    return "".join(map(_sample, node.branches[0]))[:_MAX_SAMPLE]


def sample(pattern: str) -> str:
    """A short text that the pattern matches, for examples; at most 10,000 characters."""
    return _sample(read(pattern))
