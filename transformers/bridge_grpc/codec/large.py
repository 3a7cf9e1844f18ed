"""Large messages of a service as JSON, piece by piece.

As Python values, a message takes up to a hundred times its serialised size: an empty item is two bytes there. So a
large message is not parsed as a whole. Its fields are separated in the serialised form (protobuf's encoding, "Message
Structure"); the entries of each repeated field are converted a few thousand at a time, and large nested messages
recursively. The rest is small and converted as usual; then the texts of the separate fields are inserted.
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

LARGE = 256 * 1024  #: bytes up to which a message is parsed as a whole
PIECE = 32 * 1024  #: bytes of entries that are converted at a time
ENTRIES = 4096  #: entries that are converted at a time
MAX_ENTRIES = 4_000_000  #: of one reply; converting this many takes seconds
MAX_KEYS = 500_000  #: of its maps, which are parsed as a whole, since the last value of a repeated key wins
MAX_DEPTH = 100  #: of nested messages, as in protobuf
MAX_MERGED = 64 * 1024 * 1024  #: bytes that are joined, of messages which are sent in several parts

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_T = FieldDescriptor
Buffer = bytes | memoryview
_FIXED = {_T.TYPE_DOUBLE: 8, _T.TYPE_FIXED64: 8, _T.TYPE_SFIXED64: 8,
          _T.TYPE_FLOAT: 4, _T.TYPE_FIXED32: 4, _T.TYPE_SFIXED32: 4}  # fmt: skip
_UNPACKED = frozenset({_T.TYPE_STRING, _T.TYPE_BYTES, _T.TYPE_MESSAGE, _T.TYPE_GROUP})


class Writers(Protocol):
    """The part of `bridge_grpc.codec.encode_json.Encoders` that is needed here."""

    def writer(self, descriptor: Descriptor) -> Callable[[Any], Any]: ...

    def whole_field(self, field: FieldDescriptor) -> Callable[[Any], Any]: ...

    def key(self, field: FieldDescriptor) -> str: ...


class _Parts:
    """One field's entries.

    :ivar wire: `count` entries of `size` bytes that are not converted yet.
    :ivar texts: JSON of the converted ones, without the enclosing brackets.
    """

    __slots__ = ("count", "field", "size", "texts", "wire")

    def __init__(self, field: FieldDescriptor) -> None:
        self.field = field
        self.wire: list[Buffer] = []
        self.texts: list[bytes] = []
        self.size = self.count = 0


class LargeText:
    """:param writers: of the messages' schema."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers

    @staticmethod
    def takes(descriptor: Descriptor) -> bool:
        """Whether its fields can be converted separately: not if it has a special JSON form, extensions or required
        fields."""
        return not (
            descriptor.full_name in wellknown.SPECIAL
            or descriptor.is_extendable
            or any(field.is_required for field in descriptor.fields)
        )

    def __call__(self, descriptor: Descriptor, wire: bytes) -> bytes:
        """A serialised message -> its JSON.

        :raises google.protobuf.message.DecodeError: the bytes are not such a message.
        :raises bridge.api.BadReply: it exceeds a limit.
        """
        return _Reading(self._writers).text(descriptor, memoryview(wire), 0)


class _Reading:
    """One answer."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._entries, self._keys, self._merge_quota = MAX_ENTRIES, MAX_KEYS, MAX_MERGED

    def text(self, descriptor: Descriptor, wire: memoryview, depth: int) -> bytes:
        if not LargeText.takes(descriptor):
            return orjson.dumps(self._writers.writer(descriptor)(GetMessageClass(descriptor).FromString(bytes(wire))))
        if depth > MAX_DEPTH:
            raise DecodeError("it is nested too deeply")
        cls, fields = GetMessageClass(descriptor), descriptor.fields_by_number
        rest = bytearray()
        parts: dict[int, _Parts] = {}
        for number, kind, begin, content, end in _fields(wire):
            part = parts.get(number)
            if part is None:
                field = fields.get(number)
                if field is None:
                    continue  # JSON has no name for it
                if not _separate(field):
                    self._count_key(field)
                    rest += wire[begin:end]
                    continue
                part = parts[number] = _Parts(field)
            if not part.field.is_repeated:
                part.wire.append(wire[content:end])
                if len(part.wire) > 1000:
                    part.wire = [self._merge(part.wire)]
            elif kind == _BYTES and part.field.type not in _UNPACKED:
                self._packed(cls, part, wire[content:end])
            elif kind == _BYTES and end - content > LARGE and part.field.type == _T.TYPE_MESSAGE:
                self._flush(cls, part)
                assert part.field.message_type is not None
                part.texts.append(self.text(part.field.message_type, wire[content:end], depth + 1))
            else:
                self._add(cls, part, wire[begin:end])
        return self._assemble(cls, descriptor, rest, parts, depth)

    def _count_key(self, field: FieldDescriptor) -> None:
        if field.is_repeated:
            self._keys -= 1
            if self._keys < 0:
                raise BadReply(f"The service's answer holds maps of more than {MAX_KEYS} keys.")

    def _merge(self, wire: list[Buffer]) -> memoryview:
        """Joins the parts of one message; when protobuf parses the result, it merges them."""
        if len(wire) == 1:
            return memoryview(wire[0])
        message = b"".join(wire)
        self._merge_quota -= len(message)
        if self._merge_quota < 0:
            raise BadReply("The service's answer comes in more parts than the gateway puts together.")
        return memoryview(message)

    def _add(self, cls: Any, part: _Parts, entry: Buffer, count: int = 1) -> None:
        part.wire.append(entry)
        part.size += len(entry)
        part.count += count
        if part.size >= PIECE or part.count >= ENTRIES:
            self._flush(cls, part)

    def _packed(self, cls: Any, part: _Parts, content: memoryview) -> None:
        """Splits packed numbers into entries of a few thousand."""
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
        """Convert the collected entries."""
        if not part.wire:
            return
        values = getattr(cls.FromString(b"".join(part.wire)), part.field.name)
        self._entries -= len(values)
        if self._entries < 0:
            raise BadReply(f"The service's answer holds more than {MAX_ENTRIES} items.")
        if values:
            part.texts.append(orjson.dumps(self._writers.whole_field(part.field)(values))[1:-1])
        part.wire, part.size, part.count = [], 0, 0

    def _assemble(
        self, cls: Any, descriptor: Descriptor, rest: bytearray, parts: dict[int, _Parts], depth: int
    ) -> bytes:
        """The message's JSON, with the texts of the separate fields inserted."""
        texts: dict[str, bytes] = {}
        for number, part in parts.items():
            if part.field.is_repeated:
                self._flush(cls, part)
                if not part.texts:
                    continue
                text = b"[%s]" % b",".join(part.texts)
                part.texts = []
                # One placeholder entry keeps the field's position.
                rest += _entry(number, b"") if part.field.type in _UNPACKED else _entry(number, bytes(8))
            else:
                assert part.field.message_type is not None
                inner = self._merge(part.wire)
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


def _separate(field: FieldDescriptor) -> bool:
    """Whether a field's entries are converted separately."""
    message = field.message_type
    if field.type == _T.TYPE_GROUP or (message is not None and message.GetOptions().map_entry):
        return False
    if field.is_repeated:
        return True
    # The last member of a oneof wins, so members must be parsed together.
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
    """Number, wire type, start, start of the content, and end of each field.

    :raises DecodeError: it is not a message, or contains a group.
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
    """A varint, and its end."""
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
