"""Documents that are not XML for a reason that loses little (XML 1.0, sections 2.2, 2.8, 4.1 and 4.3.3): read as UTF-8,
with one sentence for each repair. Only a document that a parser refused comes here, and a parser reads the result.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from html.entities import name2codepoint

__all__ = ["is_html", "misnamed", "repair_xml"]

#: Larger documents are not repaired.
MAX_REPAIRED = 16 * 1024 * 1024
_GZIP, _GZIP_FORMAT = b"\x1f\x8b", 31
#: What stands for a character that XML forbids.
REPLACEMENT = "\ufffd"

#: Charsets that services use. Python has others, which are not for text or very slow.
_ONE_BYTE = re.compile(
    r"iso[-_]?8859-\d\d?|latin-?\d|windows-125\d|cp(?:125\d|437|850|852|866)|ibm\d{3,4}|koi8-[ru]|mac-?roman"
)
_WIDE = re.compile(r"utf-?(?:16|32)(?:-?[lb]e)?|ucs-?[24]")
_OTHERS = re.compile(r"utf-?8|(?:us-)?ascii|cp\d{3,4}|gb2312|gbk|gb18030|big5|shift[-_]jis|euc-(?:jp|kr)")
_DECLARED = re.compile(rb"<\?xml[^>]{0,400}?\sencoding\s*=\s*[\"']?([A-Za-z][A-Za-z0-9._:-]{0,40})")
#: The encoding of a document by its first bytes (XML 1.0, appendix F).
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
    (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_WIDE_STARTS = tuple(mark for mark, name in _MARKS if name != "utf-8")

_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!doctype\s+html|<html[\s>/])", re.IGNORECASE)


def is_html(body: bytes) -> bool:
    """Whether `body` starts as an HTML page does."""
    return _HTML.match(body[:1024]) is not None


def misnamed(body: bytes, charset: str) -> bool:
    """Whether `body` is plainly not in `charset`, or not in the encoding that its XML declaration names.

    That is text in UTF-8 that is said to be in a charset of one byte for each character: other text is never valid
    UTF-8 by chance, as soon as it is more than ASCII. And it is a document in UTF-16 that is said to be in a charset
    without bytes of zero.
    """
    if body.startswith(_WIDE_STARTS):
        return bool(_narrow_name(body, charset))
    return _ONE_BYTE.fullmatch(charset.lower()) is not None and not body.isascii() and _is_utf8(body)


def _narrow_name(body: bytes, charset: str) -> str:
    """The encoding other than UTF-16 that a document in UTF-16 names: by its declaration, or by `charset`, which a byte
    order mark outranks (RFC 7303, section 3.2)."""
    match = _DECLARED.search(body[:1000].replace(b"\0", b""))
    names = [match[1].decode("ascii").lower()] if match is not None else []
    if charset and not body.startswith(_WIDE_MARKS):
        names.append(charset.lower())
    return next((name for name in names if not _WIDE.fullmatch(name.removeprefix("iso-10646-"))), "")


def _is_utf8(body: bytes) -> bool:
    try:
        for _ in _slices(body, "utf-8"):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _slices(body: bytes, name: str, errors: str = "strict") -> Iterator[str]:
    """`body` as text, piece by piece: some decoders are slow, and other threads must run.

    :raises LookupError: the encoding is unknown.
    :raises UnicodeError: the body is not in it.
    """
    decoder = codecs.getincrementaldecoder(name)(errors)
    for at in range(0, len(body), _SLICE):
        yield decoder.decode(body[at : at + _SLICE])
    yield decoder.decode(b"", final=True)


def repair_xml(body: bytes, charset: str = "") -> tuple[bytes, list[str]] | None:
    """`body` in UTF-8 without XML declaration, and a sentence for each repair; None if it can't be repaired.

    * The encoding is the first of the byte order mark's, the content type's `charset`, the declaration's and UTF-8 in
      which it is valid; if it names one and is in none of them, windows-1252.
    * What stands before an XML declaration, and control characters behind the document, are left out.
    * A character that XML forbids, as it is or as a reference, becomes U+FFFD. HTML's names of characters are known,
      and ``&`` that begins no reference stands for itself.
    * A document in gzip is decompressed.
    """
    if len(body) > MAX_REPAIRED:
        return None
    notes: list[str] = []
    if body.startswith(_GZIP):
        try:
            body = zlib.decompressobj(_GZIP_FORMAT).decompress(body, MAX_REPAIRED + 1)
        except zlib.error:
            return None
        if len(body) > MAX_REPAIRED:
            return None
        notes.append("it is compressed by gzip, which its header does not say")
    text = _text(body, charset.lower(), notes)
    if text is None:
        return None
    text = _characters(_References(_document(text, notes)).repair(notes), notes)
    return text.encode("utf-8", "replace"), notes


# --- the encoding ------------------------------------------------------------------------------------------------


def _text(body: bytes, charset: str, notes: list[str]) -> str | None:
    """`body` as text; None if it names no encoding and is not in UTF-8."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            text = _decoded(body, name)
            if text is not None:
                other = _narrow_name(body, charset) if body.startswith(_WIDE_STARTS) else ""
                if other:
                    notes.append(f"it names the encoding {other[:40]} and is in UTF-16")
                return text
    match = _DECLARED.search(body[:500])
    declared = match[1].decode("ascii").lower() if match is not None else ""
    named = [name for name in dict.fromkeys((charset, declared)) if name]
    for name in named:
        text = None if misnamed(body, name) else _decoded(body, name)
        if text is not None:
            return text
        notes.append(f"it names the encoding {name[:40]} and is in another one")
    text = _decoded(body, "utf-8")
    if text is not None:
        return text
    if not named:
        return None
    notes[-1] += "; it is read as windows-1252"
    return "".join(_slices(body, "cp1252", "replace"))


