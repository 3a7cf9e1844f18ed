"""JSON and XML as they come from outside, parsed under limits. Every parse of foreign bytes goes through here.

JSON (RFC 8259): depth is bounded, and so is the memory that the values take; NaN and Infinity literals and lone
surrogates are refused; a UTF-8 byte order mark is skipped (section 8.1 leaves that to the reader); of a name that
stands twice in one object the last value counts (section 4 leaves that open), and only that one is ever sent on. With
``exact`` every digit of a number is kept (`int` of up to 4,300 digits, `Literal`, a `decimal.Decimal`, for the rest).
XML 1.0: any DOCTYPE is refused, so no entity of the sender's
making is ever expanded; depth is bounded by libxml2 (256); nothing is fetched, from the network or from disk.
"""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any, NoReturn

import msgspec
from lxml import etree

from bridge.errors import InvalidBody
from bridge.jsontext import MAX_JSON_DEPTH, SLICED, check_json, read_in_slices

__all__ = ["MAX_JSON_DEPTH", "Literal", "XmlError", "parse_json", "parse_xml", "xml_parser"]


class Literal(Decimal):
    """A JSON number with a fraction or an exponent. `str` gives it as it was written: ``1.0E10`` stays ``1.0E10``."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> Literal:
        made = super().__new__(cls, text)
        made._text = text
        return made

    def __str__(self) -> str:
        return self._text


_exact = msgspec.json.Decoder(float_hook=Literal)
_plain = msgspec.json.Decoder()
_BOM = b"\xef\xbb\xbf"


def parse_json(body: bytes, *, exact: bool = True) -> Any:
    """`body` as Python values. With `exact`, numbers with a fraction or exponent are `Literal`, else `float`.

    :raises bridge.InvalidBody: no JSON, no UTF-8, or deeper than `MAX_JSON_DEPTH`.
    :raises bridge.TooLarge: it holds too many values (`check_json`).
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


class _Nothing(etree.Resolver):
    """Refuses whatever a DOCTYPE wants loaded, before it is opened."""

    def resolve(self, system_url: str, public_id: str, *_context: object) -> NoReturn:
        raise XmlError("it carries a DOCTYPE, which is refused")


#: What libxml2 lets a single text be long unless it is told that the document is a large one.
_TEXT_LIMIT = 10_000_000


def xml_parser(*, huge: bool = False) -> etree.XMLParser:
    """A parser with every door shut: no entities, no DTD, no network, no files, bounded depth and text.

    With `huge`, a text may be longer than ten million characters and elements 2,048 deep: for bodies whose size others
    have bounded.

    Parsers may be kept and used again, by one thread at a time.
    """
    # `collect_ids` must be off, or a document with an xml:id that stands twice is turned away. But that flag lives in
    # the same word of libxml2 as "load the DTD", so an external subset or parameter entity is then read from disk
    # in spite of `load_dtd=False`. Hence the resolver.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=huge,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    parser.resolvers.add(_Nothing())
    return parser


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
        raise XmlError(f"it is not well-formed XML: {' '.join(error.msg.split())}") from None
    except XmlError:
        raise
    except ValueError as error:
        raise XmlError(f"it is not XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlError("it carries a DOCTYPE, which is refused")
    return root
