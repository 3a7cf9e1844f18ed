"""JSON and XML as they come from outside, parsed under limits. Every parse of foreign bytes goes through here.

JSON (RFC 8259): depth is bounded, and so is the memory that the values take; NaN and Infinity literals and lone
surrogates are refused; a UTF-8 byte order mark is skipped (section 8.1 leaves that to the reader); of a name that
stands twice in one object the last value counts (section 4 leaves that open), and only that one is ever sent on. With
``exact`` every digit of a number is kept (`int` of up to 4,300 digits, `Literal`, a `decimal.Decimal`, for the rest).
XML 1.0: any DOCTYPE is refused, so no entity of the sender's
making is ever expanded; depth is bounded by libxml2 (256); nothing is fetched, from the network or from disk.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NoReturn

import msgspec
from lxml import etree

from bridge.errors import InvalidBody
from bridge.payload.json_text import MAX_JSON_DEPTH, SLICED, check_json, read_in_slices

__all__ = [
    "MAX_JSON_DEPTH",
    "Literal",
    "PrefixError",
    "XmlError",
    "elements_of_beginning",
    "parse_json",
    "parse_xml",
    "xml_parser",
]


class Literal(Decimal):
    """A JSON number with a fraction or an exponent. `str` gives it as it was written: ``1.0E10`` stays ``1.0E10``."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> Literal:
        literal = super().__new__(cls, text)
        literal._text = text
        return literal

    def __str__(self) -> str:
        return self._text


_exact = msgspec.json.Decoder(float_hook=Literal)
_plain = msgspec.json.Decoder()
_BOM = b"\xef\xbb\xbf"


def parse_json(body: bytes, *, exact: bool = True) -> Any:
    """`body` as Python values. With `exact`, numbers with a fraction or exponent are `Literal`, else `float`.

    :raises bridge.api.InvalidBody: no JSON, no UTF-8, or deeper than `MAX_JSON_DEPTH`.
    :raises bridge.api.TooLarge: it holds too many values (`check_json`).
    """
    if body.startswith(_BOM):
        body = body[3:]
    check_json(body, exact=exact)
    decode = (_exact if exact else _plain).decode
    try:
        return decode(body) if len(body) <= SLICED else read_in_slices(body, decode)
    except msgspec.DecodeError as error:
        raise InvalidBody([("", f"it is not JSON: {error}")], "The body is not valid JSON.") from None
    except UnicodeDecodeError:
        raise InvalidBody([("", "it is not JSON in UTF-8")], "The body is not valid JSON.") from None
    except ArithmeticError:  # an exponent beyond even Decimal's
        raise InvalidBody([("", "a number in it is out of range")]) from None


class XmlError(ValueError):
    """The bytes are not XML that the gateway reads; the message says why, for people."""


class PrefixError(XmlError):
    """A namespace prefix is not declared; all else is well-formed up to there."""


class _Nothing(etree.Resolver):
    """Refuses whatever a DOCTYPE wants loaded, before it is opened."""

    def resolve(self, system_url: str, public_id: str, *_context: object) -> NoReturn:
        raise XmlError(_DOCTYPE)


#: What libxml2 lets a single text be long unless it is told that the document is a large one.
_TEXT_LIMIT = 10_000_000


def xml_parser(*, huge: bool = False) -> etree.XMLParser:
    """A parser with every door shut: no entities, no DTD, no network, no files, bounded depth and text.

    With `huge`, a text may be longer than ten million characters and elements 2,048 deep: for bodies whose size others
    have bounded.

    Parsers may be kept and used again, by one thread at a time.
    """
    parser = etree.XMLParser(**_doors(huge=huge), remove_pis=True)
    parser.resolvers.add(_Nothing())
    return parser


def _doors(*, huge: bool) -> dict[str, Any]:
    """What every parser of foreign bytes is made with; the resolver comes beside it."""
    # `collect_ids` must be off, or a document with an xml:id that stands twice is turned away. But that flag lives in
    # the same word of libxml2 as "load the DTD", so an external subset or parameter entity is then read from disk
    # in spite of `load_dtd=False`. Hence the resolver.
    return {
        "resolve_entities": False,
        "no_network": True,
        "load_dtd": False,
        "huge_tree": huge,
        "remove_comments": True,
        "collect_ids": False,
    }


class _Parsers(threading.local):
    """One for each thread: a parser that is shared lets one thread wait until another has read its document."""

    def __init__(self) -> None:
        self.usual = xml_parser()


_kept = _Parsers()


