"""What can be told of a message or a field by its descriptor, when its reader is compiled."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge_grpc.codec import wellknown
from bridge_grpc.codec.json_body import MAX_DEPTH
from bridge_grpc.codec.scalars import INT64S, INTEGERS

NULL = "google.protobuf.NullValue"


#: The height of messages whose JSON may be of any depth.
ENDLESS = math.inf


def walk(descriptor: Descriptor, known: Container[Descriptor]) -> Iterator[tuple[Descriptor, bool]]:
    """The messages that `descriptor` holds and that are not `known`, itself included: each when it is come to (False),
    and again when all that it holds has been (True). `known` must grow by what is come to.

    Not by recursion: schemas have chains of hundreds of messages, which is deeper than Python goes.
    """
    stack = [(descriptor, False)]
    while stack:
        message, done = stack.pop()
        if not done:
            if message in known:
                continue
            stack.append((message, True))
            stack += [(held, False) for held in reversed(_held(message))]
        yield message, done


def _held(message: Descriptor) -> list[Descriptor]:
    """The messages of its fields, and of its maps' values. What a well-known type holds is its own affair."""
    if message.full_name in wellknown.SPECIAL:
        return []
    fields = [field.message_type for field in message.fields if field.message_type is not None]
    values = [m.fields_by_name["value"].message_type if m.GetOptions().map_entry else m for m in fields]
    return [held for held in values if held is not None]


def height(message: Descriptor, heights: Mapping[Descriptor, float]) -> float:
    """Levels of messages, itself included; `ENDLESS` where it holds itself or JSON of any depth.

    :param heights: of the messages that it holds; those that are missing hold `message` themselves.
    """
    if message.full_name == wellknown.ANY or message.full_name in wellknown.VALUES or message.is_extendable:
        return ENDLESS
    return 1 + max((heights.get(held, ENDLESS) for held in _held(message)), default=0)


def bounded(levels: float) -> bool:
    """Whether a message of so many levels has no more of them than JSON may have."""
    return levels * 2 < MAX_DEPTH  # a list or a map of messages is two levels of JSON


def trusted(field: FieldDescriptor) -> bool:
    """Whether protobuf's own check of one value is all that ProtoJSON asks: it refuses a boolean for a number, a number
    for a string, what is out of range and the names that an enum lacks. (It takes a closed enum's unknown numbers, a
    boolean for a double, and makes infinity of too large a float.)"""
    if field.enum_type is not None:
        return not field.enum_type.is_closed and field.enum_type.full_name != NULL
    return field.type == FieldDescriptor.TYPE_STRING or (field.type in INTEGERS and field.type not in INT64S)
