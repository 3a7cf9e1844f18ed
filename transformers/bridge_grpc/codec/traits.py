"""What can be told of a message or a field by its descriptor, when its reader is compiled."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge_grpc.codec import wellknown
from bridge_grpc.codec.json_body import MAX_DEPTH
from bridge_grpc.codec.scalars import INT64S, INTEGERS

NULL = "google.protobuf.NullValue"


def bounded(descriptor: Descriptor) -> bool:
    """Whether a message holds neither itself nor JSON of any depth, nor has more levels than JSON may have."""
    heights: dict[Descriptor, int] = {}
    under_way: list[Descriptor] = [descriptor]
    while under_way:
        message = under_way[-1]
        inner = {field.message_type for field in message.fields if field.message_type is not None}
        name = message.full_name
        if inner & set(under_way) or name == wellknown.ANY or name in wellknown.VALUES or message.is_extendable:
            return False
        waiting = [nested for nested in inner if nested not in heights]
        if waiting:
            under_way.append(waiting[0])
            continue
        heights[message] = 1 + max((heights[nested] for nested in inner), default=0)
        under_way.pop()
    return heights[descriptor] * 2 < MAX_DEPTH  # a list of messages is two levels of JSON


def trusted(field: FieldDescriptor) -> bool:
    """Whether protobuf's own check of one value is all that ProtoJSON asks: it refuses a boolean for a number, a number
    for a string, what is out of range and the names that an enum lacks. (It takes a closed enum's unknown numbers, a
    boolean for a double, and makes infinity of too large a float.)"""
    if field.enum_type is not None:
        return not field.enum_type.is_closed and field.enum_type.full_name != NULL
    return field.type == FieldDescriptor.TYPE_STRING or (field.type in INTEGERS and field.type not in INT64S)
