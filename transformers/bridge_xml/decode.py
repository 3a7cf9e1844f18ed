"""XML to JSON by xmltodict's conventions, in one pass of expat, with the doors shut.

The values are those of ``xmltodict.parse(body, force_list=…)``: ``@name`` for an attribute, ``#text`` for text beside
attributes or elements, an array where an element repeats, null where one is empty; white space around text goes, and
so do comments. Own code, since xmltodict takes twice as long (10 items: 126 µs against 60 µs) and has neither a
refusal of DOCTYPE nor a bound on depth; the tests hold the two against each other.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection
from typing import Any
from xml.parsers import expat

import orjson

from bridge.api import XmlError

#: Levels of elements. A level can make two of JSON (object, array), and readers of JSON have bounds of their own.
MAX_DEPTH = 120

#: Documents of that many bytes or more are read by slices of so many.
LARGE = 1024 * 1024
SLICE = 128 * 1024
#: How many different names a large document may have, and how many of them the open elements.
MAX_NAMES = 100_000

_DECLARED = re.compile(rb"\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]*)[\"']")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# What expat finds out by itself; ASCII is read as its superset, since servers say us-ascii from habit.
_NATIVE = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "iso-8859-1": "iso-8859-1"}


def _source(body: bytes, charset: str) -> tuple[bytes, str | None]:
    """The bytes and encoding to give to expat. A byte order mark goes before `charset`, and that before what the
    document says of itself (RFC 7303, section 3)."""
    if body.startswith(_BOMS):
        return body, None
    name = charset.lower()
    if not name:
        found = _DECLARED.match(body[:200])
        name = found[1].decode("ascii").lower() if found else "utf-8"
    if name.startswith("utf-16"):
        return body, None
    if name in _NATIVE:
        return body, _NATIVE[name]
    try:
        return _as_utf8(body, name), "utf-8"
    except LookupError:
        raise XmlError(f"its encoding {name!r} is not known") from None
    except UnicodeError:
        raise XmlError(f"it is not in {name}, as it says it is") from None


def _as_utf8(body: bytes, charset: str) -> bytes:
    """:raises LookupError: there is no such charset.
    :raises UnicodeError: the body isn't in it.
    """
    # By slices: some decoders take their time, and keep all else waiting.
    with io.TextIOWrapper(io.BytesIO(body), charset, "strict", newline="") as text:
        return b"".join(piece.encode() for piece in iter(lambda: text.read(SLICE), ""))


def _no_doctype(*_: object) -> None:
    raise XmlError("it carries a DOCTYPE, which is refused")


def decode(body: bytes, *, charset: str = "", force_list: Collection[str] = frozenset()) -> dict[str, Any]:
    """The document `body` as ``{root name: value}``. Names in `force_list` always get arrays.

    `charset` is the content type's parameter.

    :raises bridge.api.XmlError: no XML, a DOCTYPE, or more than `MAX_DEPTH` levels.
    """
    # Closures over a few names are the quickest handlers that CPython has.
    outer: list[tuple[dict[str, Any] | None, list[str]]] = []
    item: dict[str, Any] | None = None
    pieces: list[str] = []

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
        value: Any = "".join(pieces).strip() or None if pieces else None
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

    data, encoding = _source(body, charset)
    _run(_parser(encoding, start, end, text), data)
    assert item is not None
    return item


def _parser(
    encoding: str | None,
    start: Callable[[str, list[str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
    names: dict[str, str] | None = None,
) -> expat.XMLParserType:
    parser = expat.ParserCreate(encoding, intern=names) if names is not None else expat.ParserCreate(encoding)
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    return parser


def to_json(body: bytes, *, charset: str = "", force_list: Collection[str] = frozenset()) -> bytes:
    """As `decode`, in JSON. What has been read of a large document is JSON before the next slice of it is parsed, so
    that it takes little more memory than the document and its JSON have bytes.

    :raises bridge.api.XmlError: as `decode`; or a large document has more than `MAX_NAMES` names.
    """
    if len(body) < LARGE:
        return orjson.dumps(decode(body, charset=charset, force_list=force_list))
    return _large(body, charset, force_list)


def _large(body: bytes, charset: str, force_list: Collection[str]) -> bytes:
    # As in `decode`, but for long texts, and for what is packed between the slices.
    outer: list[tuple[dict[str, Any] | None, list[str]]] = []
    item: dict[str, Any] | None = None
    pieces: list[str] = []

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
            value = _long(pieces) if len(pieces) > _MANY else "".join(pieces).strip() or None
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

    def pack() -> None:
        left = MAX_NAMES - len(names)
        for texts in (*(held for _, held in outer), pieces):
            _join(texts)
        for each in (*(held for held, _ in outer), item):
            if each is not None:
                _pack(each)
                left -= len(each)
        if left < 0:
            raise XmlError(f"it has more than {MAX_NAMES} different names, which is too many in a document of its size")

    names: dict[str, str] = {}
    data, encoding = _source(body, charset)
    del body
    _run(_parser(encoding, start, end, text, names), data, pack)
    del data
    assert item is not None
    return orjson.dumps(item)


#: A text of more pieces than that, some megabyte, is written as JSON piece by piece.
_MANY = 100
_SHORT = 4096
#: Twice the size of a tag, with its attributes, that no slice may exceed.
_MAX_MARK = 8 * 1024 * 1024


def _long(pieces: list[str]) -> orjson.Fragment | None:
    """The JSON of a long text, from its pieces. Joined, one character of a rare script could make four of each byte."""
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
    """Make one of the many short pieces that stand between elements."""
    start = len(pieces)
    while start and len(pieces[start - 1]) < _SHORT:
        start -= 1
    if start < len(pieces) - 1:
        pieces[start:] = ["".join(pieces[start:])]


def _pack(item: dict[str, Any]) -> None:
    """Make JSON of the values in an object that is still growing. What is packed in an array stands for many items."""
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
    """Only looks whether `body` is a document.

    :raises bridge.api.XmlError: no XML, or a DOCTYPE.
    """
    data, encoding = _source(body, charset)
    _run(expat.ParserCreate(encoding), data)


def _run(parser: expat.XMLParserType, data: bytes, between: Callable[[], None] = lambda: None) -> None:
    """Parse `data`, by slices if there is much of it; `between` is called after each."""
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        if len(data) < LARGE:
            parser.Parse(data, True)
            return
        at, size = 0, SLICE
        while at < len(data):
            parser.Parse(data[at : at + size], False)
            between()
            # Older expats begin a mark that has no end yet anew with each slice; twice as much each time bounds that.
            size, at = (2 * size if parser.CurrentByteIndex < at else SLICE), at + size
            if size > _MAX_MARK:
                raise XmlError(f"it has a tag or a comment of more than {_MAX_MARK // 2} bytes")
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset + 1}"
        raise XmlError(f"it is not well-formed XML: {expat.ErrorString(error.code)}, {where}") from None
