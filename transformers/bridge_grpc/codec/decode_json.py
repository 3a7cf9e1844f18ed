"""JSON to protobuf, compiled once per message: a quick way and a judging way.

The quick way (`bridge_grpc.codec.quick`) turns a JSON object into the keyword arguments of the message's class, which
builds nested and repeated fields in C. Whenever anything is amiss it only says so, by an exception. The judging way
then reads the same value again, with every digit of each number, and lists all that is wrong with JSON pointers (RFC
6901); what it finds right after all is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError
from google.protobuf.message_factory import GetMessageClass

from bridge.api import Enough, FaultList, InvalidBody
from bridge_grpc.codec import json_body, wellknown
from bridge_grpc.codec.element import (
    DROPPED,
    Element,
    Faults,
    FieldReader,
    Judge,
    Read,
    escaped,
    judged,
    pointer_of,
    repeated,
    unknown_field,
)
from bridge_grpc.codec.quick import Field, Shape, quick, whole
from bridge_grpc.codec.scalars import INT64S, MESSAGES, QUICK, FieldValueError, InDoubt, kind_of, reader, text_reader
from bridge_grpc.codec.traits import NULL, bounded, height, trusted, walk


class MessageReader:
    """The compiled reader of one message type.

    :ivar cls: the message's class.
    :ivar decode: the quick way; JSON value -> keyword arguments, or a message where `cls` can't be made from those.
    :ivar judge: the judging way; never raises for a wrong value, but adds to the faults.
    :ivar shape: what `decode` was generated from; None of a well-known type, and while the message is compiled.
    :ivar parts: what `judge` knows of the fields, by each name that JSON may call them.
    :ivar bounded: its JSON can only be as deep as the schema is, and that is finite.
    """

    __slots__ = ("_serialise", "bounded", "cls", "decode", "descriptor", "judge", "nullable", "parts", "shape")

    cls: Any
    decode: Read
    judge: Judge

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.nullable = descriptor.full_name == "google.protobuf.Value"
        self.shape: Shape | None = None
        self.parts: dict[str, FieldReader] = {}

    def open(self, levels: float) -> None:
        """Once the messages that it holds have their classes, since protobuf would make those by recursion."""
        self.cls = GetMessageClass(self.descriptor)
        self._serialise = self.cls.SerializeToString
        self.bounded = bounded(levels)

    def build(self, made: Any) -> Any:
        """The message of what `decode` or `judge` gave."""
        return self.cls(**made) if type(made) is dict else made

    def serialise(self, made: Any) -> bytes:
        """:raises InvalidBody: a required field (proto2) is missing."""
        message = self.cls(**made) if type(made) is dict else made
        try:
            # By the class, since a field of the message may have the method's name.
            return self._serialise(message)  # type: ignore[no-any-return]  # generated classes are untyped
        except EncodeError:
            missing: list[str] = self.cls.FindInitializationErrors(message)
            raise InvalidBody([(pointer_of(path), "this field is required") for path in missing]) from None


class Decoders:
    """Makes and keeps the readers of one schema; messages may refer to each other in circles.

    :param find: a message's descriptor by full name, for ``Any``; None when it isn't known.
    :param ignore: unknown fields and enum names are left out instead of refused.
    """

    def __init__(self, find: Callable[[str], Descriptor | None], *, ignore: bool = False) -> None:
        self._find = find
        self._ignore = ignore
        self._readers: dict[Descriptor, MessageReader] = {}
        self._heights: dict[Descriptor, float] = {}
        # Routes of one schema share this and are bound in threads; an Any may compile a type while requests are served.
        self._lock = threading.RLock()

    def reader(self, descriptor: Descriptor) -> MessageReader:
        found = self._readers.get(descriptor)
        return found if found is not None and hasattr(found, "decode") else self._made(descriptor)

    def wire(self, descriptor: Descriptor) -> Callable[[bytes], bytes]:
        """A JSON body -> the message on the wire, by the quick way alone, in one call.

        :raises bridge.api.InvalidBody: (the function) a name stands twice in one object, or it is nested too deep.
        :raises InDoubt: (the function; and whatever else `bridge_grpc.codec.element.DOUBT` lists) the body must be read
            by `bridge_grpc.codec.json_body.read`, and judged.
        """
        made = self.reader(descriptor)
        if made.shape is not None:
            return whole(made.shape, made.cls, made.decode, bounded=made.bounded)

        def special(body: bytes) -> bytes:
            value = made.decode(json_body.read(body, bounded=made.bounded))
            if value is None:
                raise InDoubt
            return made.serialise(value)

        return special

    def _made(self, descriptor: Descriptor) -> MessageReader:
        with self._lock:
            # Those that are there already were made meanwhile, or are under way, in a message that holds itself.
            for message, done in walk(descriptor, self._readers):
                if not done:
                    found = self._readers[message] = MessageReader(message)
                    found.judge = self._judge_message(found)
                    continue
                made = self._readers[message]
                levels = self._heights[message] = height(message, self._heights)
                made.open(levels)
                if message.full_name in wellknown.SPECIAL:
                    element = self._special(made, message.full_name)
                    made.decode, made.judge = element.read, element.judge
                else:
                    self._compile(made)
        return self._readers[descriptor]

    # --- ordinary messages ---------------------------------------------------------------------------------------

    def _compile(self, made: MessageReader) -> None:
        descriptor = made.descriptor
        parts = made.parts
        fields: list[Field] = []
        for field in descriptor.fields:
            element = self.field(field)
            oneof = field.containing_oneof
            each, inner = self._each(field)
            part = FieldReader(
                field.name, field.json_name, element, oneof.name if oneof and len(oneof.fields) > 1 else ""
            )
            parts[field.json_name] = part
            fields.append(
                Field(
                    field.name,
                    field.json_name,
                    element,
                    trusted=trusted(field) and not field.is_repeated,
                    int64=field.type in INT64S and not field.is_repeated,
                    each=each,
                    inner=inner,
                )
            )
        for field in descriptor.fields:  # the proto's own names are read too, but never hide a JSON name
            parts.setdefault(field.name, parts[field.json_name])
        oneofs = [frozenset(f.name for f in oneof.fields) for oneof in descriptor.oneofs if len(oneof.fields) > 1]
        made.shape = Shape(fields, oneofs)
        made.decode = quick(made.shape)

    def _each(self, field: FieldDescriptor) -> tuple[Read | None, Shape | None]:
        """Of an array of messages: the reader of one item, and its shape, where that is known already."""
        message = field.message_type
        if message is None or not field.is_repeated or message.GetOptions().map_entry:
            return None, None
        return self.one(field).read, self.reader(message).shape

    def field(self, field: FieldDescriptor) -> Element:
        """The element of a whole field: an array, a map or one value."""
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return self._map(message)
        element = self.one(field)
        return repeated(element, trusted=trusted(field)) if field.is_repeated else element

    def one(self, field: FieldDescriptor) -> Element:
        """The element of one value of a field."""
        if field.type in MESSAGES:
            assert field.message_type is not None
            made = self.reader(field.message_type)
            return Element(None, getattr(made, "decode", None) or _later(made), made.judge, made.nullable)
        read = reader(field)
        nullable = field.enum_type is not None and field.enum_type.full_name == NULL
        return Element(QUICK.get(field.type), read, judged(read, self._ignore), nullable)

    def _judge_message(self, made: MessageReader) -> Judge:
        ignore, descriptor, parts = self._ignore, made.descriptor, made.parts

        def judge(value: Any, at: str, faults: Faults) -> Any:
            if type(value) is not dict:
                faults.append((at, f"it must be an object, not {kind_of(value)}"))
                return {}
            out: dict[str, Any] = {}
            extensions: list[tuple[FieldDescriptor, Any]] = []
            given: dict[str, str] = {}
            chosen: dict[str, str] = {}
            for key, item in value.items():
                where = f"{at}/{escaped(key)}"
                part = parts.get(key)
                if part is None:
                    extension = self._extension(descriptor, key)
                    if extension is not None:
                        if item is not None:
                            extensions.append((extension, self.field(extension).judge(item, where, faults)))
                    elif not ignore:
                        faults.append((where, unknown_field(key, [part.json_name for part in parts.values()], faults)))
                    continue
                if part.name in given:
                    faults.append((where, f"it is given twice, as {given[part.name]!r} and as {key!r}"))
                    continue
                given[part.name] = key
                if item is None and not part.element.nullable:
                    continue
                if part.oneof:
                    other = chosen.setdefault(part.oneof, key)
                    if other != key:
                        faults.append((where, f"only one of {other!r} and {key!r} may be given"))
                        continue
                read = part.element.judge(item, where, faults)
                if read is not DROPPED:
                    out[part.name] = read
            return self._extended(made, out, extensions) if extensions and not faults else out

        return judge

    def _extension(self, descriptor: Descriptor, key: str) -> FieldDescriptor | None:
        """``"[pkg.name]"`` names an extension of the message."""
        if not descriptor.is_extendable or not (key.startswith("[") and key.endswith("]")):
            return None
        try:
            found = descriptor.file.pool.FindExtensionByName(key[1:-1])
        except KeyError:
            return None
        return found if found.containing_type is descriptor else None

    def _extended(self, made: MessageReader, out: dict[str, Any], extensions: list[tuple[FieldDescriptor, Any]]) -> Any:
        """Extensions can't be given to a constructor, so the message is made here."""
        message = made.cls(**out)
        for field, value in extensions:
            target = message.Extensions
            if field.is_repeated:
                if field.message_type is not None:
                    nested = self.reader(field.message_type)
                    target[field].extend([nested.build(item) for item in value])
                else:
                    target[field].extend(value)
            elif field.message_type is not None:
                target[field].CopyFrom(self.reader(field.message_type).build(value))
                target[field].SetInParent()
            elif value is not DROPPED:
                target[field] = value
        return message

    # --- maps and well-known types -------------------------------------------------------------------------------

    def _map(self, entry: Descriptor) -> Element:
        key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
        read_key = None if key_field.type == FieldDescriptor.TYPE_STRING else text_reader(key_field)
        kind, read_value, judge_value, nullable = self.one(value_field)

        def read(value: Any) -> Any:
            if None in value.values() and not nullable:
                raise InDoubt
            if read_key is None:
                return {k: v if type(v) is kind else read_value(v) for k, v in value.items()}
            made = {read_key(k): v if type(v) is kind else read_value(v) for k, v in value.items()}
            if len(made) != len(value):
                raise InDoubt
            return made

        def judge(value: Any, at: str, faults: Faults) -> Any:
            if type(value) is not dict:
                faults.append((at, f"it must be an object, not {kind_of(value)}"))
                return {}
            out = {}
            for key, item in value.items():
                where = f"{at}/{escaped(key)}"
                try:
                    name = key if read_key is None else read_key(key)
                except FieldValueError as error:
                    faults.append((where, f"as a key: {error}"))
                    continue
                if name in out:
                    faults.append((where, f"the key {key!r} is there already, written in another way"))
                elif item is None and not nullable:
                    faults.append((where, "null can't be a value of a map"))
                else:
                    made = judge_value(item, where, faults)
                    if made is not DROPPED:
                        out[name] = made
            return out

        return Element(None, read, judge, False)

    def _special(self, made: MessageReader, name: str) -> Element:
        if name == wellknown.ANY:
            return Element(None, self._read_any, self._judge_any, False)
        if name in wellknown.WRAPPERS:
            inner = reader(made.descriptor.fields_by_name["value"])

            def read_wrapper(value: Any) -> Any:
                if value is None:
                    raise FieldValueError("it can't be null")
                return {"value": inner(value)}

            return Element(None, read_wrapper, judged(read_wrapper, self._ignore), False)
        if name in wellknown.VALUES:
            pool = made.descriptor.file.pool
            classes = [
                GetMessageClass(pool.FindMessageTypeByName(f"google.protobuf.{kind}"))
                for kind in ("Struct", "Value", "ListValue")
            ]
            read = wellknown.value_readers(*classes)[name]
        else:
            read = wellknown.READERS[name]
        return Element(None, read, judged(read, self._ignore), made.nullable)

    def _read_any(self, value: Any) -> Any:
        try:
            return self._judge_any(value, "", FaultList(0))
        except Enough:
            raise InDoubt from None

    def _judge_any(self, value: Any, at: str, faults: Faults) -> Any:
        """``{"@type": url, …fields}``, or ``{"@type": url, "value": …}`` for types whose JSON is special."""
        if type(value) is not dict:
            faults.append((at, f'it must be an object with "@type", not {kind_of(value)}'))
            return {}
        if not value:
            return {}
        url = value.get("@type")
        if type(url) is not str:
            faults.append((f"{at}/@type", "an Any names its type here, as type.googleapis.com/package.Message"))
            return {}
        _, slash, name = url.rpartition("/")
        descriptor = self._find(name) if slash else None
        if descriptor is None:
            faults.append((f"{at}/@type", f"{url[:120]!r} is not a type that this service's schema knows"))
            return {}
        inner = self.reader(descriptor)
        if descriptor.full_name in wellknown.SPECIAL:
            for key in value.keys() - {"@type", "value"}:
                faults.append((f"{at}/{escaped(key)}", f'{descriptor.full_name} has only "value" beside "@type"'))
            if "value" not in value:
                faults.append((f"{at}/value", f"the {descriptor.full_name} is missing"))
                return {}
            made = inner.judge(value["value"], f"{at}/value", faults)
        else:
            made = inner.judge({key: item for key, item in value.items() if key != "@type"}, at, faults)
        if faults:
            return {}
        try:
            return {"type_url": url, "value": inner.serialise(made)}
        except InvalidBody as error:
            faults += [(at + pointer, reason) for pointer, reason in error.errors]
            return {}


def _later(made: MessageReader) -> Read:
    """While a message that holds itself is compiled, its own reader isn't there yet."""

    def read(value: Any) -> Any:
        return made.decode(value)

    return read
