"""How a service writes its replies: the text around the values, and the patterns made from it.

The first reply without a warning shows the service's prefixes. Its start, up to the content of the body's element, is
kept; a later reply with the same start is read by `bridge_soap.decode.pattern`. Any other reply is parsed. So this
changes the cost of a reply, not its value.
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
from bridge_soap.decode.pattern import NameOf, PatternMaker, PatternReader, TemplateError
from bridge_soap.message.envelope import is_utf8, names_other, read_message
from bridge_soap.names import DRAFTS, split

#: The limit on attempts to learn, and on known content types, per operation: some services write each reply
#: differently.
_TRIES = 8
_MAX_SKIP = 64
#: Large replies that are read in this process, so that something may be learned from them, per operation.
_MAX_HERE = 8

#: A rare character makes each character of a Python string four bytes.
_WIDE = 2.5
#: The bytes of a reply that are examined: its start, and its first elements.
_HEAD = 64 * 1024

_GAP = r"[ \t\r\n]*+"
#: From the declaration (XML 1.0, section 2.8) to the end of the third start tag.
_START = re.compile(
    r"(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf-8)[\"'])?(?: standalone=[\"'](?:yes|no)[\"'])? ?\?>"
    rf"{_GAP})?<([^<>\s!?/]++)[^<>]*+(?<!/)>{_GAP}<([^<>\s!?/]++)[^<>]*+(?<!/)>{_GAP}<([^<>\s!?/]++)[^<>]*+(?<!/)>"
)
#: A fourth one, if it has attributes.
_INNER = re.compile(rf"{_GAP}<([^<>\s!?/]++)\s[^<>]*+(?<!/)>")
_LOOSE = re.compile(rf"{_GAP[:-2]}+<")
#: These two are not allowed in XML, but Python's decoder accepts them.
_NO_CHARACTERS = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
#: Namespaces of drafts of XML Schema are replaced by the final one, so such replies are parsed.
_DRAFTED = "/XMLSchema"
assert all(_DRAFTED in draft for draft in DRAFTS)


@dataclass(slots=True)
class ReplyTemplate:
    """One way of writing replies.

    :ivar start: everything before the values, the same in each reply; `skip` is its length in characters.
    :ivar ascii: the start names an encoding other than UTF-8, so only ASCII is read.
    :ivar make: makes `read`, or with another number, a reader that packs arrays (`PatternMaker`).
    :ivar read_large: the reader that packs, once it is made.
    :ivar missed: consecutive replies with this start that did not match; the next `left` replies are parsed at once.
    """

    start: bytes
    skip: int
    read: PatternReader
    make: Callable[[int], PatternReader]
    ascii: bool = False
    read_large: PatternReader | None = None
    missed: int = 0
    left: int = 0


class ReplyTemplates:
    """The templates of one operation's replies, whose body has one element, `root`."""

    def __init__(self, decoders: Decoders, root: Element) -> None:
        self._decoders, self._root = decoders, root
        self._templates: list[ReplyTemplate] = []
        self._types: set[str] = set()
        self._tries = _TRIES
        self._here = _MAX_HERE

    def read(self, body: bytes, content_type: str, step: int = 0) -> object:
        """The value of a reply's body; ABSENT if it must be parsed. With a `step`, arrays are packed
        (`PatternMaker`)."""
        for template in self._templates:
            if body.startswith(template.start):
                break
        else:
            return ABSENT
        if template.left:
            template.left -= 1
            return ABSENT
        if content_type not in self._types:
            return ABSENT
        value = _read(template, body, self._reader(template, step) if step else template.read, wide=not step)
        if value is ABSENT:
            template.missed += 1
            template.left = min(template.missed, _MAX_SKIP)
        else:
            template.missed = 0
        return value

    def settled(self, body: bytes, content_type: str, *, reads: bool) -> bool:
        """Whether a large reply changes nothing here that later ones need: it is written as one before it, or nothing
        more is learned.

        :param reads: `read` is called for it, with a step, before `learn`.
        """
        if not self._tries or not self._here:
            return True
        template = next((each for each in self._templates if body.startswith(each.start)), None)
        known = template is not None and content_type in self._types and not template.missed and not template.left
        if known and template is not None and (not reads or template.read_large is not None):
            return True
        self._here -= 1
        return False

    def _reader(self, template: ReplyTemplate, step: int) -> PatternReader:
        """The reader of large replies."""
        if template.read_large is None:
            with self._decoders.lock:
                template.read_large = template.make(step)
        return template.read_large

    def learn(self, body: bytes, content_type: str) -> None:
        """Learn from a parsed reply without warnings."""
        if not self._tries:
            return
        match = next((each for each in self._templates if body.startswith(each.start)), None)
        fresh = match is None or match.missed > 1  # short and long replies may have different templates
        if not fresh and content_type in self._types:
            return
        self._tries -= 1
        if not is_utf8(content_type):
            return
        if fresh:
            with self._decoders.lock:
                try:
                    template = _template(_head(body), content_type, self._decoders, self._root)
                except (TemplateError, UnicodeDecodeError, XmlError, BindError):
                    return
            others = [each for each in self._templates if each.start != template.start]
            self._templates = sorted([*others, template], key=lambda each: -len(each.start))  # the most specific first
        self._types.add(content_type)