def _decoded(body: bytes, name: str) -> str | None:
    """`body` as text; None if it isn't in that encoding, or the name is unknown."""
    wide = _WIDE.fullmatch(name) is not None
    if not (wide or _ONE_BYTE.fullmatch(name) or _OTHERS.fullmatch(name)) or (wide and b"\0" not in body[:8]):
        return None
    try:
        return "".join(_slices(body, name))
    except (LookupError, UnicodeError):
        return None


# --- around the document -----------------------------------------------------------------------------------------

_PROLOG = 64 * 1024
_BEFORE = "\ufeff\0 \t\r\n\x0b\x0c"
_BEHIND = "\0\x1a\ufeff \t\r\n"
_DECLARATION = re.compile(r"<\?xml[ \t\r\n][^>]{0,500}?\?>")
#: How a message begins that a script printed, such as PHP's: as text, as HTML or as a comment.
_MESSAGE = re.compile(
    r"[^<]|<!--|<(?:b|br|center|code|div|em|font|h[1-6]|hr|i|li|p|pre|small|span|strong|table|tt|ul)[\s/>]",
    re.IGNORECASE,
)
_SOUND = re.compile(
    r"""<\?xml\s+version\s*=\s*(["'])1\.\d+\1(?:\s+encoding\s*=\s*(["'])[A-Za-z][A-Za-z0-9._-]*\2)?"""
    r"""(?:\s+standalone\s*=\s*(["'])(?:yes|no)\3)?\s*\?>"""
)


def _document(text: str, notes: list[str]) -> str:
    """The document without its declaration and without what stands around it."""
    marked = text.removeprefix("\ufeff")
    text = marked.lstrip(_BEFORE)
    if _MESSAGE.match(text):
        start = _declaration_behind(text)
        if start >= 0:
            notes.append("text stands before its XML declaration, and is left out")
            text = text[start:]
    elif len(text) < len(marked) and (text.startswith("<?xml") or marked[: len(marked) - len(text)].strip()):
        notes.append("blank lines or a byte order mark stand before its XML declaration")
    ending = text.rstrip(_BEHIND)
    if text[len(ending) :].strip():
        notes.append("control characters stand behind it, and are left out")
    match = _DECLARATION.match(ending)
    if match is None:
        return ending
    if _SOUND.fullmatch(match[0]) is None:
        notes.append("its XML declaration is not well-formed")
    return ending[match.end() :]


