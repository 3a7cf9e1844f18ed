"""Forms as bodies: ``application/x-www-form-urlencoded`` and ``multipart/form-data`` (RFC 7578), field by field.

Names are field paths, as in query parameters. A file of a multipart form can be the value of a bytes field (unchanged),
of a string field (decoded), or of a ``google.api.HttpBody`` (with its media type).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from bridge.api import (
    URLENCODED,
    Call,
    Enough,
    FaultList,
    InvalidBody,
    InvalidParameter,
    UnsupportedMediaType,
    begins_as_json,
    media_type,
)
from bridge_grpc.codec import json_body, wellknown
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.mapping.parameters import Parameters, Target, resolve

MULTIPART = "multipart/form-data"
HTTP_BODY = "google.api.HttpBody"

MAX_PARTS = 1000  #: fields and files of one form
MAX_NAME = 512  #: bytes of a name
MAX_HEADER = 8 * 1024  #: bytes of one header line of a part
MAX_HEADERS = 16  #: header lines of a part

#: Supported charsets of forms, by the names of the IANA registry; WHATWG's forms are UTF-8.
_CHARSETS = {"": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii",
             "iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252"}  # fmt: skip
_PLAIN = (b"", b"7bit", b"8bit", b"binary")
#: HTML, "multipart/form-data encoding algorithm": what is escaped in names.
_ESCAPES = (("%0D", "\r"), ("%0A", "\n"), ("%22", '"'))


@dataclass(slots=True)
class Part:
    """One field or file of a form. `file`: it has a file name; then `content_type` is its own ``Content-Type``."""

    name: str
    data: bytes
    charset: str = "utf-8"
    file: bool = False
    content_type: str = ""

    def text(self) -> str:
        """:raises ValueError: it isn't text in its charset."""
        try:
            return self.data.decode(self.charset)
        except UnicodeDecodeError:
            raise ValueError(f"it is not {self.charset} text") from None


def kind_of(call: Call) -> str:
    """`URLENCODED`, `MULTIPART`, or ``""`` for other bodies, such as JSON sent with curl's default content type."""
    kind = media_type(call.header("content-type"))
    if kind == URLENCODED:
        return "" if begins_as_json(call.body) else kind
    return MULTIPART if kind == MULTIPART else ""


class Form:
    """Reads forms into one message type.

    :ivar message: the message.
    :param ignore: ignore unknown names instead of refusing them.
    """

    def __init__(self, message: Descriptor, decoders: Decoders, *, ignore: bool) -> None:
        self.message = message
        self._ignore = ignore
        self._parameters = Parameters(message, set(), None, decoders)

    @staticmethod
    def takes(message: Descriptor) -> bool:
        """Whether a form can be read into `message`: its JSON must be an object of its fields."""
        return message.full_name not in wellknown.SPECIAL

    def read(self, call: Call) -> tuple[dict[str, Any], list[str]]:
        """The constructor's arguments, and the paths of the fields that the form sets.

        :raises bridge.api.InvalidParameter: fields or files are unknown or have wrong values; all are listed.
        :raises bridge.api.InvalidBody: it isn't a form, or has more than `MAX_PARTS` parts.
        :raises bridge.api.UnsupportedMediaType: its charset is not supported.
        """
        _, options = parse_options_header(call.header("content-type"))
        if kind_of(call) == MULTIPART:
            parts = _multipart(call.body, options.get(b"boundary", b""))
        else:
            parts = list(_urlencoded(call.body, _charset(options)))
        arguments: dict[str, Any] = {}
        faults = FaultList(json_body.MAX_FAULTS)
        paths: set[tuple[str, ...]] = set()
        with contextlib.suppress(Enough):
            texts = list(_texts(parts, faults))
            for target, value in self._parameters.read(texts, faults, ignore=self._ignore):
                paths.add(target.path)
                target.put(arguments, value)
            for target, value in self._files(parts, faults, paths):
                target.put(arguments, value)
        if faults:
            raise InvalidParameter(json_body.first(faults))
        return arguments, [".".join(path) for path in paths]

    def _files(
        self, parts: list[Part], faults: list[tuple[str, str]], paths: set[tuple[str, ...]]
    ) -> Iterator[tuple[Target, Any]]:
        lists: dict[tuple[str, ...], tuple[Target, list[Any]]] = {}
        for part in parts:
            if not part.file:
                continue
            target = resolve(self.message, part.name.split("."))
            if target is None:
                if not self._ignore:
                    faults.append((part.name, "there is no such parameter"))
                continue
            if target.path in paths and target.path not in lists:
                faults.append(
                    (part.name, "it is given twice" + (", as text and as a file" if target.field.is_repeated else ""))
                )
                continue
            paths.add(target.path)
            try:
                value = _file(part, target.field)
            except ValueError as error:
                faults.append((part.name, str(error)))
                continue
            if target.field.is_repeated:
                lists.setdefault(target.path, (target, []))[1].append(value)
            else:
                yield target, value
        yield from lists.values()


