"""How a service writes its replies: what stands around the values, learned from one, and the patterns made for it.

The first reply that was read without a word of warning shows the service's prefixes. Its start, up to what the body's
element holds, is then known letter by letter, and a later reply that starts alike is read by
`bridge_soap.decode.pattern`. Whatever differs is parsed, as the first one was, so this changes what a reply costs and
not what it is read as.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from bridge.api import ABSENT, BindError, XmlError
from bridge_soap.components import Element
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.decode.decoders import Decoders
from bridge_soap.decode.escapes import EscapeError
from bridge_soap.decode.pattern import LayoutError, NameOf, PatternMaker, PatternReader
from bridge_soap.message.envelope import is_utf8, read_message
from bridge_soap.names import DRAFTS, split

#: How often one operation tries to learn, and how many content types it knows. A service that writes each reply
#: another way is told by its parser.
_TRIES = 8
_MAX_SKIP = 64

#: One character of a rare script makes four bytes of each.
_WIDE = 2.5
#: How much of a reply is looked at: its start, and how it writes its first elements.
_HEAD = 64 * 1024

_GAP = r"[ \t\r\n]*+"
#: From the declaration (XML 1.0, section 2.8) to the end of the third start tag.
_START = re.compile(
    r"(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf-8)[\"'])?(?: standalone=[\"'](?:yes|no)[\"'])? ?\?>"
    rf"{_GAP})?<([^<>\s!?/]++)[^<>]*+(?<!/)>{_GAP}<([^<>\s!?/]++)[^<>]*+(?<!/)>{_GAP}<([^<>\s!?/]++)[^<>]*+(?<!/)>"
)
#: A fourth one, if it holds more than a name.
_INNER = re.compile(rf"{_GAP}<([^<>\s!?/]++)\s[^<>]*+(?<!/)>")
_LOOSE = re.compile(rf"{_GAP[:-2]}+<")
#: These two are no characters of XML, and Python's decoder lets them pass.
_NO_CHARACTERS = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
#: Drafts of XML Schema are taken for the schema itself, wherever they are named.
_DRAFTED = "/XMLSchema"
assert all(_DRAFTED in draft for draft in DRAFTS)


@dataclass(slots=True)
class Layout:
    """One way in which replies are written.

    :ivar start: all up to the values, the same in each reply; `skip` is its length in characters.
    :ivar make: makes `read`, or with another number, a reader that packs arrays (`PatternMaker`).
    :ivar read_large: that one, once it is made.
    :ivar missed: replies in a row that started so and went on otherwise; `left` of the next are parsed at once.
    """

    start: bytes
    skip: int
    read: PatternReader
    make: Callable[[int], PatternReader]
    read_large: PatternReader | None = None
    missed: int = 0
    left: int = 0


class Layouts:
    """The layouts of one operation's replies, whose body holds one element, `root`."""

    def __init__(self, decoders: Decoders, root: Element) -> None:
        self._decoders, self._root = decoders, root
        self._layouts: list[Layout] = []
        self._types: set[str] = set()
        self._tries = _TRIES

    def read(self, body: bytes, content_type: str, step: int = 0) -> object:
        """The value of a reply's body; ABSENT where the reply is to be parsed. With a `step`, as `PatternMaker` has
        it, arrays are packed on the way."""
        for layout in self._layouts:
            if body.startswith(layout.start):
                break
        else:
            return ABSENT
        if layout.left:
            layout.left -= 1
            return ABSENT
        if content_type not in self._types:
            return ABSENT
        value = _read(layout, body, self._reader(layout, step) if step else layout.read, wide=not step)
        if value is ABSENT:
            layout.missed += 1
            layout.left = min(layout.missed, _MAX_SKIP)
        else:
            layout.missed = 0
        return value

    def _reader(self, layout: Layout, step: int) -> PatternReader:
        """The reader of large replies."""
        if layout.read_large is None:
            with self._decoders.lock:
                layout.read_large = layout.make(step)
        return layout.read_large

    def learn(self, body: bytes, content_type: str) -> None:
        """Look at a reply that was parsed and found to be as its schema wants it."""
        if not self._tries:
            return
        match = next((each for each in self._layouts if body.startswith(each.start)), None)
        fresh = match is None or match.missed > 1  # it may be written in one way when short, and in another when long
        if not fresh and content_type in self._types:
            return
        self._tries -= 1
        if not is_utf8(content_type):
            return
        if fresh:
            with self._decoders.lock:
                try:
                    layout = _layout(_head(body), content_type, self._decoders, self._root)
                except (LayoutError, UnicodeDecodeError, XmlError, BindError):
                    return
            others = [each for each in self._layouts if each.start != layout.start]
            self._layouts = sorted([*others, layout], key=lambda each: -len(each.start))  # the closest comes first
        self._types.add(content_type)


