"""The id of a message in a stream, taken from one of its fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.mapping.parameters import resolve

_Step = Callable[[Any], Any]


class EventId:
    """A field path of the reply message, compiled. For a list, the last item is the id.

    :param path: names of the proto or of JSON, with dots between.
    :raises ValueError: the field doesn't exist, or is a message without a text form.
    """

    __slots__ = ("_parse", "_steps")

    def __init__(self, output: Descriptor, path: str, encoders: Encoders) -> None:
        self._parse: Callable[[bytes], Any] = GetMessageClass(output).FromString
        self._steps: list[_Step] = []
        inside: Descriptor | None = output
        names = path.split(".")
        for offset, name in enumerate(names, 1 - len(names)):
            target = resolve(inside, [name]) if inside is not None else None
            if target is None:
                raise ValueError(f"{path!r} is not a field of {output.full_name}")
            field = target.field
            if not offset and target.text is None:
                raise ValueError(f"{path!r} has no text of its own")
            self._steps.append(_step(field.name, field.has_presence, encoders.field(field) if not offset else None))
            message = field.message_type
            inside = None if message is None or message.GetOptions().map_entry else message

    def of(self, wire: bytes) -> str:
        """The field's text, as in a query parameter; ``""`` if the field isn't set."""
        value = self._parse(wire)
        for step in self._steps:
            value = step(value)
            if isinstance(value, list):
                value = value[-1] if value else None
            if value is None:
                return ""
        return value if isinstance(value, str) else orjson.dumps(value).decode()


def _step(name: str, has_presence: bool, write: _Step | None) -> _Step:
    """A function from a message to its field `name`, or None if it isn't set.

    :param write: converts the value to JSON; None for all but the last step of the path.
    """

    def step(message: Any) -> Any:
        # By the class, since a field of the message may be named HasField.
        if has_presence and not type(message).HasField(message, name):
            return None
        if write is not None:
            return write(message)
        value = getattr(message, name)
        return value if has_presence else [*value[-1:]]  # without presence, a message's field is a list

    return step
