"""XML to JSON by xmltodict's conventions, in one pass of expat, without DTDs or external entities.

The values are those of ``xmltodict.parse(body, force_list=…)``: ``@name`` for an attribute, ``#text`` for text beside
attributes or elements, an array for repeated elements, null for empty ones; comments and white space around text are
dropped. Own code: xmltodict takes twice as long (10 items: 126 µs against 60 µs), accepts DOCTYPE and has no limit
on depth; the tests compare the two.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Collection
from typing import Any
from xml.parsers import expat

import orjson

from bridge.api import XmlError, misnamed

#: Levels of elements. A level can become two of JSON (object, array), and JSON readers have limits of their own.
MAX_DEPTH = 120

#: Documents of `LARGE` bytes or more are read in slices.
LARGE = 1024 * 1024
SLICE = 128 * 1024
#: Of a large document: different names in all, and in the open elements.
MAX_NAMES = 100_000

_DECLARED = re.compile(rb"\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]*)[\"']")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
#: Encodings that expat supports, by their names. ASCII is read as UTF-8: servers often send more than they declare.
NATIVE = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "iso-8859-1": "iso-8859-1"}


def declared_charset(body: bytes, charset: str) -> str:
    """The encoding of a document without a byte order mark, as it is named."""
    if charset:
        return charset.lower()
    match = _DECLARED.match(body[:200])
    return match[1].decode("ascii").lower() if match else "utf-8"


def _source(body: bytes, charset: str) -> tuple[bytes, str | None]:
    """The bytes and encoding for expat. A byte order mark takes precedence over `charset`, and that over the XML
    declaration (RFC 7303, section 3).

    :raises bridge.api.XmlError: the encoding is unknown, or the document is in another one.
    """
    if body.startswith(_BOMS):
        return body, None
    name = declared_charset(body, charset)
    if name.startswith("utf-16"):
        if b"\0" not in body[:4]:  # expat would read it as UTF-8 without a word
            raise XmlError(f"it names the encoding {name} and is in another one")
        return body, None
    if misnamed(body, name):
        raise XmlError(f"it names the encoding {name} and is in UTF-8")
    if name in NATIVE:
        return body, NATIVE[name]
    try:
        return _as_utf8(body, name), "utf-8"
    except LookupError:
        raise XmlError(f"its encoding {name!r} is not known") from None
    except UnicodeError:
        raise XmlError(f"it is not in {name}, as it says it is") from None


def _as_utf8(body: bytes, charset: str) -> bytes:
    """:raises LookupError: the charset is unknown.
    :raises UnicodeError: the body isn't in this charset.
    """
    # In slices: some decoders are slow, and other threads must run.
    with io.TextIOWrapper(io.BytesIO(body), charset, "strict", newline="") as text:
        return b"".join(piece.encode() for piece in iter(lambda: text.read(SLICE), ""))


def _no_doctype(*_: object) -> None:
    raise XmlError("it carries a DOCTYPE, which is refused")


def decode(body: bytes, *, charset: str = "", force_list: Collection[str] = frozenset()) -> dict[str, Any]:
    """The document `body` as ``{root name: value}``. Names in `force_list` always get arrays.

    `charset` is the content type's parameter.

    :raises bridge.api.XmlError: invalid XML, a DOCTYPE, or more than `MAX_DEPTH` levels.
    """
    return _decode(body, charset, force_list, large=False)


def to_json(body: bytes, *, charset: str = "", force_list: Collection[str] = frozenset()) -> bytes:
    """As `decode`, in JSON. The values of a large document are written as JSON after each slice, so that memory use
    stays close to the size of the document and its JSON.

    :raises bridge.api.XmlError: as `decode`; or a large document has more than `MAX_NAMES` names.
    """
    return orjson.dumps(_decode(body, charset, force_list, large=len(body) >= LARGE))


def _decode(body: bytes, charset: str, force_list: Collection[str], *, large: bool) -> dict[str, Any]:
    """:param large: values become `orjson.Fragment` after each slice, and long texts at once."""
    # Closures over a few names are the fastest handlers in CPython.
    outer: list[tuple[dict[str, Any] | None, list[str]]] = []
    item: dict[str, Any] | None = None
    pieces: list[str] = []
    max_pieces = _MANY if large else sys.maxsize

    def start(_name: str, attributes: list[str]) -> None:
        nonlocal item, pieces
        if len(outer) == MAX_DEPTH:
            raise XmlError(f"it is nested deeper than {MAX_DEPTH} levels")
        outer.append((item, pieces))
        item, pieces = None, []
        if attributes:
            pairs = iter(attributes)
            item = {"@" + key: value for key, value in zip(pairs, pairs, strict=True)}

    def end(name: str) -> None:
        nonlocal item, pieces
        value: Any = None
        if pieces:
            value = "".join(pieces).strip() or None if len(pieces) <= max_pieces else _long(pieces)
        if item is not None:
            if value is not None:
                item["#text"] = value
            value = item
        item, pieces = outer.pop()
        if item is None:
            item = {name: [value] if name in force_list else value}
        elif name not in item:
            item[name] = [value] if name in force_list else value
        elif type(before := item[name]) is list:
            before.append(value)
        else:
            item[name] = [before, value]

    def text(piece: str) -> None:
        pieces.append(piece)

    names: dict[str, str] = {}
    data, encoding = _source(body, charset)
    parser = expat.ParserCreate(encoding, intern=names)
    parser.ordered_attributes = parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    run_parser(parser, data, (lambda: _pack(outer, item, pieces, names)) if large else None)
    assert item is not None
    return item


#: A text of more pieces than this, about a megabyte, is written as JSON piece by piece.
_MANY = 100
_SHORT = 4096
#: Bytes of a slice; twice the size up to which a tag with its attributes is read.
_MAX_MARK = 8 * 1024 * 1024


def _long(pieces: list[str]) -> orjson.Fragment | None:
    """The JSON of a long text, from its pieces. As one str, a single rare character would cost four bytes for each."""
    first, last = 0, len(pieces) - 1
    while first <= last and (not pieces[first] or pieces[first].isspace()):
        first += 1
    if first > last:
        return None
    while not pieces[last] or pieces[last].isspace():
        last -= 1
    pieces[first] = pieces[first].lstrip()
    pieces[last] = pieces[last].rstrip()
    return orjson.Fragment(b'"%b"' % b"".join(orjson.dumps(piece)[1:-1] for piece in pieces[first : last + 1]))


def _join(pieces: list[str]) -> None:
    """Join the last short pieces into one."""
    start = len(pieces)
    while start and len(pieces[start - 1]) < _SHORT:
        start -= 1
    if start < len(pieces) - 1:
        pieces[start:] = ["".join(pieces[start:])]


def _pack(
    outer: list[tuple[dict[str, Any] | None, list[str]]],
    item: dict[str, Any] | None,
    pieces: list[str],
    names: dict[str, str],
) -> None:
    """Write the values of all open elements as JSON."""
    space = MAX_NAMES - len(names)
    for texts in (*(texts for _, texts in outer), pieces):
        _join(texts)
    for element in (*(element for element, _ in outer), item):
        if element is not None:
            _pack_values(element)
            space -= len(element)
    if space < 0:
        raise XmlError(f"it has more than {MAX_NAMES} different names, which is too many in a document of its size")


def _pack_values(item: dict[str, Any]) -> None:
    """Write the values of an incomplete object as JSON. In an array, one fragment stands for many items."""
    for key, value in item.items():
        kind = value.__class__
        if kind is list:
            start = len(value)
            while start and value[start - 1].__class__ is not orjson.Fragment:
                start -= 1
            if len(value) - start > 1:
                value[start:] = [orjson.Fragment(orjson.dumps(value[start:])[1:-1])]
        elif kind is dict:
            item[key] = orjson.Fragment(orjson.dumps(value))


def check(body: bytes, *, charset: str = "") -> None:
    """Checks that `body` is a well-formed document.

    :raises bridge.api.XmlError: invalid XML, or a DOCTYPE.
    """
    data, encoding = _source(body, charset)
    run_parser(expat.ParserCreate(encoding), data)


def run_parser(parser: expat.XMLParserType, data: bytes, after_slice: Callable[[], None] | None = None) -> None:
    """Parse `data`, in slices if it is large; `after_slice` is called after each.

    :raises bridge.api.XmlError: it is not well-formed, or has a DOCTYPE.
    """
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        if len(data) < LARGE:
            parser.Parse(data, True)
            return
        at, size = 0, SLICE
        while at < len(data):
            parser.Parse(data[at : at + size], False)
            if after_slice is not None:
                after_slice()
            # Older expats parse an incomplete tag again with each slice; doubling the slice limits the work.
            size, at = (2 * size if parser.CurrentByteIndex < at else SLICE), at + size
            if size > _MAX_MARK:
                raise XmlError(f"it has a tag or a comment of more than {_MAX_MARK // 2} bytes")
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise XmlError(f"it is not well-formed XML: {expat.ErrorString(error.code)}, {place}") from None
