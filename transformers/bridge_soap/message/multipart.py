"""Messages of several MIME parts (RFC 2046, section 5.1; RFC 2387): SOAP with Attachments, and MTOM.

They are not read by python-multipart, which reads forms: it refuses preambles and bare line feeds, which services send.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from lxml import etree

from bridge.api import BadReply, XmlError

XOP_NAMESPACE = b"http://www.w3.org/2004/08/xop/include"
XOP_INCLUDE = f"{{{XOP_NAMESPACE.decode()}}}Include"

MAX_PARTS = 1000
_PARAMETER = re.compile(r';\s*([!#$&^_.+\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))')
_CID = re.compile("^cid:", re.IGNORECASE)
_FIELD_END = re.compile(rb"\r?\n(?![ \t])")


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


def split(body: bytes, content_type: str) -> tuple[BodyPart, list[BodyPart]]:
    """The root part of a multipart body, and the others.

    :raises bridge.api.XmlError: it has no boundary or no parts, or too many.
    """
    content_parameters = parameters(content_type)
    boundary = content_parameters.get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise XmlError("it is a multipart message without a boundary")
    mark = b"--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + mark, MAX_PARTS + 2)
    if len(pieces) < 2:
        pieces = (b"\n" + body).split(b"\n" + mark, MAX_PARTS + 2)
    parts: list[BodyPart] = []
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            break
        if len(parts) >= MAX_PARTS:
            raise XmlError(f"it is a multipart message of more than {MAX_PARTS} parts")
        parts.append(_part(piece))
    if not parts:
        raise XmlError("it is a multipart message without parts")
    start = content_parameters.get("start", "").strip("<>")
    root = next((part for part in parts if start and part.id == start), parts[0])
    return root, [part for part in parts if part is not root]


def _part(piece: bytes) -> BodyPart:
    _, _, piece = piece.partition(b"\n")  # the rest of the boundary's line
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