def _read(layout: Layout, body: bytes, read: PatternReader, *, wide: bool) -> object:
    """Without `wide`, a text is parsed that takes Python far more memory than its bytes."""
    try:
        text = body.decode()
        if not wide and sys.getsizeof(text) > _WIDE * len(body):
            return ABSENT
        if text.find(_DRAFTED, layout.skip) >= 0:
            return ABSENT
        if not text.isascii() and any(each in body for each in _NO_CHARACTERS):
            return ABSENT
        return read(text, layout.skip)
    except (EscapeError, DatatypeError, UnicodeDecodeError):
        return ABSENT


def _head(body: bytes) -> bytes:
    """As much of a reply as there is to be learned from, and no half character at its end."""
    return body if len(body) <= _HEAD else body[:_HEAD].decode(errors="ignore").encode()


def _layout(body: bytes, content_type: str, decoders: Decoders, root: Element) -> Layout:
    """The layout of a reply.

    :raises LayoutError: it is none that patterns are made for.
    :raises bridge.api.XmlError: what looks like its start is none.
    """
    text = body.decode()
    match = _START.match(text)
    if match is None:
        raise LayoutError
    inner = _INNER.match(text, match.end())
    start, names = match[0], [match[3], match[2], match[1]]
    if inner is not None:
        start, names = start + inner[0], [inner[1], *names]
    if any(draft in start for draft in DRAFTS):
        raise LayoutError
    # The parser itself says what the start means: its tags, once closed, are a whole document.
    message = read_message((start + "".join(f"</{name}>" for name in names)).encode(), content_type)
    node = message.body[0] if len(message.body) else None
    if node is None or node.tag != root.name or node.items() or message.header is not None:
        raise LayoutError
    loose = _LOOSE.match(text, len(start)) is not None
    end = re.escape(f"</{names[0]}>") + "".join(_GAP + re.escape(f"</{name}>") for name in names[1:]) + _GAP + r"\Z"
    name_of = _namer(node if inner is None else node[0], text)

    ways: dict[str, str | None] = {}  # so that no layout keeps a reply's text

    def way_of(name: str) -> str | None:
        return ways[name] if name in ways else ways.setdefault(name, name_of(name))

    def make(step: int, way_of: NameOf = lambda name: ways[name]) -> PatternReader:
        maker = PatternMaker(decoders, way_of, loose=loose, step=step)
        return maker.make(root, end) if inner is None else _within(maker, node[0], root, end)

    return Layout(start.encode(), len(start), make(0, way_of), make)


def _within(maker: PatternMaker, node: etree._Element, root: Element, end: str) -> PatternReader:
    """The reader of what is in the one child of `root`, `node`, where namespaces are declared."""
    child = maker.only_child(root)
    if child is None or node.tag != child[1].name or node.items():
        raise LayoutError
    key, reader = child[0], maker.make(child[1], end)

    def read(text: str, place: int) -> object:
        value = reader(text, place)
        return value if value is ABSENT else {key: value}

    return read


def _namer(node: etree._Element, text: str) -> NameOf:
    """How names are written below `node`: of a namespace's prefixes, the one with which `text` has it."""
    prefixes = node.nsmap

    def name_of(name: str) -> str | None:
        namespace, local = split(name)
        if not namespace:
            return local if None not in prefixes else None
        ways = [f"{prefix}:{local}" if prefix else local for prefix, uri in prefixes.items() if uri == namespace]
        return next((way for way in ways if f"<{way}>" in text), ways[0] if ways else None)

    return name_of
