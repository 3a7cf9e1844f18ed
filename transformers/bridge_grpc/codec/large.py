"""Large messages of a service as JSON, piece by piece.

As Python values, a message takes up to a hundred times its size on the wire: an empty item is two bytes there. So a
large one is not read as a whole. Its fields are told apart on the wire (protobuf's encoding, "Message Structure"); the
entries of each repeated field are read and written a few thousand at a time, and a large message within it as this one
is. What is left is small, and read as usual; the texts of the others are put in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge.api import BadReply
from bridge_grpc.codec import wellknown

LARGE = 256 * 1024  #: bytes of a message that is read in one go
PIECE = 32 * 1024  #: bytes of entries that are
ENTRIES = 4096  #: … and how many of them
MAX_ENTRIES = 4_000_000  #: of one answer, however small; to write that many takes seconds
MAX_KEYS = 500_000  #: of its maps: they are read as a whole, since of a key that comes twice the last value counts
MAX_DEPTH = 100  #: of messages in one another, as protobuf has it
MAX_MERGED = 64 * 1024 * 1024  #: bytes that are put together of messages which came in several parts

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_T = FieldDescriptor
Wire = bytes | memoryview
_FIXED = {_T.TYPE_DOUBLE: 8, _T.TYPE_FIXED64: 8, _T.TYPE_SFIXED64: 8,
          _T.TYPE_FLOAT: 4, _T.TYPE_FIXED32: 4, _T.TYPE_SFIXED32: 4}  # fmt: skip
_UNPACKED = frozenset({_T.TYPE_STRING, _T.TYPE_BYTES, _T.TYPE_MESSAGE, _T.TYPE_GROUP})


class Writers(Protocol):
    """What `bridge_grpc.codec.encode_json.Encoders` has of it."""

    def writer(self, descriptor: Descriptor) -> Callable[[Any], Any]: ...

    def whole_field(self, field: FieldDescriptor) -> Callable[[Any], Any]: ...

    def key(self, field: FieldDescriptor) -> str: ...


class _Parts:
    """One field's entries, as far as they were read.

    :ivar wire: entries that are not written yet: `count` of them, `size` bytes.
    :ivar texts: JSON of those that are, without the brackets around them.
    """

    __slots__ = ("count", "field", "size", "texts", "wire")

    def __init__(self, field: FieldDescriptor) -> None:
        self.field = field
        self.wire: list[Wire] = []
        self.texts: list[bytes] = []
        self.size = self.count = 0


class LargeText:
    """:param writers: of the schema that the messages are of."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers

    @staticmethod
    def takes(descriptor: Descriptor) -> bool:
        """Whether it can be told apart: not what JSON writes in a form of its own, nor what may lack what it must
        have."""
        return not (
            descriptor.full_name in wellknown.SPECIAL
            or descriptor.is_extendable
            or any(each.is_required for each in descriptor.fields)
        )

    def __call__(self, descriptor: Descriptor, wire: bytes) -> bytes:
        """A message on the wire -> its JSON.

        :raises google.protobuf.message.DecodeError: the bytes are no such message.
        :raises bridge.api.BadReply: it has more than `MAX_ENTRIES`.
        """
        return _Reading(self._writers).text(descriptor, memoryview(wire), 0)


