"""JSON to protobuf, compiled once per message: a table of fields, a quick way and a judging way over the same table.

The quick way turns a JSON object into the keyword arguments of the message's class, which builds nested and repeated
fields in C, and trusts protobuf's own checks for what it passes on as it is (`scalars.QUICK`). Whenever anything is
amiss it only says so, by an exception. The judging way then reads the same value again, with every digit of each
number, and lists all that is wrong with JSON pointers (RFC 6901); what it finds right after all is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError
from google.protobuf.message_factory import GetMessageClass

from bridge import InvalidBody
from bridge_grpc import wellknown
from bridge_grpc.element import (
    DROPPED,
    Element,
    Faults,
    Judge,
    Part,
    Read,
    escaped,
    judged,
    pointer_of,
    quick,
    repeated,
    unknown_field,
)
from bridge_grpc.scalars import MESSAGES, QUICK, InDoubt, Wrong, kind_of, reader, text_reader


class MessageReader:
    """The compiled reader of one message type.

    :ivar cls: the message's class.
    :ivar decode: the quick way; JSON value -> keyword arguments, or a message where `cls` can't be made from those.
    :ivar judge: the judging way; never raises for a wrong value, but adds to the faults.
    """

    __slots__ = ("cls", "decode", "descriptor", "judge", "nullable")

    cls: Any
    decode: Read
    judge: Judge

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.cls = GetMessageClass(descriptor)
        self.nullable = descriptor.full_name == "google.protobuf.Value"

    def build(self, made: Any) -> Any:
        """The message of what `decode` or `judge` gave."""
        return self.cls(**made) if type(made) is dict else made

    def serialise(self, made: Any) -> bytes:
        """:raises InvalidBody: a required field (proto2) is missing."""
        message = self.build(made)
        try:
            return message.SerializeToString()  # type: ignore[no-any-return]  # generated classes are untyped
        except EncodeError:
            missing: list[str] = message.FindInitializationErrors()
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

    def reader(self, descriptor: Descriptor) -> MessageReader:
        found = self._readers.get(descriptor)
        if found is None:
            found = self._readers[descriptor] = MessageReader(descriptor)
            name = descriptor.full_name
            if name in wellknown.SPECIAL:
                element = self._special(found, name)
                found.decode, found.judge = element.read, element.judge
            else:
                self._compile(found)
        return found

    # --- ordinary messages ---------------------------------------------------------------------------------------

    def _compile(self, made: MessageReader) -> None:
        descriptor = made.descriptor
        table: dict[str, tuple[str, type | None, Read]] = {}
        parts: dict[str, Part] = {}
        made.decode = quick(
            table,
            [frozenset(field.name for field in oneof.fields) for oneof in descriptor.oneofs if len(oneof.fields) > 1],
        )
        made.judge = self._judge_message(made, parts)
        for field in descriptor.fields:
            element = self.field(field)
            oneof = field.containing_oneof
            part = Part(field.name, field.json_name, element, oneof.name if oneof and len(oneof.fields) > 1 else "")
            parts[field.json_name] = part
            table[field.json_name] = (field.name, element.kind, element.read)
        for field in descriptor.fields:  # the proto's own names are read too, but never hide a JSON name
            if field.name not in parts:
                parts[field.name] = parts[field.json_name]
                table[field.name] = table[field.json_name]

    def field(self, field: FieldDescriptor) -> Element:
        """The element of a whole field: an array, a map or one value."""
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return self._map(message)
        element = self.one(field)
        return repeated(element) if field.is_repeated else element

    def one(self, field: FieldDescriptor) -> Element:
        """The element of one value of a field."""
        if field.type in MESSAGES:
            assert field.message_type is not None
            made = self.reader(field.message_type)
            return (
                Element(None, lambda value: None if value is None else made.decode(value), made.judge, False)
                if (not made.nullable)
                else Element(None, made.decode, made.judge, True)
            )
        read = reader(field)
        nullable = field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue"
        return Element(QUICK.get(field.type), read, judged(read, self._ignore), nullable)

    def _judge_message(self, made: MessageReader, parts: dict[str, Part]) -> Judge:
        ignore, descriptor = self._ignore, made.descriptor

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
                        faults.append((where, unknown_field(key, [part.json_name for part in parts.values()])))
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
            if value is None:
                return None
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
                except Wrong as error:
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
        faults: Faults = []
        made = self._judge_any(value, "", faults)
        if faults:
            raise InDoubt
        return made

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
