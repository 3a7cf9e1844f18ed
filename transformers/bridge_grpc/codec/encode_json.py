"""Protobuf to JSON, compiled once per message: Python source is generated for each message type and its fields.

Generated source takes half the time of closures over tables, since each field's read, test and store are bytecode. It
is also faster than text from f-strings: formatting a float or quoting a string in Python costs more than a dict for
orjson. Names from the schema are passed in as values, or are in the source as literals made by repr or, for fields, as
attributes that are ASCII identifiers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from keyword import iskeyword
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge.api import define_function
from bridge_grpc.codec import wellknown
from bridge_grpc.codec.large import LargeText
from bridge_grpc.codec.scalars import INT64S, MESSAGES, FieldValueError
from bridge_grpc.codec.write_scalars import Names, base64, double, set_zero, single
from bridge_grpc.options import Print

Write = Callable[[Any], Any]
_T = FieldDescriptor
_AS_IS = frozenset({_T.TYPE_STRING, _T.TYPE_BOOL, _T.TYPE_INT32, _T.TYPE_UINT32, _T.TYPE_SINT32, _T.TYPE_FIXED32,
                    _T.TYPE_SFIXED32})  # fmt: skip


#: Up to this many fields of a message, the items of a list are written inline.
_FEW = 16
_FUNCTIONS = {_T.TYPE_BYTES: "base64", _T.TYPE_DOUBLE: "double", _T.TYPE_FLOAT: "single"}
#: From the expression of an object to the statement that uses it.
_Deliver = Callable[[str], str]


class Encoders:
    """Creates and caches the writers of one schema, for one set of print options.

    :param find: a message's descriptor by full name, for ``Any``; None if it is unknown.
    """

    def __init__(self, find: Callable[[str], Descriptor | None], options: Print) -> None:
        self._find = find
        self._print = options
        self._writers: dict[Descriptor, Write] = {}
        self._texts: dict[Descriptor, Callable[[bytes], bytes]] = {}
        self._numbers: dict[Descriptor, int] = {}
        # Routes of one schema share this and are bound in threads; an Any may compile a type while requests are served.
        self._lock = threading.RLock()
        self._fields: dict[FieldDescriptor, Write] = {}
        self._enums: dict[EnumDescriptor, str] = {}
        self._space: dict[str, Any] = {
            "dumps": orjson.dumps,
            "base64": base64,
            "double": double,
            "single": single,
            "set_zero": set_zero,
            "write_any": self.any,
            "write_extensions": self._extensions,
        }

    def writer(self, descriptor: Descriptor) -> Write:
        """Message -> JSON value.

        :raises FieldValueError: (the writer) a well-known type has a value without a JSON form.
        """
        if descriptor.full_name in wellknown.WRITERS:
            return wellknown.WRITERS[descriptor.full_name]
        if descriptor.full_name == wellknown.ANY:
            return self.any
        write = self._writers.get(descriptor)
        if write is None:
            with self._lock:
                number = self._number(descriptor)
                self._finish()
                write = self._writers[descriptor] = self._space[f"write_{number}"]
        return write

    def text(self, descriptor: Descriptor) -> Callable[[bytes], bytes]:
        """A function from a serialised message to its JSON on one line: parse, `writer` and dump in one call.

        :raises google.protobuf.message.DecodeError: (the function) the bytes are not such a message.
        :raises FieldValueError: (the function) as `writer`.
        :raises orjson.JSONEncodeError: (the function) it is nested too deep.
        """
        text = self._texts.get(descriptor)
        if text is not None:
            return text
        parse, dumps = GetMessageClass(descriptor).FromString, orjson.dumps
        if descriptor.full_name in wellknown.SPECIAL:
            write = self.writer(descriptor)
            return lambda wire: dumps(write(parse(wire)))
        with self._lock:
            number = len(self._texts)
            lines = [f"m = parse_{number}(wire)", *self._object(descriptor, "m", "v", "return dumps({})".format)]
            self._finish()
            self._space[f"parse_{number}"] = parse
            text = self._texts[descriptor] = self._define(f"text_{number}(wire)", lines, descriptor)
        return text

    def field(self, field: FieldDescriptor) -> Write:
        """Message -> the JSON value of one of its fields, for ``response_body``; the default if it is unset."""
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

    def field_text(self, field: FieldDescriptor) -> Callable[[bytes], bytes]:
        """A serialised message -> the JSON of one of its fields on one line. Raises as `text`."""
        assert field.containing_type is not None
        write, parse, dumps = self.field(field), GetMessageClass(field.containing_type).FromString, orjson.dumps
        return lambda wire: dumps(write(parse(wire)))

    def large_text(self, descriptor: Descriptor) -> Callable[[bytes], bytes] | None:
        """As `text`, for large messages; None if these need no special treatment."""
        if not LargeText.takes(descriptor):
            return None
        return partial(LargeText(self), descriptor)

    def whole_field(self, field: FieldDescriptor) -> Write:
        """The value of a whole field -> its JSON."""
        return self._field(field)

    def key(self, field: FieldDescriptor) -> str:
        """The field's name in JSON."""
        return field.name if self._print.proto_names else field.json_name

    # --- generation ----------------------------------------------------------------------------------------------

    def _number(self, descriptor: Descriptor) -> int:
        return self._numbers.setdefault(descriptor, len(self._numbers))

    def _finish(self) -> None:
        """Compiles every message that has a number but no function yet; its fields may add more messages."""
        while pending := [(d, n) for d, n in self._numbers.items() if f"write_{n}" not in self._space]:
            for descriptor, number in pending:
                self._define(f"write_{number}(m)", list(self._body(descriptor)), descriptor)

    def _define(self, head: str, lines: Iterable[str], thing: Descriptor | FieldDescriptor) -> Write:
        return define_function(head, lines, self._space, filename=f"writer of {thing.full_name}")

    def _body(self, descriptor: Descriptor) -> Iterator[str]:
        if descriptor.full_name in wellknown.WRAPPERS:
            yield "v = m.value"
            yield f"return {self._scalar(descriptor.fields_by_name['value'], 'v')}"
        else:
            yield from self._object(descriptor, "m", "v", "return {}".format)

    def _object(
        self, descriptor: Descriptor, holder: str, prefix: str, deliver: _Deliver, *, within: bool = False
    ) -> Iterator[str]:
        """Statements that create the JSON object of the message in the variable `holder`.

        :param prefix: of all variables that they set.
        :param within: the statements are part of another message's.
        """
        fields = sorted(descriptor.fields, key=lambda field: field.number)
        variables = {field: f"{prefix}{field.number}" for field in fields if not field.has_presence}
        for field, variable in variables.items():
            yield f"{variable} = {_read(field, holder)}"
        number, out = self._number(descriptor), f"{prefix}o"
        oneofs = {oneof.name: f"{prefix}w{oneof.index}" for oneof in descriptor.oneofs if len(oneof.fields) > 1}
        # By the class, since a field of the message may be named HasField.
        cls = GetMessageClass(descriptor)
        self._space |= {f"has_{number}": cls.HasField, f"which_{number}": cls.WhichOneof}
        yield f"{out} = {{}}"
        for name, variable in oneofs.items():
            yield f"{variable} = which_{number}({holder}, {name!r})"
        for field in fields:
            if field.has_presence:
                member = _oneof_variable(field, oneofs)
                test = f"{member} == {field.name!r}" if member else f"has_{number}({holder}, {field.name!r})"
                value = f"v = {_read(field, holder)}; {out}[{self._key(field)}] = {self._value(field, 'v')}"
                yield f"if {test}: {value}"
                continue
            variable = f"{prefix}{field.number}"
            statements, value = self._field_lines(field, variable, within)
            lines = [*statements, f"{out}[{self._key(field)}] = {value}"]
            if self._print.default_values:
                yield from lines
                continue
            zero = field.type in (_T.TYPE_DOUBLE, _T.TYPE_FLOAT) and not field.is_repeated
            yield f"if {variable} or set_zero({variable}):" if zero else f"if {variable}:"
            yield from _indented(lines)
        if descriptor.is_extendable:
            yield f"write_extensions({holder}, {out})"
        yield deliver(out)

    def _field_lines(self, field: FieldDescriptor, variable: str, within: bool) -> tuple[list[str], str]:
        """Statements, and then an expression, for the JSON of the field whose value is in `variable`.

        List items that are small messages are written inline, one level deep: a function call for each would add a
        tenth of the time.
        """
        message = field.message_type
        if within or message is None or not field.is_repeated or not _small(message):
            return [], self._value(field, variable)
        item, items = f"{variable}x", f"{variable}s"
        item_lines = self._object(message, item, f"{variable}_", (items + ".append({})").format, within=True)
        return [f"{items} = []", f"for {item} in {variable}:", *_indented(item_lines)], items

    def _key(self, field: FieldDescriptor) -> str:
        return repr(self.key(field))

    def _value(self, field: FieldDescriptor, source: str) -> str:
        """An expression for the JSON of a whole field, whose value (see `_read`) is in the variable `source`."""
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
            # Key by key: items() of a protobuf map is a loop in Python and takes a third longer.
            return f"{{{key}: {self._scalar(message.fields_by_name['value'], f'{source}[k]')} for k in {source}}}"
        if not field.is_repeated:
            return self._scalar(field, source)
        if field.type in _AS_IS:
            return source
        if field.type in MESSAGES or field.type == _T.TYPE_BYTES:
            return f"[*map({self._scalar(field, '')[:-2]}, {source})]"  # needs no frame, unlike a comprehension
        return f"[{self._scalar(field, 'x')} for x in {source}]"

    def _scalar(self, field: FieldDescriptor, source: str) -> str:
        """An expression for the JSON of one value, given by the expression `source`."""
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
            self._space[variable] = Names(enum, short=self._print.short_enums)
        return f"{self._enums[enum]}[{source}]"

    # --- what can't be generated ---------------------------------------------------------------------------------

    def any(self, message: Any) -> Any:
        """``@type`` and the fields; an unknown type is written as its URL and its bytes in base64."""
        url = message.type_url
        if not url and not message.value:
            return {}
        descriptor = self._find(url.rpartition("/")[2])
        if descriptor is None:
            return {"@type": url, "value": base64(message.value)}
        try:
            inner = GetMessageClass(descriptor).FromString(message.value)
        except DecodeError:
            raise FieldValueError(
                f"an Any says that it holds a {descriptor.full_name}, but its bytes are something else"
            ) from None
        value = self.writer(descriptor)(inner)
        if descriptor.full_name in wellknown.SPECIAL:
            return {"@type": url, "value": value}
        return {"@type": url, **value}

    def _extensions(self, message: Any, out: dict[str, Any]) -> None:
        for field, value in type(message).ListFields(message):
            if field.is_extension:
                out[f"[{field.full_name}]"] = self._field(field)(value)

    def _field(self, field: FieldDescriptor) -> Write:
        """The value of a whole field -> its JSON."""
        write = self._fields.get(field)
        if write is None:
            with self._lock:
                # `_read` copies a list's items in one step.
                lines = [*(["v = v[:]"] if _is_list(field) else []), f"return {self._value(field, 'v')}"]
                self._finish()
                write = self._fields[field] = self._define(f"write_field_{len(self._fields)}(v)", lines, field)
        return write


def _read(field: FieldDescriptor, holder: str) -> str:
    """An expression for the value of a field; a list is copied in one step, three times as fast."""
    name = field.name
    plain = name.isascii() and name.isidentifier() and not iskeyword(name)
    value = f"{holder}.{name}" if plain else f"getattr({holder}, {name!r})"
    return f"{value}[:]" if _is_list(field) else value


def _is_list(field: FieldDescriptor) -> bool:
    return field.is_repeated and not (field.message_type is not None and field.message_type.GetOptions().map_entry)


def _small(message: Descriptor) -> bool:
    """Whether it is an ordinary message with few fields."""
    special = message.full_name in wellknown.SPECIAL or message.GetOptions().map_entry or message.is_extendable
    return not special and len(message.fields) <= _FEW


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _oneof_variable(field: FieldDescriptor, oneofs: dict[str, str]) -> str | None:
    """The variable with the name of the set member of the field's oneof, if it has a real oneof."""
    return oneofs.get(field.containing_oneof.name) if field.containing_oneof else None