def _declaration_behind(text: str) -> int:
    """Where an XML declaration stands behind a message; -1 if there is none. One within a comment or a CDATA section is
    text."""
    sections, start = _Sections(text[: 2 * _PROLOG]), text.find("<?xml", 0, _PROLOG)
    while start >= 0:
        end = sections.end(start)
        if end is None:
            break
        start = text.find("<?xml", end, _PROLOG)
    return start


# --- characters --------------------------------------------------------------------------------------------------

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"&(?:#x0*([0-9A-Fa-f]{1,8})|#0*([0-9]{1,10})|([A-Za-z][A-Za-z0-9._-]{0,100}));")
_XML_NAMES = frozenset({"amp", "lt", "gt", "quot", "apos"})
_LAST = 0x10FFFF
#: References are repaired up to this number; a document with more stays broken.
_MAX_REPAIRS = 100_000
_LOW = re.compile(r"&#(?:x0*([0-9A-Fa-f]{4})|0*([0-9]{5}));")
#: Characters searched at a time; no step holds the interpreter for long.
_SLICE = 256 * 1024


def _characters(text: str, notes: list[str]) -> str:
    """Characters that XML forbids, as U+FFFD."""
    pieces: list[str] = []
    count = 0
    for at in range(0, len(text), _SLICE):
        piece, changes = _FORBIDDEN.subn(REPLACEMENT, text[at : at + _SLICE])
        pieces.append(piece)
        count += changes
    if not count:
        return text
    notes.append(f"{count} characters in it are forbidden in XML, and are read as U+FFFD")
    return "".join(pieces)


class _References:
    """Repairs the references of a document: to forbidden characters, by HTML's names, and ``&`` that begins none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces: list[str] = []
        self._end = 0
        self._counts: Counter[str] = Counter()

    def repair(self, notes: list[str]) -> str:
        text, sections, at = self._text, _Sections(self._text), self._text.find("&")
        while at >= 0 and len(self._pieces) < 2 * _MAX_REPAIRS:
            behind = sections.end(at)
            at = text.find("&", behind if behind is not None else self._one(at))
        notes += [f"{count} {words}" for words, count in self._counts.items()]
        return "".join([*self._pieces, text[self._end :]]) if self._pieces else text

    def _one(self, at: int) -> int:
        """Repair the reference at a place. Returns where to go on."""
        match = _REFERENCE.match(self._text, at)
        if match is None:
            return self._replace(at, at + 1, "&amp;", "times & stands for itself in it")
        name = match[3]
        if name is not None:
            if name in _XML_NAMES or name not in name2codepoint:
                return match.end()
            return self._replace(at, match.end(), chr(name2codepoint[name]), "references in it are HTML's, not XML's")
        code = _code(match)
        if code <= _LAST and not _FORBIDDEN.match(chr(code)):
            return match.end()
        low = _LOW.match(self._text, match.end()) if 0xD800 <= code < 0xDC00 else None
        second = _code(low) if low is not None else 0
        if low is not None and 0xDC00 <= second < 0xE000:
            character = chr(0x10000 + ((code - 0xD800) << 10) + second - 0xDC00)
            return self._replace(at, low.end(), character, "characters in it are references to two surrogates")
        words = "character references in it are forbidden in XML, and are read as U+FFFD"
        return self._replace(at, match.end(), REPLACEMENT, words)

    def _replace(self, start: int, end: int, text: str, words: str) -> int:
        self._pieces += (self._text[self._end : start], text)
        self._end = end
        self._counts[words] += 1
        return end


def _code(match: re.Match[str]) -> int:
    return int(match[1], 16) if match[1] is not None else int(match[2])


class _Sections:
    """CDATA sections and comments, in which ``&`` is plain text. Places are looked up in ascending order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = {opening: text.find(opening) for opening in _CLOSING}

    def end(self, place: int) -> int | None:
        """The end of the section around a place; None if there is none."""
        while True:
            starts = [(start, opening) for opening, start in self._next.items() if start >= 0]
            if not starts or min(starts)[0] > place:
                return None
            start, opening = min(starts)
            closing = self._text.find(_CLOSING[opening], start + len(opening))
            end = closing if closing >= 0 else len(self._text)
            for other, begin in self._next.items():
                if 0 <= begin < end:
                    self._next[other] = self._text.find(other, end)
            if end > place:
                return end


_CLOSING = {"<![CDATA[": "]]>", "<!--": "-->"}
