"""Messages of several MIME parts (RFC 2046, section 5.1; RFC 2387): SOAP with Attachments, and MTOM.

They are not read by python-multipart, which reads forms: it refuses preambles and bare line feeds, which services send.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree

from bridge.api import BadReply, XmlError

XOP_NAMESPACE = b"http://www.w3.org/2004/08/xop/include"
XOP_INCLUDE = f"{{{XOP_NAMESPACE.decode()}}}Include"

MAX_PARTS = 1000
_PARAMETER = re.compile(r';\s*([!#$&^_.+\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))')
_CID = re.compile("^cid:", re.IGNORECASE)
_BOUNDARY_END = re.compile(rb"--|[ \t]*(?:\r?\n|\Z)")
_FIELD_END = re.compile(rb"\r?\n(?![ \t])")
_FIRST_BOUNDARY = re.compile(rb"\s*--([^\r\n]{1,200}?)[ \t]*\r?\n")
#: Ends that a part may have before the next boundary.
_CRLF, _LF, _NONE = b"\r\n", b"\n", b""
_TOLD = {
    _LF: "lines of its multipart message end with bare line feeds",
    _NONE: "a boundary of its multipart message does not start a line",
}


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part. `id` is its Content-ID without angle brackets; `body` is decoded."""

    id: str
    content_type: str
    body: bytes