def parse_xml(body: bytes, parser: etree.XMLParser | None = None) -> etree._Element:
    """The root element of `body`; comments and processing instructions are dropped.

    :raises XmlError: not well-formed, too deep, or with a DOCTYPE.
    """
    try:
        root = etree.fromstring(body, parser or (_kept.usual if len(body) < _TEXT_LIMIT else xml_parser(huge=True)))
    except etree.XMLSyntaxError as error:
        raise _kind(error)(_syntax(error.msg)) from None
    except XmlError:
        raise
    except ValueError as error:
        raise XmlError(f"it is not XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlError(_DOCTYPE)
    return root


def elements_of_beginning(
    beginning: bytes, tags: Sequence[str], encoding: str | None = None
) -> Sequence[etree._Element]:
    """The elements with one of `tags` that begin in the first bytes of a document, with as much of them as is there.

    :param encoding: instead of the one that the document itself shows.
    :raises XmlError: as `parse_xml`, for the part that is there.
    :raises LookupError: the encoding is unknown.
    """
    doors = _doors(huge=False)
    parser = etree.XMLPullParser(events=("start",), tag=tags, encoding=encoding, remove_pis=True, **doors)
    parser.resolvers.add(_Nothing())
    with _told(0):
        parser.feed(beginning)
        _refuse_errors(parser)
    found = [element for _, element in parser.read_events() if isinstance(element, etree._Element)]
    if found and found[0].getroottree().docinfo.internalDTD is not None:
        raise XmlError(_DOCTYPE)
    return found


_DOCTYPE = "it carries a DOCTYPE, which is refused"


def _kind(error: etree.XMLSyntaxError) -> type[XmlError]:
    code = error.code  # type: ignore[attr-defined]  # the stubs leave it out
    return PrefixError if code == etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE else XmlError


def _syntax(message: str) -> str:
    return f"it is not well-formed XML: {' '.join(message.split())}"


# --- large documents ---------------------------------------------------------------------------------------------


class Unsliced(Exception):
    """The document can't be read by slices; `parse_xml` can read it, or says what is wrong with it."""


#: A processing instruction of our own, put before the root. lxml gives out no element of a tree that is still being
#: parsed without an event, and an event for each element would take the GIL for each, in the middle of the parser's
#: work. This one event gives a node beside which the root will stand.
_ANCHOR = b"<?_?>"
#: How many bytes may stand before the root. A DOCTYPE, which nothing bounds, is found behind it.
_MAX_PROLOG = 64 * 1024
#: How many processing instructions may stand beside the root: unlike `xml_parser`'s, this tree keeps them.
_MAX_INSTRUCTIONS = 100
_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?xml[ \t\r\n][^>]{0,500}\?>)?")
_COLUMN = re.compile(r"(line (\d+), column )(\d+)")


def xml_slices(body: bytes, size: int = 64 * 1024) -> Iterator[etree._Element]:
    """The root element of `body` after each `size` bytes of it, while the tree below grows; the last time it is whole.

    Between two of them, children of any element may be removed except its last one: that one, and the text behind it,
    may still be growing. So a document that is taken away as it is read needs memory for little more than its bytes.
    Comments are dropped. The parser works without the GIL, and no step of it is longer than a slice.

    :raises XmlError: as `parse_xml`; what was seen by then was well-formed up to there.
    :raises Unsliced: `body` is in no kin of ASCII, has processing instructions inside of its root, or a long prolog.
    """
    # `remove_pis` would drop the anchor, too.
    parser = etree.XMLPullParser(events=("pi",), remove_pis=False, **_doors(huge=len(body) >= _TEXT_LIMIT))
    parser.resolvers.add(_Nothing())
    declaration = _DECLARATION.match(body)
    start = declaration.end() if declaration is not None else 0
    if b"\0" in body[: start + 4]:
        raise Unsliced
    line = body.count(b"\n", 0, start) + 1
    anchor: etree._Element | None = None
    root: etree._Element | None = None
    instructions = 0
    with _told(line):
        parser.feed(body[:start] + _ANCHOR)
    for at in range(start, len(body), size):
        with _told(line):
            parser.feed(body[at : at + size])
            _refuse_errors(parser)
        for _, node in parser.read_events():
            assert isinstance(node, etree._Element)
            anchor, instructions = anchor if anchor is not None else node, instructions + 1
            if node.getparent() is not None or instructions > _MAX_INSTRUCTIONS:
                raise Unsliced
        if root is None:
            root = _root_behind(anchor)
            if root is None:
                if at + size - start < _MAX_PROLOG:
                    continue
                raise Unsliced
            if root.getroottree().docinfo.internalDTD is not None:
                raise XmlError(_DOCTYPE)
        yield root
    with _told(line):
        parser.close()
    root = root if root is not None else _root_behind(anchor)
    assert root is not None  # or it would not have been well-formed
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlError(_DOCTYPE)
    yield root


_UNDECLARED = (etree.ErrorTypes.ERR_UNDECLARED_ENTITY, etree.ErrorTypes.WAR_UNDECLARED_ENTITY)


def _refuse_errors(parser: etree.XMLPullParser) -> None:
    """lxml forgives an undefined entity to a parser that resolves none. It takes it for the end of the document, and
    what is fed after it for another one."""
    for error in parser.feed_error_log.filter_types(_UNDECLARED):
        where = f"line {error.line}, column {error.column}"
        raise etree.XMLSyntaxError(f"{error.message}, {where}", error.type, error.line, error.column)  # type: ignore[call-arg]  # the stubs leave them out


def _root_behind(node: etree._Element | None) -> etree._Element | None:
    """The root, once it has begun; other instructions may stand between it and `node`."""
    while node is not None and _is_instruction(node):
        node = node.getnext()
    return node


def _is_instruction(node: etree._Element) -> bool:
    tag: object = node.tag  # a string, the stubs say
    return not isinstance(tag, str)


@contextmanager
def _told(anchored: int) -> Iterator[None]:
    """Errors of the parser as `XmlError`, with columns as they are without the anchor in line `anchored`."""
    try:
        yield
    except etree.XMLSyntaxError as error:

        def moved(match: re.Match[str]) -> str:
            return match[0] if int(match[2]) != anchored else f"{match[1]}{int(match[3]) - len(_ANCHOR)}"

        raise _kind(error)(_syntax(_COLUMN.sub(moved, error.msg))) from None
    except XmlError:
        raise
    except ValueError as error:
        raise XmlError(f"it is not XML: {error}") from None
