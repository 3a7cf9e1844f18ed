"""A SOAP Fault in the beginning of a reply (SOAP 1.1, section 4.4; SOAP 1.2 part 1, section 5.4).

It is for routes that read no bodies: the rest is not looked at, whatever its size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

from bridge.http.coding import CorruptBody, UnknownCoding, beginning, codings_of
from bridge.payload.parsing import XmlError, elements_of_beginning

#: Bytes of an envelope, without its content-coding, in which the Fault must begin: header blocks stand before it.
BEGINNING = 64 * 1024

_NAMESPACES = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
#: The tags of body and envelope, by the Fault's.
_AROUND = {f"{{{name}}}Fault": (f"{{{name}}}Body", f"{{{name}}}Envelope") for name in _NAMESPACES}
_OF_CLIENT = ("Client", "Sender")
_MAX_REASON = 200

#: First bytes of XML in UTF-8 or another kin of ASCII, with or without a byte order mark, and in UTF-16.
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_STARTS = (b"<", b"\0<", *_MARKS)
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9][A-Za-z0-9._:-]{0,40})', re.IGNORECASE)
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_START = re.compile(r';\s*start\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CONTENT_ID = re.compile(rb"^content-id:[ \t]*(\S{1,200})", re.IGNORECASE | re.MULTILINE)
_CONTENT_TYPE = re.compile(rb"^content-type:[ \t]*([^\r\n]{1,500})", re.IGNORECASE | re.MULTILINE)
_MAX_PARTS = 20  #: that are looked at for the envelope, which is the first one as a rule


@dataclass(frozen=True, slots=True)
class SoapFault:
    """What the log says of a Fault.

    :ivar code: the local name of its code, such as ``Client`` or ``Receiver``; ``""`` if it has none.
    :ivar reason: its text, on one line and shortened.
    """

    code: str
    reason: str

    @property
    def is_clients(self) -> bool:
        """Whether the service blames the request (SOAP 1.1, section 4.4.1; SOAP 1.2 part 1, section 5.4.6)."""
        return self.code.partition(".")[0] in _OF_CLIENT


def soap_fault(body: bytes, content_type: str, content_encoding: str = "") -> SoapFault | None:
    """The Fault in a SOAP envelope of version 1.1 or 1.2, also in one that is the root part of a multipart message
    (RFC 2387). None if `body` is anything else, such as an HTML page.

    It is judged by what it is, not by its media type, and must be well-formed, without a DOCTYPE, as far as it is read.
    """
    try:
        text = beginning(body, codings_of(content_encoding), BEGINNING)
    except (UnknownCoding, CorruptBody):
        return None
    if content_type[:10].lower() == "multipart/":
        text, content_type = _root_part(text, content_type)
    text = text.lstrip()
    if not text.startswith(_STARTS):
        return None
    match = _CHARSET.search(content_type)
    # RFC 7303, section 3: a charset outranks the document's declaration, and a byte order mark both.
    charset = match[1] if match is not None and not text.startswith(_MARKS) else None
    for encoding in (charset, None) if charset is not None else (None,):
        try:
            found = elements_of_beginning(text, tuple(_AROUND), encoding)
        except (XmlError, LookupError):
            continue
        return next((_read(element) for element in found if _is_fault(element)), None)
    return None


def _is_fault(element: etree._Element) -> bool:
    body = element.getparent()
    root = body.getparent() if body is not None else None
    if body is None or root is None or root.getparent() is not None:
        return False
    return (body.tag, root.tag) == _AROUND[element.tag]


def _read(fault: etree._Element) -> SoapFault:
    code = _text(fault, "faultcode") or _text(fault, "Code", "Value")
    reason = _text(fault, "faultstring") or _text(fault, "Reason", "Text")
    return SoapFault(code.rpartition(":")[2], reason)


def _text(node: etree._Element, *path: str) -> str:
    """The text of the first element at `path` below `node`, in whatever namespaces; ``""`` if there is none."""
    for name in path:
        child = next(node.iterchildren(f"{{*}}{name}"), None)
        if child is None:
            return ""
        node = child
    return " ".join((node.text or "")[: 4 * _MAX_REASON].split())[:_MAX_REASON]


def _root_part(body: bytes, content_type: str) -> tuple[bytes, str]:
    """The part that is the envelope, and its content type: the one that ``start`` names, else the first (RFC 2387,
    section 3.2). ``b""`` if there is none."""
    boundary, start = _BOUNDARY.search(content_type), _START.search(content_type)
    if boundary is None:
        return b"", ""
    mark = b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    parts = [_part(piece) for piece in body.split(mark, _MAX_PARTS)[1:]]
    wanted = (start[1] or start[2]).encode("latin-1", "replace") if start is not None else b""
    for head, text in parts:
        found = _CONTENT_ID.search(head)
        if wanted and found is not None and found[1] == wanted:
            return text, _type_of(head)
    return (parts[0][1], _type_of(parts[0][0])) if parts else (b"", "")


def _part(piece: bytes) -> tuple[bytes, bytes]:
    """Head and content of what stands behind a boundary."""
    end = _HEAD_END.search(piece)
    return (piece[: end.start()], piece[end.end() :]) if end is not None else (piece, b"")


def _type_of(head: bytes) -> str:
    match = _CONTENT_TYPE.search(head)
    return match[1].decode("latin-1") if match is not None else ""