class _Reading:
    """One answer."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._entries, self._keys, self._room = MAX_ENTRIES, MAX_KEYS, MAX_MERGED

    def text(self, descriptor: Descriptor, wire: memoryview, depth: int) -> bytes:
        if not LargeText.takes(descriptor):
            return orjson.dumps(self._writers.writer(descriptor)(GetMessageClass(descriptor).FromString(bytes(wire))))
        if depth > MAX_DEPTH:
            raise DecodeError("it is nested too deeply")
        cls, known = GetMessageClass(descriptor), descriptor.fields_by_number
        rest = bytearray()
        parts: dict[int, _Parts] = {}
        for number, kind, begin, content, end in _fields(wire):
            part = parts.get(number)
            if part is None:
                field = known.get(number)
                if field is None:
                    continue  # JSON has no name for it
                if not _apart(field):
                    self._count_key(field)
                    rest += wire[begin:end]
                    continue
                part = parts[number] = _Parts(field)
            if not part.field.is_repeated:
                part.wire.append(wire[content:end])
                if len(part.wire) > 1000:
                    part.wire = [self._merged(part.wire)]
            elif kind == _BYTES and part.field.type not in _UNPACKED:
                self._packed(cls, part, wire[content:end])
            elif kind == _BYTES and end - content > LARGE and part.field.type == _T.TYPE_MESSAGE:
                self._flush(cls, part)
                assert part.field.message_type is not None
                part.texts.append(self.text(part.field.message_type, wire[content:end], depth + 1))
            else:
                self._add(cls, part, wire[begin:end])
        return self._whole(cls, descriptor, rest, parts, depth)

    def _count_key(self, field: FieldDescriptor) -> None:
        if field.is_repeated:
            self._keys -= 1
            if self._keys < 0:
                raise BadReply(f"The service's answer holds maps of more than {MAX_KEYS} keys.")

    def _merged(self, wire: list[Wire]) -> memoryview:
        """One message of its parts: what comes last counts, and lists are joined."""
        if len(wire) == 1:
            return memoryview(wire[0])
        merged = b"".join(wire)
        self._room -= len(merged)
        if self._room < 0:
            raise BadReply("The service's answer comes in more parts than the gateway puts together.")
        return memoryview(merged)

    def _add(self, cls: Any, part: _Parts, entry: Wire, count: int = 1) -> None:
        part.wire.append(entry)
        part.size += len(entry)
        part.count += count
        if part.size >= PIECE or part.count >= ENTRIES:
            self._flush(cls, part)

    def _packed(self, cls: Any, part: _Parts, content: memoryview) -> None:
        """Numbers one after another, in entries of their own of a few thousand."""
        width = _FIXED.get(part.field.type)
        at = 0
        while at < len(content):
            end = min(at + ENTRIES * (width or 1), len(content))
            while width is None and end < len(content) and content[end - 1] > 127:
                end += 1
            piece = content[at:end]
            self._add(cls, part, _entry(part.field.number, bytes(piece)), count=ENTRIES)
            at = end

    def _flush(self, cls: Any, part: _Parts) -> None:
        """Write what was gathered."""
        if not part.wire:
            return
        values = getattr(cls.FromString(b"".join(part.wire)), part.field.name)
        self._entries -= len(values)
        if self._entries < 0:
            raise BadReply(f"The service's answer holds more than {MAX_ENTRIES} items.")
        if values:
            part.texts.append(orjson.dumps(self._writers.whole_field(part.field)(values))[1:-1])
        part.wire, part.size, part.count = [], 0, 0

    def _whole(self, cls: Any, descriptor: Descriptor, rest: bytearray, parts: dict[int, _Parts], depth: int) -> bytes:
        """The message, with what was written already in its place."""
        texts: dict[str, bytes] = {}
        for number, part in parts.items():
            if part.field.is_repeated:
                self._flush(cls, part)
                if not part.texts:
                    continue
                text = b"[%s]" % b",".join(part.texts)
                part.texts = []
                # An entry stands in for all, so that the field has its place.
                rest += _entry(number, b"") if part.field.type in _UNPACKED else _entry(number, bytes(8))
            else:
                assert part.field.message_type is not None
                inner = self._merged(part.wire)
                if len(inner) <= LARGE:
                    rest += _entry(number, bytes(inner))
                    continue
                text = self.text(part.field.message_type, inner, depth + 1)
                rest += _entry(number, b"")
            texts[self._writers.key(part.field)] = text
        value = self._writers.writer(descriptor)(cls.FromString(bytes(rest)))
        for key, text in texts.items():
            value[key] = orjson.Fragment(text)
        texts.clear()
        return orjson.dumps(value)


def _apart(field: FieldDescriptor) -> bool:
    """Whether a field's entries are read apart from the rest."""
    message = field.message_type
    if field.type == _T.TYPE_GROUP or (message is not None and message.GetOptions().map_entry):
        return False
    if field.is_repeated:
        return True
    # Of a oneof the member that comes last counts, which the message as a whole has to say.
    return message is not None and field.containing_oneof is None and LargeText.takes(message)


def _entry(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(wire: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, where it begins, where its content begins, and where it ends, of each field.

    :raises DecodeError: it is no message, or holds a group.
    """
    at, size = 0, len(wire)
    try:
        while at < size:
            begin = at
            tag, at = wire[at], at + 1
            if tag > 127:
                tag, at = _number(wire, at - 1)
            kind = tag & 7
            content = at
            if kind == _BYTES:
                length, at = wire[at], at + 1
                if length > 127:
                    length, at = _number(wire, at - 1)
                content = at
                at += length
            elif kind == _VARINT:
                _, at = _number(wire, at)
            elif kind == _FIXED64:
                at += 8
            elif kind == _FIXED32:
                at += 4
            else:
                raise DecodeError("a field of an unknown wire type")
            if at > size or tag < 8:
                raise DecodeError("it ends within a field")
            yield tag >> 3, kind, begin, content, at
    except IndexError:
        raise DecodeError("it ends within a field") from None


def _number(wire: memoryview, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = shift = 0
    while True:
        byte = wire[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise DecodeError("a number of more than ten bytes")