def parameters(content_type: str) -> dict[str, str]:
    """The parameters of a media type, names in lower case."""
    values = {}
    for name, quoted, plain in _PARAMETER.findall(content_type):
        values[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
    return values


#: Takes a sentence on a place where a message is not MIME by the letter.
Tolerate = Callable[[str], None]


def split(body: bytes, content_type: str, tolerate: Tolerate = lambda why: None) -> tuple[BodyPart, list[BodyPart]]:
    """The root part of a multipart body, and the others.

    :param tolerate: told once of each kind of liberty that is taken; may raise.
    :raises bridge.api.XmlError: it has no boundary or no parts, or too many.
    """
    content_parameters = parameters(content_type)
    boundary = content_parameters.get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise XmlError("it is a multipart message without a boundary")
    mark = b"--" + boundary.encode("latin-1", "replace")
    parts = _parts(body, mark, tolerate)
    first = _FIRST_BOUNDARY.match(body) if not parts else None
    if first is not None and b"--" + first[1] != mark:
        parts = _parts(body, b"--" + first[1], tolerate)
        if parts:
            tolerate("its multipart message has another boundary than its content type names")
    if not parts:
        raise XmlError("it is a multipart message without parts")
    start = content_parameters.get("start", "").strip("<>")
    root = next((part for part in parts if start and part.id == start), None)
    if start and root is None and parts[0].id:
        tolerate("none of its parts is the one that start names in its content type; the first one is read")
    root = root or parts[0]
    return root, [part for part in parts if part is not root]


def _parts(body: bytes, mark: bytes, tolerate: Tolerate) -> list[BodyPart]:
    """The parts between boundaries that are lines of `mark`."""
    parts: list[BodyPart] = []
    for piece in _pieces(body, mark, tolerate):
        if len(parts) >= MAX_PARTS:
            raise XmlError(f"it is a multipart message of more than {MAX_PARTS} parts")
        parts.append(_part(piece))
    return parts


class _Delimiter(NamedTuple):
    """A line of the boundary.

    :ivar closes: whether it is the last one.
    :ivar before: the line end before it; that of the start of the body is CRLF (RFC 2046, section 5.1.1).
    :ivar after: the line end behind it.
    """

    start: int
    end: int
    closes: bool
    before: bytes
    after: bytes


def _pieces(body: bytes, mark: bytes, tolerate: Tolerate) -> Iterator[bytes]:
    """What stands between the lines of the boundary.

    Line ends may be bare line feeds, or missing in front of the boundary: the preamble or a part may end without one.
    """
    lines = list(islice(_delimiters(body, mark), 2 * MAX_PARTS + 2))
    anchored = [line for line in lines if line.before or line is lines[0]]
    lines = anchored if len(anchored) > 1 else lines
    if not lines:
        return
    last = next((number for number, line in enumerate(lines) if line.closes), None)
    lines = lines if last is None else lines[: last + 1]
    for why in _liberties(lines):
        tolerate(why)
    # Where lines end with line feeds alone, a carriage return belongs to the part.
    ends = (_CRLF, _LF) if lines[0].after == _CRLF else (_LF,)
    for line, following in zip_longest(lines, lines[1:]):
        if line.closes:
            return
        piece = body[line.end : following.start if following is not None else None]
        ending = next((each for each in ends if piece.endswith(each)), b"") if following is not None else b""
        if following is not None or piece.strip():  # else the last boundary is written as any other
            yield piece.removesuffix(ending)


def _liberties(lines: Sequence[_Delimiter]) -> list[str]:
    ends = {line.before for line in lines} | {line.after for line in lines[:-1]}
    told = [text for end, text in _TOLD.items() if end in ends]
    if not lines[-1].closes:
        told.append("its multipart message has no last boundary, so it may be incomplete")
    return told


def _delimiters(body: bytes, mark: bytes) -> Iterator[_Delimiter]:
    at = body.find(mark)
    while at >= 0:
        match = _BOUNDARY_END.match(body, at + len(mark))
        if match is not None:
            before = (
                _CRLF if at == 0 else next((end for end in (_CRLF, _LF, _NONE) if body.endswith(end, 0, at)), _NONE)
            )
            after = _LF if match[0].endswith(_LF) and not match[0].endswith(_CRLF) else _CRLF
            yield _Delimiter(at, match.end(), match[0] == b"--", before, after)
        at = body.find(mark, at + len(mark))


def _part(piece: bytes) -> BodyPart:
    if piece.startswith((b"\r\n", b"\n")):
        head, body = b"", piece.partition(b"\n")[2]
    else:
        end = re.search(rb"\r?\n\r?\n", piece)
        head, body = (piece[: end.start()], piece[end.end() :]) if end else (piece, b"")
    fields: dict[str, str] = {}
    for line in _FIELD_END.split(head):
        name, _, value = line.decode("latin-1").partition(":")
        fields.setdefault(name.strip().lower(), " ".join(value.split()))
    encoding = fields.get("content-transfer-encoding", "").lower()
    if encoding == "base64":
        try:
            body = base64.b64decode(body)
        except (binascii.Error, ValueError):
            raise XmlError("a part of its multipart message is not base64 as it says") from None
    elif encoding == "quoted-printable":
        body = quopri.decodestring(body)
    return BodyPart(fields.get("content-id", "").strip("<>"), fields.get("content-type", "text/plain"), body)


def inline(root: etree._Element, parts: Sequence[BodyPart]) -> set[str]:
    """Replace each ``xop:Include`` by its part as base64 (XOP, section 2.1). Returns the ids of the parts.

    :raises bridge.api.BadReply: a part is missing, or used so often that the message would become many times as large.
    """
    by_id = {part.id: part for part in parts if part.id}
    allowance = 2 * sum(len(part.body) for part in parts) + 1024**2
    ids: set[str] = set()
    for node in list(root.iter(XOP_INCLUDE)):
        parent, id_ = node.getparent(), _CID.sub("", node.get("href", "").strip())
        part = by_id.get(id_) or by_id.get(unquote(id_))
        if part is None or parent is None:
            raise BadReply("The service's answer refers to an attachment that is not in it.")
        allowance -= len(part.body)
        if allowance < 0:
            raise BadReply("The service's answer refers to the same attachments too often.")
        parent.remove(node)
        parent.text = base64.b64encode(part.body).decode()
        ids.add(part.id)
    return ids


def join(root: bytes, root_type: str, parts: Sequence[BodyPart], mark: str) -> tuple[str, bytes]:
    """Content type and body of a message with attachments.

    :param root_type: the envelope's content type.
    :param mark: random text for the boundary, so that no part contains it (RFC 2046, section 5.1.1).
    """
    boundary = f"part-{mark}"
    out: list[bytes] = []

    def add(fields: Mapping[str, str], body: bytes) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        out.append(f"--{boundary}\r\n{head}\r\n".encode() + body + b"\r\n")

    add({"Content-Type": root_type, "Content-Transfer-Encoding": "8bit", "Content-ID": "<envelope@bridge>"}, root)
    for part in parts:
        fields = {
            "Content-Type": part.content_type,
            "Content-Transfer-Encoding": "binary",
            "Content-ID": f"<{part.id}>",
        }
        add(fields, part.body)
    out.append(f"--{boundary}--\r\n".encode())
    media = root_type.partition(";")[0]
    kind = f'multipart/related; type="{media}"; start="<envelope@bridge>"; boundary="{boundary}"'
    return kind, b"".join(out)