def _read(template: ReplyTemplate, body: bytes, read: PatternReader, *, wide: bool) -> object:
    """Without `wide`, texts that take far more memory in Python than their bytes are left to the parser."""
    if template.ascii and not body.isascii():
        return ABSENT
    try:
        text = body.decode()
        if not wide and sys.getsizeof(text) > _WIDE * len(body):
            return ABSENT
        if text.find(_DRAFTED, template.skip) >= 0:
            return ABSENT
        if not text.isascii() and any(each in body for each in _NO_CHARACTERS):
            return ABSENT
        return read(text, template.skip)
    except (EscapeError, DatatypeError, UnicodeDecodeError):
        return ABSENT


def _head(body: bytes) -> bytes:
    """The examined start of a reply, ending with a complete character."""
    return body if len(body) <= _HEAD else body[:_HEAD].decode(errors="ignore").encode()


def _template(body: bytes, content_type: str, decoders: Decoders, root: Element) -> ReplyTemplate:
    """The template of a reply.

    :raises TemplateError: there are no patterns for it.
    :raises bridge.api.XmlError: its start is not XML.
    """
    text = body.decode()
    match = _START.match(text)
    if match is None:
        raise TemplateError
    inner = _INNER.match(text, match.end())
    start, names = match[0], [match[3], match[2], match[1]]
    if inner is not None:
        start, names = start + inner[0], [inner[1], *names]
    if any(draft in start for draft in DRAFTS):
        raise TemplateError
    # The parser interprets the start: with its tags closed, it is a complete document.
    message = read_message((start + "".join(f"</{name}>" for name in names)).encode(), content_type)
    node = message.body[0] if len(message.body) else None
    if node is None or node.tag != root.name or node.items() or message.header is not None:
        raise TemplateError
    loose = _LOOSE.match(text, len(start)) is not None
    end = re.escape(f"</{names[0]}>") + "".join(_GAP + re.escape(f"</{name}>") for name in names[1:]) + _GAP + r"\Z"
    name_of = _namer(node if inner is None else node[0], text)

    ways: dict[str, str | None] = {}  # so that the template does not keep the reply's text

    def way_of(name: str) -> str | None:
        return ways[name] if name in ways else ways.setdefault(name, name_of(name))

    def make(step: int, way_of: NameOf = lambda name: ways[name]) -> PatternReader:
        maker = PatternMaker(decoders, way_of, loose=loose, step=step)
        return maker.make(root, end) if inner is None else _within(maker, node[0], root, end)

    return ReplyTemplate(start.encode(), len(start), make(0, way_of), make, names_other(body))


def _within(maker: PatternMaker, node: etree._Element, root: Element, end: str) -> PatternReader:
    """The reader of the content of `node`, the only child of `root`, which declares namespaces."""
    child = maker.only_child(root)
    if child is None or node.tag != child[1].name or node.items():
        raise TemplateError
    key, reader = child[0], maker.make(child[1], end)

    def read(text: str, place: int) -> object:
        value = reader(text, place)
        return value if value is ABSENT else {key: value}

    return read


def _namer(node: etree._Element, text: str) -> NameOf:
    """How names are written below `node`: of several prefixes for a namespace, the one that `text` uses."""
    prefixes = node.nsmap

    def name_of(name: str) -> str | None:
        namespace, local = split(name)
        if not namespace:
            return local if None not in prefixes else None
        ways = [f"{prefix}:{local}" if prefix else local for prefix, uri in prefixes.items() if uri == namespace]
        return next((way for way in ways if f"<{way}>" in text), ways[0] if ways else None)

    return name_of
