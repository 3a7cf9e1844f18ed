"""JSON to protobuf, compiled once per message: a fast path and a judging path.

The fast path (`bridge_grpc.codec.quick`) turns a JSON object into the keyword arguments of the message's class, which
builds nested and repeated fields in C. If anything is unusual it raises an exception. The judging path then reads the
same value again, with all digits of each number, and lists all faults with JSON pointers (RFC 6901), or accepts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.message_factory import GetMessageClass

from bridge.api import Enough, FaultList, InvalidBody, pointer_token
from bridge_grpc.codec import json_body, wellknown
from bridge_grpc.codec.element import (
    DROPPED,
    Element,
    Faults,
    FieldReader,
    Judge,
    Read,
    judge_with,
    pointer_of_missing,
    repeated,
    unknown_field,
)
from bridge_grpc.codec.quick import Field, ReadPlan, quick, whole
from bridge_grpc.codec.scalars import INT64S, MESSAGES, QUICK, FieldValueError, InDoubt, kind_of, reader, text_reader
from bridge_grpc.codec.traits import NULL, bounded, height, trusted, walk


class MessageReader:
    """The compiled reader of one message type.

    :ivar cls: the message's class.
    :ivar decode: the fast path; JSON value -> keyword arguments, or a message if `cls` can't take those.
    :ivar judge: the judging path; never raises for a wrong value, but adds to the faults.
    :ivar plan: what `decode` is generated from; None for well-known types, and during compilation.
    :ivar parts: the fields for `judge`, by each name that JSON may use.
    :ivar bounded: the schema limits the depth of its JSON.
    """

    __slots__ = ("_serialise", "bounded", "cls", "decode", "descriptor", "judge", "nullable", "parts", "plan")

    cls: Any
    decode: Read
    judge: Judge

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.nullable = descriptor.full_name == "google.protobuf.Value"
        self.plan: ReadPlan | None = None
        self.parts: dict[str, FieldReader] = {}

    def open(self, levels: float) -> None:
        """Called after nested messages have their classes, since protobuf would create those recursively."""
        self.cls = GetMessageClass(self.descriptor)
        self._serialise = self.cls.SerializeToString
        self.bounded = bounded(levels)

    def build(self, arguments: Any) -> Any:
        """The message from a result of `decode` or `judge`."""
        return self.cls(**arguments) if type(arguments) is dict else arguments

    def serialise(self, arguments: Any) -> bytes:
        """:raises InvalidBody: a required field (proto2) is missing."""
        message = self.cls(**arguments) if type(arguments) is dict else arguments
        try:
            # By the class, since a field of the message may have the method's name.
            return self._serialise(message)  # type: ignore[no-any-return]  # generated classes are untyped
        except EncodeError:
            missing: list[str] = self.cls.FindInitializationErrors(message)
            raise InvalidBody([(pointer_of_missing(path), "this field is required") for path in missing]) from None

    def serialise_large(self, arguments: Any) -> bytes:
        """As `serialise`, for the arguments of a large message, which are used up: long repeated fields are built and
        serialised some items at a time, so that other threads can run. The parts, one behind the other, are the message
        (protobuf's encoding, "Last One Wins").

        :raises google.protobuf.message.EncodeError: a required field (proto2) is missing.
        """
        message = self.descriptor
        if type(arguments) is not dict or any(field.is_required for field in message.fields):
            return self.serialise(arguments)
        long = [
            name
            for name, value in arguments.items()
            if type(value) is list and len(value) > json_body.ITEMS and message.fields_by_name[name].is_repeated
        ]
        lists = [(name, arguments.pop(name)) for name in long]
        parts = [self._serialise(self.cls(**arguments))]
        for name, items in lists:
            items.reverse()  # the next ones are at the end, where it costs nothing to take them away
            while items:
                step = items[: -json_body.ITEMS - 1 : -1]
                del items[-json_body.ITEMS :]
                parts.append(self._serialise(self.cls(**{name: step})))
                del step
        return b"".join(parts)

    def readable(self, wire: bytes) -> bool:
        """Whether a service can read `wire`: protobuf's parsers take no more than `json_body.MAX_MESSAGES` messages in
        one another."""
        if self.bounded or len(wire) <= json_body.MAX_MESSAGES:  # a message in another one takes two bytes
            return True
        try:
            self.cls.FromString(wire)
        except DecodeError:
            return False
        return True


class Decoders:
    """Creates and caches the readers of one schema; messages may refer to each other in cycles.

    :param find: a message's descriptor by full name, for ``Any``; None if it is unknown.
    :param ignore: ignore unknown fields and enum names instead of refusing them.
    :param short: whether enum values may be named without their type's prefix (`scalars.short_names`).
    """

    def __init__(self, find: Callable[[str], Descriptor | None], *, ignore: bool = False, short: bool = False) -> None:
        self._find = find
        self.short = short
        self._ignore = ignore
        self._readers: dict[Descriptor, MessageReader] = {}
        self._heights: dict[Descriptor, float] = {}
        # Routes of one schema share this and are bound in threads; an Any may compile a type while requests are served.
        self._lock = threading.RLock()

    def reader(self, descriptor: Descriptor) -> MessageReader:
        message_reader = self._readers.get(descriptor)
        return (
            message_reader
            if message_reader is not None and hasattr(message_reader, "decode")
            else self._build(descriptor)
        )

    def wire(self, descriptor: Descriptor) -> Callable[[bytes], bytes]:
        """A function from a JSON body to the serialised message, by the fast path alone.

        :raises bridge.api.InvalidBody: (the function) an object has a name twice, or nesting is too deep.
        :raises InDoubt: (the function; or another of `bridge_grpc.codec.element.DOUBT`) the body must be read by
            `bridge_grpc.codec.json_body.read`, and judged.
        """
        message_reader = self.reader(descriptor)
        if message_reader.plan is not None:
            return whole(message_reader.plan, message_reader.cls, message_reader.decode, bounded=message_reader.bounded)

        def special(body: bytes) -> bytes:
            value = message_reader.decode(json_body.read(body, bounded=message_reader.bounded))
            if value is None:
                raise InDoubt
            return message_reader.serialise(value)

        return special

    def _build(self, descriptor: Descriptor) -> MessageReader:
        with self._lock:
            # Readers that exist already were created by another thread, or are in progress: a recursive message.
            for message, complete in walk(descriptor, self._readers):
                if not complete:
                    message_reader = self._readers[message] = MessageReader(message)
                    message_reader.judge = self._judge_message(message_reader)
                    continue
                message_reader = self._readers[message]
                levels = self._heights[message] = height(message, self._heights)
                message_reader.open(levels)
                if message.full_name in wellknown.SPECIAL:
                    element = self._special(message_reader, message.full_name)
                    message_reader.decode, message_reader.judge = element.read, element.judge
                else:
                    self._compile(message_reader)
        return self._readers[descriptor]

    # --- ordinary messages ---------------------------------------------------------------------------------------

    def _compile(self, message_reader: MessageReader) -> None:
        descriptor = message_reader.descriptor
        parts = message_reader.parts
        fields: list[Field] = []
        for field in descriptor.fields:
            element = self.field(field)
            oneof = field.containing_oneof
            read_item, inner = self._each(field)
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
                    each=read_item,
                    inner=inner,
                )
            )
        for field in descriptor.fields:  # the proto's own names are accepted too, but JSON names take precedence
            parts.setdefault(field.name, parts[field.json_name])
        oneofs = [frozenset(f.name for f in oneof.fields) for oneof in descriptor.oneofs if len(oneof.fields) > 1]
        message_reader.plan = ReadPlan(fields, oneofs)
        message_reader.decode = quick(message_reader.plan)

    def _each(self, field: FieldDescriptor) -> tuple[Read | None, ReadPlan | None]:
        """For an array of messages: the reader of one item, and its plan if that exists already."""
        message = field.message_type
        if message is None or not field.is_repeated or message.GetOptions().map_entry:
            return None, None
        return self.one(field).read, self.reader(message).plan

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
            message_reader = self.reader(field.message_type)
            return Element(
                None,
                getattr(message_reader, "decode", None) or _later(message_reader),
                message_reader.judge,
                message_reader.nullable,
            )
        read = reader(field, short=self.short)
        nullable = field.enum_type is not None and field.enum_type.full_name == NULL
        return Element(QUICK.get(field.type), read, judge_with(read, self._ignore), nullable)

    def _judge_message(self, message_reader: MessageReader) -> Judge:
        ignore, descriptor, parts = self._ignore, message_reader.descriptor, message_reader.parts

        def judge(value: Any, at: str, faults: Faults) -> Any:
            if type(value) is not dict:
                faults.append((at, f"it must be an object, not {kind_of(value)}"))
                return {}
            out: dict[str, Any] = {}
            extensions: list[tuple[FieldDescriptor, Any]] = []
            keys: dict[str, str] = {}
            members: dict[str, str] = {}
            for key, item in value.items():
                pointer = f"{at}/{pointer_token(key)}"
                part = parts.get(key)
                if part is None:
                    extension = self._extension(descriptor, key)
                    if extension is not None:
                        if item is not None:
                            extensions.append((extension, self.field(extension).judge(item, pointer, faults)))
                    elif not ignore:
                        faults.append(
                            (pointer, unknown_field(key, [part.json_name for part in parts.values()], faults))
                        )
                    continue
                if part.name in keys:
                    faults.append((pointer, f"it is given twice, as {keys[part.name]!r} and as {key!r}"))
                    continue
                keys[part.name] = key
                if item is None and not part.element.nullable:
                    continue
                if part.oneof:
                    other = members.setdefault(part.oneof, key)
                    if other != key:
                        faults.append((pointer, f"only one of {other!r} and {key!r} may be given"))
                        continue
                result = part.element.judge(item, pointer, faults)
                if result is not DROPPED:
                    out[part.name] = result
            return self._extended(message_reader, out, extensions) if extensions and not faults else out

        return judge

    def _extension(self, descriptor: Descriptor, key: str) -> FieldDescriptor | None:
        """``"[pkg.name]"`` names an extension of the message."""
        if not descriptor.is_extendable or not (key.startswith("[") and key.endswith("]")):
            return None
        try:
            extension = descriptor.file.pool.FindExtensionByName(key[1:-1])
        except KeyError:
            return None
        return extension if extension.containing_type is descriptor else None

    def _extended(
        self, message_reader: MessageReader, out: dict[str, Any], extensions: list[tuple[FieldDescriptor, Any]]
    ) -> Any:
        """A constructor doesn't take extensions, so the message is created here."""
        message = message_reader.cls(**out)
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
            result = {read_key(k): v if type(v) is kind else read_value(v) for k, v in value.items()}
            if len(result) != len(value):
                raise InDoubt
            return result

        def judge(value: Any, at: str, faults: Faults) -> Any:
            if type(value) is not dict:
                faults.append((at, f"it must be an object, not {kind_of(value)}"))
                return {}
            out = {}
            for key, item in value.items():
                pointer = f"{at}/{pointer_token(key)}"
                try:
                    name = key if read_key is None else read_key(key)
                except FieldValueError as error:
                    faults.append((pointer, f"as a key: {error}"))
                    continue
                if name in out:
                    faults.append((pointer, f"the key {key!r} is there already, written in another way"))
                elif item is None and not nullable:
                    faults.append((pointer, "null can't be a value of a map"))
                else:
                    result = judge_value(item, pointer, faults)
                    if result is not DROPPED:
                        out[name] = result
            return out

        return Element(None, read, judge, False)

    def _special(self, message_reader: MessageReader, name: str) -> Element:
        if name == wellknown.ANY:
            return Element(None, self._read_any, self._judge_any, False)
        if name in wellknown.WRAPPERS:
            inner = reader(message_reader.descriptor.fields_by_name["value"])

            def read_wrapper(value: Any) -> Any:
                if value is None:
                    raise FieldValueError("it can't be null")
                return {"value": inner(value)}

            return Element(None, read_wrapper, judge_with(read_wrapper, self._ignore), False)
        if name in wellknown.VALUES:
            pool = message_reader.descriptor.file.pool
            classes = [
                GetMessageClass(pool.FindMessageTypeByName(f"google.protobuf.{kind}"))
                for kind in ("Struct", "Value", "ListValue")
            ]
            read = wellknown.value_readers(*classes)[name]
        else:
            read = wellknown.READERS[name]
        return Element(None, read, judge_with(read, self._ignore), message_reader.nullable)

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
                faults.append((f"{at}/{pointer_token(key)}", f'{descriptor.full_name} has only "value" beside "@type"'))
            if "value" not in value:
                faults.append((f"{at}/value", f"the {descriptor.full_name} is missing"))
                return {}
            arguments = inner.judge(value["value"], f"{at}/value", faults)
        else:
            arguments = inner.judge({key: item for key, item in value.items() if key != "@type"}, at, faults)
        if faults:
            return {}
        try:
            wire = inner.serialise(arguments)
        except InvalidBody as error:
            faults += [(at + pointer, reason) for pointer, reason in error.errors]
            return {}
        if not inner.readable(wire):
            faults.append((at, json_body.TOO_MANY_MESSAGES))
            return {}
        return {"type_url": url, "value": wire}


def _later(message_reader: MessageReader) -> Read:
    """For a recursive message, whose own reader doesn't exist yet while it is compiled."""

    def read(value: Any) -> Any:
        return message_reader.decode(value)

    return read
