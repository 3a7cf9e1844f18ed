"""Protobuf to JSON, compiled once per message: Python source is generated for each message type and its fields.

Generated source was measured against closures over tables: half the time, since each field's read, test and store are
plain bytecode. Only numbers and names that the generator makes itself stand in the source; whatever a schema's author
chose (field names, JSON names, enum names) is passed in as a value or stands there as a literal made by repr.
"""

from __future__ import annotations

import binascii
import math
import struct
import threading
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge_grpc.codec import wellknown
from bridge_grpc.codec.scalars import INT64S, MESSAGES, Wrong
from bridge_grpc.options import Print

Write = Callable[[Any], Any]
_T = FieldDescriptor
_FLOAT32 = struct.Struct("<f")
_AS_IS = frozenset({_T.TYPE_STRING, _T.TYPE_BOOL, _T.TYPE_INT32, _T.TYPE_UINT32, _T.TYPE_SINT32, _T.TYPE_FIXED32,
                    _T.TYPE_SFIXED32})  # fmt: skip


#: Up to so many fields, a message is first tried as one literal.
_FEW = 16
_FUNCTIONS = {_T.TYPE_BYTES: "base64", _T.TYPE_DOUBLE: "double", _T.TYPE_FLOAT: "single"}


def base64(value: bytes) -> str:
    """The standard alphabet, padded."""
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def double(value: float) -> float | str:
    """JSON has no NaN and no infinities, so those are strings."""
    if value - value == 0:
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def single(value: float) -> float | str:
    """The shortest decimal that reads back as the same 32-bit float: 0.1, not 0.10000000149011612."""
    if value - value != 0:
        return double(value)
    if value == int(value) and abs(value) < 1e7:
        return value
    packed = _FLOAT32.pack(value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if _FLOAT32.pack(short) == packed:
                return short
        except OverflowError:
            continue
    return float(f"{value:.9g}")


def set_zero(value: float) -> bool:
    """A float without presence is set when it is not plus zero: -0.0 has a bit to tell."""
    return math.copysign(1.0, value) < 0


class Encoders:
    """Makes and keeps the writers of one schema, for one set of print options.

    :param find: a message's descriptor by full name, for ``Any``; None when it isn't known.
    """

    def __init__(self, find: Callable[[str], Descriptor | None], options: Print) -> None:
        self._find = find
        self._print = options
        self._writers: dict[Descriptor, Write] = {}
        self._numbers: dict[Descriptor, int] = {}
        # Routes of one schema share this and are bound in threads; an Any may compile a type while requests are served.
        self._lock = threading.RLock()
        self._fields: dict[FieldDescriptor, Write] = {}
        self._enums: dict[EnumDescriptor, str] = {}
        self._space: dict[str, Any] = {
            "base64": base64,
            "double": double,
            "single": single,
            "set_zero": set_zero,
            "write_any": self.any,
            "write_extensions": self._extensions,
        }

    def writer(self, descriptor: Descriptor) -> Write:
        """Message -> JSON value.

        :raises Wrong: (the writer) a well-known type holds what its JSON can't say.
        """
        if descriptor.full_name in wellknown.WRITERS:
            return wellknown.WRITERS[descriptor.full_name]
        if descriptor.full_name == wellknown.ANY:
            return self.any
        made = self._writers.get(descriptor)
        if made is None:
            with self._lock:
                number = self._number(descriptor)
                self._finish()
                made = self._writers[descriptor] = self._space[f"write_{number}"]
        return made

    def field(self, field: FieldDescriptor) -> Write:
        """Message -> the JSON value of one of its fields, as ``response_body`` wants it; unset is its default."""
        name = field.name
        if field.is_repeated or not field.has_presence or field.message_type is None:
            write_value = self._field(field)
            return lambda message: write_value(getattr(message, name))
        write, nullable = self.writer(field.message_type), field.message_type.full_name in wellknown.SPECIAL

        assert field.containing_type is not None
        has = GetMessageClass(field.containing_type).HasField

        def write_message(message: Any) -> Any:
            if nullable and not has(message, name):
                return None
            return write(getattr(message, name))

        return write_message

    # --- generation ----------------------------------------------------------------------------------------------

    def _number(self, descriptor: Descriptor) -> int:
        return self._numbers.setdefault(descriptor, len(self._numbers))

    def _finish(self) -> None:
        """Compiles every message that has a number but no function yet; a message's fields may add more."""
        while waiting := [(d, n) for d, n in self._numbers.items() if f"write_{n}" not in self._space]:
            for descriptor, number in waiting:
                source = "\n    ".join([f"def write_{number}(m):", *self._body(descriptor, number)]) + "\n"
                exec(source, self._space)  # noqa: S102  # generated here; a schema's own words stand in it by repr only

    def _body(self, descriptor: Descriptor, number: int) -> Iterator[str]:
        if descriptor.full_name in wellknown.WRAPPERS:
            yield "v = m.value"
            yield f"return {self._scalar(descriptor.fields_by_name['value'], 'v')}"
            return
        fields = sorted(descriptor.fields, key=lambda field: field.number)
        oneofs = {oneof.name: f"w{oneof.index}" for oneof in descriptor.oneofs if len(oneof.fields) > 1}
        # By the class, since a field of the message may be named HasField.
        cls = GetMessageClass(descriptor)
        self._space |= {f"has_{number}": cls.HasField, f"which_{number}": cls.WhichOneof}
        plain = [field for field in fields if not field.has_presence]
        if plain:
            # One call reads them all; that is cheaper than an attribute at a time.
            self._space[f"read_{number}"] = attrgetter(*(field.name for field in plain))
            yield f"{', '.join(f'v{field.number}' for field in plain)} = read_{number}(m)"
            if len(plain) == len(fields) <= _FEW and not descriptor.is_extendable:
                # Where all are set, as in a list's items they mostly are, the object is one literal.
                pairs = (f"{self._key(field)}: {self._value(field, f'v{field.number}')}" for field in fields)
                yield f"if {' and '.join(f'v{field.number}' for field in fields)}: return {{{', '.join(pairs)}}}"
        yield "o = {}"
        for name, variable in oneofs.items():
            yield f"{variable} = which_{number}(m, {name!r})"
        for field in fields:
            yield self._statement(field, number, oneofs)
        if descriptor.is_extendable:
            yield "write_extensions(m, o)"
        yield "return o"

    def _statement(self, field: FieldDescriptor, number: int, oneofs: dict[str, str]) -> str:
        key = self._key(field)
        if field.has_presence:
            chosen = _chosen(field, oneofs)
            test = f"{chosen} == {field.name!r}" if chosen else f"has_{number}(m, {field.name!r})"
            return f"if {test}: v = getattr(m, {field.name!r}); o[{key}] = {self._value(field, 'v')}"
        variable = f"v{field.number}"
        store = f"o[{key}] = {self._value(field, variable)}"
        if self._print.default_values:
            return store
        if field.type in (_T.TYPE_DOUBLE, _T.TYPE_FLOAT) and not field.is_repeated:
            return f"if {variable} or set_zero({variable}): {store}"
        return f"if {variable}: {store}"

    def _key(self, field: FieldDescriptor) -> str:
        return repr(field.name if self._print.proto_names else field.json_name)

    def _value(self, field: FieldDescriptor, source: str) -> str:
        """An expression for the JSON of the whole field, whose value is the expression `source`."""
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            key_type = message.fields_by_name["key"].type
            key = (
                "k"
                if key_type == _T.TYPE_STRING
                else "'true' if k else 'false'"
                if key_type == _T.TYPE_BOOL
                else "str(k)"
            )
            return f"{{{key}: {self._scalar(message.fields_by_name['value'], 'x')} for k, x in {source}.items()}}"
        if not field.is_repeated:
            return self._scalar(field, source)
        if field.type in _AS_IS:
            return f"list({source})"
        if field.type in MESSAGES or field.type == _T.TYPE_BYTES:
            return f"list(map({self._scalar(field, '')[:-2]}, {source}))"  # spares a comprehension its frame
        return f"[{self._scalar(field, 'x')} for x in {source}]"

    def _scalar(self, field: FieldDescriptor, source: str) -> str:
        """An expression for the JSON of one value, which is the expression `source`."""
        kind = field.type
        if kind in _AS_IS:
            return source
        if kind in INT64S:
            return f"f'{{{source}}}'"
        if kind in MESSAGES:
            assert field.message_type is not None
            return f"{self._message(field.message_type)}({source})"
        if kind == _T.TYPE_ENUM:
            assert field.enum_type is not None
            return self._enum(field.enum_type, source)
        if kind == _T.TYPE_DOUBLE and source.isidentifier():
            return f"({source} if {source} - {source} == 0 else double({source}))"  # NaN and infinities differ
        return f"{_FUNCTIONS[kind]}({source})"

    def _message(self, descriptor: Descriptor) -> str:
        """The name, in the generated code's namespace, of a message's writer."""
        name = descriptor.full_name
        if name == wellknown.ANY:
            return "write_any"
        if name in wellknown.WRITERS:
            variable = f"write_{descriptor.name.lower()}"
            self._space[variable] = wellknown.WRITERS[name]
            return variable
        return f"write_{self._number(descriptor)}"

    def _enum(self, enum: EnumDescriptor, source: str) -> str:
        if self._print.enum_numbers:
            return source
        if enum.full_name == "google.protobuf.NullValue":
            return "None"
        if enum not in self._enums:
            variable = self._enums[enum] = f"enum_{len(self._enums)}"
            self._space[variable] = _names(enum).get
        # A number that the enum doesn't name is written as the number.
        if source.isidentifier():
            return f"{self._enums[enum]}({source}, {source})"
        return f"{self._enums[enum]}(n := {source}, n)"

    # --- what can't be generated ---------------------------------------------------------------------------------

    def any(self, message: Any) -> Any:
        """``@type`` and the fields; a type that nobody here knows keeps its URL and its bytes, in base64."""
        url = message.type_url
        if not url and not message.value:
            return {}
        descriptor = self._find(url.rpartition("/")[2])
        if descriptor is None:
            return {"@type": url, "value": base64(message.value)}
        try:
            inner = GetMessageClass(descriptor).FromString(message.value)
        except DecodeError:
            raise Wrong(
                f"an Any says that it holds a {descriptor.full_name}, but its bytes are something else"
            ) from None
        written = self.writer(descriptor)(inner)
        if descriptor.full_name in wellknown.SPECIAL:
            return {"@type": url, "value": written}
        return {"@type": url, **written}

    def _extensions(self, message: Any, out: dict[str, Any]) -> None:
        for field, value in type(message).ListFields(message):
            if field.is_extension:
                out[f"[{field.full_name}]"] = self._field(field)(value)

    def _field(self, field: FieldDescriptor) -> Write:
        """The value of a whole field -> its JSON."""
        made = self._fields.get(field)
        if made is None:
            with self._lock:
                space: dict[str, Any] = {}
                source = f"def write(v):\n    return {self._value(field, 'v')}\n"
                self._finish()
                exec(source, self._space, space)  # noqa: S102  # as in _finish
                made = self._fields[field] = space["write"]
        return made


def _chosen(field: FieldDescriptor, oneofs: dict[str, str]) -> str | None:
    """The variable that holds which member of the field's oneof is set, if it has a real one."""
    return oneofs.get(field.containing_oneof.name) if field.containing_oneof else None


def _names(enum: EnumDescriptor) -> dict[int, str]:
    """Number -> name; of aliases the first one."""
    names: dict[int, str] = {}
    for value in enum.values:
        names.setdefault(value.number, value.name)
    return names
