"""Protobuf to JSON, compiled once per message: Python source is generated for each message type and its fields.

Generated source was measured against closures over tables: half the time, since each field's read, test and store are
plain bytecode. Against text made by f-strings, too: to write a float or to quote a string in Python costs more than
the dict that orjson writes it from. What a schema's author chose (field names, JSON names, enum names) is passed in as
a value, or stands in the source as a literal made by repr, or, of fields, as an attribute that is an ASCII identifier.
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

from bridge_grpc.codec import wellknown
from bridge_grpc.codec.large import LargeText
from bridge_grpc.codec.scalars import INT64S, MESSAGES, FieldValueError
from bridge_grpc.codec.write_scalars import Names, base64, double, set_zero, single
from bridge_grpc.options import Print

Write = Callable[[Any], Any]
_T = FieldDescriptor
_AS_IS = frozenset({_T.TYPE_STRING, _T.TYPE_BOOL, _T.TYPE_INT32, _T.TYPE_UINT32, _T.TYPE_SINT32, _T.TYPE_FIXED32,
                    _T.TYPE_SFIXED32})  # fmt: skip


#: Up to so many fields, a message is first tried as one literal, and written in the place where a list of it is.
_FEW = 16
_FUNCTIONS = {_T.TYPE_BYTES: "base64", _T.TYPE_DOUBLE: "double", _T.TYPE_FLOAT: "single"}
#: A statement for what is done with the object that an expression makes.
_Deliver = Callable[[str], str]


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

        :raises FieldValueError: (the writer) a well-known type holds what its JSON can't say.
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

    def text(self, descriptor: Descriptor) -> Callable[[bytes], bytes]:
        """A message on the wire -> its JSON on one line; `writer`, with what stands before and after it, in one call.

        :raises google.protobuf.message.DecodeError: (the function) the bytes are no such message.
        :raises FieldValueError: (the function) as `writer`.
        :raises orjson.JSONEncodeError: (the function) it is nested too deep.
        """
        parse, dumps = GetMessageClass(descriptor).FromString, orjson.dumps
        if descriptor.full_name in wellknown.SPECIAL:
            write = self.writer(descriptor)
            return lambda wire: dumps(write(parse(wire)))
        with self._lock:
            lines = ["m = parse(wire)", *self._object(descriptor, "m", "v", "return dumps({})".format)]
            self._finish()
            made: Callable[[bytes], bytes] = self._compiled("text(wire)", lines, parse=parse, dumps=dumps)
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

    def field_text(self, field: FieldDescriptor) -> Callable[[bytes], bytes]:
        """A message on the wire -> the JSON of one of its fields on one line. Raises as `text`."""
        assert field.containing_type is not None
        write, parse, dumps = self.field(field), GetMessageClass(field.containing_type).FromString, orjson.dumps
        return lambda wire: dumps(write(parse(wire)))

    def large_text(self, descriptor: Descriptor) -> Callable[[bytes], bytes] | None:
        """As `text`, for messages that are large; None where they are read as any."""
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
        """Compiles every message that has a number but no function yet; a message's fields may add more."""
        while waiting := [(d, n) for d, n in self._numbers.items() if f"write_{n}" not in self._space]:
            for descriptor, number in waiting:
                self._space[f"write_{number}"] = self._compiled("write(m)", list(self._body(descriptor)))

    def _compiled(self, head: str, lines: Iterable[str], **names: Any) -> Any:
        """The function of `head`, which sees `names` beside all that the functions of the schema see."""
        name, _, arguments = head.partition("(")
        # A function within a function has those names close at hand, and the schema's are globals to both.
        source = f"def make({', '.join(names)}):\n    def {name}({arguments}:\n"
        source += "".join(f"        {line}\n" for line in lines) + f"    return {name}\n"
        space: dict[str, Any] = {}
        exec(source, self._space, space)  # noqa: S102  # generated here; see above for what a schema may put into it
        return space["make"](**names)

    def _body(self, descriptor: Descriptor) -> Iterator[str]:
        if descriptor.full_name in wellknown.WRAPPERS:
            yield "v = m.value"
            yield f"return {self._scalar(descriptor.fields_by_name['value'], 'v')}"
        else:
            yield from self._object(descriptor, "m", "v", "return {}".format)

    def _object(
        self, descriptor: Descriptor, holder: str, prefix: str, deliver: _Deliver, *, within: bool = False
    ) -> Iterator[str]:
        """Statements that make the object of the message that the variable `holder` has.

        :param prefix: of all variables that they set.
        :param within: the statements stand within those of another message.
        """
        fields = sorted(descriptor.fields, key=lambda field: field.number)
        variables = {field: f"{prefix}{field.number}" for field in fields if not field.has_presence}
        for field, variable in variables.items():
            yield f"{variable} = {_read(field, holder)}"
        if not 0 < len(variables) == len(fields) <= _FEW or descriptor.is_extendable:
            yield from self._statements(descriptor, fields, holder, prefix, deliver, within)
            return
        # Where all are set, as in a list's items they mostly are, the object is one literal.
        made = [self._made(field, variable, within) for field, variable in variables.items()]
        pairs = (f"{self._key(field)}: {value}" for field, (_, value) in zip(variables, made, strict=True))
        literal = [*(line for lines, _ in made for line in lines), deliver(f"{{{', '.join(pairs)}}}")]
        if self._print.default_values:
            yield from literal
            return
        yield f"if {' and '.join(variables.values())}:"
        yield from _indented(literal)
        yield "else:"
        yield from _indented(self._statements(descriptor, fields, holder, prefix, deliver, within))

    def _statements(
        self,
        descriptor: Descriptor,
        fields: list[FieldDescriptor],
        holder: str,
        prefix: str,
        deliver: _Deliver,
        within: bool,
    ) -> Iterator[str]:
        """The same field by field, of which those without presence have been read."""
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
                chosen = _chosen(field, oneofs)
                test = f"{chosen} == {field.name!r}" if chosen else f"has_{number}({holder}, {field.name!r})"
                value = f"v = {_read(field, holder)}; {out}[{self._key(field)}] = {self._value(field, 'v')}"
                yield f"if {test}: {value}"
                continue
            variable = f"{prefix}{field.number}"
            lines, value = self._made(field, variable, within)
            lines = [*lines, f"{out}[{self._key(field)}] = {value}"]
            if self._print.default_values:
                yield from lines
                continue
            zero = field.type in (_T.TYPE_DOUBLE, _T.TYPE_FLOAT) and not field.is_repeated
            yield f"if {variable} or set_zero({variable}):" if zero else f"if {variable}:"
            yield from _indented(lines)
        if descriptor.is_extendable:
            yield f"write_extensions({holder}, {out})"
        yield deliver(out)

    def _made(self, field: FieldDescriptor, variable: str, within: bool) -> tuple[list[str], str]:
        """What must be done first, and an expression for the JSON of the field whose value the variable has.

        The items of a list of small messages are written in place, one level deep: a call of a function for each
        costs a tenth of what it does.
        """
        message = field.message_type
        if within or message is None or not field.is_repeated or not _small(message):
            return [], self._value(field, variable)
        item, items = f"{variable}x", f"{variable}s"
        each = self._object(message, item, f"{variable}_", (items + ".append({})").format, within=True)
        return [f"{items} = []", f"for {item} in {variable}:", *_indented(each)], items

    def _key(self, field: FieldDescriptor) -> str:
        return repr(self.key(field))

    def _value(self, field: FieldDescriptor, source: str) -> str:
        """An expression for the JSON of the whole field, whose value the variable `source` has, as `_read` reads it."""
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
            # Key by key, since items() of a map is a loop in Python: three quarters of the time.
            return f"{{{key}: {self._scalar(message.fields_by_name['value'], f'{source}[k]')} for k in {source}}}"
        if not field.is_repeated:
            return self._scalar(field, source)
        if field.type in _AS_IS:
            return source
        if field.type in MESSAGES or field.type == _T.TYPE_BYTES:
            return f"[*map({self._scalar(field, '')[:-2]}, {source})]"  # spares a comprehension its frame
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
            self._space[variable] = Names(enum)
        return f"{self._enums[enum]}[{source}]"

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
            raise FieldValueError(
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
                # Of a list, `_read` gives the items in one go.
                lines = [*(["v = v[:]"] if _listed(field) else []), f"return {self._value(field, 'v')}"]
                self._finish()
                made = self._fields[field] = self._compiled("write(v)", lines)
        return made


def _read(field: FieldDescriptor, holder: str) -> str:
    """An expression for the value of a field; a list's items are taken out in one go, a third of iterating over it."""
    name = field.name
    plain = name.isascii() and name.isidentifier() and not iskeyword(name)
    value = f"{holder}.{name}" if plain else f"getattr({holder}, {name!r})"
    return f"{value}[:]" if _listed(field) else value


def _listed(field: FieldDescriptor) -> bool:
    return field.is_repeated and not (field.message_type is not None and field.message_type.GetOptions().map_entry)


def _small(message: Descriptor) -> bool:
    """Whether it is an ordinary message of few fields."""
    special = message.full_name in wellknown.SPECIAL or message.GetOptions().map_entry or message.is_extendable
    return not special and len(message.fields) <= _FEW


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _chosen(field: FieldDescriptor, oneofs: dict[str, str]) -> str | None:
    """The variable that holds which member of the field's oneof is set, if it has a real one."""
    return oneofs.get(field.containing_oneof.name) if field.containing_oneof else None
