"""Properties of messages and fields, from their descriptors, for the compilation of readers."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge_grpc.codec import wellknown
from bridge_grpc.codec.json_body import MAX_DEPTH
from bridge_grpc.codec.scalars import INT64S, INTEGERS

NULL = "google.protobuf.NullValue"


#: The height of messages whose JSON may have any depth.
ENDLESS = math.inf


def walk(descriptor: Descriptor, readers: Container[Descriptor]) -> Iterator[tuple[Descriptor, bool]]:
    """`descriptor` and the messages in it, except those in `readers`: each one on entry (False) and again after all
    messages in it (True). The caller adds each to `readers` on entry.

    Not recursive: chains of messages can be hundreds long, beyond Python's recursion limit.
    """
    stack = [(descriptor, False)]
    while stack:
        message, complete = stack.pop()
        if not complete:
            if message in readers:
                continue
            stack.append((message, True))
            stack += [(submessage, False) for submessage in reversed(_submessages(message))]
        yield message, complete


def _submessages(message: Descriptor) -> list[Descriptor]:
    """The messages of its fields and of its maps' values; none for a well-known type."""
    if message.full_name in wellknown.SPECIAL:
        return []
    fields = [field.message_type for field in message.fields if field.message_type is not None]
    values = [m.fields_by_name["value"].message_type if m.GetOptions().map_entry else m for m in fields]
    return [value for value in values if value is not None]


def height(message: Descriptor, heights: Mapping[Descriptor, float]) -> float:
    """Levels of messages, itself included; `ENDLESS` if it is recursive or holds JSON of any depth.

    :param heights: of the messages in it; those that are missing contain `message` themselves.
    """
    if message.full_name == wellknown.ANY or message.full_name in wellknown.VALUES or message.is_extendable:
        return ENDLESS
    return 1 + max((heights.get(submessage, ENDLESS) for submessage in _submessages(message)), default=0)


def bounded(levels: float) -> bool:
    """Whether the JSON of a message with this many levels is always within the depth limit."""
    return levels * 2 < MAX_DEPTH  # a list or a map of messages is two levels of JSON


def trusted(field: FieldDescriptor) -> bool:
    """Whether protobuf's own check of one value is all that ProtoJSON requires: it refuses a boolean for a number, a
    number for a string, values out of range and unknown enum names. (It accepts a closed enum's unknown numbers and a
    boolean for a double, and turns too large a float into infinity.)"""
    if field.enum_type is not None:
        return not field.enum_type.is_closed and field.enum_type.full_name != NULL
    return field.type == FieldDescriptor.TYPE_STRING or (field.type in INTEGERS and field.type not in INT64S)