def _file(part: Part, of: FieldDescriptor) -> Any:
    """:raises ValueError: the field takes no file, or the file is no text."""
    if of.type == FieldDescriptor.TYPE_BYTES:
        return part.data
    if of.type == FieldDescriptor.TYPE_STRING:
        return part.text()
    if of.message_type is not None and of.message_type.full_name == HTTP_BODY:
        return {"content_type": part.content_type, "data": part.data}
    raise ValueError("it takes no file")


def _texts(parts: list[Part], faults: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for part in parts:
        if not part.file:
            try:
                yield part.name, part.text()
            except ValueError as error:
                faults.append((part.name, str(error)))


def _charset(options: dict[bytes, bytes]) -> str:
    name = options.get(b"charset", b"").decode("latin-1").lower()
    if name not in _CHARSETS:
        raise UnsupportedMediaType(f"A form's text is read as UTF-8, not as {name[:40]!r}.")
    return _CHARSETS[name]


def _decode_name(raw: bytes, charset: str) -> str:
    if len(raw) > MAX_NAME:
        raise InvalidBody([("", f"a name in the form is longer than {MAX_NAME} bytes")])
    try:
        return raw.decode(charset)
    except UnicodeDecodeError:
        raise InvalidBody([("", f"a name in the form is not {charset} text")]) from None


def _too_many() -> InvalidBody:
    return InvalidBody([("", f"the form has more than {MAX_PARTS} parts")])


def _urlencoded(body: bytes, charset: str) -> Iterator[Part]:
    """The WHATWG URL Standard, section 5.1: ``+`` is a space."""
    if body.count(b"&") >= MAX_PARTS:
        raise _too_many()
    for piece in body.replace(b"+", b" ").split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            yield Part(_decode_name(unquote_to_bytes(name), charset), unquote_to_bytes(value), charset)


# --- multipart -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """The parser's callbacks and their results."""

    parts: list[Part] = field(default_factory=list[Part])
    ended: bool = False
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    name: bytes = b""
    value: bytes = b""
    chunks: list[bytes] = field(default_factory=list[bytes])

    def part_begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise _too_many()
        self.headers, self.chunks = {}, []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        self.headers[self.name.lower()] = self.value.strip(b" \t")
        self.name = self.value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self.chunks.append(data[start:end])

    def part_end(self) -> None:
        kind, options = parse_options_header(self.headers.get(b"content-disposition", b"").decode("latin-1"))
        raw = options.get(b"name")
        if kind.strip() != b"form-data" or raw is None:
            raise InvalidBody([("", f"part {len(self.parts) + 1} of the form has no name")])
        name = _decode_name(raw, "utf-8")
        for escape, mark in _ESCAPES:
            name = name.replace(escape, mark)
        if self.headers.get(b"content-transfer-encoding", b"").lower() not in _PLAIN:
            # RFC 7578, section 4.7: senders no longer use it.
            raise InvalidParameter(
                [(name, "Content-Transfer-Encoding is not used in forms; send the bytes as they are")]
            )
        content_type = self.headers.get(b"content-type", b"").decode("latin-1")
        charset = _charset(parse_options_header(content_type)[1])
        self.parts.append(Part(name, b"".join(self.chunks), charset, b"filename" in options, content_type))

    def end(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes) -> list[Part]:
    """All parts of a form, in order. RFC 7578; section 4.2 for names, 4.4 for media types."""
    if not boundary:
        raise InvalidBody([("", "multipart/form-data needs a boundary")])
    reading = _Reading()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reading.part_begin,
                "on_header_field": reading.header_field,
                "on_header_value": reading.header_value,
                "on_header_end": reading.header_end,
                "on_part_data": reading.part_data,
                "on_part_end": reading.part_end,
                "on_end": reading.end,
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER,
        )
        parser.write(body)
    except FormParserError as error:
        raise InvalidBody([("", f"it is no multipart form: {error}")]) from None
    if not reading.ended:
        raise InvalidBody([("", "the multipart form is not complete")])
    return reading.parts
